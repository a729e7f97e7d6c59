//! What the author wrote: the model of a scenario file, reading it with every problem located, and its JSON Schema.
//!
//! Nothing here knows what a run is. A [`Scenario`] that could be read is turned into a [`crate::plan::Plan`].

use std::path::Path;
use std::sync::Arc;

pub mod capability;
mod check;
pub mod command;
mod config;
pub mod expr;
pub mod fault;
pub mod json_path;
pub(crate) mod mapping;
pub mod model;
pub(crate) mod read;
mod schema;
mod shell;
pub(crate) mod stages;
mod step;
mod suggest;
pub mod template;
pub mod text;
mod unsupported;
pub mod value;
mod vars;
mod vocabulary;

pub use json_path::JsonPath;
pub use mapping::Entries;
pub use model::Document;
pub use text::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use text::source::{Source, Span};
pub use text::spanned::{OptionalKey, Spanned, Written};
pub use text::syntax::SyntaxError;

pub(crate) use text::node;
pub use text::{diagnostic, source};

use read::{Read as _, Reader};

/// A scenario as it was written, read and found sound in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it says.
    pub document: Document,
    /// The text it was read from.
    pub source: Arc<Source>,
    /// Whether the text is a file that can be named on a command line.
    pub from_file: bool,
    /// What the author should know, though it keeps nothing from running.
    pub warnings: Vec<Diagnostic>,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// Every problem that can be seen without planning.
    pub fn load(path: &Path) -> Result<Self, Diagnostics> {
        Self::read(&open(path)?, true, &[]).sound()
    }

    /// Reads text; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self, Diagnostics> {
        Self::read(&Arc::new(Source::new(name, text)), false, &[]).sound()
    }

    /// Reads as much as can be read, with all problems.
    pub(crate) fn read(
        source: &Arc<Source>,
        from_file: bool,
        vars: &[(String, String)],
    ) -> Reading {
        let mut root = match node::parse(source) {
            Ok(root) => root,
            Err(problems) => {
                return Reading {
                    scenario: None,
                    problems,
                };
            }
        };
        let mut cx = Reader::new(source.clone());
        if !matches!(root.value, node::Value::Map(_)) {
            cx.wrong_kind(&root, "a mapping", Some("begin with `version: 1`"));
            let mut problems = Diagnostics::new(source.clone());
            problems.extend(cx.problems);
            return Reading {
                scenario: None,
                problems,
            };
        }
        unsupported::set_aside(&mut root, &mut cx);
        vars::fill_in(&mut root, vars, &mut cx);
        let document = Document::read(&root, &mut cx);
        check::document(&document, &mut cx);
        let (errors, warnings) = cx
            .problems
            .into_iter()
            .partition(|problem| problem.severity == Severity::Error);
        let mut problems = Diagnostics::new(source.clone());
        problems.extend(errors);
        Reading {
            scenario: Some(Self {
                document,
                source: source.clone(),
                from_file,
                warnings,
            }),
            problems,
        }
    }
}

/// Opens a scenario file.
pub(crate) fn open(path: &Path) -> Result<Arc<Source>, Diagnostics> {
    Source::read(path).map(Arc::new).map_err(|(message, help)| {
        let name = path.display().to_string();
        let mut problems = Diagnostics::new(Arc::new(Source::new(name, "")));
        let problem = Diagnostic::general(message);
        problems.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
        problems
    })
}

/// What came of reading: perhaps a scenario with stand-ins, and every problem found.
pub(crate) struct Reading {
    /// `None` when the text is not YAML.
    pub(crate) scenario: Option<Scenario>,
    /// Errors.
    pub(crate) problems: Diagnostics,
}

impl Reading {
    fn sound(self) -> Result<Scenario, Diagnostics> {
        match self.scenario {
            Some(scenario) if !self.problems.has_errors() => Ok(scenario),
            _ => Err(self.problems),
        }
    }
}

/// The JSON Schema of scenario files.
#[must_use]
pub fn schema() -> schemars::Schema {
    schema::of_scenarios()
}
