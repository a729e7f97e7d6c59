//! The few numbers that a reader looks at first.

use std::time::Duration;

use super::{Availability, FaultRow, Headline, Recovered, SecondState};
use crate::event::{Accepted, Fate, Offset};
use crate::record::{Record, Timeline};
use crate::scenario::expr::{Cmp, Expr, Limit, Metric};
use crate::series::{Counts, SLICE, Window};

/// The seconds of the load and how they were, counted from its start.
#[must_use]
pub fn seconds(record: &Record, timeline: &Timeline) -> Vec<(Window, SecondState)> {
    let Some(load) = timeline.load else {
        return Vec::new();
    };
    let objectives: Vec<f64> = (0..record.plan.load.len())
        .map(|load| objective(record, load))
        .collect();
    let mut seconds = Vec::new();
    let mut window = Window::starting(load.from, SLICE);
    while window.from < load.to {
        let mut state = SecondState::Idle;
        for (load, objective) in objectives.iter().enumerate() {
            match record.series.counts(load, window).success() {
                None => {}
                Some(share) if share + 1e-9 < *objective => state = SecondState::Bad,
                Some(_) if state == SecondState::Idle => state = SecondState::Good,
                Some(_) => {}
            }
        }
        seconds.push((window, state));
        window = Window::starting(window.to, SLICE);
    }
    seconds
}

/// The load's own objective, else the strictest of another, else every request.
fn objective(record: &Record, load: usize) -> f64 {
    let others = || (0..record.plan.load.len()).filter_map(|load| own_objective(record, load));
    own_objective(record, load)
        .or_else(|| others().reduce(f64::max))
        .unwrap_or(1.0)
}

/// `success >= …` over the whole run, else in the steady state, else in windows.
fn own_objective(record: &Record, load: usize) -> Option<f64> {
    let name = record.plan.load.get(load).map(|load| load.name.as_str());
    let steady = record.plan.steady.iter().flat_map(|steady| &steady.hold);
    let written = |over: bool| {
        move |expr: &Expr| match expr {
            Expr::Measure(measure)
                if Some(measure.load.as_str()) == name
                    && measure.metric == Metric::Success
                    && measure.cmp == Cmp::AtLeast
                    && measure.over.is_some() == over =>
            {
                match &measure.limit {
                    Limit::Ratio(share) => Some(*share),
                    _ => None,
                }
            }
            _ => None,
        }
    };
    let always = record.plan.expect.always.iter().map(|one| &one.expr);
    let exprs = always.chain(steady.map(|hold| &hold.expr));
    let found = exprs.clone().find_map(written(false));
    found.or_else(|| exprs.clone().find_map(written(true)))
}

pub(super) fn headline(record: &Record, timeline: &Timeline, faults: &[FaultRow]) -> Headline {
    let whole = timeline.load.unwrap_or(Window::new(Offset(0), Offset(0)));
    let loads = 0..record.plan.load.len();
    let main = loads.clone().max_by_key(|load| {
        (
            record.series.counts(*load, whole).offered(),
            std::cmp::Reverse(*load),
        )
    });
    let p99 = |window: Window| record.series.responses(main?, window).quantile(0.99);
    let worst_p99 = faults
        .iter()
        .filter_map(|fault| {
            let window = Window::new(fault.injected?, fault.reverted.unwrap_or(timeline.end));
            Some((p99(window)?, fault.fault.clone()))
        })
        .max_by_key(|(p99, _)| *p99);
    let slowest_recovery = faults
        .iter()
        .map(|fault| (fault.recovered.clone(), fault.fault.clone()))
        .max_by_key(|(recovered, _)| match recovered {
            Recovered::After(after) => (0, *after),
            Recovered::Unknown(_) => (1, Duration::ZERO),
            Recovered::Never => (2, Duration::ZERO),
        });
    let entries = record
        .ledger
        .as_ref()
        .map(|ledger| ledger.entries.as_slice());
    let entries = entries.filter(|entries| {
        !entries.is_empty()
            || record
                .plan
                .load
                .iter()
                .any(|load| load.steps.iter().any(|s| s.ledger))
    });
    let number = |accepted: Accepted| {
        entries.map(|all| {
            all.iter()
                .filter(|entry| entry.accepted == accepted)
                .count() as u64
        })
    };
    Headline {
        availability: availability(record, timeline, whole),
        load: main.and_then(|load| Some(record.plan.load.get(load)?.name.clone())),
        steady_p99: timeline.steady.and_then(p99),
        worst_p99,
        slowest_recovery,
        accepted: number(Accepted::Ok),
        unknown: number(Accepted::Unknown),
        lost: entries.map(|all| {
            let lost = all
                .iter()
                .filter(|e| e.accepted == Accepted::Ok && e.fate == Some(Fate::Lost));
            lost.count() as u64
        }),
        decoded: entries.and_then(|all| {
            let decoded = all.iter().filter_map(|entry| match entry.fate {
                Some(Fate::Done { decoded, .. }) => decoded.map(u64::from),
                _ => None,
            });
            decoded.reduce(|a, b| a + b)
        }),
    }
}

fn availability(record: &Record, timeline: &Timeline, whole: Window) -> Availability {
    let loads = 0..record.plan.load.len();
    let counts = loads
        .clone()
        .map(|load| record.series.counts(load, whole))
        .fold(Counts::default(), Counts::and);
    let seconds = seconds(record, timeline);
    let of = |state| seconds.iter().filter(|(_, s)| *s == state).count() as u64;
    let (good, bad) = (of(SecondState::Good), of(SecondState::Bad));

    // Seconds in which nothing was due neither end an outage nor lengthen it at its end.
    let mut outage: Option<Window> = None;
    let mut current: Option<Window> = None;
    for (window, state) in &seconds {
        match state {
            SecondState::Good => current = None,
            SecondState::Idle => {}
            SecondState::Bad => {
                let from = current.map_or(window.from, |current| current.from);
                let run = Window::new(from, window.to);
                current = Some(run);
                if outage.is_none_or(|longest| run.length() > longest.length()) {
                    outage = Some(run);
                }
            }
        }
    }
    Availability {
        counts,
        objective: loads
            .map(|load| objective(record, load))
            .fold(0.0, f64::max),
        good_seconds: good,
        seconds: good + bad,
        longest_outage: outage.map(Window::length).unwrap_or_default(),
        outage,
    }
}
