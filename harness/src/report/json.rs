//! `report.json`, for programs. Its shape is stable within [`SHAPE_VERSION`]: fields may be added, none is renamed,
//! removed or given another meaning. Lengths of time are milliseconds, moments are seconds from the start of load, shares
//! are 0 to 1. The types here *are* the published schema (`clip-harness schema report`).

use std::io;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::model::{self, Expectation, Fault, Found, Moment, Operation, Recovery, Report, Scope};
use super::prose;
use crate::judge::{Conclusion, RowOutcome, Status};
use crate::series::{Reading, Times};
use crate::sut::Vocabulary;

/// Version of the shape of `report.json`. 2: what was `calls` and `tries` is `per` and `counted`, of any ratio.
pub const SHAPE_VERSION: u32 = 2;

pub(super) fn text(report: &Report) -> io::Result<String> {
    let mut text = serde_json::to_string_pretty(&Document::of(report))?;
    text.push('\n');
    Ok(text)
}

/// The JSON Schema of `report.json`.
#[must_use]
pub fn schema() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Document>()
}

/// Milliseconds, to the microsecond.
fn ms(length: Duration) -> f64 {
    (length.as_secs_f64() * 1e6).round() / 1e3
}

/// A run, as the harness reports it: what was expected, what was found, what was broken.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Report of a clip-harness run")]
struct Document {
    /// Version of this shape: fields may be added to it, none is renamed, removed or given another meaning.
    version: u32,
    /// Name of the scenario.
    name: String,
    /// Seed of everything random.
    seed: u64,
    /// Start of the run, RFC 3339 in UTC.
    started: Option<String>,
    /// Length of the whole run.
    took_ms: f64,
    /// The verdict.
    conclusion: Conclusion,
    /// The verdict as one of three.
    status: Status,
    /// Exit code of the harness.
    exit: u8,
    /// The verdict in a sentence, for people.
    sentence: String,
    /// Why, where the expectations do not say it.
    reason: Option<String>,
    /// Requests of all loads.
    availability: Availability,
    /// Whether the run says anything about the system.
    validity: Validity,
    /// Accepted work; null when none was submitted.
    work: Option<Work>,
    /// Every expectation in every scope, in the order of the plan.
    expectations: Vec<ExpectationJson>,
    /// Every fault.
    faults: Vec<FaultJson>,
    /// Every operation by phase of the run.
    operations: Vec<OperationJson>,
    /// How requests failed.
    errors: Vec<ErrorJson>,
    /// Where it ran.
    environment: model::Environment,
    /// The command that repeats the run.
    repeat: String,
}

/// Requests of all loads.
#[derive(Serialize, JsonSchema)]
struct Availability {
    /// Ended as expected.
    ok: u64,
    /// Did not end as expected.
    failed: u64,
    /// Were due and never sent.
    unsent: u64,
    /// Share that ended as expected; null without requests.
    ratio: Option<f64>,
    /// Seconds in which every load met its objective.
    good_seconds: u64,
    /// Seconds in which requests were due.
    seconds: u64,
    /// Longest run of seconds that missed it.
    longest_outage_ms: f64,
}

/// Whether the run says anything about the system.
#[derive(Serialize, JsonSchema)]
struct Validity {
    /// Whether it does.
    valid: bool,
    /// Why it does not.
    problems: Vec<String>,
    /// 99th percentile of how late requests were sent.
    lag_p99_ms: Option<f64>,
    /// Allowed lateness.
    lag_limit_ms: f64,
}

/// Accepted work.
#[derive(Serialize, JsonSchema)]
struct Work {
    /// What a piece of it is called: `order`.
    noun: &'static str,
    /// Definitely accepted.
    accepted: u64,
    /// Accepted, and unknown to the system at the end.
    lost: u64,
    /// Submits without a definite answer.
    unknown: u64,
}

