//! What a fault did to latency, whether or not anything failed.
//!
//! The baseline of a load is its good answers in the steady window; where there is none, those before the first fault. A
//! request counts as slowed when it was answered well and took longer than twice the 99th percentile of the baseline,
//! and longer than that percentile by [`MARGIN`]. A fault slowed a load when at least [`FEW`] requests were (all of them,
//! where it offered fewer), and their share is [`TIMES_USUAL`] times that in the baseline, as if at least one
//! there had been as slow. The factor compares medians:
//! that of the slowed requests with that of the baseline. Medians and a percentile, so that one outlier in either does
//! not decide.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Offset;
use crate::record::{Record, Timeline};
use crate::series::{Point, Window};

/// Differences below this are what timers and a busy machine do.
const MARGIN: Duration = Duration::from_millis(5);
/// Answers that a baseline needs.
const BASELINE: usize = 10;
/// Slowed requests that are no accident.
const FEW: usize = 5;
/// How many times more often than in the baseline.
const TIMES_USUAL: f64 = 3.0;

/// What a fault did to the latency of the load that it slowed most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slowdown {
    /// Name of the load.
    pub load: String,
    /// Injection to the intended start of the first slowed request; zero for one that was under way.
    pub after: Duration,
    /// Slowed requests.
    pub requests: u64,
    /// Their median response time.
    pub typical: Duration,
    /// Median response time of the baseline.
    pub baseline: Duration,
}

impl Slowdown {
    /// How many times as long as in the baseline the slowed requests took.
    #[must_use]
    pub fn factor(&self) -> f64 {
        let baseline = self.baseline.max(Duration::from_micros(1));
        self.typical.as_secs_f64() / baseline.as_secs_f64()
    }
}

/// Of the loads that were slowed, the one whose requests took the longest against their baseline.
pub(super) fn slowdown(record: &Record, timeline: &Timeline, reach: Window) -> Option<Slowdown> {
    let baseline = baseline(timeline)?;
    (0..record.plan.load.len())
        .filter_map(|load| of_load(record, load, baseline, reach))
        .max_by(|a, b| a.factor().total_cmp(&b.factor()))
}

/// Requests, with the index of their load, that were due before a moment and still under way at it.
pub(super) fn under_way(record: &Record, at: Offset) -> impl Iterator<Item = (usize, &Point)> {
    let loads = record.plan.load.iter().enumerate();
    loads.flat_map(move |(index, load)| {
        let timeout = u64::try_from(load.timeout.get().as_micros()).unwrap_or(u64::MAX);
        let before = Window::new(Offset(at.0.saturating_sub(timeout)), at);
        let points = record.series.points(index, before);
        points
            .filter(move |point| point.ended() >= at)
            .map(move |point| (index, point))
    })
}

fn baseline(timeline: &Timeline) -> Option<Window> {
    timeline.steady.or_else(|| {
        let first = timeline.faults.iter().filter_map(|fault| fault.injected());
        Some(Window::new(timeline.load?.from, first.min()?))
    })
}

fn of_load(record: &Record, load: usize, baseline: Window, reach: Window) -> Option<Slowdown> {
    let usual = record.series.points(load, baseline);
    let mut usual: Vec<Duration> = usual.filter(|p| p.ok()).map(Point::response).collect();
    usual.sort_unstable();
    if usual.len() < BASELINE {
        return None;
    }
    let p99 = usual[(usual.len() * 99).div_ceil(100) - 1];
    let limit = (p99 * 2).max(p99 + MARGIN);
    let carried = under_way(record, reach.from)
        .filter(|(index, _)| *index == load)
        .map(|(_, point)| point);
    let good = carried.chain(record.series.points(load, reach));
    let good: Vec<&Point> = good.filter(|point| point.ok()).collect();
    let slowed = || good.iter().filter(|point| point.response() > limit);
    let count = slowed().count();
    // None in a baseline may be luck: one is what it could have been.
    let usually = usual.iter().filter(|time| **time > limit).count().max(1);
    let usual_share = usually as f64 / usual.len() as f64;
    let expected = usual_share * good.len() as f64;
    if count < FEW.min(good.len()).max(1) || (count as f64) < TIMES_USUAL * expected {
        return None;
    }
    let mut times: Vec<Duration> = slowed().map(|point| point.response()).collect();
    times.sort_unstable();
    let first = slowed().map(|point| point.due()).min()?;
    Some(Slowdown {
        load: record.plan.load[load].name.clone(),
        after: first.since(reach.from),
        requests: count as u64,
        typical: times[times.len() / 2],
        baseline: usual[usual.len() / 2],
    })
}
