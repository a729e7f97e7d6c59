//! The closed table of fault kinds: read by the parser, the JSON Schema, `list faults`, the planner and the docs alike.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::capability::Capability;
use super::diagnostic::Diagnostic;
use super::model::{Inject, Latency, Restart, RollingRestart, Slow, StatusAnswer};
use super::node::{Node, Value};
use super::read::{Read as _, Reader};
use super::vocabulary::unknown_word;

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A node.
    Node,
    /// A link.
    Link,
}

impl TargetKind {
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
enum Syntax {
    /// A bare word.
    Word(Inject),
    /// `word: { settings }`.
    Settings {
        keys: &'static [&'static str],
        read: fn(&Node, &mut Reader) -> Inject,
        schema: fn(&mut SchemaGenerator) -> Schema,
        /// What the bare word means, where no setting has to be there.
        bare: Option<fn() -> Inject>,
    },
}

/// What `for` means to a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationRule {
    /// It lasts so long.
    Needed,
    /// It ends by itself, and not before.
    Least,
    /// It ends by itself.
    None,
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
    pub target: TargetKind,
    /// What a node that it hits must be able to do.
    pub needs: &'static [Capability],
    /// What `for` means to it.
    pub duration: DurationRule,
    syntax: Syntax,
}

impl std::fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FaultKind").field(&self.name).finish()
    }
}

/// All kinds.
pub const KINDS: &[FaultKind] = &[
    FaultKind {
        name: "kill",
        help: "SIGKILL to a node's process group; in the embedded runtime its tasks are aborted",
        undo: "started again, ready",
        target: TargetKind::Node,
        needs: &[],
        duration: DurationRule::Needed,
        syntax: Syntax::Word(Inject::Kill),
    },
    FaultKind {
        name: "pause",
        help: "SIGSTOP to a node's process group: it keeps its connections and answers nothing",
        undo: "SIGCONT",
        target: TargetKind::Node,
        needs: &[Capability::Pause],
        duration: DurationRule::Needed,
        syntax: Syntax::Word(Inject::Pause),
    },
    FaultKind {
        name: "latency",
        help: "bytes on a link are held back",
        undo: "the link is as before",
        target: TargetKind::Link,
        needs: &[],
        duration: DurationRule::Needed,
        syntax: Syntax::Settings {
            keys: Latency::KEYS,
            read: |node, cx| Inject::Latency(Latency::read(node, cx)),
            schema: |generator| generator.subschema_for::<Latency>(),
            bare: None,
        },
    },
    FaultKind {
        name: "down",
        help: "a link refuses connections and cuts those it has",
        undo: "the link accepts again",
        target: TargetKind::Link,
        needs: &[],
        duration: DurationRule::Needed,
        syntax: Syntax::Word(Inject::Down),
    },
    FaultKind {
        name: "status",
        help: "a link answers requests itself with an HTTP status; the node does not see them",
        undo: "the link passes every request",
        target: TargetKind::Link,
        needs: &[],
        duration: DurationRule::Needed,
        syntax: Syntax::Settings {
            keys: StatusAnswer::KEYS,
            read: |node, cx| Inject::Status(StatusAnswer::read(node, cx)),
            schema: |generator| generator.subschema_for::<StatusAnswer>(),
            bare: None,
        },
    },
    FaultKind {
        name: "slow",
        help: "every answer of a node takes a multiple of its time, held back on all links into it",
        undo: "the links are as before",
        target: TargetKind::Node,
        needs: &[],
        duration: DurationRule::Needed,
        syntax: Syntax::Settings {
            keys: Slow::KEYS,
            read: |node, cx| Inject::Slow(Slow::read(node, cx)),
            schema: |generator| generator.subschema_for::<Slow>(),
            bare: None,
        },
    },
    FaultKind {
        name: "restart",
        help: "SIGTERM to a node, which ends when it has drained",
        undo: "started again, ready",
        target: TargetKind::Node,
        needs: &[],
        duration: DurationRule::Least,
        syntax: Syntax::Settings {
            keys: Restart::KEYS,
            read: |node, cx| Inject::Restart(Restart::read(node, cx)),
            schema: |generator| generator.subschema_for::<Restart>(),
            bare: Some(|| Inject::Restart(Restart::stand_in())),
        },
    },
    FaultKind {
        name: "rolling-restart",
        help: "restart of one node after the other, each when the one before is ready",
        undo: "each started again, ready",
        target: TargetKind::Node,
        needs: &[],
        duration: DurationRule::None,
        syntax: Syntax::Settings {
            keys: RollingRestart::KEYS,
            read: |node, cx| Inject::RollingRestart(RollingRestart::read(node, cx)),
            schema: |generator| generator.subschema_for::<RollingRestart>(),
            bare: Some(|| Inject::RollingRestart(RollingRestart::stand_in())),
        },
    },
];

impl FaultKind {
    /// Names of its settings; none for a bare word.
    #[must_use]
    pub fn settings(&self) -> &'static [&'static str] {
        match self.syntax {
            Syntax::Word(_) => &[],
            Syntax::Settings { keys, .. } => keys,
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
            Self::Status(_) => "status",
            Self::Slow(_) => "slow",
            Self::Restart(_) => "restart",
            Self::RollingRestart(_) => "rolling-restart",
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
            match &kind.syntax {
                Syntax::Word(inject) => Some(inject.clone()),
                Syntax::Settings {
                    bare: Some(bare), ..
                } => Some(bare()),
                Syntax::Settings { keys, .. } => {
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
                    Diagnostic::error(node.span, "a fault injects exactly one thing")
                        .help("write one fault for each"),
                );
                return None;
            };
            let Some(kind) = find(&key.name) else {
                cx.report(unknown_word(&key.name, "a fault", &names, key.span));
                return None;
            };
            match &kind.syntax {
                Syntax::Word(_) => {
                    cx.report(
                        Diagnostic::error(key.span, format!("`{}` has no settings", kind.name))
                            .help(format!("write inject: {}", kind.name)),
                    );
                    None
                }
                Syntax::Settings { read, .. } => Some(read(value, cx)),
            }
        }
        _ => {
            let help = format!("known: {}", names.join(", "));
            cx.wrong_kind(node, "a fault", Some(&help));
            None
        }
    }
}

/// The schema of `inject`.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    let each: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| {
            let word = || json_schema!({ "const": kind.name, "description": kind.help });
            match &kind.syntax {
                Syntax::Word(_) => vec![word()],
                Syntax::Settings { schema, bare, .. } => {
                    let settings = json_schema!({
                        "type": "object",
                        "description": kind.help,
                        "properties": { kind.name: schema(generator) },
                        "required": [kind.name],
                        "additionalProperties": false,
                    });
                    bare.map(|_| word()).into_iter().chain([settings]).collect()
                }
            }
        })
        .collect();
    json_schema!({ "oneOf": each })
}
