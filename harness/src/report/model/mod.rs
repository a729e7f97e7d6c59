//! What a report says, as numbers, ids and names; no sentence is made here. Every format reads the same [`Report`], so
//! that no two can disagree, and puts it into words of its own ([`super::prose`]).
//!
//! Strings are [`Text`]: names, the author's words and what nodes said, safe to show.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::{Event, Offset};
use crate::judge::{Conclusion, Exit, RowOutcome, Status};
use crate::plan::{Injection, LedgerCheck, RuntimeKind};
use crate::printable::Text;
use crate::scenario::expr::Metric;
use crate::series::{Counts, Missing, Reading, Window};
use crate::sut::Vocabulary;
use crate::sut::probe::RatioUnit;

mod build;
mod chart;
mod expectations;
mod operations;

pub use chart::Chart;
pub use operations::{Operation, Phase, PhaseKind};

/// A moment, in microseconds from the start of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// Of something that happened, load having begun at `origin`.
    #[must_use]
    pub fn new(at: Offset, origin: Offset) -> Self {
        let us = |offset: Offset| i64::try_from(offset.0).unwrap_or(i64::MAX);
        Self(us(at).saturating_sub(us(origin)))
    }

    /// Seconds from the start of load.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Whether it is before the start of load, and how far it is from it.
    #[must_use]
    pub fn distance(self) -> (bool, Duration) {
        (self.0 < 0, Duration::from_micros(self.0.unsigned_abs()))
    }
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// First moment inside.
    pub from: Moment,
    /// First moment after.
    pub to: Moment,
}

impl Stretch {
    /// Of a window, load having begun at `origin`.
    #[must_use]
    pub fn new(window: Window, origin: Offset) -> Self {
        Self {
            from: Moment::new(window.from, origin),
            to: Moment::new(window.to, origin),
        }
    }
}

/// Everything that a report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Name of the scenario.
    pub name: Text,
    /// What it shows, in the author's words.
    pub about: Option<Text>,
    /// The verdict in a word.
    pub conclusion: Conclusion,
    /// Why, where the expectations do not say it.
    pub reason: Option<Text>,
    /// What the program ends with.
    pub exit: Exit,
    /// Whether the run says anything about the system.
    pub validity: Validity,
    /// Start of the run.
    pub started: Option<jiff::Timestamp>,
    /// Length of the whole run.
    pub took: Duration,
    /// Start of load.
    pub origin: Offset,
    /// Seed.
    pub seed: u64,
    /// What was started.
    pub system: System,
    /// What its work is called.
    pub words: &'static Vocabulary,
    /// Terms of the system's own that readers may not know, with their meaning.
    pub terms: Vec<(&'static str, &'static str)>,
    /// The few numbers to begin with.
    pub headline: Headline,
    /// Expectations, in the order of the plan.
    pub expectations: Vec<Expectation>,
    /// Faults in order of time.
    pub faults: Vec<Fault>,
    /// Operation by phase.
    pub operations: Vec<Operation>,
    /// How requests failed.
    pub errors: Vec<ErrorCount>,
    /// Slowest good requests.
    pub slowest: Vec<Request>,
    /// Failed requests.
    pub failed: Vec<Request>,
    /// Accepted work.
    pub ledger: Option<Ledger>,
    /// Where it ran.
    pub environment: Environment,
    /// How late the load generator was.
    pub generator: Option<Generator>,
    /// What the reader should know, without effect on the verdict.
    pub warnings: Vec<Warning>,
    /// Everything that happened once.
    pub events: Vec<Event>,
    /// How to repeat it.
    pub repeat: Repeat,
    /// Files beside the page.
    pub files: Vec<&'static str>,
    /// What is drawn.
    pub chart: Chart,
}

/// Whether the run says anything about the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Why it does not; empty when it does.
    pub problems: Vec<Text>,
    /// 99th percentile of how late requests were sent.
    pub lag_p99: Option<Duration>,
    /// Allowed lateness.
    pub lag_limit: Duration,
}

/// What was started, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Where.
    pub runtime: RuntimeKind,
    /// Roles of the system under test, and nodes of each.
    pub roles: Vec<(&'static str, u64)>,
    /// Other programs.
    pub programs: u64,
}

/// The few numbers to begin with.
#[derive(Debug, Clone, PartialEq)]
pub struct Headline {
    /// Requests of all loads by how they ended.
    pub counts: Counts,
    /// Share of a second's requests that must be ok for the second to be good.
    pub objective: f64,
    /// Good seconds, of those with requests.
    pub good_seconds: u64,
    /// Seconds with requests.
    pub seconds: u64,
    /// Longest run of bad seconds.
    pub longest_outage: Duration,
    /// When that was.
    pub outage: Option<Stretch>,
    /// Load that the latency below is of.
    pub load: Option<Text>,
    /// 99th percentile of response time in the steady window.
    pub steady_p99: Option<Duration>,
    /// The same under the worst fault, and that fault.
    pub worst_p99: Option<(Duration, Text)>,
    /// Slowest recovery, and the fault.
    pub slowest_recovery: Option<(Recovery, Text)>,
    /// Accepted work; `None` when none was submitted.
    pub work: Option<Work>,
}

/// Accepted work in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Definitely accepted.
    pub accepted: u64,
    /// Those of them that are unknown now.
    pub lost: u64,
    /// Submits without a definite answer.
    pub unknown: u64,
    /// Results that could be decoded.
    pub decoded: Option<u64>,
}

/// When the system was steady again after a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// So long after the end of the fault.
    After(Duration),
    /// Not before load ended.
    Never,
    /// The data does not say.
    Unknown(Text),
}

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
    Nothing {
        /// Why.
        reason: Text,
    },
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
        /// By whom.
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

