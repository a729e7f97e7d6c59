//! Operation by phase: each load (and each of its steps, where there are several) in the steady window, under each fault,
//! while recovering, and in the rest of the time.

use crate::judge::{FaultRow, Recovered, Verdict};
use crate::printable::Text;
use crate::record::{Record, Timeline};
use crate::series::{Counts, Point, Times, Window};

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The load.
    pub load: Text,
    /// Number of the step, where the load has several.
    pub step: Option<usize>,
    /// What the step does: `POST /jobs`, as planned.
    pub request: Text,
    /// Whole run first, then phases in order of time.
    pub phases: Vec<Phase>,
}

/// An operation in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// Which.
    pub kind: PhaseKind,
    /// Requests by how they ended.
    pub counts: Counts,
    /// From the intended start.
    pub response: Times,
    /// From sending.
    pub service: Times,
}

/// Which part of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PhaseKind {
    /// All of it.
    Whole,
    /// The steady window.
    Steady,
    /// A named stage.
    Stage(Text),
    /// While a fault was in place.
    Fault(Text),
    /// From the end of a fault until steady again.
    Recovery(Text),
    /// All time that is in none of the others.
    Rest,
}

struct Part {
    kind: PhaseKind,
    window: Window,
}

pub(super) fn operations(
    record: &Record,
    timeline: &Timeline,
    verdict: &Verdict,
) -> Vec<Operation> {
    let Some(whole) = timeline.load else {
        return Vec::new();
    };
    let stretches = stretches(timeline, &verdict.faults);
    let mut operations = Vec::new();
    for (index, load) in record.plan.load.iter().enumerate() {
        for (step, plan) in load.steps.iter().enumerate() {
            let several = load.steps.len() > 1;
            let mine = |point: &Point| !several || point.step() == step;
            let phase = |kind: PhaseKind, window, keep: &dyn Fn(&Point) -> bool| {
                let spread = record
                    .series
                    .spread(index, window, |point| mine(point) && keep(point));
                Phase {
                    kind,
                    counts: spread.0,
                    response: spread.1,
                    service: spread.2,
                }
            };
            let mut phases = vec![phase(PhaseKind::Whole, whole, &|_| true)];
            phases.extend(
                stretches
                    .iter()
                    .map(|s| phase(s.kind.clone(), s.window, &|_| true)),
            );
            let rest = |point: &Point| !stretches.iter().any(|s| s.window.contains(point.due()));
            phases.push(phase(PhaseKind::Rest, whole, &rest));
            phases.retain(|phase| phase.counts.offered() > 0);
            operations.push(Operation {
                load: Text::from(&load.name),
                step: several.then_some(step + 1),
                request: Text::from(&plan.action.operation()),
                phases,
            });
        }
    }
    operations
}

fn stretches(timeline: &Timeline, faults: &[FaultRow]) -> Vec<Part> {
    let mut stretches = Vec::new();
    let mut add = |kind, window: Window| stretches.push(Part { kind, window });
    if let Some(steady) = timeline.steady {
        add(PhaseKind::Steady, steady);
    }
    for (name, window) in &timeline.stages {
        add(PhaseKind::Stage(Text::from(name)), *window);
    }
    for fault in faults {
        let Some(injected) = fault.injected else {
            continue;
        };
        let end = fault.reverted.unwrap_or(timeline.end);
        add(
            PhaseKind::Fault(Text::from(&fault.fault)),
            Window::new(injected, end),
        );
        if let Recovered::After(after) = fault.recovered
            && !after.is_zero()
        {
            add(
                PhaseKind::Recovery(Text::from(&fault.fault)),
                Window::starting(end, after),
            );
        }
    }
    stretches
}
