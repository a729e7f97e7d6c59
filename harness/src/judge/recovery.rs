//! Whether the system became steady again after each fault, and stayed so until the next one.
//!
//! A fault answers for the time from its proved end until the next fault begins, and for no more: a stretch that another
//! fault cuts short, or in which another one is in place, can show that the system was steady, but not that this fault
//! kept it from being so.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::{Finding, Gap, Interference, Recovered, Row, RowOutcome, Scope};
use crate::event::Offset;
use crate::plan::{ExpectationId, SteadyPlan};
use crate::record::timeline::FaultSpan;
use crate::record::{Record, Timeline};
use crate::scenario::expr::{Expectation, Expr, Measure};
use crate::series::{SLICE, Window};

/// The time after a fault that says something about it.
struct Aftermath<'a> {
    /// Proved end of the fault.
    end: Offset,
    /// When load ends, or the next fault begins.
    until: Offset,
    /// The next fault, where that comes before load ends.
    next: Option<&'a FaultSpan>,
    /// All requests due before this were answered before the next fault began: what failed later may be its doing.
    untouched: Offset,
    /// Another fault that was still in place at the end, and when it was gone.
    beside: Option<(&'a FaultSpan, Offset)>,
}

impl<'a> Aftermath<'a> {
    fn of(
        record: &Record,
        timeline: &'a Timeline,
        steady: &SteadyPlan,
        fault: &FaultSpan,
    ) -> Option<Self> {
        let end = fault.reverted()?;
        timeline.load?;
        let last = steady_load_end(record, timeline, &steady.hold);
        let others = || {
            let others = timeline.faults.iter();
            others
                .filter(|other| other.name != fault.name)
                .filter_map(|other| Some((other, other.window(timeline.end)?)))
        };
        let next = others()
            .filter(|(_, window)| window.from >= end && window.from < last)
            .min_by_key(|(_, window)| window.from);
        let until = next.map_or(last, |(_, window)| window.from);
        let untouched = match next {
            Some(_) => first_under_way(record, &steady.hold, end, until),
            None => until,
        };
        let beside = others()
            .filter(|(_, window)| window.from < end && window.to > end)
            .max_by_key(|(_, window)| window.to)
            .map(|(other, window)| (other, window.to));
        Some(Self {
            end,
            until,
            next: next.map(|(next, _)| next),
            untouched,
            beside,
        })
    }

    /// From here on no other fault is in place.
    fn clear(&self) -> Offset {
        self.beside.map_or(self.end, |(_, gone)| gone)
    }

    /// The other fault because of which what is not good cannot be put down to this one, where there is one.
    fn interference(&self) -> Option<Interference> {
        if let Some((other, gone)) = self.beside {
            return Some(Interference {
                fault: other.name.clone(),
                already: true,
                after: gone.since(self.end),
            });
        }
        Some(Interference {
            fault: self.next?.name.clone(),
            already: false,
            after: self.until.since(self.end),
        })
    }
}

/// Time from the end of a fault to the start of the first full steady window after it, found in the requests.
pub(super) fn recovered(record: &Record, timeline: &Timeline, fault: &FaultSpan) -> Recovered {
    if fault.reverted().is_none() {
        return Recovered::Unknown(Gap::NoEnd);
    }
    let Some(steady) = &record.plan.steady else {
        return Recovered::Unknown(Gap::NoSteady);
    };
    let Some(after) = Aftermath::of(record, timeline, steady, fault) else {
        return Recovered::Unknown(Gap::NoLoad);
    };
    let length = steady.window.get();
    let end = after.end;
    let within = record.plan.expect.recover.map(HumanDuration::get);
    // A load that the steady state is about must go on for a whole window more, or there is nothing to look at.
    if after.until.since(end) < length {
        return Recovered::Unknown(match after.next.and_then(|_| after.interference()) {
            Some(by) => Gap::WindowCutShort { by, window: length },
            None => Gap::LoadEnded,
        });
    }
    let baseline = timeline.steady;
    let found = record
        .series
        .first_holding(&steady.hold, length, end, after.until, baseline);
    if let Some(window) = found {
        let took = window.from.since(end);
        let late = |within: Duration| took > within && window.from.since(after.clear()) <= within;
        return match (within.is_some_and(late), after.interference()) {
            (true, Some(by)) => Recovered::Unknown(Gap::LateBeside { by, took }),
            _ => Recovered::After(took),
        };
    }
    // With nothing else going on, load that ends without having been steady is an answer. Beside other faults the answer
    // needs the whole of the time allowed, and a window more, without them.
    let long_enough = within.is_some_and(|within| {
        after.untouched.since(after.clear()) >= within.saturating_add(length)
    });
    if let Some(by) = after.interference().filter(|_| !long_enough) {
        return Recovered::Unknown(Gap::NotYetBeside { by });
    }
    let mut starts = std::iter::successors(Some(after.clear()), |at| Some(at.plus(SLICE)))
        .take_while(|at| at.plus(length) <= after.untouched);
    let denied = starts.any(|at| {
        let window = Window::starting(at, length);
        record.series.holds(&steady.hold, window, baseline) == Some(false)
    });
    match denied {
        true => Recovered::Never,
        false => Recovered::Unknown(Gap::FewSamples),
    }
}

