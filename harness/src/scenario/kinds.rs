//! The closed table of fault kinds: read by the parser, the JSON Schema, `list faults`, the planner and the docs alike.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::diagnostic::Diagnostic;
use super::model::{Inject, Latency, RuntimeKind};
use super::node::{Node, Value};
use super::read::{Read as _, Reader};
use super::words::unknown_word;

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// A node.
    Node,
    /// A link.
    Link,
}

impl Aim {
    /// For messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Link => "link",
        }
    }
}

/// How a kind is written.
enum Form {
    /// A bare word.
    Word(Inject),
    /// `word: { settings }`.
    Settings {
        keys: &'static [&'static str],
        read: fn(&Node, &mut Reader) -> Inject,
        schema: fn(&mut SchemaGenerator) -> Schema,
    },
}

/// A kind of fault.
pub struct FaultKind {
    /// Its word.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// How it is undone.
    pub undo: &'static str,
    /// What it hits.
    pub aim: Aim,
    /// Runtimes that can do it.
    pub runtimes: &'static [RuntimeKind],
    form: Form,
}

impl std::fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FaultKind").field(&self.name).finish()
    }
}

const EVERYWHERE: &[RuntimeKind] = &[RuntimeKind::Embedded, RuntimeKind::Process];

/// All kinds.
pub const KINDS: &[FaultKind] = &[
    FaultKind {
        name: "kill",
        help: "SIGKILL to a node's process group; in the embedded runtime its tasks are aborted",
        undo: "started again, ready",
        aim: Aim::Node,
        runtimes: EVERYWHERE,
        form: Form::Word(Inject::Kill),
    },
    FaultKind {
        name: "pause",
        help: "SIGSTOP to a node's process group: it keeps its connections and answers nothing",
        undo: "SIGCONT",
        aim: Aim::Node,
        runtimes: &[RuntimeKind::Process],
        form: Form::Word(Inject::Pause),
    },
    FaultKind {
        name: "latency",
        help: "bytes on a link are held back",
        undo: "the link is as before",
        aim: Aim::Link,
        runtimes: EVERYWHERE,
        form: Form::Settings {
            keys: Latency::KEYS,
            read: |node, cx| Inject::Latency(Latency::read(node, cx)),
            schema: |generator| generator.subschema_for::<Latency>(),
        },
    },
    FaultKind {
        name: "down",
        help: "a link refuses connections and cuts those it has",
        undo: "the link accepts again",
        aim: Aim::Link,
        runtimes: EVERYWHERE,
        form: Form::Word(Inject::Down),
    },
];

impl FaultKind {
    /// Names of its settings; none for a bare word.
    #[must_use]
    pub fn settings(&self) -> &'static [&'static str] {
        match self.form {
            Form::Word(_) => &[],
            Form::Settings { keys, .. } => keys,
        }
    }
}

impl Inject {
    /// The kind it is of.
    #[must_use]
    pub fn kind(&self) -> &'static FaultKind {
        let name = match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Latency(_) => "latency",
            Self::Down => "down",
        };
        KINDS
            .iter()
            .find(|kind| kind.name == name)
            .unwrap_or(&KINDS[0])
    }
}

/// Reads `kill`, or `{ latency: { … } }`.
pub(crate) fn read(node: &Node, cx: &mut Reader) -> Option<Inject> {
    let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
    let find = |name: &str| KINDS.iter().find(|kind| kind.name == name);
    match &node.value {
        Value::Text(_) => {
            let word = cx.plain(node, "a fault")?;
            let Some(kind) = find(&word) else {
                cx.report(unknown_word(&word, "a fault", &names, node.span));
                return None;
            };
            match &kind.form {
                Form::Word(inject) => Some(inject.clone()),
                Form::Settings { keys, .. } => {
                    cx.report(
                        Diagnostic::error(node.span, format!("`{word}` needs settings"))
                            .help(format!("write {{ {word}: {{ {}: … }} }}", keys[0])),
                    );
                    None
                }
            }
        }
        Value::Map(entries) => {
            let [(key, value)] = entries.as_slice() else {
                cx.report(
                    Diagnostic::error(node.span, "a fault injects one thing")
                        .help("write one fault for each"),
                );
                return None;
            };
            let Some(kind) = find(&key.name) else {
                cx.report(unknown_word(&key.name, "a fault", &names, key.span));
                return None;
            };
            match &kind.form {
                Form::Word(_) => {
                    cx.report(
                        Diagnostic::error(key.span, format!("`{}` has no settings", kind.name))
                            .help(format!("write inject: {}", kind.name)),
                    );
                    None
                }
                Form::Settings { read, .. } => Some(read(value, cx)),
            }
        }
        _ => {
            let help = format!("one of {}", names.join(", "));
            cx.wrong_kind(node, "a fault", Some(&help));
            None
        }
    }
}

/// The schema of `inject`.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let each: Vec<_> = KINDS
        .iter()
        .map(|kind| match &kind.form {
            Form::Word(_) => json_schema!({ "const": kind.name, "description": kind.help }),
            Form::Settings { schema, .. } => json_schema!({
                "type": "object",
                "description": kind.help,
                "properties": { kind.name: schema(generator) },
                "required": [kind.name],
                "additionalProperties": false,
            }),
        })
        .collect();
    json_schema!({ "oneOf": each })
}
