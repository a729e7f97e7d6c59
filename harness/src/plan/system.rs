//! What each node of a plan is started with: the preset's roles and any other programs, with the addresses of links that
//! their commands and environments name.

use clip_service::units::HumanDuration;
use indexmap::IndexMap;

use super::layout::{Layout, Origin, Outline};
use super::programs::Programs;
use super::{ExitRule, NodePlan, NodeStart, ReadyPlan, RuntimeKind, SystemPlan, link_name};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::{Program, Ready, Status, System};
use crate::scenario::template::{Call, Part, Template};
use crate::scenario::{OptionalKey as _, Span};
use crate::sut::{self, RoleNode};

const DEFAULT_READY_PATH: &str = "/";
const DEFAULT_READY_STATUS: Status = Status(200);
const DEFAULT_READY_WITHIN: HumanDuration = HumanDuration::secs(20);

/// Fills in what the nodes are started with. `None` where some of it could not be understood; problems are added as far as
/// they can be told.
pub(super) fn fill_in(
    system: &System,
    layout: &Layout<'_>,
    runtime: Option<RuntimeKind>,
    fixtures: Vec<String>,
    problems: &mut Vec<Diagnostic>,
) -> Option<SystemPlan> {
    let programs = Programs::new(&system.nodes);
    let exits = match &system.service {
        Some(service) => service.exits.given_or(ExitRule::default()),
        None => Some(ExitRule::default()),
    };
    // All of them first, so that every problem is told.
    let nodes: Vec<_> = layout
        .nodes
        .iter()
        .map(|node| match &node.origin {
            Origin::Role(role) => Some(role_node(role.clone(), runtime?, exits?)),
            Origin::Program(name, program) => {
                let wave = programs.wave(name);
                program_node(node, program, wave, layout, problems)
            }
        })
        .collect();
    if !layout.whole {
        return None;
    }
    Some(SystemPlan {
        runtime: runtime?,
        nodes: nodes.into_iter().collect::<Option<_>>()?,
        links: layout.links.clone(),
        entry: layout.entries.first().cloned().unwrap_or_default(),
        entries: match layout.entries.len() {
            0 | 1 => Vec::new(),
            _ => layout.entries.clone(),
        },
        fixtures,
    })
}

fn role_node(node: RoleNode, runtime: RuntimeKind, exits: ExitRule) -> NodePlan {
    NodePlan {
        name: node.name,
        wave: node.wave,
        start: NodeStart::Service {
            system: sut::SERVICE,
            role: node.role.to_owned(),
            config: node.config,
        },
        ready: ReadyPlan {
            path: node.ready.to_owned(),
            status: DEFAULT_READY_STATUS.0,
            within: HumanDuration(node.within),
        },
        runtime,
        exits,
        standby: node.standby,
    }
}

fn program_node(
    node: &Outline<'_>,
    program: &Program,
    wave: Option<u32>,
    layout: &Layout<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<NodePlan> {
    let name = &node.name;
    let mut filled = |text: &str, span| resolve_links(name, text, span, layout, problems);
    let command = program.run.known().map(|command| {
        let words = command.0.iter();
        let words = words.map(|word| filled(&word.value.0, word.span));
        words.collect::<Vec<_>>()
    });
    let env: Vec<_> = program
        .env
        .iter()
        .map(|(key, value)| {
            let text = &value.known()?.0;
            Some((key.value.clone(), filled(text, value.span)))
        })
        .collect();
    Some(NodePlan {
        name: name.clone(),
        wave: wave?,
        start: NodeStart::Run {
            command: command?,
            env: env.into_iter().collect::<Option<IndexMap<_, _>>>()?,
        },
        ready: ready(program.ready.as_ref())?,
        runtime: node.runtime?,
        exits: program.exits.given_or(ExitRule::default())?,
        standby: false,
    })
}

fn ready(given: Option<&Ready>) -> Option<ReadyPlan> {
    let Some(given) = given else {
        return Some(ReadyPlan {
            path: DEFAULT_READY_PATH.to_owned(),
            status: DEFAULT_READY_STATUS.0,
            within: DEFAULT_READY_WITHIN,
        });
    };
    Some(ReadyPlan {
        path: given.get.known()?.clone(),
        status: given.status.given_or(DEFAULT_READY_STATUS)?.0,
        within: given.within.given_or(DEFAULT_READY_WITHIN)?,
    })
}

/// Turns `$(link.NODE)` into the full name of the link from this node to that one.
fn resolve_links(
    node: &str,
    text: &str,
    span: Span,
    layout: &Layout<'_>,
    problems: &mut Vec<Diagnostic>,
) -> String {
    // What is no template has been refused where the file was read.
    let Ok(mut template) = Template::parse(text) else {
        return text.to_owned();
    };
    for part in &mut template.0 {
        let Part::Call(Call::Link(to)) = part else {
            continue;
        };
        let full = link_name(node, to);
        let there = |name: &str| layout.links.iter().any(|link| link.name == name);
        if there(&full) {
            *to = full;
        } else if !there(to) && layout.whole {
            problems.push(
                Diagnostic::error(span, format!("there is no link from {node} to `{to}`"))
                    .help(format!("add `{full}: {{}}` under `links:`")),
            );
        }
    }
    template.to_string()
}
