//! When things happen, as far as that can be known before they do: for the chart, and to refuse what cannot fit.

use std::time::Duration;

use super::{FaultPlan, LoadModel, Moment, Plan, StartPlan};

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
        let loads: Vec<_> = plan.load.iter().map(|load| &load.model).collect();
        let faults: Vec<_> = plan.faults.iter().map(Timed::of).map(Some).collect();
        let steady = window.map(|window| {
            let from = steady_from(plan, window);
            (from, from + window)
        });
        Self {
            faults: placed(&faults, steady.map(|(_, end)| end), window)
                .into_iter()
                // Faults that wait for each other are refused elsewhere.
                .map(Option::unwrap_or_default)
                .collect(),
            steady,
            load_end: load_end(&loads),
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

/// A fault as far as its time goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed<'p> {
    pub(super) name: &'p str,
    pub(super) start: &'p StartPlan,
    pub(super) length: Duration,
}

impl<'p> Timed<'p> {
    pub(super) fn of(fault: &'p FaultPlan) -> Self {
        Self {
            name: &fault.name,
            start: &fault.start,
            length: fault.length.get(),
        }
    }
}

/// What is known of the course of a run while not all of its plan is: faults that could not be understood have no time,
/// nor have those that wait for them.
#[derive(Debug)]
pub(super) struct Course<'p> {
    /// Length of a steady window, where there is a steady state.
    pub(super) window: Option<Duration>,
    /// When the last load has ended.
    pub(super) load_end: Duration,
    /// What is known of each fault, in the order written.
    pub(super) faults: Vec<Option<Timed<'p>>>,
    /// Its start and end.
    pub(super) times: Vec<Option<(Duration, Duration)>>,
}

impl<'p> Course<'p> {
    pub(super) fn of(
        loads: &[&LoadModel],
        faults: Vec<Option<Timed<'p>>>,
        starts: &[&StartPlan],
        window: Option<Duration>,
    ) -> Self {
        let first = window.map(|window| search_from(loads, starts, window) + window);
        Self {
            window,
            load_end: load_end(loads),
            times: placed(&faults, first, window),
            faults,
        }
    }
}

/// Start and end of each fault whose time can be known. The first begins when the steady state has been met.
fn placed(
    faults: &[Option<Timed<'_>>],
    steady: Option<Duration>,
    window: Option<Duration>,
) -> Vec<Option<(Duration, Duration)>> {
    let mut times: Vec<Option<(Duration, Duration)>> = vec![None; faults.len()];
    // Each round places at least one fault; those in a circle stay without a time.
    for _ in 0..faults.len() {
        for (index, fault) in faults.iter().enumerate() {
            let (Some(fault), None) = (fault, times[index]) else {
                continue;
            };
            let start = match fault.start {
                StartPlan::At(at) => Some(at.get().max(steady.unwrap_or_default())),
                StartPlan::After {
                    fault: other,
                    moment,
                    offset,
                } => faults
                    .iter()
                    .position(|candidate| candidate.is_some_and(|one| one.name == *other))
                    .and_then(|other| times[other])
                    .map(|(start, end)| {
                        offset.get()
                            + match moment {
                                Moment::Start => start,
                                Moment::End => end,
                                Moment::Recovered => end + window.unwrap_or_default(),
                            }
                    }),
            };
            times[index] = start.map(|start| (start, start + fault.length));
        }
    }
    times
}

fn load_end(loads: &[&LoadModel]) -> Duration {
    let lengths = loads.iter().map(|load| load.length());
    lengths.max().unwrap_or_default()
}

/// Where the search for a steady window of this length begins, from the start of load. A load that still rises is no
/// baseline for a full one; but a load that rises up to the first fault can be steady too.
#[must_use]
pub fn steady_from(plan: &Plan, window: Duration) -> Duration {
    let loads: Vec<_> = plan.load.iter().map(|load| &load.model).collect();
    let starts: Vec<_> = plan.faults.iter().map(|fault| &fault.start).collect();
    search_from(&loads, &starts, window)
}

fn search_from(loads: &[&LoadModel], starts: &[&StartPlan], window: Duration) -> Duration {
    let risen = loads.iter().map(|load| load.rise()).max();
    let risen = risen.unwrap_or_default();
    let first = starts.iter().filter_map(|start| match start {
        StartPlan::At(at) => Some(at.get()),
        StartPlan::After { .. } => None,
    });
    match first.min() {
        Some(first) if risen + window > first => Duration::ZERO,
        _ => risen,
    }
}
