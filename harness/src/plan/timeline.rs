//! When things happen, as far as that can be known before they do: for the chart, and to refuse what cannot fit.

use std::time::Duration;

use super::{Moment, Plan, StartPlan};

/// The expected course of a run, counted from the start of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// First steady window, if there is one.
    pub steady: Option<(Duration, Duration)>,
    /// Start and end of each fault, in the plan's order.
    pub faults: Vec<(Duration, Duration)>,
    /// When the last load has ended.
    pub load_end: Duration,
    /// Longest wait for accepted work after that.
    pub settle: Duration,
}

impl Timeline {
    /// Estimates: the steady state is met at once, and every fault is recovered from at once.
    #[must_use]
    pub fn estimate(plan: &Plan) -> Self {
        let window = plan.steady.as_ref().map(|steady| steady.window.get());
        let steady = window.map(|window| {
            let from = steady_from(plan, window);
            (from, from + window)
        });
        let first = steady.map_or(Duration::ZERO, |(_, end)| end);
        let mut faults: Vec<Option<(Duration, Duration)>> = vec![None; plan.faults.len()];
        // Each round places at least one fault; those in a circle are refused elsewhere and end here unplaced.
        for _ in 0..plan.faults.len() {
            for (index, fault) in plan.faults.iter().enumerate() {
                if faults[index].is_some() {
                    continue;
                }
                let start = match &fault.start {
                    StartPlan::At(at) => Some(at.get().max(first)),
                    StartPlan::After {
                        fault: other,
                        moment,
                        offset,
                    } => plan
                        .faults
                        .iter()
                        .position(|candidate| candidate.name == *other)
                        .and_then(|other| faults[other])
                        .map(|(start, end)| {
                            offset.get()
                                + match moment {
                                    Moment::Start => start,
                                    Moment::End => end,
                                    Moment::Recovered => end + window.unwrap_or_default(),
                                }
                        }),
                };
                faults[index] = start.map(|start| (start, start + fault.length.get()));
            }
        }
        Self {
            steady,
            faults: faults.into_iter().map(Option::unwrap_or_default).collect(),
            load_end: plan
                .load
                .iter()
                .map(super::LoadPlan::length)
                .max()
                .unwrap_or_default(),
            settle: plan.expect.end.settle.get(),
        }
    }

    /// Expected end of everything but start-up and settling.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.faults
            .iter()
            .map(|(_, end)| *end)
            .fold(self.load_end, Duration::max)
    }
}

/// Where the search for a steady window of this length begins, from the start of load. A load that still rises is no
/// baseline for a full one; but a load that rises up to the first fault can be steady too.
#[must_use]
pub fn steady_from(plan: &Plan, window: Duration) -> Duration {
    let risen = plan
        .load
        .iter()
        .map(super::LoadPlan::rise)
        .max()
        .unwrap_or_default();
    let first = plan.faults.iter().filter_map(|fault| match &fault.start {
        StartPlan::At(at) => Some(at.get()),
        StartPlan::After { .. } => None,
    });
    match first.min() {
        Some(first) if risen + window > first => Duration::ZERO,
        _ => risen,
    }
}
