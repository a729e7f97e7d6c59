//! Was it good enough: a record in, a verdict out. Pure: no clock, no files, the same answer every time.
//!
//! Every expectation of the plan becomes a [`Row`], in every scope that it is written for. **No data is never a pass**:
//! what cannot be answered is inconclusive, what a fault did not touch was not exercised, and a run whose load generator
//! fell behind says nothing about the system. The worst row wins.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Offset, RunOutcome};
use crate::plan::{ExpectationId, Expected, LedgerCheck};
use crate::record::{Record, Timeline};
use crate::scenario::expr::Expr;
use crate::series::{Counts, Observation, Window};
use crate::sut::probe::{Form, Noun, RatioUnit, probe};

mod evidence;
pub mod exit;
mod exits;
mod faults;
mod headline;
mod ledger;
mod probes;
mod recovery;
mod rows;
mod slowdown;
#[cfg(test)]
pub(crate) mod testing;
mod validity;

pub use evidence::Evidence;
pub use exit::Exit;
pub use headline::{Availability, Headline, SecondState, seconds};
pub use slowdown::Slowdown;

/// What came of one question, or of all. Ordered: the worst of many is their maximum.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The data says yes.
    Pass,
    /// The data does not say.
    Inconclusive,
    /// The data says no, or what should have been tried was not.
    Fail,
}

/// What came of an expectation as it is shown, finer than the status.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RowOutcome {
    /// It holds.
    Pass,
    /// Too few requests to say.
    NotEnoughSamples,
    /// The data does not say, for another reason.
    Inconclusive,
    /// The fault it is about never touched anything.
    NotExercised,
    /// It does not hold.
    Fail,
}

impl RowOutcome {
    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Pass => Status::Pass,
            Self::NotEnoughSamples | Self::Inconclusive => Status::Inconclusive,
            Self::NotExercised | Self::Fail => Status::Fail,
        }
    }
}

impl std::fmt::Display for RowOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::NotEnoughSamples => "not enough samples",
            Self::Inconclusive => "inconclusive",
            Self::NotExercised => "not exercised",
            Self::Fail => "fail",
        })
    }
}

/// When something must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Before the first fault.
    Steady,
    /// Over the whole of the load.
    Always,
    /// While a fault is in place.
    During(String),
    /// During a named stage of a load.
    Stage(String),
    /// After a fault.
    Recover(String),
    /// When load has ended.
    End,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steady => f.write_str("before the first fault"),
            Self::Always => f.write_str("always"),
            Self::During(name) | Self::Stage(name) => write!(f, "during {name}"),
            Self::Recover(fault) => write!(f, "after {fault}"),
            Self::End => f.write_str("at the end"),
        }
    }
}

/// One expectation in one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is called; unique within a verdict.
    pub id: ExpectationId,
    /// When it must hold.
    pub scope: Scope,
    /// What must hold, in the author's words.
    pub text: String,
    /// The same, parsed; `None` where the plan does not say it as an expression.
    pub expr: Option<Expr>,
    /// Whether it is one of those that must not hold: `outcome` then says what came of that.
    pub must_fail: bool,
    /// What came of it.
    pub outcome: RowOutcome,
    /// What was found.
    pub finding: Finding,
    /// Where it does not hold: what tells most about why.
    pub evidence: Vec<Evidence>,
}

impl Row {
    pub(crate) fn new(
        id: ExpectationId,
        scope: Scope,
        text: String,
        (outcome, finding): (RowOutcome, Finding),
    ) -> Self {
        Self {
            id,
            scope,
            text,
            expr: None,
            must_fail: false,
            outcome,
            finding,
            evidence: Vec::new(),
        }
    }

    /// About an expectation of the plan. One that must not hold passes by failing; only a plain no counts: what could not
    /// be answered, or was not exercised, shows as little in a control as anywhere.
    pub(crate) fn about(
        expected: &Expected,
        scope: Scope,
        (outcome, finding): (RowOutcome, Finding),
    ) -> Self {
        let outcome = match (expected.must_fail, outcome) {
            (true, RowOutcome::Fail) => RowOutcome::Pass,
            (true, RowOutcome::Pass) => RowOutcome::Fail,
            (_, outcome) => outcome,
        };
        Self {
            expr: Some(expected.expr.clone()),
            must_fail: expected.must_fail,
            ..Self::new(
                expected.id.clone(),
                scope,
                expected.text.clone(),
                (outcome, finding),
            )
        }
    }

    /// What came of it.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.status()
    }
}

/// What was found about an expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// A number.
    Measure(Observation),
    /// A change of state that the system reported.
    Change {
        /// Which way, in the author's word.
        word: String,
        /// Allowed time.
        within: Duration,
        /// Time it took; `None` for never.
        after: Option<Duration>,
        /// Node that reports it.
        source: Option<String>,
        /// Why it changed.
        reason: Option<String>,
    },
    /// How much a node counted of one thing for each of another.
    Ratio(Ratio),
    /// How long the system took to be steady again.
    Recovery {
        /// Allowed time.
        within: Duration,
        /// What happened.
        recovered: Recovered,
    },
    /// Accepted work, counted.
    Ledger(LedgerFinding),
    /// There was nothing to look at.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// What a node counted for a probe over a stretch of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The probe.
    pub probe: String,
    /// So much of what is counted for each of the other; `None` when the counts do not say.
    pub observed: Option<f64>,
    /// Allowed.
    pub limit: f64,
    /// What was counted.
    pub counted: u64,
    /// For so many of the other.
    pub per: u64,
    /// The stretch, as far as the counts go.
    pub window: Window,
    /// Why there is no answer.
    pub missing: Option<String>,
}