/// When an expectation must hold.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Scope")]
enum ScopeJson {
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
struct ExpectationJson {
    /// What it is called; stable as long as the scenario lists its expectations in the same order.
    id: String,
    /// What must hold, in the author's words.
    text: String,
    /// When it must hold.
    scope: ScopeJson,
    /// The fault that the scope names.
    fault: Option<String>,
    /// The stage that the scope names.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    /// Whether it must not hold, in a control.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    must_fail: bool,
    /// What came of it.
    word: RowOutcome,
    /// The same as one of three.
    status: Status,
    /// The number found; null when there is none.
    observed: Option<f64>,
    /// What the number is of: `ratio`, `ms`, `per second`, the unit of a probe, or what accepted work is called.
    unit: Option<&'static str>,
    /// The limit, in the same unit.
    limit: Option<f64>,
    /// What the limit rests on, where it is not a number of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_with: Option<ComparedWith>,
    /// Samples: requests, or accepted work.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// Those of them that ended as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<u64>,
    /// Of a ratio, what was counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<u64>,
    /// Of a ratio, for so many of the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    per: Option<u64>,
    /// Accepted work that could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    unverified: Option<u64>,
    /// From when to when the number was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<[f64; 2]>,
    /// Time over which the system was watched for it.
    took_ms: f64,
    /// Limit, number of samples and the like, for people.
    detail: String,
    /// Why it does not hold, as data.
    evidence: Vec<Evidence>,
    /// The same for people.
    facts: Vec<String>,
}

/// Something measured that a limit rests on.
#[derive(Serialize, JsonSchema)]
struct ComparedWith {
    /// `steady`, the name of a stage, or a measure of a load.
    name: String,
    /// What was measured.
    value: f64,
}

/// A fact that tells why an expectation does not hold.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Evidence {
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
struct FaultJson {
    /// Its name.
    name: String,
    /// `kill`, `latency`, …
    kind: String,
    /// What it was to hit.
    targets: Vec<String>,
    /// When it was in place; null when it never was.
    injected: Option<f64>,
    /// When it was proved to be gone.
    reverted: Option<f64>,
    /// Whether it touched anything.
    exercised: bool,
    /// Evidence that it bit, by target.
    proof: Vec<String>,
    /// Evidence that it is gone, by target.
    undo: Vec<String>,
    /// What went wrong with injecting or undoing.
    errors: Vec<String>,
    /// From injection to the first request that did not end as expected.
    first_impact_ms: Option<f64>,
    /// From injection to the first alarm about a target.
    detected_ms: Option<f64>,
    /// Whether the system became steady again.
    recovered: RecoveredJson,
    /// How long that took.
    recovered_ms: Option<f64>,
    /// Requests begun from injection to recovery that did not end as expected.
    hurt: u64,
    /// Requests under way when it struck that did not end as expected.
    carried_in: u64,
}

/// Whether the system became steady again.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Recovered")]
enum RecoveredJson {
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
struct OperationJson {
    /// Its load, and its step where the load has several.
    name: String,
    /// Method and path, as planned.
    request: String,
    /// The whole run first, then the phases.
    phases: Vec<PhaseJson>,
}

/// An operation in a phase.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Phase")]
struct PhaseJson {
    /// `whole run`, `steady`, a stage, a fault, `recovery from` it, `rest`.
    name: String,
    /// Requests that were due.
    n: u64,
    /// Ended as expected.
    ok: u64,
    /// Did not.
    failed: u64,
    /// Were never sent.
    unsent: u64,
    /// Times from the intended start.
    response: TimesJson,
    /// Times from sending.
    service: TimesJson,
}

/// Quantiles, null where there are too few requests for them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Times")]
struct TimesJson {
    /// Half took at most so long.
    p50_ms: Option<f64>,
    /// 90 %.
    p90_ms: Option<f64>,
    /// 95 %.
    p95_ms: Option<f64>,
    /// 99 %.
    p99_ms: Option<f64>,
    /// 99.9 %.
    p999_ms: Option<f64>,
    /// The longest.
    max_ms: Option<f64>,
}

/// A way in which requests of a load failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
struct ErrorJson {
    /// The load.
    load: String,
    /// `status 503`, `timeout`, …
    class: String,
    /// How often.
    count: u64,
}

fn texts(each: &[crate::printable::Text]) -> Vec<String> {
    each.iter().map(ToString::to_string).collect()
}

fn window(stretch: model::Stretch) -> [f64; 2] {
    [stretch.from.seconds(), stretch.to.seconds()]
}

impl Document {
    fn of(report: &Report) -> Self {
        let headline = &report.headline;
        Self {
            version: SHAPE_VERSION,
            name: report.name.to_string(),
            seed: report.seed,
            started: prose::started(report),
            took_ms: ms(report.took),
            conclusion: report.conclusion,
            status: report.status(),
            exit: report.exit.code(),
            sentence: prose::sentence(report),
            reason: report.reason.as_ref().map(ToString::to_string),
            availability: Availability {
                ok: headline.counts.ok,
                failed: headline.counts.failed,
                unsent: headline.counts.unsent,
                ratio: headline.counts.success(),
                good_seconds: headline.good_seconds,
                seconds: headline.seconds,
                longest_outage_ms: ms(headline.longest_outage),
            },
            validity: Validity {
                valid: report.validity.problems.is_empty(),
                problems: texts(&report.validity.problems),
                lag_p99_ms: report.validity.lag_p99.map(ms),
                lag_limit_ms: ms(report.validity.lag_limit),
            },
            work: headline.work.map(|work| Work {
                noun: report.words.work,
                accepted: work.accepted,
                lost: work.lost,
                unknown: work.unknown,
            }),
            expectations: report
                .expectations
                .iter()
                .map(|one| expectation(report, one))
                .collect(),
            faults: report.faults.iter().map(fault).collect(),
            operations: report.operations.iter().map(operation).collect(),
            errors: report
                .errors
                .iter()
                .map(|error| ErrorJson {
                    load: error.load.to_string(),
                    class: error.class.to_string(),
                    count: error.count,
                })
                .collect(),
            environment: report.environment.clone(),
            repeat: prose::repeat(report),
        }
    }
}

fn expectation(report: &Report, expectation: &Expectation) -> ExpectationJson {
    let (scope, fault, stage) = match &expectation.scope {
        Scope::Steady => (ScopeJson::Steady, None, None),
        Scope::Always => (ScopeJson::Always, None, None),
        Scope::During(fault) => (ScopeJson::During, Some(fault), None),
        Scope::Stage(stage) => (ScopeJson::Stage, None, Some(stage)),
        Scope::Recover(fault) => (ScopeJson::Recover, Some(fault), None),
        Scope::End => (ScopeJson::End, None, None),
    };
    let mut json = ExpectationJson {
        id: expectation.id.to_string(),
        text: expectation.text.to_string(),
        scope,
        fault: fault.map(ToString::to_string),
        stage: stage.map(ToString::to_string),
        must_fail: expectation.must_fail,
        word: expectation.outcome,
        status: expectation.status(),
        observed: None,
        unit: None,
        limit: None,
        compared_with: None,
        n: None,
        ok: None,
        counted: None,
        per: None,
        unverified: None,
        window: None,
        took_ms: ms(expectation.took),
        detail: prose::detail(report, &expectation.found),
        evidence: expectation.evidence.iter().map(evidence).collect(),
        facts: expectation.evidence.iter().map(prose::fact).collect(),
    };
    add_found(&mut json, &expectation.found, report.words);
    json
}

fn number(reading: Reading) -> f64 {
    match reading {
        Reading::Ratio(share) => share,
        Reading::Rate(rate) => rate,
        Reading::Time(length) => ms(length),
    }
}

fn add_found(json: &mut ExpectationJson, found: &Found, words: &'static Vocabulary) {
    match found {
        Found::Measure(found) => {
            json.observed = found.observed.map(number);
            json.unit = found.observed.map(|reading| match reading {
                Reading::Ratio(_) => "ratio",
                Reading::Time(_) => "ms",
                Reading::Rate(_) => "per second",
            });
            json.limit = found.limit.map(number);
            json.compared_with = found.base.as_ref().map(|base| ComparedWith {
                name: base.name.to_string(),
                value: number(base.reading),
            });
            (json.n, json.ok) = (Some(found.n), Some(found.ok));
            json.window = Some(window(found.stretch));
        }
        Found::Change { within, after, .. } => {
            json.observed = after.map(ms);
            (json.unit, json.limit) = (Some("ms"), Some(ms(*within)));
        }
        Found::Ratio {
            observed,
            limit,
            counted,
            per,
            unit,
            stretch,
            ..
        } => {
            json.observed = *observed;
            (json.unit, json.limit) = (Some(unit.name), Some(*limit));
            (json.counted, json.per) = (Some(*counted), Some(*per));
            json.window = Some(window(*stretch));
        }
        Found::Recovery { within, recovery } => {
            json.observed = recovered_ms(recovery);
            (json.unit, json.limit) = (Some("ms"), Some(ms(*within)));
        }
        Found::Ledger {
            accepted,
            bad,
            unverified,
            ..
        } => {
            json.observed = Some(*bad as f64);
            (json.unit, json.limit) = (Some(words.works), Some(0.0));
            (json.n, json.unverified) = (Some(*accepted), Some(*unverified));
        }
        Found::Nothing { .. } => {}
    }
}

fn evidence(fact: &model::Evidence) -> Evidence {
    match fact {
        model::Evidence::WorstStretch { stretch, bad } => Evidence::WorstStretch {
            window: window(*stretch),
            bad: *bad,
        },
        model::Evidence::TopError { class, count } => Evidence::TopError {
            class: class.to_string(),
            count: *count,
        },
        model::Evidence::SlowestRequest(request) => Evidence::SlowestRequest {
            due: request.due.seconds(),
            response_ms: ms(request.response),
            request_id: request.id.as_ref().map(ToString::to_string),
        },
        model::Evidence::LogLine { at, node, line } => Evidence::LogLine {
            at: at.seconds(),
            node: node.to_string(),
            line: line.to_string(),
        },
        model::Evidence::Exit { at, node, how } => Evidence::Exit {
            at: at.seconds(),
            node: node.to_string(),
            how: how.to_string(),
        },
        model::Evidence::Work { id, trouble } => Evidence::Work {
            id: id.to_string(),
            trouble: trouble.to_string(),
        },
    }
}

fn recovered_ms(recovery: &Recovery) -> Option<f64> {
    match recovery {
        Recovery::After(after) => Some(ms(*after)),
        Recovery::Never | Recovery::Unknown(_) => None,
    }
}

fn fault(fault: &Fault) -> FaultJson {
    FaultJson {
        name: fault.name.to_string(),
        kind: fault.kind.to_string(),
        targets: texts(&fault.targets),
        injected: fault.injected.map(Moment::seconds),
        reverted: fault.reverted.map(Moment::seconds),
        exercised: fault.exercised,
        proof: texts(&fault.proofs),
        undo: texts(&fault.undos),
        errors: texts(&fault.errors),
        first_impact_ms: fault.first_impact.map(ms),
        detected_ms: fault.detected.map(ms),
        recovered: match &fault.recovery {
            Recovery::After(_) => RecoveredJson::After,
            Recovery::Never => RecoveredJson::Never,
            Recovery::Unknown(_) => RecoveredJson::Unknown,
        },
        recovered_ms: recovered_ms(&fault.recovery),
        hurt: fault.hurt,
        carried_in: fault.carried_in,
    }
}

fn operation(operation: &Operation) -> OperationJson {
    OperationJson {
        name: prose::operation(operation),
        request: format!("{} {}", operation.method, operation.path),
        phases: operation
            .phases
            .iter()
            .map(|phase| PhaseJson {
                name: prose::phase(&phase.kind),
                n: phase.counts.offered(),
                ok: phase.counts.ok,
                failed: phase.counts.failed,
                unsent: phase.counts.unsent,
                response: times(&phase.response),
                service: times(&phase.service),
            })
            .collect(),
    }
}

fn times(times: &Times) -> TimesJson {
    let q = |q| times.quantile(q).map(ms);
    TimesJson {
        p50_ms: q(0.5),
        p90_ms: q(0.9),
        p95_ms: q(0.95),
        p99_ms: q(0.99),
        p999_ms: q(0.999),
        max_ms: times.max().map(ms),
    }
}
