//! Whether what is planned fits into its time: faults into the load, what comes after a fault before the next one, the
//! whole run into its limit.
//!
//! The timeline knows the earliest moments. What does not fit at the earliest does not fit at all, and is an error; what
//! may not fit is a warning.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::timeline::{Course, Timed};
use super::{Moment, Plan, StartPlan};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::Document;
use crate::scenario::{OptionalKey as _, Spanned};

/// A run that hangs is given up after this time, however short its plan is.
const SHORTEST_DEFAULT_LIMIT: Duration = Duration::from_secs(600);
/// What nodes may take to stop when everything is over.
const STOPPING: Duration = Duration::from_secs(60);
/// Making media fixtures and uploading them, on a busy machine.
const FIXTURES: Duration = Duration::from_secs(180);

/// Long enough for everything in the plan, whatever time it is allowed; in whole minutes.
pub(super) fn default_limit(plan: &Plan) -> HumanDuration {
    in_minutes(allowance(plan).max(SHORTEST_DEFAULT_LIMIT))
}

/// What a run of this plan needs at most.
fn allowance(plan: &Plan) -> Duration {
    start_up(plan) + plan.estimate.get() + plan.expect.end.settle.get() + STOPPING
}

fn in_minutes(time: Duration) -> HumanDuration {
    HumanDuration::secs(time.as_secs().div_ceil(60) * 60)
}

/// The longest that the system may take until it is ready: the slowest node of each wave.
fn start_up(plan: &Plan) -> Duration {
    let mut waves: std::collections::BTreeMap<u32, Duration> = std::collections::BTreeMap::new();
    for node in plan.system.nodes.iter().filter(|node| !node.standby) {
        let slowest = waves.entry(node.wave).or_default();
        *slowest = (*slowest).max(node.ready.within.get());
    }
    let fixtures = match plan.system.fixtures.is_empty() {
        true => Duration::ZERO,
        false => FIXTURES,
    };
    waves.values().sum::<Duration>() + fixtures
}

/// Faults within the load, and what comes after each of them.
pub(super) fn check(document: &Document, course: &Course<'_>, problems: &mut Vec<Diagnostic>) {
    let load_end = course.load_end;
    if load_end.is_zero() {
        return;
    }
    let expect = document.expect.as_ref();
    let recovers = course
        .window
        .filter(|_| expect.is_some_and(|expect| expect.recover.is_some()));
    for (index, (fault, time)) in course.faults.iter().zip(&course.times).enumerate() {
        let (Some(Timed { name, .. }), Some((start, end))) = (fault, time) else {
            continue;
        };
        let place = document.faults[index].name.span;
        if let Some((message, help)) = beyond_the_load(name, *start, *end, load_end) {
            problems.push(Diagnostic::error(place, message).help(help));
            continue;
        }
        let Some(window) = recovers else { continue };
        if *end + window > load_end {
            problems.push(
                Diagnostic::warning(place, format!("`{name}` may not be seen to recover")).help(
                    format!(
                        "it ends at {} at the earliest, a steady window takes {}, the load ends at {}",
                        HumanDuration(*end),
                        HumanDuration(window),
                        HumanDuration(load_end)
                    ),
                ),
            );
        } else if let Some((next, begins)) = next_after(course, index, (*start, *end), window) {
            problems.push(
                Diagnostic::warning(
                    place,
                    format!("`{name}` cannot be seen to recover before `{next}` begins"),
                )
                .help(format!(
                    "it ends at {} at the earliest, a steady window takes {}, `{next}` begins at {}; write after: {name}.recovered + 1s there",
                    HumanDuration(*end),
                    HumanDuration(window),
                    HumanDuration(begins),
                )),
            );
        }
    }
}

/// A fault must lie within the load: outside of it no request shows its effect.
fn beyond_the_load(
    name: &str,
    start: Duration,
    end: Duration,
    load_end: Duration,
) -> Option<(String, String)> {
    let [begins, ends, load] = [start, end, load_end].map(HumanDuration);
    if start >= load_end {
        return Some((
            format!("`{name}` begins after the load has ended"),
            format!("it begins at {begins} at the earliest; the load ends at {load}"),
        ));
    }
    (end > load_end).then(|| {
        (
            format!("`{name}` ends after the load"),
            format!(
                "it ends at {ends} at the earliest, the load at {load}; make the load longer or the fault shorter"
            ),
        )
    })
}

/// The fault that begins within a window of another's end, and when; none where it waits for the recovery itself.
fn next_after<'p>(
    course: &Course<'p>,
    index: usize,
    (start, end): (Duration, Duration),
    window: Duration,
) -> Option<(&'p str, Duration)> {
    let known = course.faults.iter().zip(&course.times).enumerate();
    known
        .filter(|(other, _)| *other != index)
        .filter_map(|(_, (fault, time))| Some((fault.as_ref()?, time.as_ref()?.0)))
        .filter(|(_, begins)| *begins >= start)
        .filter(|(fault, begins)| match waits_for_recovery(fault.start) {
            true => *begins < end + window,
            // A window that may begin no sooner than the fault's end is not over when another begins in that moment.
            false => *begins <= end + window,
        })
        .min_by_key(|(_, begins)| *begins)
        .map(|(fault, begins)| (fault.name, begins))
}

fn waits_for_recovery(start: &StartPlan) -> bool {
    matches!(
        start,
        StartPlan::After {
            moment: Moment::Recovered,
            ..
        }
    )
}

/// A limit below what load and faults take would end every run.
pub(super) fn check_limit(document: &Document, plan: &Plan, problems: &mut Vec<Diagnostic>) {
    let Some(Spanned { value: limit, span }) = document.limit.placed() else {
        return;
    };
    let needed = plan.estimate.get() + plan.expect.end.settle.get();
    if limit.get() <= plan.estimate.get() {
        problems.push(
            Diagnostic::error(span, format!("the run takes longer than {limit}")).help(format!(
                "load and faults take {}, start-up and stopping come on top: write at least {}, or leave `limit` out",
                plan.estimate,
                in_minutes(allowance(plan)),
            )),
        );
    } else if limit.get() < needed {
        problems.push(
            Diagnostic::warning(span, format!("the run may take longer than {limit}")).help(format!(
                "load and faults take {}, accepted work has {} to finish: write at least {}, or leave `limit` out",
                plan.estimate,
                plan.expect.end.settle,
                in_minutes(allowance(plan)),
            )),
        );
    }
}
