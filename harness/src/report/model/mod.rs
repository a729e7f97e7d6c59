//! What a report says, as numbers, ids and names; no sentence is made here. Every format reads the same [`Report`], so
//! that no two can disagree, and puts it into words of its own ([`super::prose`]).
//!
//! Strings are [`Text`]: names, the author's words and what nodes said, safe to show.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::{Event, Offset};
use crate::judge::{Conclusion, Exit, Invalidity, Reason, Status};
use crate::plan::RuntimeKind;
use crate::printable::Text;
use crate::series::{Counts, Window};
use crate::sut::Vocabulary;

mod build;
mod chart;
mod context;
mod expectations;
mod fault;
mod operations;
mod row;
mod work;

pub use chart::Chart;
pub use fault::{Fault, Recovery, Slowed};
pub use operations::{Operation, Phase, PhaseKind};
pub use row::{Base, Evidence, Expectation, Found, Measured, Scope};
pub use work::{Ledger, Trouble, TroubledWork, Work};

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
    pub reason: Option<Reason>,
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
    pub problems: Vec<Invalidity>,
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
