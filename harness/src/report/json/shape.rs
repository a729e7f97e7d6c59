//! The shape of `report.json`, with a description of every field: these types are its published schema.

use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::{Conclusion, RowOutcome, Status};
use crate::report::model;

/// A run, as the harness reports it: what was expected, what was found, what was broken.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Report of a clip-harness run")]
pub(super) struct Document {
    /// Version of this shape: fields may be added to it, none is renamed, removed or given another meaning.
    pub(super) version: u32,
    /// Name of the scenario.
    pub(super) name: String,
    /// Seed of everything random.
    pub(super) seed: u64,
    /// Start of the run, RFC 3339 in UTC.
    pub(super) started: Option<String>,
    /// Length of the whole run.
    pub(super) took_ms: f64,
    /// The verdict.
    pub(super) conclusion: Conclusion,
    /// The verdict as one of three.
    pub(super) status: Status,
    /// Exit code of the harness.
    pub(super) exit: u8,
    /// The verdict in a sentence, for people.
    pub(super) sentence: String,
    /// Why, where the expectations do not say it.
    pub(super) reason: Option<String>,
    /// Requests of all loads.
    pub(super) availability: Availability,
    /// Whether the run says anything about the system.
    pub(super) validity: Validity,
    /// Accepted work; null when none was submitted.
    pub(super) work: Option<Work>,
    /// Every expectation in every scope, in the order of the plan.
    pub(super) expectations: Vec<ExpectationJson>,
    /// Every fault.
    pub(super) faults: Vec<FaultJson>,
    /// Every operation by phase of the run.
    pub(super) operations: Vec<OperationJson>,
    /// How requests failed.
    pub(super) errors: Vec<ErrorJson>,
    /// Where it ran.
    pub(super) environment: model::Environment,
    /// The command that repeats the run.
    pub(super) repeat: String,
}

/// Requests of all loads.
#[derive(Serialize, JsonSchema)]
pub(super) struct Availability {
    /// Ended as expected.
    pub(super) ok: u64,
    /// Did not end as expected.
    pub(super) failed: u64,
    /// Were due and never sent.
    pub(super) unsent: u64,
    /// Share that ended as expected; null without requests.
    pub(super) ratio: Option<f64>,
    /// Seconds in which every load met its objective.
    pub(super) good_seconds: u64,
    /// Seconds in which requests were due.
    pub(super) seconds: u64,
    /// Longest run of seconds that missed it.
    pub(super) longest_outage_ms: f64,
}

/// Whether the run says anything about the system.
#[derive(Serialize, JsonSchema)]
pub(super) struct Validity {
    /// Whether it does.
    pub(super) valid: bool,
    /// Why it does not.
    pub(super) problems: Vec<String>,
    /// 99th percentile of how late requests were sent.
    pub(super) lag_p99_ms: Option<f64>,
    /// Allowed lateness.
    pub(super) lag_limit_ms: f64,
}

/// Accepted work.
#[derive(Serialize, JsonSchema)]
pub(super) struct Work {
    /// What a piece of it is called: `order`.
    pub(super) noun: &'static str,
    /// Definitely accepted.
    pub(super) accepted: u64,
    /// Accepted, and unknown to the system at the end.
    pub(super) lost: u64,
    /// Submits without a definite answer.
    pub(super) unknown: u64,
}

/// When an expectation must hold.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Scope")]
pub(super) enum ScopeJson {
    /// Before the first fault.
    Steady,
    /// Over the whole of the load.
    Always,
    /// While a fault is in place.
    During,
    /// During a named stage of a load.
    Stage,
    /// After a fault.
    Recover,
    /// When load has ended.
    End,
}

/// One expectation in one scope.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Expectation")]
pub(super) struct ExpectationJson {
    /// What it is called; stable as long as the scenario lists its expectations in the same order.
    pub(super) id: String,
    /// What must hold, in the author's words.
    pub(super) text: String,
    /// When it must hold.
    pub(super) scope: ScopeJson,
    /// The fault that the scope names.
    pub(super) fault: Option<String>,
    /// The stage that the scope names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<String>,
    /// Whether it must not hold, in a control.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) must_fail: bool,
    /// What came of it.
    pub(super) word: RowOutcome,
    /// The same as one of three.
    pub(super) status: Status,
    /// The number found; null when there is none.
    pub(super) observed: Option<f64>,
    /// What the number is of: `ratio`, `ms`, `per second`, the unit of a probe, or what accepted work is called.
    pub(super) unit: Option<&'static str>,
    /// The limit, in the same unit.
    pub(super) limit: Option<f64>,
    /// What the limit rests on, where it is not a number of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) compared_with: Option<ComparedWith>,
    /// Samples: requests, or accepted work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) n: Option<u64>,
    /// Those of them that ended as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ok: Option<u64>,
    /// Of a ratio, what was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counted: Option<u64>,
    /// Of a ratio, for so many of the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) per: Option<u64>,
    /// Accepted work that could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unverified: Option<u64>,
    /// From when to when the number was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<[f64; 2]>,
    /// Time over which the system was watched for it.
    pub(super) took_ms: f64,
    /// Limit, number of samples and the like, for people.
    pub(super) detail: String,
    /// Why it does not hold, as data.
    pub(super) evidence: Vec<Evidence>,
    /// The same for people.
    pub(super) facts: Vec<String>,
}

