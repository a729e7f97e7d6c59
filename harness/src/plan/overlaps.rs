//! Faults that come into each other's way on one node: a process that is killed cannot be paused, and the undo of one
//! fault would undo the other.
//!
//! Where the plan says that both are in place at one moment it is an error; where it depends on the run, a warning.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::{FaultPlan, Moment, StartPlan};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::Document;

/// Start and end, from the start of load.
type Time = (Duration, Duration);

/// How two faults meet.
enum Meeting {
    /// In every run.
    Certain,
    /// In some.
    Possible,
}

/// Reports pairs of faults, those left out whose plan or time is not known.
pub(super) fn check(
    document: &Document,
    planned: &[Option<FaultPlan>],
    times: &[Option<Time>],
    problems: &mut Vec<Diagnostic>,
) {
    let known: Vec<_> = planned
        .iter()
        .zip(times)
        .zip(&document.faults)
        .filter_map(|((plan, time), written)| Some((plan.as_ref()?, (*time)?, written.name.span)))
        .collect();
    let all: Vec<_> = known.iter().map(|(plan, ..)| *plan).collect();
    for (index, later) in known.iter().enumerate() {
        for earlier in &known[..index] {
            // By time, not by the order in which they are written.
            let ((a, a_time, _), (b, b_time, span)) = match earlier.1.0 <= later.1.0 {
                true => (earlier, later),
                false => (later, earlier),
            };
            let Some(node) = contested(a, b) else {
                continue;
            };
            if waits_for(b, a, &all) {
                continue;
            }
            let Some(meeting) = meeting(a, b, *a_time, *b_time) else {
                continue;
            };
            let both = format!("`{}` and `{}`", a.name, b.name);
            let problem = match meeting {
                Meeting::Certain => Diagnostic::error(*span, format!("{both} overlap on {node}")),
                Meeting::Possible => {
                    Diagnostic::warning(*span, format!("{both} may overlap on {node}"))
                }
            };
            let until = match ends_by_itself(a) {
                true => "until the node is ready again".to_owned(),
                false => format!("to {}", HumanDuration(a_time.1)),
            };
            problems.push(problem.help(format!(
                "{} from {} {until}, {} from {}: write after: {}.end + 1s, or choose another node",
                a.inject.kind().name,
                HumanDuration(a_time.0),
                b.inject.kind().name,
                HumanDuration(b_time.0),
                a.name,
            )));
        }
    }
}

/// A node whose process both act on.
fn contested<'p>(a: &'p FaultPlan, b: &FaultPlan) -> Option<&'p str> {
    if !(a.inject.kind().holds_process && b.inject.kind().holds_process) {
        return None;
    }
    let shared = a.targets.iter().find(|target| b.targets.contains(target));
    shared.map(|target| target.name())
}

fn ends_by_itself(fault: &FaultPlan) -> bool {
    longest_drain(fault).is_some()
}

/// How long the nodes of a restart may take to end.
fn longest_drain(fault: &FaultPlan) -> Option<Duration> {
    let turns = u32::try_from(fault.targets.len()).unwrap_or(u32::MAX);
    let turns = match fault.inject.in_turn() {
        Some(_) => turns,
        None => 1,
    };
    Some(fault.inject.ends_within()?.saturating_mul(turns))
}

/// Whether `b`, which begins no sooner than `a`, does so before `a` is over.
fn meeting(a: &FaultPlan, b: &FaultPlan, (start, end): Time, (begins, _): Time) -> Option<Meeting> {
    let certain = match (&a.start, &b.start) {
        (StartPlan::At(_), StartPlan::At(_)) => true,
        (
            _,
            StartPlan::After {
                fault,
                moment: Moment::Start,
                ..
            },
        ) => *fault == a.name,
        (
            StartPlan::After {
                fault: one,
                moment: first,
                ..
            },
            StartPlan::After {
                fault: other,
                moment: second,
                ..
            },
        ) => one == other && first == second,
        _ => false,
    };
    match begins < end {
        true if certain => Some(Meeting::Certain),
        true => Some(Meeting::Possible),
        false => {
            let drain = longest_drain(a)?;
            (begins < start + drain).then_some(Meeting::Possible)
        }
    }
}

/// Whether `b` begins only when `a` is over, perhaps by way of other faults.
fn waits_for(b: &FaultPlan, a: &FaultPlan, all: &[&FaultPlan]) -> bool {
    let mut waiting = b;
    // Faults that wait for each other in a circle are refused elsewhere.
    for _ in 0..all.len() {
        let StartPlan::After { fault, moment, .. } = &waiting.start else {
            return false;
        };
        if *fault == a.name {
            return *moment != Moment::Start;
        }
        match all.iter().find(|other| other.name == *fault) {
            Some(next) => waiting = next,
            None => return false,
        }
    }
    false
}
