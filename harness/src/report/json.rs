//! `report.json`, for programs. Its shape is stable within [`SHAPE_VERSION`]: fields may be added, none is renamed,
//! removed or given another meaning. Lengths of time are milliseconds, moments are seconds from the start of load, shares
//! are 0 to 1.
//!
//! ```text
//! { version, name, seed, started, took_ms, conclusion, status, exit, sentence, reason,
//!   availability: { ok, failed, unsent, ratio, good_seconds, seconds, longest_outage_ms },
//!   validity: { valid, problems, lag_p99_ms, lag_limit_ms },
//!   jobs: { accepted, lost, unknown } | null,
//!   expectations: [ { id, text, scope, fault, word, status, observed, unit, limit, n, ok, window: [from, to], detail, facts } ],
//!   faults: [ { name, kind, targets, injected, reverted, exercised, proof, undo, first_impact_ms, detected_ms,
//!               recovered_ms, recovered, hurt, carried_in } ],
//!   operations: [ { name, request, phases: [ { name, n, ok, failed, unsent, response: T, service: T } ] } ],
//!   errors: [ { load, class, count } ], environment, repeat }
//! T = { p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms }, null where there are too few requests
//! ```

use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::View;
use crate::event::Offset;
use crate::judge::{Finding, Recovered, Row, Scope, Verdict};
use crate::record::{Record, Timeline};
use crate::series::{Observation, Reading, Times};

/// Version of the shape of `report.json`.
pub const SHAPE_VERSION: u32 = 1;

pub(super) fn text(record: &Record, verdict: &Verdict, view: &View) -> io::Result<String> {
    let mut text = serde_json::to_string_pretty(&value(record, verdict, view))?;
    text.push('\n');
    Ok(text)
}

fn ms(length: Duration) -> f64 {
    (length.as_secs_f64() * 1e6).round() / 1e3
}