/// A fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Name.
    pub name: Text,
    /// `kill`, `latency`, …
    pub kind: Text,
    /// What it was to do, where the plan says so.
    pub inject: Option<Injection>,
    /// What it was to hit.
    pub targets: Vec<Text>,
    /// When injecting it began; `None` when it never was in place.
    pub injected: Option<Moment>,
    /// When undoing it began, where the record says so.
    pub undo_began: Option<Moment>,
    /// When it was proved to be gone.
    pub reverted: Option<Moment>,
    /// Whether it touched anything.
    pub exercised: bool,
    /// Evidence that it bit.
    pub proofs: Vec<Text>,
    /// Evidence that it is gone.
    pub undos: Vec<Text>,
    /// What went wrong with injecting or undoing.
    pub errors: Vec<Text>,
    /// Injection to the first request that did not end as expected.
    pub first_impact: Option<Duration>,
    /// What it did to latency, where that is more than chance.
    pub slowed: Option<Slowed>,
    /// Injection to the first alarm about a target.
    pub detected: Option<Duration>,
    /// What that was.
    pub detected_by: Option<Text>,
    /// Until steady again.
    pub recovery: Recovery,
    /// Requests begun from injection to recovery that did not end as expected.
    pub hurt: u64,
    /// Requests under way when it struck that did not end as expected.
    pub carried_in: u64,
}

/// What a fault did to the latency of the load that it slowed most.
#[derive(Debug, Clone, PartialEq)]
pub struct Slowed {
    /// The load.
    pub load: Text,
    /// Injection to the intended start of the first slowed request.
    pub after: Duration,
    /// Slowed requests.
    pub requests: u64,
    /// Their median response time.
    pub typical: Duration,
    /// Median response time of the baseline.
    pub baseline: Duration,
    /// How many times as long.
    pub factor: f64,
}

impl Fault {
    /// Whether it touched anything and all went well with it.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.exercised && self.errors.is_empty() && self.reverted.is_some()
    }
}

/// A way in which requests of a load failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCount {
    /// The load.
    pub load: Text,
    /// `status 503`, `timeout`, …
    pub class: Text,
    /// How often.
    pub count: u64,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Intended start.
    pub due: Moment,
    /// Load.
    pub load: Text,
    /// Number of the step, where the load has several.
    pub step: Option<usize>,
    /// Whether it ended as expected; else how it failed.
    pub failure: Option<Text>,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// From the intended start.
    pub response: Duration,
    /// From sending.
    pub service: Option<Duration>,
    /// Request id.
    pub id: Option<Text>,
}

/// Accepted work, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Definitely accepted.
    pub accepted: u64,
    /// Accepted and finished.
    pub finished: u64,
    /// Accepted and unknown now.
    pub lost: u64,
    /// Accepted and failed.
    pub failed: u64,
    /// Accepted and not finished.
    pub open: u64,
    /// Definitely refused.
    pub refused: u64,
    /// Without a definite answer.
    pub unknown: u64,
    /// Some of those that something is wrong with.
    pub troubled: Vec<TroubledWork>,
}

/// A piece of work that something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubledWork {
    /// Its id.
    pub id: Option<Text>,
    /// When it was due to be submitted.
    pub due: Moment,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No definite answer to its submit.
    NoAnswer,
    /// Accepted and unknown now.
    Lost,
    /// It failed, and why.
    Failed(Text),
    /// Not finished, and its state.
    Open(Text),
    /// It could not be read back, and why.
    Unreadable(Text),
    /// A result is bad, and how.
    Result(Text),
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Environment {
    /// Host name.
    pub host: Text,
    /// Name of the operating system.
    pub os: Text,
    /// Its kernel.
    pub kernel: Text,
    /// Model of the processor.
    pub cpu: Option<Text>,
    /// Cores the harness may use.
    pub cores: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Version of the harness.
    pub version: Text,
    /// Compiler it was built with.
    pub rustc: Option<Text>,
    /// `debug` or `release`.
    pub profile: Text,
    /// Commit of the working directory.
    pub commit: Option<Text>,
}

/// How late the load generator was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generator {
    /// 99th percentile.
    pub lag_p99: Duration,
    /// At most.
    pub lag_max: Duration,
    /// Requests never sent.
    pub unsent: u64,
}

/// What the reader should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// What the run said.
    Message(Text),
    /// A node that ended by itself.
    Exit {
        /// Which.
        node: Text,
        /// When.
        at: Moment,
        /// `exit code 1`.
        how: Text,
    },
}

/// How to repeat a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// By the command line.
    File(Text),
    /// Not by the command line: the scenario was built in code.
    InCode,
}

impl Report {
    /// Pass, inconclusive or fail.
    #[must_use]
    pub fn status(&self) -> Status {
        self.conclusion.status()
    }

    /// Whether the run passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.conclusion == Conclusion::Pass
    }

    /// A moment of the run, counted from the start of load.
    #[must_use]
    pub fn moment(&self, at: Offset) -> Moment {
        Moment::new(at, self.origin)
    }

    /// Expectations, failing ones first.
    #[must_use]
    pub fn failing_first(&self) -> Vec<&Expectation> {
        let mut sorted: Vec<_> = self.expectations.iter().collect();
        sorted.sort_by_key(|one| std::cmp::Reverse(one.status()));
        sorted
    }

    /// The worst that came of the expectations about something; `None` when there are none.
    pub fn worst(&self, about: impl Fn(&Expectation) -> bool) -> Option<Status> {
        let about = self.expectations.iter().filter(|one| about(one));
        about.map(Expectation::status).max()
    }
}
