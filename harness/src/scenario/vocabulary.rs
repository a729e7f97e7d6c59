//! Closed sets of words: one table each, read by the parser, the JSON Schema, `list` and the guide alike. Words with
//! settings of their own (kinds of faults) are not among them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::read::{Reader, Scalar};
use super::text::diagnostic::{Diagnostic, nearest};
use super::text::node::{Node, Value};
use super::text::source::Span;

/// A closed set of words, each with what it means.
pub trait Vocabulary: Copy + 'static {
    /// Name in the JSON Schema.
    const NAME: &'static str;
    /// What one is called in messages.
    const WHAT: &'static str;
    /// All of them: word, meaning, value.
    const ALL: &'static [(&'static str, &'static str, Self)];
    /// Words that the format has and this version does not know yet.
    const LATER: &'static [&'static str] = &[];

    /// What goes by a word.
    #[must_use]
    fn find(text: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(word, ..)| *word == text)
            .map(|(.., value)| *value)
    }

    /// Every word.
    #[must_use]
    fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(|(word, ..)| *word).collect()
    }
}

impl<T: Vocabulary> Scalar for T {
    const NAME: &'static str = <T as Vocabulary>::NAME;

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let what = T::WHAT.trim_start_matches("a ");
        if let Value::Text(text) = &node.value
            && T::LATER.contains(&text.as_str())
        {
            let words: Vec<_> = T::words().iter().map(|word| format!("`{word}`")).collect();
            cx.report(
                Diagnostic::error(node.span, format!("{what} `{text}` is not supported yet"))
                    .help(format!("use {}", words.join(" or "))),
            );
            return None;
        }
        let text = cx.plain(node, T::WHAT)?;
        let found = T::find(&text);
        if found.is_none() {
            cx.report(unknown_word(&text, T::WHAT, &T::words(), node.span));
        }
        found
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let each: Vec<_> = T::ALL
            .iter()
            .map(|(word, help, _)| serde_json::json!({ "const": word, "description": help }))
            .collect();
        json_schema!({ "oneOf": each })
    }
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

/// Defines a closed set of words: each variant with its meaning and its word, which records use as well.
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        $type:ident ($name:literal, $what:literal $(, later: $later:expr)?) {
            $( #[doc = $help:literal] $(#[$variant_meta:meta])* $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $type {
            $( #[doc = $help] #[serde(rename = $word)] $(#[$variant_meta])* $variant ),+
        }

        impl $type {
            /// Its word in a scenario.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $( Self::$variant => $word ),+
                }
            }
        }

        impl Vocabulary for $type {
            const NAME: &'static str = $name;
            const WHAT: &'static str = $what;
            const ALL: &'static [(&'static str, &'static str, Self)] =
                &[$(($word, $help.trim_ascii(), Self::$variant)),+];
            $( const LATER: &'static [&'static str] = $later; )?
        }
    };
}

vocabulary! {
    /// Where nodes run.
    #[derive(Default)]
    RuntimeKind("Runtime", "a runtime", later: &["container", "external", "simulated"]) {
        /// Tasks of the harness's own process.
        Embedded = "embedded",
        /// Child processes.
        #[default]
        Process = "process",
    }
}

vocabulary! {
    /// What it means that a node ends although neither the scenario nor the harness ended it.
    #[derive(Default)]
    ExitRule("ExitRule", "a rule for exits") {
        /// A node that ends by itself fails the run.
        #[default]
        Fail = "fail",
        /// The node may end by itself, with any exit code.
        Allowed = "allowed",
    }
}

vocabulary! {
    /// How arrivals are spaced.
    #[derive(Default)]
    Shape("Shape", "a shape") {
        /// Evenly spaced.
        #[default]
        Even = "even",
        /// At random, as independent users arrive.
        Poisson = "poisson",
    }
}

vocabulary! {
    /// A moment in the life of a fault.
    Moment("Moment", "a moment") {
        /// Injected: it is in place.
        Start = "start",
        /// It is undone, and the undo is proved.
        End = "end",
        /// The steady state has held for a whole window since its end.
        Recovered = "recovered",
    }
}

vocabulary! {
    /// Direction on a link, seen from the caller.
    #[derive(Default)]
    Direction("Direction", "a direction") {
        /// Answers: from the node back to the caller.
        #[default]
        Downstream = "downstream",
        /// Requests: from the caller to the node.
        Upstream = "upstream",
        /// Both.
        Both = "both",
    }
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

vocabulary! {
    /// What must be true of accepted work.
    LedgerCheck("LedgerCheck", "a ledger check") {
        /// Nothing that was accepted is unknown to the system.
        NoLost = "no_lost",
        /// Nothing was done twice.
        NoDuplicate = "no_duplicate",
        /// Everything accepted has finished, and none of it failed.
        AllTerminal = "all_terminal",
        /// Every result can be decoded.
        AllPlayable = "all_playable",
    }
}

vocabulary! {
    /// Report files.
    Format("Format", "a report format") {
        /// report.html: one self-contained page with charts.
        Html = "html",
        /// report.json: the verdict for programs.
        Json = "json",
        /// junit.xml: for CI.
        Junit = "junit",
        /// summary.md: for pull requests and summaries of CI runs.
        Markdown = "markdown",
    }
}

vocabulary! {
    /// The word that enters work in the ledger.
    LedgerWord("LedgerWord", "a ledger word") {
        /// The first capture is accepted work.
        Accepted = "accepted",
    }
}