fn value(record: &Record, verdict: &Verdict, view: &View) -> Value {
    let origin = Timeline::of(record)
        .load
        .map(|load| load.from)
        .unwrap_or_default();
    let at = |offset: Offset| (offset.0 as f64 - origin.0 as f64) / 1e6;
    let headline = &verdict.headline;
    let availability = &headline.availability;
    json!({
        "version": SHAPE_VERSION,
        "name": view.name,
        "seed": view.seed,
        "started": view.started,
        "took_ms": ms(view.took),
        "conclusion": verdict.conclusion,
        "status": verdict.status(),
        "exit": view.exit.0,
        "sentence": view.sentence,
        "reason": verdict.reason,
        "availability": {
            "ok": availability.counts.ok,
            "failed": availability.counts.failed,
            "unsent": availability.counts.unsent,
            "ratio": availability.counts.success(),
            "good_seconds": availability.good_seconds,
            "seconds": availability.seconds,
            "longest_outage_ms": ms(availability.longest_outage),
        },
        "validity": {
            "valid": verdict.validity.problems.is_empty(),
            "problems": verdict.validity.problems,
            "lag_p99_ms": verdict.validity.lag_p99.map(ms),
            "lag_limit_ms": ms(verdict.validity.lag_limit),
        },
        "jobs": headline.accepted.map(|accepted| json!({
            "accepted": accepted,
            "lost": headline.lost,
            "unknown": headline.unknown,
        })),
        "expectations": verdict.rows.iter().map(|row| expectation(row, view, &at)).collect::<Vec<_>>(),
        "faults": verdict.faults.iter().map(|fault| json!({
            "name": fault.fault,
            "kind": fault.kind,
            "targets": fault.targets,
            "injected": fault.injected.map(at),
            "reverted": fault.reverted.map(at),
            "exercised": fault.exercised,
            "proof": fault.proofs,
            "undo": fault.undos,
            "errors": fault.errors,
            "first_impact_ms": fault.first_impact.map(ms),
            "detected_ms": fault.detected.map(ms),
            "recovered": match &fault.recovered {
                Recovered::After(_) => "after",
                Recovered::Never => "never",
                Recovered::Unknown(_) => "unknown",
            },
            "recovered_ms": match &fault.recovered {
                Recovered::After(after) => Some(ms(*after)),
                _ => None,
            },
            "hurt": fault.hurt,
            "carried_in": fault.carried_in,
        })).collect::<Vec<_>>(),
        "operations": view.operations.iter().map(|operation| json!({
            "name": operation.name,
            "request": operation.request,
            "phases": operation.phases.iter().map(|phase| json!({
                "name": phase.name,
                "n": phase.counts.offered(),
                "ok": phase.counts.ok,
                "failed": phase.counts.failed,
                "unsent": phase.counts.unsent,
                "response": times(&phase.response),
                "service": times(&phase.service),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "errors": view.errors.iter().map(|(load, class, n)| json!({
            "load": load, "class": class, "count": n,
        })).collect::<Vec<_>>(),
        "environment": record.environment,
        "repeat": view.repeat,
    })
}

fn times(times: &Times) -> Value {
    let q = |q| times.quantile(q).map(ms);
    json!({
        "p50_ms": q(0.5),
        "p90_ms": q(0.9),
        "p95_ms": q(0.95),
        "p99_ms": q(0.99),
        "p999_ms": q(0.999),
        "max_ms": times.max().map(ms),
    })
}

fn expectation(row: &Row, view: &View, at: &dyn Fn(Offset) -> f64) -> Value {
    let (scope, fault) = match &row.scope {
        Scope::Steady => ("steady", None),
        Scope::Always => ("always", None),
        Scope::During(fault) => ("during", Some(fault)),
        Scope::Stage(_) => ("stage", None),
        Scope::Recover(fault) => ("recover", Some(fault)),
        Scope::End => ("end", None),
    };
    let number = |reading: Reading| match reading {
        Reading::Ratio(share) => share,
        Reading::Rate(rate) => rate,
        Reading::Time(length) => ms(length),
    };
    let mut value = json!({
        "id": row.id,
        "text": row.text,
        "scope": scope,
        "fault": fault,
        "word": row.outcome,
        "status": row.status(),
    });
    let more = match &row.finding {
        Finding::Measure(found) => json!({
            "observed": found.observed.map(number),
            "unit": found.observed.map(|reading| match reading {
                Reading::Ratio(_) => "ratio",
                Reading::Time(_) => "ms",
                Reading::Rate(_) => "per second",
            }),
            "limit": found.limit.map(number),
            "n": found.n,
            "ok": found.ok,
            "window": [at(found.window.from), at(found.window.to)],
        }),
        Finding::Breaker { within, after, .. } => json!({
            "observed": after.map(ms), "unit": "ms", "limit": ms(*within),
        }),
        Finding::Amplification(found) => json!({
            "observed": found.observed, "unit": "tries per call", "limit": found.limit,
            "calls": found.calls, "tries": found.tries,
            "window": [at(found.window.from), at(found.window.to)],
        }),
        Finding::Recovery { within, recovered } => json!({
            "observed": match recovered { Recovered::After(after) => Some(ms(*after)), _ => None },
            "unit": "ms",
            "limit": ms(*within),
        }),
        Finding::Ledger(found) => json!({
            "observed": found.bad, "unit": "jobs", "limit": 0, "n": found.accepted, "unverified": found.unverified,
        }),
        Finding::Nothing { .. } => json!({ "observed": null }),
    };
    let shown = view.rows.iter().find(|shown| shown.id == row.id);
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
        if let Scope::Stage(stage) = &row.scope {
            value.insert("stage".to_owned(), stage.clone().into());
        }
        if row.must_fail {
            value.insert("must_fail".to_owned(), true.into());
        }
        if let Finding::Measure(Observation {
            base: Some(base), ..
        }) = &row.finding
        {
            let base = json!({ "name": base.name, "value": number(base.reading) });
            value.insert("compared_with".to_owned(), base);
        }
        if let Some(shown) = shown {
            value.insert("detail".to_owned(), shown.detail.clone().into());
            value.insert("facts".to_owned(), shown.evidence.clone().into());
        }
    }
    value
}
