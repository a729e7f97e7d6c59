//! `report.json`, for programs. Its shape is stable within [`SHAPE_VERSION`]: fields may be added, none is renamed,
//! removed or given another meaning. Lengths of time are milliseconds, moments are seconds from the start of load, shares
//! are 0 to 1. The types in [`shape`] *are* the published schema (`clip-harness schema report`).

use std::io;
use std::time::Duration;

use schemars::Schema;

use self::shape::{
    Availability, ComparedWith, Document, ErrorJson, Evidence, ExpectationJson, FaultJson,
    OperationJson, PhaseJson, RecoveredJson, ScopeJson, SlowedJson, TimesJson, Validity, Work,
};
use super::model::{self, Expectation, Fault, Found, Moment, Operation, Recovery, Report, Scope};
use super::prose;
use crate::series::{Reading, Times};
use crate::sut::Vocabulary;

mod shape;

/// Version of the shape of `report.json`. 2: what was `calls` and `tries` is `per` and `counted`, of any ratio; what was
/// `jobs` is `work`, with its noun.
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
            reason: prose::reason(report),
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
                problems: report
                    .validity
                    .problems
                    .iter()
                    .map(prose::invalidity)
                    .collect(),
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
        Found::Nothing(_) => {}
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
        undo_began: fault.undo_began.map(Moment::seconds),
        reverted: fault.reverted.map(Moment::seconds),
        exercised: fault.exercised,
        proof: texts(&fault.proofs),
        undo: texts(&fault.undos),
        errors: texts(&fault.errors),
        first_impact_ms: fault.first_impact.map(ms),
        slowed: fault.slowed.as_ref().map(|slowed| SlowedJson {
            load: slowed.load.to_string(),
            first_ms: ms(slowed.after),
            requests: slowed.requests,
            typical_ms: ms(slowed.typical),
            baseline_ms: ms(slowed.baseline),
            factor: (slowed.factor * 10.0).round() / 10.0,
        }),
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
        request: operation.request.to_string(),
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
