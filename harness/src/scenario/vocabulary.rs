//! Closed sets of words: one table each, read by the parser, the JSON Schema, `list` and the guide alike.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, nearest};
use super::node::{Node, Value};
use super::read::{Reader, Scalar};
use super::source::Span;

/// Where nodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuntimeKind {
    /// Tasks of this process.
    Embedded,
    /// Child processes.
    #[default]
    Process,
}

/// What it means that a node ends although neither the scenario nor the harness ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitRule {
    /// The run has failed.
    #[default]
    Fail,
    /// Nothing.
    Allowed,
}

/// How arrivals are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Evenly.
    #[default]
    Even,
    /// At random, as independent users do.
    Poisson,
}

/// A moment in the life of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Injected.
    Start,
    /// Undone, the undo proved.
    End,
    /// First full steady window after its end has begun and held.
    Recovered,
}

/// Direction on a link, seen from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Answers: from the node back to the caller.
    #[default]
    Downstream,
    /// Requests: from the caller to the node.
    Upstream,
    /// Both.
    Both,
}

impl Direction {
    /// Whether what flows in `other`, which is one direction, flows in this one.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }

    /// As a note behind what happens in it; nothing for the default.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Self::Downstream => "",
            Self::Upstream => " upstream",
            Self::Both => " both ways",
        }
    }
}

/// What must be true of accepted work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerCheck {
    /// Nothing accepted is unknown to the system.
    NoLost,
    /// Nothing was done twice: one id per accepted request, no two results of one rank.
    NoDuplicate,
    /// Everything is in a terminal state, and none failed.
    AllTerminal,
    /// Every result can be decoded.
    AllPlayable,
}

/// Report files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `report.html`.
    Html,
    /// `report.json`.
    Json,
    /// `junit.xml`.
    Junit,
    /// `summary.md`.
    Markdown,
}

/// The word that enters work in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerWord {
    /// The first capture is the id of accepted work.
    Accepted,
}

/// A closed set of words, each with what it means.
pub trait Vocabulary: Copy + 'static {
    /// What one is called in messages.
    const WHAT: &'static str;
    /// All of them.
    const ALL: &'static [(&'static str, &'static str, Self)];
}

/// Reads one of a closed set of words.
fn read_word<T: Vocabulary>(node: &Node, cx: &mut Reader) -> Option<T> {
    let text = cx.plain(node, T::WHAT)?;
    if let Some((.., value)) = T::ALL.iter().find(|(word, ..)| *word == text) {
        return Some(*value);
    }
    let words: Vec<_> = T::ALL.iter().map(|(word, ..)| *word).collect();
    cx.report(unknown_word(&text, T::WHAT, &words, node.span));
    None
}

/// Reports a word that is none of those known.
pub(crate) fn unknown_word(text: &str, what: &str, words: &[&str], span: Span) -> Diagnostic {
    let what = what.trim_start_matches("a ").trim_start_matches("an ");
    Diagnostic::error(span, format!("unknown {what} `{text}`")).help(
        match nearest(text, words.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known: {}", words.join(", ")),
        },
    )
}

macro_rules! vocabulary {
    ($type:ty, $name:literal, $what:literal, [ $(($word:literal, $help:literal, $value:expr)),* $(,)? ]) => {
        impl Vocabulary for $type {
            const WHAT: &'static str = $what;
            const ALL: &'static [(&'static str, &'static str, Self)] = &[$(($word, $help, $value)),*];
        }

        impl Scalar for $type {
            const NAME: &'static str = $name;

            fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
                read_word(node, cx)
            }

            fn stand_in() -> Self {
                Self::ALL[0].2
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                let each: Vec<_> = Self::ALL
                    .iter()
                    .map(|(word, help, _)| serde_json::json!({ "const": word, "description": help }))
                    .collect();
                json_schema!({ "oneOf": each })
            }
        }
    };
}

vocabulary!(
    Shape,
    "Shape",
    "a shape",
    [
        ("even", "Evenly spaced.", Shape::Even),
        (
            "poisson",
            "At random, as independent users arrive.",
            Shape::Poisson
        ),
    ]
);
vocabulary!(
    ExitRule,
    "ExitRule",
    "a rule for exits",
    [
        (
            "fail",
            "A node that ends by itself fails the run.",
            ExitRule::Fail
        ),
        (
            "allowed",
            "The node may end by itself, with any exit code.",
            ExitRule::Allowed
        ),
    ]
);
vocabulary!(
    Direction,
    "Direction",
    "a direction",
    [
        (
            "downstream",
            "Answers: from the node back to the caller.",
            Direction::Downstream
        ),
        (
            "upstream",
            "Requests: from the caller to the node.",
            Direction::Upstream
        ),
        ("both", "Both.", Direction::Both),
    ]
);
vocabulary!(
    Format,
    "Format",
    "a report format",
    [
        (
            "html",
            "report.html: one self-contained page with charts.",
            Format::Html
        ),
        (
            "json",
            "report.json: the verdict for programs.",
            Format::Json
        ),
        ("junit", "junit.xml: for CI.", Format::Junit),
        (
            "markdown",
            "summary.md: for pull requests and summaries of CI runs.",
            Format::Markdown
        ),
    ]
);
vocabulary!(
    LedgerCheck,
    "LedgerCheck",
    "a ledger check",
    [
        (
            "no_lost",
            "Nothing that was accepted is unknown to the system.",
            LedgerCheck::NoLost
        ),
        (
            "no_duplicate",
            "Nothing was done twice.",
            LedgerCheck::NoDuplicate
        ),
        (
            "all_terminal",
            "Everything accepted has finished, and none of it failed.",
            LedgerCheck::AllTerminal
        ),
        (
            "all_playable",
            "Every result can be decoded.",
            LedgerCheck::AllPlayable
        ),
    ]
);

vocabulary!(
    LedgerWord,
    "LedgerWord",
    "a ledger word",
    [(
        "accepted",
        "The first capture is accepted work.",
        LedgerWord::Accepted
    ),]
);

impl Vocabulary for RuntimeKind {
    const WHAT: &'static str = "a runtime";
    const ALL: &'static [(&'static str, &'static str, Self)] = &[
        (
            "embedded",
            "Tasks of the harness's own process.",
            RuntimeKind::Embedded,
        ),
        ("process", "Child processes.", RuntimeKind::Process),
    ];
}

impl Scalar for RuntimeKind {
    const NAME: &'static str = "Runtime";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        if let Value::Text(text) = &node.value
            && matches!(text.as_str(), "container" | "external" | "simulated")
        {
            cx.report(
                Diagnostic::error(node.span, format!("runtime `{text}` is not supported yet"))
                    .help("use `process` or `embedded`"),
            );
            return None;
        }
        read_word(node, cx)
    }

    fn stand_in() -> Self {
        Self::Process
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let each: Vec<_> = Self::ALL
            .iter()
            .map(|(word, help, _)| serde_json::json!({ "const": word, "description": help }))
            .collect();
        json_schema!({ "oneOf": each })
    }
}