impl Ratio {
    /// What its numbers are of.
    #[must_use]
    pub fn unit(&self) -> RatioUnit {
        match probe(&self.probe).map(|(_, row)| &row.form) {
            Some(Form::Ratio(unit)) => *unit,
            _ => UNKNOWN_UNIT,
        }
    }
}

/// Of a probe that no system has any more.
const UNKNOWN_UNIT: RatioUnit = {
    let noun = Noun {
        one: "count",
        many: "counts",
    };
    RatioUnit {
        name: "counts per count",
        counted: noun,
        per: noun,
    }
};

/// When the first full steady window after a fault began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovered {
    /// So long after the end of the fault.
    After(Duration),
    /// Not before load ended, or not in the time allowed before the next fault began.
    Never,
    /// The data does not say.
    Unknown(String),
}

/// What a ledger check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerFinding {
    /// Which check.
    pub check: LedgerCheck,
    /// Definitely accepted.
    pub accepted: u64,
    /// Of the accepted, those that break the rule.
    pub bad: u64,
    /// Of the accepted, those that could not be looked at.
    pub unverified: u64,
    /// Results (clips) that were looked at, where the check is about results.
    pub results: Option<u64>,
    /// Some of the bad and unverified ones: id and what is wrong.
    pub examples: Vec<(String, String)>,
}

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
    pub problems: Vec<String>,
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
    pub reason: Option<String>,
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

    /// What a program that ran this ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::of(self.conclusion)
    }
}

/// Judges a record.
#[must_use]
pub fn judge(record: &Record) -> Verdict {
    let timeline = Timeline::of(record);
    // A run that never began has answered nothing, and is not shown as if it had been asked.
    let began = !matches!(record.outcome, RunOutcome::Skipped { .. });
    let mut rows = match began {
        true => rows::rows(record, &timeline),
        false => Vec::new(),
    };
    evidence::add(record, &timeline, &mut rows);
    let exits = exits::rows(record);
    rows.extend(exits.iter().cloned());
    let faults = match began {
        true => faults::faults(record, &timeline),
        false => Vec::new(),
    };
    let headline = headline::headline(record, &timeline, &faults);
    let validity = validity::validity(record);
    let (conclusion, reason) = conclude(record, &rows, &exits, &faults, &validity);
    Verdict {
        conclusion,
        reason,
        rows,
        faults,
        headline,
        validity,
    }
}

/// How the run ended comes first, then whether it says anything, then what it says.
fn conclude(
    record: &Record,
    rows: &[Row],
    exits: &[Row],
    faults: &[FaultRow],
    validity: &Validity,
) -> (Conclusion, Option<String>) {
    let timeline = Timeline::of(record);
    let undo_error = timeline.faults.iter().flat_map(|fault| &fault.targets);
    let undo_error = undo_error
        .filter(|target| target.reverted.is_none())
        .find_map(|target| {
            Some(format!(
                "{}: {}",
                target.target,
                target.undo_error.as_ref()?
            ))
        });
    match &record.outcome {
        // Leftovers matter to whoever uses the machine next, whatever else happened.
        RunOutcome::UndoFailed { leftovers } => {
            return (Conclusion::UndoFailed, Some(leftovers.join("; ")));
        }
        _ if undo_error.is_some() => return (Conclusion::UndoFailed, undo_error),
        RunOutcome::Interrupted => return (Conclusion::Interrupted, None),
        RunOutcome::Skipped { reason } => return (Conclusion::Skipped, Some(reason.clone())),
        RunOutcome::NotReady { reason } => return (Conclusion::NotReady, Some(reason.clone())),
        RunOutcome::Aborted { reason } => return (Conclusion::Aborted, Some(reason.clone())),
        // That a node has ended is a fact, whatever became of the rest of the run because of it.
        RunOutcome::Broken { reason } if !exits.is_empty() => {
            return (Conclusion::Fail, Some(reason.clone()));
        }
        RunOutcome::Completed if !exits.is_empty() => return (Conclusion::Fail, None),
        RunOutcome::Broken { reason } => return (Conclusion::Invalid, Some(reason.clone())),
        RunOutcome::Completed => {}
    }
    if !validity.problems.is_empty() {
        return (Conclusion::Invalid, Some(validity.problems.join("; ")));
    }
    let worst = rows.iter().map(|row| row.outcome).max();
    let untouched = faults.iter().find(|fault| !fault.exercised);
    match (worst, untouched) {
        (Some(RowOutcome::Fail), _) => (Conclusion::Fail, None),
        (_, Some(fault)) => (
            Conclusion::NotExercised,
            Some(format!("{} touched nothing", fault.fault)),
        ),
        (Some(RowOutcome::NotExercised), None) => (Conclusion::NotExercised, None),
        (Some(RowOutcome::Inconclusive | RowOutcome::NotEnoughSamples), None) => {
            (Conclusion::Inconclusive, None)
        }
        (Some(RowOutcome::Pass), None) => (Conclusion::Pass, control(rows)),
        (None, None) => (
            Conclusion::Inconclusive,
            Some("the scenario expects nothing".to_owned()),
        ),
    }
}

/// What a control shows by passing.
fn control(rows: &[Row]) -> Option<String> {
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.must_fail)
        .map(|row| format!("`{}`", row.text))
        .collect();
    (!failed.is_empty()).then(|| format!("a control, in which {} had to fail", failed.join(", ")))
}

#[cfg(test)]
mod tests;