pub(super) fn row(
    record: &Record,
    timeline: &Timeline,
    fault: &FaultSpan,
    within: Duration,
) -> Row {
    let recovered = recovered(record, timeline, fault);
    let outcome = match &recovered {
        Recovered::After(after) if *after > within => RowOutcome::Fail,
        Recovered::Never => RowOutcome::Fail,
        _ if !fault.exercised() => RowOutcome::NotExercised,
        Recovered::After(_) => RowOutcome::Pass,
        Recovered::Unknown(_) => RowOutcome::Inconclusive,
    };
    let (id, scope) = (
        ExpectationId::recover(&fault.name),
        Scope::Recover(fault.name.clone()),
    );
    let text = format!("steady again within {}", HumanDuration(within));
    let finding = Finding::Recovery { within, recovered };
    Row::new(id, scope, text, (outcome, finding))
}

/// From recovery on, the steady state holds in every window until the next fault or the end of load: one row for each
/// part of it, with the worst window.
pub(super) fn stays(record: &Record, timeline: &Timeline, fault: &FaultSpan) -> Vec<Row> {
    let Some(steady) = &record.plan.steady else {
        return Vec::new();
    };
    let recovered = recovered(record, timeline, fault);
    let after = Aftermath::of(record, timeline, steady, fault);
    let each = steady.hold.iter().filter_map(|hold| match &hold.expr {
        Expr::Measure(measure) => Some((hold, measure)),
        Expr::Probe(_) => None,
    });
    each.enumerate()
        .map(|(index, (hold, measure))| {
            let (outcome, finding) = match (&recovered, &after) {
                (Recovered::After(took), Some(after)) => {
                    stayed(record, timeline, steady, measure, after, *took)
                }
                (Recovered::Unknown(why), _) => Finding::nothing(why.clone()),
                (Recovered::Never | Recovered::After(_), _) => {
                    Finding::nothing(Gap::NotSteadyAgain)
                }
            };
            let outcome = match outcome {
                RowOutcome::Fail => RowOutcome::Fail,
                _ if !fault.exercised() => RowOutcome::NotExercised,
                outcome => outcome,
            };
            let (id, scope) = (
                ExpectationId::stays(&fault.name, index),
                Scope::Recover(fault.name.clone()),
            );
            let text = format!("stays: {} over {}", hold.text, steady.window);
            Row {
                expr: Some(hold.expr.clone()),
                ..Row::new(id, scope, text, (outcome, finding))
            }
        })
        .collect()
}

fn stayed(
    record: &Record,
    timeline: &Timeline,
    steady: &SteadyPlan,
    measure: &Measure,
    after: &Aftermath<'_>,
    took: Duration,
) -> (RowOutcome, Finding) {
    let every = Measure {
        over: Some(steady.window),
        ..measure.clone()
    };
    // The window of the recovery itself is looked at in any case: it was over when the next fault began.
    let from = after.end.plus(took);
    let stretch = Window::new(from, after.untouched.max(from.plus(steady.window.get())));
    let found = record.series.evaluate(&every, stretch, timeline.marks());
    let outcome = RowOutcome::of(&found);
    match (outcome, after.beside, after.interference()) {
        (RowOutcome::Fail, Some((_, gone)), Some(by)) if found.window.from < gone => {
            Finding::nothing(Gap::BrokenBeside { by })
        }
        _ => (outcome, Finding::Measure(found)),
    }
}

/// When the first of the loads ends that the steady state is about.
fn steady_load_end(record: &Record, timeline: &Timeline, hold: &[Expectation]) -> Offset {
    let load_end = timeline.load.map_or(Offset(0), |load| load.to);
    let everything = Window::new(Offset(0), load_end);
    hold.iter()
        .filter_map(|hold| match &hold.expr {
            Expr::Measure(measure) => record.series.load(&measure.load),
            Expr::Probe(_) => None,
        })
        .map(|load| record.series.last_due(load, everything).unwrap_or_default())
        .min()
        .unwrap_or(load_end)
}

/// Intended start of the first request due since `from` that was still under way at `at`; `at` when there is none.
fn first_under_way(record: &Record, hold: &[Expectation], from: Offset, at: Offset) -> Offset {
    hold.iter()
        .filter_map(|hold| match &hold.expr {
            Expr::Measure(measure) => Some(measure),
            Expr::Probe(_) => None,
        })
        .flat_map(|measure| match record.series.load(&measure.load) {
            Some(load) => load..load + 1,
            // A name for all of them.
            None => 0..record.plan.load.len(),
        })
        .flat_map(|load| record.series.points(load, Window::new(from, at)))
        .filter(|point| point.ended() >= at)
        .map(|point| point.due())
        .min()
        .unwrap_or(at)
}
