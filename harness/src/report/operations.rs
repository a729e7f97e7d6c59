//! Operation by phase: each load (and each of its steps, where there are several) in the steady window, under each fault,
//! while recovering, and in the rest of the time.

use crate::judge::{FaultRow, Recovered, Verdict};
use crate::record::{Record, Timeline};
use crate::series::{Counts, Point, Times, Window};

use super::humanize;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Load, or load and step.
    pub name: String,
    /// What it asks: `GET /api/v1/…`.
    pub request: String,
    /// Whole run first, then phases in order of time.
    pub phases: Vec<Phase>,
}

/// An operation in a phase.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// `whole run`, `steady`, a stage, a fault, `recovery from` it, `rest`.
    pub name: String,
    /// Requests by how they ended.
    pub counts: Counts,
    /// From the intended start.
    pub response: Times,
    /// From sending.
    pub service: Times,
}

impl Phase {
    /// Share that ended as expected.
    #[must_use]
    pub fn ok(&self) -> String {
        self.counts
            .success()
            .map_or("-".to_owned(), humanize::ratio)
    }
}

struct Stretch {
    name: String,
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
            let phase = |name: &str, window, keep: &dyn Fn(&Point) -> bool| {
                let spread = record
                    .series
                    .spread(index, window, |point| mine(point) && keep(point));
                Phase {
                    name: name.to_owned(),
                    counts: spread.0,
                    response: spread.1,
                    service: spread.2,
                }
            };
            let mut phases = vec![phase("whole run", whole, &|_| true)];
            phases.extend(
                stretches
                    .iter()
                    .map(|s| phase(&s.name, s.window, &|_| true)),
            );
            let rest = |point: &Point| !stretches.iter().any(|s| s.window.contains(point.due()));
            phases.push(phase("rest", whole, &rest));
            phases.retain(|phase| phase.counts.offered() > 0);
            operations.push(Operation {
                name: match several {
                    true => format!("{} / {}", load.name, step + 1),
                    false => load.name.clone(),
                },
                request: format!("{} {}", plan.method, plan.path),
                phases,
            });
        }
    }
    operations
}

fn stretches(timeline: &Timeline, faults: &[FaultRow]) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut add = |name: String, window: Window| stretches.push(Stretch { name, window });
    if let Some(steady) = timeline.steady {
        add("steady".to_owned(), steady);
    }
    for (name, window) in &timeline.stages {
        add(name.clone(), *window);
    }
    for fault in faults {
        let Some(injected) = fault.injected else {
            continue;
        };
        let end = fault.reverted.unwrap_or(timeline.end);
        add(fault.fault.clone(), Window::new(injected, end));
        if let Recovered::After(after) = fault.recovered
            && !after.is_zero()
        {
            add(
                format!("recovery from {}", fault.fault),
                Window::starting(end, after),
            );
        }
    }
    stretches
}
