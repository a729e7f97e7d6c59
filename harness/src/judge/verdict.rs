//! What there is to say of a run as a whole: faults, the few numbers to begin with, and the word for all of it. Data only,
//! as [`super::row`].

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gap::{Invalidity, Reason};
use super::row::{Recovered, Row, Status};
use super::slowdown::Slowdown;
use crate::event::Offset;
use crate::series::{Counts, Window};

/// One fault, as it turned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultRow {
    /// Its name.
    pub fault: String,
    /// `kill`, `latency`, …
    pub kind: String,
    /// What it was to hit.
    pub targets: Vec<String>,
    /// When injecting it began; `None` when it never was in place.
    pub injected: Option<Offset>,
    /// When undoing it began, where the record says so.
    pub undo_began: Option<Offset>,
    /// When it was proved to be gone.
    pub reverted: Option<Offset>,
    /// What was done, by target.
    pub details: Vec<String>,
    /// Evidence that it bit, by target that has some.
    pub proofs: Vec<String>,
    /// Evidence that it is gone, by target that has some.
    pub undos: Vec<String>,
    /// What went wrong with injecting or undoing.
    pub errors: Vec<String>,
    /// Whether it touched anything.
    pub exercised: bool,
    /// Injection to the first request that did not end as expected: its intended start, or its end where it was under way
    /// when the fault struck. `None` when there was none.
    pub first_impact: Option<Duration>,
    /// What it did to latency, where that is more than chance.
    pub slowed: Option<Slowdown>,
    /// Injection to the first change of a breaker or of the registry about a target.
    pub detected: Option<Duration>,
    /// What that change was.
    pub detected_by: Option<String>,
    /// Until steady again.
    pub recovered: Recovered,
    /// Requests begun from injection to recovery that did not end as expected.
    pub hurt: u64,
    /// Requests due before the injection and under way when it struck that did not end as expected.
    pub carried_in: u64,
    /// Requests begun from injection to undo.
    pub counts: Counts,
}

/// Whether the run says anything about the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// Why it does not; empty when it does.
    pub problems: Vec<Invalidity>,
    /// 99th percentile of how late requests were sent.
    pub lag_p99: Option<Duration>,
    /// Allowed lateness.
    pub lag_limit: Duration,
}

/// How it ended, in one word for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Everything expected holds.
    Pass,
    /// Something expected does not hold.
    Fail,
    /// A fault touched nothing.
    NotExercised,
    /// The data does not say.
    Inconclusive,
    /// The run says nothing about the system.
    Invalid,
    /// A stop condition became true.
    Aborted,
    /// Someone stopped it.
    Interrupted,
    /// The system did not start.
    NotReady,
    /// Nothing was started: the machine lacks what the scenario needs.
    Skipped,
    /// Something was left behind.
    UndoFailed,
}

impl Conclusion {
    /// Pass, inconclusive or fail.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Pass => Status::Pass,
            Self::Inconclusive | Self::Invalid | Self::Interrupted | Self::Skipped => {
                Status::Inconclusive
            }
            Self::Fail | Self::NotExercised | Self::Aborted | Self::NotReady | Self::UndoFailed => {
                Status::Fail
            }
        }
    }
}

impl std::fmt::Display for Conclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::NotExercised => "NOT EXERCISED",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Invalid => "INVALID",
            Self::Aborted => "ABORTED",
            Self::Interrupted => "INTERRUPTED",
            Self::NotReady => "NOT READY",
            Self::Skipped => "SKIPPED",
            Self::UndoFailed => "UNDO FAILED",
        })
    }
}

/// What is to be said of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// In one word.
    pub conclusion: Conclusion,
    /// Why, where the rows do not say it.
    pub reason: Option<Reason>,
    /// Every expectation, in the order of the plan.
    pub rows: Vec<Row>,
    /// Every fault.
    pub faults: Vec<FaultRow>,
    /// The few numbers to begin with.
    pub headline: Headline,
    /// Whether the run says anything.
    pub validity: Validity,
}

impl Verdict {
    /// Pass, inconclusive or fail.
    #[must_use]
    pub fn status(&self) -> Status {
        self.conclusion.status()
    }
}

/// The few numbers that a reader looks at first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// All loads together.
    pub availability: Availability,
    /// Load that the latency below is of: the one with most requests.
    pub load: Option<String>,
    /// 99th percentile of response time in the steady window.
    pub steady_p99: Option<Duration>,
    /// 99th percentile of response time in the worst fault window, and that fault.
    pub worst_p99: Option<(Duration, String)>,
    /// Slowest recovery; `None` when there was no fault.
    pub slowest_recovery: Option<(Recovered, String)>,
    /// Definitely accepted pieces of work.
    pub accepted: Option<u64>,
    /// Those of them that are unknown now.
    pub lost: Option<u64>,
    /// Submits without a definite answer.
    pub unknown: Option<u64>,
    /// Results that could be decoded.
    pub decoded: Option<u64>,
}

/// How much of the work, and of the time, was good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Availability {
    /// Requests by how they ended.
    pub counts: Counts,
    /// Share of a second's requests that must be ok for the second to be good (the strictest, where loads differ).
    pub objective: f64,
    /// Good seconds, of those with requests.
    pub good_seconds: u64,
    /// Seconds with requests.
    pub seconds: u64,
    /// Longest run of bad seconds.
    pub longest_outage: Duration,
    /// When that was.
    pub outage: Option<Window>,
}

/// What is known of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecondState {
    /// No request was due.
    Idle,
    /// Each load met its objective.
    Good,
    /// At least one did not.
    Bad,
}
