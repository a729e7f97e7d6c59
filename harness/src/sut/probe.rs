//! Named probes: what a system tells of itself beyond its answers, for expectations to name.
//!
//! A probe is written `name(node) …` in an expectation. Its row here says what may stand in the brackets and in which form
//! it is compared; the grammar, the checks, the conductor and the judge go by the row and name no probe. A new one is a
//! row in the table of its system, and where it is a ratio, its reading in [`super::acting::Acting::counts`].

use clip_service::observe::Subject;

/// One probe.
#[derive(Debug)]
pub struct Probe {
    /// Its name in expectations.
    pub name: &'static str,
    /// What stands in the brackets.
    pub argument: Argument,
    /// How it is compared.
    pub form: Form,
    /// One that is written out.
    pub example: &'static str,
    /// When it holds, for lists.
    pub help: &'static str,
    /// A term that readers of a report may not know, with its meaning.
    pub term: Option<(&'static str, &'static str)>,
}

/// What stands in the brackets: a node.
#[derive(Debug)]
pub struct Argument {
    /// In its place in lists: `NODE`.
    pub placeholder: &'static str,
    /// In messages, with its article: `an instance`.
    pub noun: &'static str,
    /// The role that the node must have; any node where there is none.
    pub role: Option<&'static str>,
}

/// How a probe is compared.
#[derive(Debug)]
pub enum Form {
    /// `opened within 2s`: the system reports a change of state soon enough after a fault's start or end.
    Change {
        /// What changes, with its article: `a breaker`.
        thing: &'static str,
        /// What the system's notices of it are about; their name is the node in the brackets.
        subject: Subject,
        /// The changes there are.
        changes: &'static [Change],
    },
    /// `<= 1.2`: so much of one thing was counted for each of another.
    Ratio(RatioUnit),
}

/// What the numbers of a ratio are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatioUnit {
    /// `tries per call`.
    pub name: &'static str,
    /// What is counted.
    pub counted: Noun,
    /// For each of what.
    pub per: Noun,
}

/// A thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noun {
    /// `try`
    pub one: &'static str,
    /// `tries`
    pub many: &'static str,
}

impl Noun {
    /// The form for so many.
    #[must_use]
    pub fn of(self, n: u64) -> &'static str {
        if n == 1 { self.one } else { self.many }
    }
}

/// One change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// In an expectation: `opened`.
    pub word: &'static str,
    /// The state in the system's notices: `open`.
    pub state: &'static str,
    /// What its time is counted from.
    pub since: FaultEdge,
}

/// A border of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultEdge {
    /// Its start. The change is looked for from then on.
    Start,
    /// Its end. A change before that counts as well, if nothing undid it until then.
    End,
}

impl Probe {
    /// As lists show it: the example with a placeholder in its brackets.
    #[must_use]
    pub fn shape(&self) -> String {
        let rest = self.example.split_once(')').map_or("", |(_, rest)| rest);
        format!("{}({}){rest}", self.name, self.argument.placeholder)
    }
}
