//! Expectations with what came of them: rows, findings and the evidence beside them. Data only; how it is found is the
//! business of the modules beside, and how it reads that of [`crate::report`].

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gap::Gap;
use crate::event::Offset;
use crate::plan::{ExpectationId, Expected, LedgerCheck};
use crate::record::Exemplar;
use crate::scenario::expr::Expr;
use crate::series::{Missing, Observation, Window};
use crate::sut::find_probe;
use crate::sut::probe::{Form, Noun, RatioUnit};

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

impl RowOutcome {
    /// Of a measure.
    pub(super) fn of(found: &Observation) -> Self {
        match (found.holds, &found.missing) {
            (Some(true), _) => Self::Pass,
            (Some(false), _) => Self::Fail,
            (None, Some(Missing::Load(_) | Missing::Limit) | None) => Self::Inconclusive,
            (None, Some(_)) => Self::NotEnoughSamples,
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
    Nothing(Gap),
}

impl Finding {
    /// There was nothing to look at, so the row is inconclusive.
    pub(super) fn nothing(gap: Gap) -> (RowOutcome, Self) {
        (RowOutcome::Inconclusive, Self::Nothing(gap))
    }
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
        match find_probe(&self.probe).map(|(_, row)| &row.form) {
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovered {
    /// So long after the end of the fault.
    After(Duration),
    /// Not before load ended, or not in the time allowed before the next fault began.
    Never,
    /// The data does not say.
    Unknown(Gap),
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

/// A fact that tells why an expectation does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The longest run of bad seconds, and the bad requests in it.
    WorstStretch {
        /// When.
        window: Window,
        /// Requests that did not end as expected.
        bad: u64,
    },
    /// The most frequent way in which requests failed.
    TopError {
        /// `status 503`, `timeout`, …
        class: String,
        /// How often.
        count: u64,
    },
    /// The slowest good request of those kept.
    SlowestRequest(Exemplar),
    /// A line of a node's log.
    LogLine {
        /// When it was written.
        at: Offset,
        /// The node that wrote it.
        node: String,
        /// The line.
        line: String,
    },
    /// A node's end that nothing asked for.
    Exit {
        /// When.
        at: Offset,
        /// The node.
        node: String,
        /// How: exit code or signal.
        how: String,
    },
    /// A piece of accepted work that breaks the rule, or could not be looked at.
    Work {
        /// Its id.
        id: String,
        /// What is wrong with it.
        trouble: String,
    },
}
