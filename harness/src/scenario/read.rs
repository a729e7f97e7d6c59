//! Walks the tree and gathers problems: the machinery by which [`super::model`] is read.
//!
//! Reading never stops. A value that cannot be understood is reported and stays unknown ([`Written`]), so that the rest of
//! the file is still looked at.

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::text::diagnostic::{Diagnostic, nearest};
use super::text::node::{Key, Node, Value};
use super::text::source::{Source, Span};
use super::text::spanned::Written;

/// Gathers problems while a tree is read.
#[derive(Debug)]
pub struct Reader {
    pub(crate) source: Arc<Source>,
    pub(crate) problems: Vec<Diagnostic>,
    /// Names of the scenario's variables, for suggestions.
    pub(crate) vars: Vec<String>,
    /// Whether something is only tried out: its problems are not shown.
    pub(super) trial: bool,
}

/// A value that is written as one scalar.
pub(crate) trait Scalar: Sized {
    /// Name in the JSON Schema.
    const NAME: &'static str;
    /// Reads it; problems go to the reader.
    fn read(node: &Node, cx: &mut Reader) -> Option<Self>;
    /// Its JSON Schema.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Anything that can be read.
pub(crate) trait Read: Sized {
    /// Reads it; problems go to the reader.
    fn read(node: &Node, cx: &mut Reader) -> Self;
    /// What is known of it where it is missing although it must be there: nothing.
    fn missing(span: Span) -> Self;
    /// What an absent key means; `None` when it must be there.
    fn absent() -> Option<Self> {
        None
    }
    /// Whether a node is of a kind that it can be read from. What is not reads as nothing at all, and that must not be
    /// taken for an empty list.
    fn fits(_: &Node) -> bool {
        true
    }
}

impl<T: Scalar> Read for Written<T> {
    fn read(node: &Node, cx: &mut Reader) -> Self {
        Self::new(T::read(node, cx), node.span)
    }

