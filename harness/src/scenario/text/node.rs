//! YAML as a tree in which every value knows its place. Nothing here knows what a scenario is.
//!
//! serde stops at its first error, and a scenario's author shall see all of them; so the text is parsed into this tree
//! once, and [`super::read`] walks it gathering problems.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Spanned, options::DuplicateKeyPolicy};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{Source, Span};

/// Deep enough for any scenario, shallow enough for any stack.
const DEEPEST: usize = 48;

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The value.
    pub(crate) value: Value,
    /// Where it stands.
    pub(crate) span: Span,
}

/// What YAML can say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// `[…]` or lines with `-`.
    List(Vec<Node>),
    /// `{…}` or lines with `:`; keys in the order written, repeated ones kept.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Its text.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) span: Span,
}

impl Node {
    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// This with the entries of another put into it: mappings are joined key by key, everything else is replaced.
    pub(crate) fn merged(&self, over: &Self) -> Self {
        let (Value::Map(own), Value::Map(others)) = (&self.value, &over.value) else {
            return over.clone();
        };
        let mut joined = own.clone();
        for (key, value) in others {
            match joined.iter_mut().find(|(own, _)| own.name == key.name) {
                Some((_, own)) => *own = own.merged(value),
                None => joined.push((key.clone(), value.clone())),
            }
        }
        Self {
            value: Value::Map(joined),
            span: over.span,
        }
    }

    /// As JSON, places left aside.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::Text(value) => value.clone().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.name.clone(), value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Parses a source.
///
/// # Errors
/// The syntax error, as the only problem: after it nothing can be known of the rest.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Node, Diagnostics> {
    let failed = |diagnostic| {
        let mut problems = Diagnostics::new(source.clone());
        problems.push(diagnostic);
        Err(problems)
    };
    // Aliases may repeat a block, not multiply it.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: true,
        emit_comments: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 8,
        },
    };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(&source.text, options) {
        Ok(Some(raw)) => Ok(place(raw, &source.text)),
        Ok(None) => failed(
            Diagnostic::general(format!("{} is empty", source.name)).help(
                "start with `version: 1`, or let `clip-harness new NAME` write a first scenario",
            ),
        ),
        Err(error) => {
            let error = error.without_snippet();
            let start = error.location().and_then(|place| byte_of(source, &place));
            let (message, help) = explain(error, start.map(|start| source.line(start).0));
            let diagnostic = match start {
                Some(start) => Diagnostic::error(one_character(source, start), message),
                None => Diagnostic::general(message),
            };
            failed(diagnostic.help(help))
        }
    }
}

/// The parser's message in the words of someone who writes scenarios, and a remedy.
fn explain(error: &serde_saphyr::Error, line: Option<&str>) -> (String, &'static str) {
    let text = error.render();
    // The place is said by the frame around the line.
    let text = text.split(" at line ").next().unwrap_or_default();
    let text = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    let says = |part: &str| text.contains(part);
    if matches!(error, serde_saphyr::Error::MultipleDocuments { .. }) {
        return (
            "a second document begins here".to_owned(),
            "a file is one scenario; put this one into a file of its own",
        );
    }
    if says("recursion limit") || says("Depth {") {
        return (
            format!("nested more than {DEEPEST} deep"),
            "a scenario is a handful of levels deep",
        );
    }
    if says("replay limit") || says("budget breached") {
        return (
            "the text becomes too large when it is expanded".to_owned(),
            "use fewer aliases",
        );
    }
    if says("did not find expected key") && says("block mapping") {
        return (
            "this line is not a key of the mapping above".to_owned(),
            "check the indentation: the keys of one mapping begin in the same column",
        );
    }
    if says("tabs disallowed") {
        return ("a tab cannot indent".to_owned(), "indent with spaces");
    }
    let help = match line {
        _ if says("found a tab") => "indent with spaces",
        Some(line) if line.contains("${") => {
            "write $(name): braces have a meaning of their own in YAML"
        }
        Some(line) if line.contains('\t') => "indent with spaces",
        _ if says("flow") => "inside { } and [ ], quote texts that hold braces, brackets or commas",
        _ => {
            "this is where the text stops being YAML; look for a missing quote, bracket or colon before it"
        }
    };
    (text.to_owned(), help)
}

/// Byte of a location; syntax errors know line and column only.
fn byte_of(source: &Source, place: &serde_saphyr::Location) -> Option<usize> {
    let line = usize::try_from(place.line()).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column()).ok()?.saturating_sub(1);
    let line_start: usize = source
        .text
        .split_inclusive('\n')
        .take(line)
        .map(str::len)
        .sum();
    let rest = source.text.get(line_start..)?;
    let within: usize = rest.chars().take(column).map(char::len_utf8).sum();
    Some(line_start + within)
}

fn one_character(source: &Source, start: usize) -> Span {
    let len = source.text[start..]
        .chars()
        .next()
        .map_or(0, char::len_utf8);
    Span::new(start..start + len)
}

/// As it comes from the parser.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(serde_json::Number::from_f64(value)
            .map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn place(raw: Spanned<Raw>, text: &str) -> Node {
    let start = start_of(&raw.defined, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Number(value) => Value::Number(value),
        Raw::Text(value) => Value::Text(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let start = start_of(&key.defined, text);
                    let key = Key {
                        span: Span::new(start..scalar_end(text, start, &key.defined, true)),
                        name: key.value,
                    };
                    (key, place(value, text))
                })
                .collect(),
        ),
    };
    let end = match &value {
        Value::Null => start,
        Value::List(items) => items.last().map_or(start + 1, |last| last.span.end),
        // A block mapping is pointed at by its first key: the whole of it would be many lines.
        Value::Map(entries) => entries.first().map_or(start + 1, |(key, _)| key.span.end),
        _ => scalar_end(text, start, &raw.defined, false),
    };
    Node {
        value,
        span: Span::new(start..end.max(start)),
    }
}

fn start_of(place: &serde_saphyr::Location, text: &str) -> usize {
    place
        .span()
        .byte_offset()
        .and_then(|byte| usize::try_from(byte).ok())
        .filter(|byte| text.is_char_boundary(*byte))
        .unwrap_or(0)
}

/// Where a scalar ends: by the parser's word, on its first line, white space behind it left aside.
fn scalar_end(text: &str, start: usize, place: &serde_saphyr::Location, key: bool) -> usize {
    let length = place
        .span()
        .byte_len()
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(0);
    let end = (start + length).min(text.len());
    let Some(slice) = text.get(start..end) else {
        return start;
    };
    let slice = slice.lines().next().unwrap_or_default().trim_end();
    let slice = if key {
        slice.trim_end_matches(':').trim_end()
    } else {
        slice
    };
    start + slice.len()
}
