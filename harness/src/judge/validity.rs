//! Whether a run says anything about the system: a load generator that fell behind measured itself.

use std::time::Duration;

use super::{Invalidity, Validity};
use crate::event::{EventKind, OWN_LIMIT, Offset};
use crate::plan::{LoadModel, Plan};
use crate::record::Record;
use crate::scenario::expr::{Expr, Limit, Metric};
use crate::series::Window;

/// Lateness that is always allowed: below it lie the timers of a busy machine.
const LAG_ALLOWED: Duration = Duration::from_millis(20);
/// Share of the strictest latency limit that lateness may make up.
const LAG_SHARE: f64 = 0.10;

pub(super) fn validity(record: &Record) -> Validity {
    let limit = lag_limit(&record.plan);
    let lag = record
        .events
        .iter()
        .rev()
        .find_map(|event| match event.kind {
            EventKind::Generator { lag_p99_us, .. } => Some(Duration::from_micros(lag_p99_us)),
            _ => None,
        });
    let mut problems = Vec::new();
    let open = |model: &LoadModel| matches!(model, LoadModel::Arrivals { .. });
    let arrivals = record.plan.load.iter().any(|load| open(&load.model));
    match lag {
        Some(lag) if lag > limit => problems.push(Invalidity::Behind { lag, limit }),
        None if arrivals => problems.push(Invalidity::LagUnknown),
        _ => {}
    }
    problems.extend(stalls(record));
    problems.extend(record.events.iter().find_map(|event| match event.kind {
        EventKind::LinksExhausted { connections } => {
            Some(Invalidity::LinksExhausted { connections })
        }
        _ => None,
    }));
    let everything = Window::new(Offset(0), Offset(u64::MAX));
    for (index, load) in record.plan.load.iter().enumerate() {
        let errors = record.series.errors(index, everything);
        if let Some((_, count)) = errors.iter().find(|(class, _)| class == OWN_LIMIT) {
            problems.push(Invalidity::GeneratorExhausted {
                load: load.name.clone(),
                requests: *count,
            });
        }
        if record.series.points(index, everything).next().is_none() {
            let load = load.name.clone();
            problems.push(Invalidity::NoRequests { load });
        }
    }
    Validity {
        problems,
        lag_p99: lag,
        lag_limit: limit,
    }
}

/// The harness stood still while it measured.
fn stalls(record: &Record) -> Option<Invalidity> {
    let longest = record
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::HarnessStalled { for_us } => Some((for_us, event.at)),
            _ => None,
        })
        .max()?;
    let (for_us, until) = longest;
    Some(Invalidity::Stalled {
        length: Duration::from_micros(for_us),
        until,
    })
}

/// The larger of a fixed time and a share of the strictest time that the plan sets as a limit.
fn lag_limit(plan: &Plan) -> Duration {
    let steady = plan.steady.iter().flat_map(|steady| &steady.hold);
    let expected = plan.expect.expressions().map(|one| &one.expr);
    let strictest = expected
        .chain(steady.map(|hold| &hold.expr))
        .filter_map(|expr| match expr {
            Expr::Measure(measure) => match (measure.metric, &measure.limit) {
                (Metric::Quantile(_) | Metric::OkQuantile(_), Limit::Time(time)) => Some(*time),
                (Metric::Within(time), _) => Some(time),
                _ => None,
            },
            Expr::Probe(_) => None,
        })
        .min();
    strictest.map_or(LAG_ALLOWED, |limit| {
        limit.mul_f64(LAG_SHARE).max(LAG_ALLOWED)
    })
}
