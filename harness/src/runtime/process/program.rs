//! What a node's process is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::plan::NodePlan;
use crate::runtime::{HostPort, NodeContext, RuntimeError};
use crate::scenario::template::{self, Resolver};
use crate::sut::acting::CommandLine;

/// How a node's program is started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) listens: Listens,
}

/// How the harness learns where a program listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listens {
    /// It says so in a notice on stdout.
    ByNotice,
    /// It is told a free port in the variable `PORT`.
    ByPort,
}

/// The program of a node with a role: it says where it listens.
impl From<CommandLine> for Program {
    fn from(line: CommandLine) -> Self {
        Self {
            program: line.program,
            arguments: line.arguments,
            env: BTreeMap::new(),
            listens: Listens::ByNotice,
        }
    }
}

/// The program of a generic node: any command, with link addresses filled into its arguments and environment.
pub(super) fn program(
    plan: &NodePlan,
    command: &[String],
    env: &IndexMap<String, String>,
    context: &NodeContext,
) -> Result<Program, RuntimeError> {
    let failed = |reason: String| RuntimeError::Start {
        node: plan.name.clone(),
        reason,
    };
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| failed("its command is empty".to_owned()))?;
    let links = context.reachable(plan)?;
    let fill_in = |what: &str, text: &String| {
        template::render(text, &mut LinksOnly(&links))
            .map_err(|error| failed(format!("{what}: {error}")))
    };
    let mut filled = BTreeMap::new();
    for (name, value) in env {
        filled.insert(name.clone(), fill_in(name, value)?);
    }
    let arguments = arguments.iter().map(|word| fill_in("its command", word));
    Ok(Program {
        program: PathBuf::from(program),
        arguments: arguments.collect::<Result<_, _>>()?,
        env: filled,
        listens: Listens::ByPort,
    })
}

/// Knows links and nothing else: what a node's command and environment may refer to.
struct LinksOnly<'a>(&'a BTreeMap<String, HostPort>);

impl Resolver for LinksOnly<'_> {
    fn uuid(&mut self) -> String {
        String::new()
    }

    fn draw(&mut self, low: i64, _: i64) -> i64 {
        low
    }

    fn fixture(&self, _: &str) -> Option<String> {
        None
    }

    fn link(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }

    fn capture(&self, _: &str) -> Option<String> {
        None
    }
}