    fn missing(span: Span) -> Self {
        Self::new(None, span)
    }
}

impl<T: Scalar> JsonSchema for Written<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node, cx: &mut Reader) -> Self {
        match node.value {
            Value::Null => None,
            _ => Some(T::read(node, cx)),
        }
    }

    fn missing(_: Span) -> Self {
        None
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, cx: &mut Reader) -> Self {
        match &node.value {
            Value::List(items) => items.iter().map(|item| T::read(item, cx)).collect(),
            Value::Null => Vec::new(),
            _ => {
                let help = cx.as_list(node);
                cx.wrong_kind(node, "a list", Some(&help));
                Vec::new()
            }
        }
    }

    fn missing(_: Span) -> Self {
        Vec::new()
    }

    fn fits(node: &Node) -> bool {
        matches!(node.value, Value::List(_) | Value::Null)
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl Reader {
    /// Nothing found yet.
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            vars: Vec::new(),
            trial: false,
        }
    }

    /// Reports.
    pub(crate) fn report(&mut self, problem: Diagnostic) {
        self.problems.push(problem);
    }

    /// Reports a value of the wrong kind.
    pub(crate) fn wrong_kind(&mut self, node: &Node, expected: &str, help: Option<&str>) {
        let problem = Diagnostic::error(
            node.span,
            format!("expected {expected}, found {}", node.kind()),
        );
        self.report(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    /// The entries of a mapping.
    pub(crate) fn mapping<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(&[]),
            Value::List(items) => {
                let help = match items.as_slice() {
                    [
                        Node {
                            value: Value::Map(_),
                            ..
                        },
                    ] => "leave the brackets or the `-` out",
                    _ => "write `key: value` pairs",
                };
                self.wrong_kind(node, "a mapping", Some(help));
                None
            }
            _ => {
                self.wrong_kind(node, "a mapping", Some("write `key: value` pairs"));
                None
            }
        }
    }

    /// Entries without those whose key came before; they are reported.
    pub(crate) fn unique<'n>(&mut self, entries: &'n [(Key, Node)]) -> Vec<(&'n Key, &'n Node)> {
        let mut kept: Vec<(&Key, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match kept.iter().find(|(earlier, _)| earlier.name == key.name) {
                Some((earlier, _)) => {
                    let (line, _) = self.source.line_column(earlier.span.start);
                    self.report(
                        Diagnostic::error(key.span, format!("`{}` is given twice", key.name))
                            .help(format!("the first is on line {line}; keep one")),
                    );
                }
                None => kept.push((key, value)),
            }
        }
        kept
    }

    /// The entries of a mapping with a closed set of keys. A misspelt key is reported and read as the one it was
    /// meant for.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        keys: &'static [&'static str],
        meant: impl FnOnce(&Node, &Self) -> Option<String>,
    ) -> Fields<'n> {
        let scalar = matches!(
            node.value,
            Value::Text(_) | Value::Number(_) | Value::Bool(_)
        );
        let entries = match scalar && !self.trial {
            true => {
                let help = match meant(node, self) {
                    Some(meant) => format!("write {meant}"),
                    None => "write `key: value` pairs".to_owned(),
                };
                self.wrong_kind(node, "a mapping", Some(&help));
                None
            }
            false => self.mapping(node),
        };
        let Some(entries) = entries else {
            return Fields {
                entries: Vec::new(),
                span: node.span,
                complete: false,
            };
        };
        let entries = self.unique(entries);
        let mut known: Vec<(&'static str, Span, &'n Node)> = Vec::new();
        let mut unknown = Vec::new();
        for (key, value) in entries {
            match keys.iter().find(|known| **known == key.name) {
                Some(name) => known.push((name, key.span, value)),
                None => unknown.push((key, value)),
            }
        }
        let mut complete = true;
        for (key, value) in unknown {
            let problem = Diagnostic::error(key.span, format!("unknown key `{}`", key.name));
            self.report(match nearest(&key.name, keys.iter().copied()) {
                Some(meant) => {
                    if !known.iter().any(|(name, ..)| *name == meant)
                        && let Some(name) = keys.iter().find(|known| **known == meant)
                    {
                        known.push((name, key.span, value));
                    }
                    problem.help(format!("did you mean `{meant}`?"))
                }
                None => {
                    complete = false;
                    problem.help(match keys {
                        [] => "there are no settings here yet: write {}".to_owned(),
                        keys => format!("known here: {}", keys.join(", ")),
                    })
                }
            });
        }
        Fields {
            entries: known,
            span: node.span,
            complete,
        }
    }

    /// A text without anything left to fill in.
    pub(crate) fn plain(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            // What was written counts: `1.0` shall stay `1.0`.
            Value::Number(_) | Value::Bool(_) => {
                let written = self.source.slice(node.span);
                if written.is_empty() || written.contains("$(") {
                    node.to_json().to_string()
                } else {
                    written.to_owned()
                }
            }
            Value::Null => {
                self.wrong_kind(
                    node,
                    what,
                    Some("write a value, in quotes where it is a text like ~ or null"),
                );
                return None;
            }
            _ => {
                self.wrong_kind(node, what, None);
                return None;
            }
        };
        if let Some(open) = text.find("$(") {
            let name = text[open + 2..]
                .split(')')
                .next()
                .unwrap_or_default()
                .trim();
            let span = self.call_in(node.span, name);
            self.report(self.unknown_variable(name, None, span));
            return None;
        }
        Some(text)
    }
}

/// The entries of a mapping with a closed set of keys.
pub(crate) struct Fields<'n> {
    entries: Vec<(&'static str, Span, &'n Node)>,
    span: Span,
    complete: bool,
}

impl<'n> Fields<'n> {
    /// The node of a key.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(name, ..)| *name == key)
            .map(|(.., node)| *node)
    }

    /// Where the mapping stands.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// Whether every key was understood, so that what is absent was left out.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }

    /// Whether the value of a key, if it is there, is of the kind that belongs there.
    pub(crate) fn fits<T: Read>(&self, key: &str) -> bool {
        self.node(key).is_none_or(T::fits)
    }

    /// Reads the value of a key.
    pub(crate) fn take<T: Read>(&self, key: &str, cx: &mut Reader) -> T {
        if let Some(node) = self.node(key) {
            return T::read(node, cx);
        }
        T::absent().unwrap_or_else(|| {
            if self.complete {
                cx.report(
                    Diagnostic::error(self.span, format!("`{key}` is missing"))
                        .help(format!("add `{key}:` here")),
                );
            }
            T::missing(self.span)
        })
    }
}
