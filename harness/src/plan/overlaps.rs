//! Faults that come into each other's way on one node: a process that is killed cannot be paused, and the undo of one
//! fault would undo the other.
//!
//! Where the plan says that both are in place at one moment it is an error; where it depends on the run, a warning.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::timeline::Timeline;
use super::{FaultPlan, Moment, Plan, StartPlan};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::model::Document;

/// How two faults meet.
enum Meeting {
    /// In every run.
    Certain,
    /// In some.
    Possible,
}

pub(super) fn check(
    document: &Document,
    plan: &Plan,
    timeline: &Timeline,
    problems: &mut Vec<Diagnostic>,
) {
    let readable = |index: usize| {
        document.faults.get(index).is_some_and(|fault| {
            fault.name.sound
                && fault.inject.sound
                && fault.at.as_ref().is_none_or(|at| at.sound)
                && fault.after.as_ref().is_none_or(|after| after.sound)
                && fault.r#for.as_ref().is_none_or(|length| length.sound)
        })
    };
    for later in 0..plan.faults.len() {
        for earlier in 0..later {
            if !readable(earlier) || !readable(later) {
                continue;
            }
            // By time, not by the order in which they are written.
            let (first, second) = match timeline.faults[earlier].0 <= timeline.faults[later].0 {
                true => (earlier, later),
                false => (later, earlier),
            };
            let (a, b) = (&plan.faults[first], &plan.faults[second]);
            let Some(node) = contested(a, b) else {
                continue;
            };
            if waits_for(b, a, plan) {
                continue;
            }
            let Some(meeting) = meeting(a, b, timeline.faults[first], timeline.faults[second])
            else {
                continue;
            };
            let span = document.faults[second].name.span;
            let (ends, begins) = (
                HumanDuration(timeline.faults[first].1),
                HumanDuration(timeline.faults[second].0),
            );
            let both = format!("`{}` and `{}`", a.name, b.name);
            let problem = match meeting {
                Meeting::Certain => Diagnostic::error(span, format!("{both} overlap on {node}")),
                Meeting::Possible => {
                    Diagnostic::warning(span, format!("{both} may overlap on {node}"))
                }
            };
            problems.push(problem.help(format!(
                "{} from {} to {}, {} from {}: write after: {}.end + 1s, or choose another node",
                a.inject.kind().name,
                HumanDuration(timeline.faults[first].0),
                match ends_by_itself(a) {
                    true => "the node's being ready again".to_owned(),
                    false => ends.to_string(),
                },
                b.inject.kind().name,
                begins,
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
fn meeting(
    a: &FaultPlan,
    b: &FaultPlan,
    (start, end): (Duration, Duration),
    (begins, _): (Duration, Duration),
) -> Option<Meeting> {
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
fn waits_for(b: &FaultPlan, a: &FaultPlan, plan: &Plan) -> bool {
    let mut waiting = b;
    // Faults that wait for each other in a circle are refused elsewhere.
    for _ in 0..plan.faults.len() {
        let StartPlan::After { fault, moment, .. } = &waiting.start else {
            return false;
        };
        if *fault == a.name {
            return *moment != Moment::Start;
        }
        match plan.faults.iter().find(|other| other.name == *fault) {
            Some(next) => waiting = next,
            None => return false,
        }
    }
    false
}