/// Something measured that a limit rests on.
#[derive(Serialize, JsonSchema)]
pub(super) struct ComparedWith {
    /// `steady`, the name of a stage, or a measure of a load.
    pub(super) name: String,
    /// What was measured.
    pub(super) value: f64,
}

/// A fact that tells why an expectation does not hold.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Evidence {
    /// The longest run of bad seconds.
    WorstStretch {
        /// From when to when.
        window: [f64; 2],
        /// Requests in it that did not end as expected.
        bad: u64,
    },
    /// The most frequent way in which requests failed.
    TopError {
        /// Its class.
        class: String,
        /// How often.
        count: u64,
    },
    /// The slowest good request of those kept.
    SlowestRequest {
        /// Its intended start.
        due: f64,
        /// From then to the end of the answer.
        response_ms: f64,
        /// Its id.
        request_id: Option<String>,
    },
    /// A line of a node's log.
    LogLine {
        /// When it was written.
        at: f64,
        /// The node.
        node: String,
        /// The line, control characters made visible.
        line: String,
    },
    /// A node's end that nothing asked for.
    Exit {
        /// When.
        at: f64,
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

/// A fault, as it turned out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Fault")]
pub(super) struct FaultJson {
    /// Its name.
    pub(super) name: String,
    /// `kill`, `latency`, …
    pub(super) kind: String,
    /// What it was to hit.
    pub(super) targets: Vec<String>,
    /// When injecting it began; null when it never was in place.
    pub(super) injected: Option<f64>,
    /// When undoing it began; null where the record does not say.
    pub(super) undo_began: Option<f64>,
    /// When it was proved to be gone.
    pub(super) reverted: Option<f64>,
    /// Whether it touched anything.
    pub(super) exercised: bool,
    /// Evidence that it bit, by target.
    pub(super) proof: Vec<String>,
    /// Evidence that it is gone, by target.
    pub(super) undo: Vec<String>,
    /// What went wrong with injecting or undoing.
    pub(super) errors: Vec<String>,
    /// From injection to the first request that did not end as expected.
    pub(super) first_impact_ms: Option<f64>,
    /// What it did to latency; null where that was no more than chance.
    pub(super) slowed: Option<SlowedJson>,
    /// From injection to the first alarm about a target.
    pub(super) detected_ms: Option<f64>,
    /// Whether the system became steady again.
    pub(super) recovered: RecoveredJson,
    /// How long that took.
    pub(super) recovered_ms: Option<f64>,
    /// Requests begun from injection to recovery that did not end as expected.
    pub(super) hurt: u64,
    /// Requests under way when it struck that did not end as expected.
    pub(super) carried_in: u64,
}

/// What a fault did to the latency of the load that it slowed most.
#[derive(Serialize, JsonSchema)]
pub(super) struct SlowedJson {
    /// The load.
    pub(super) load: String,
    /// From injection to the intended start of the first slowed request.
    pub(super) first_ms: f64,
    /// Slowed requests: answered well, in more than twice the 99th percentile of the baseline.
    pub(super) requests: u64,
    /// Their median response time.
    pub(super) typical_ms: f64,
    /// Median response time in the steady state.
    pub(super) baseline_ms: f64,
    /// How many times as long.
    pub(super) factor: f64,
}

/// Whether the system became steady again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Recovered")]
pub(super) enum RecoveredJson {
    /// It did.
    After,
    /// Not before load ended.
    Never,
    /// The data does not say.
    Unknown,
}

/// An operation by phase of the run.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Operation")]
pub(super) struct OperationJson {
    /// Its load, and its step where the load has several.
    pub(super) name: String,
    /// Method and path, as planned.
    pub(super) request: String,
    /// The whole run first, then the phases.
    pub(super) phases: Vec<PhaseJson>,
}

/// An operation in a phase.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Phase")]
pub(super) struct PhaseJson {
    /// `whole run`, `steady`, a stage, a fault, `recovery from` it, `rest`.
    pub(super) name: String,
    /// Requests that were due.
    pub(super) n: u64,
    /// Ended as expected.
    pub(super) ok: u64,
    /// Did not.
    pub(super) failed: u64,
    /// Were never sent.
    pub(super) unsent: u64,
    /// Times from the intended start.
    pub(super) response: TimesJson,
    /// Times from sending.
    pub(super) service: TimesJson,
}

/// Quantiles, null where there are too few requests for them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Times")]
pub(super) struct TimesJson {
    /// Half took at most so long.
    pub(super) p50_ms: Option<f64>,
    /// 90 %.
    pub(super) p90_ms: Option<f64>,
    /// 95 %.
    pub(super) p95_ms: Option<f64>,
    /// 99 %.
    pub(super) p99_ms: Option<f64>,
    /// 99.9 %.
    pub(super) p999_ms: Option<f64>,
    /// The longest.
    pub(super) max_ms: Option<f64>,
}

/// A way in which requests of a load failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct ErrorJson {
    /// The load.
    pub(super) load: String,
    /// `status 503`, `timeout`, …
    pub(super) class: String,
    /// How often.
    pub(super) count: u64,
}
