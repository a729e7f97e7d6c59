//! An expectation as a report shows it: what was expected, what was found, and why it does not hold. Numbers and ids; the
//! sentences are [`crate::report::prose`]'s.

use std::time::Duration;

use super::{Moment, Recovery, Request, Stretch};
use crate::judge::{Gap, RowOutcome, Status};
use crate::plan::LedgerCheck;
use crate::printable::Text;
use crate::scenario::expr::Metric;
use crate::series::{Missing, Reading};
use crate::sut::probe::RatioUnit;

/// When something must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Before the first fault.
    Steady,
    /// Over the whole of the load.
    Always,
    /// While a fault is in place.
    During(Text),
    /// During a named stage of a load.
    Stage(Text),
    /// After a fault.
    Recover(Text),
    /// When load has ended.
    End,
}

/// An expectation in a scope.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// What it is called.
    pub id: Text,
    /// When it must hold.
    pub scope: Scope,
    /// What must hold, in the author's words.
    pub text: Text,
    /// What it measures, where it measures requests.
    pub metric: Option<Metric>,
    /// Whether it must not hold.
    pub must_fail: bool,
    /// What came of it.
    pub outcome: RowOutcome,
    /// What was found.
    pub found: Found,
    /// Why it does not hold.
    pub evidence: Vec<Evidence>,
    /// Time over which it was looked at; zero when there was nothing to look at.
    pub took: Duration,
}

impl Expectation {
    /// Pass, inconclusive or fail.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.status()
    }
}

/// What was found about an expectation.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A number.
    Measure(Measured),
    /// A change of state that the system reported.
    Change {
        /// Which way, in the author's word.
        word: Text,
        /// Allowed time.
        within: Duration,
        /// Time it took; `None` for never.
        after: Option<Duration>,
        /// Node that reports it.
        source: Option<Text>,
        /// Why it changed.
        reason: Option<Text>,
    },
    /// How much a node counted of one thing for each of another.
    Ratio {
        /// So much for each; `None` when the counts do not say.
        observed: Option<f64>,
        /// Allowed.
        limit: f64,
        /// What was counted.
        counted: u64,
        /// For so many of the other.
        per: u64,
        /// What the numbers are of.
        unit: RatioUnit,
        /// The stretch.
        stretch: Stretch,
        /// Why there is no answer.
        missing: Option<Text>,
    },
    /// How long the system took to be steady again.
    Recovery {
        /// Allowed time.
        within: Duration,
        /// What happened.
        recovery: Recovery,
    },
    /// Accepted work, counted.
    Ledger {
        /// Which rule.
        check: LedgerCheck,
        /// Definitely accepted.
        accepted: u64,
        /// Those that break the rule.
        bad: u64,
        /// Those that could not be looked at.
        unverified: u64,
        /// Results that were looked at, where the rule is about results.
        results: Option<u64>,
    },
    /// There was nothing to look at.
    Nothing(Gap),
}

/// A measured number and its limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The number, in the worst window; `None` when the data does not say.
    pub observed: Option<Reading>,
    /// The limit.
    pub limit: Option<Reading>,
    /// What the limit rests on, where it is not a number of its own.
    pub base: Option<Base>,
    /// Requests.
    pub n: u64,
    /// Those of them that ended as expected.
    pub ok: u64,
    /// When.
    pub stretch: Stretch,
    /// Whether that is the worst window of a longer stretch.
    pub worst_window: bool,
    /// Why there is no answer.
    pub missing: Option<Missing>,
}

/// Something measured that a limit rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// `steady`, the name of a stage, or a measure of a load: `plain.p95`.
    pub name: Text,
    /// Whether it is of another load.
    pub other_load: bool,
    /// What was measured.
    pub reading: Reading,
}

/// A fact that tells why an expectation does not hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// The longest run of bad seconds, and the bad requests in it.
    WorstStretch {
        /// When.
        stretch: Stretch,
        /// Requests that did not end as expected.
        bad: u64,
    },
    /// The most frequent way in which requests failed.
    TopError {
        /// `status 503`, `timeout`, …
        class: Text,
        /// How often.
        count: u64,
    },
    /// The slowest good request of those kept.
    SlowestRequest(Request),
    /// A line of a node's log.
    LogLine {
        /// When it was written.
        at: Moment,
        /// The node that wrote it.
        node: Text,
        /// The line.
        line: Text,
    },
    /// A node's end that nothing asked for.
    Exit {
        /// When.
        at: Moment,
        /// The node.
        node: Text,
        /// How: exit code or signal.
        how: Text,
    },
    /// A piece of accepted work that breaks the rule, or could not be looked at.
    Work {
        /// Its id.
        id: Text,
        /// What is wrong with it.
        trouble: Text,
    },
}
