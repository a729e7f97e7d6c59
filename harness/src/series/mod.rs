//! What was measured: every request of every load, kept small, and questions asked of stretches of time.
//!
//! Not a histogram: a steady window begins at any microsecond and a fault ends at any other, so a window over
//! pre-merged histograms would blur exactly the edges that verdicts hang on. A request costs 24 bytes here and about
//! 8 on disk, which lets a minute at 100/s weigh nothing and an hour at 1000/s fit in memory, and every count and
//! quantile of every window exact. [`Series::histogram`] gives an HDR histogram to those who want one.
//!
//! Requests are filed by their *intended* start ([`Sample::due`]) in slices of one second. *Response* is counted from
//! the intended start, *service* from the moment of sending. A request that failed counts as at least its timeout,
//! so that fast errors cannot improve a percentile; one that was never sent counts as its timeout.
//!
//! What a measure means over these numbers is [`measure`]'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::event::{Offset, Outcome, Sample};
use crate::plan::Plan;

pub mod measure;
mod pack;

pub use measure::{Base, Marks, Missing, Observation, Reading};

/// Length of a slice.
pub const SLICE: Duration = Duration::from_secs(1);

const SLICE_US: u64 = 1_000_000;

/// Class under which requests are listed that were never sent.
pub const UNSENT: &str = "never sent";

/// A stretch of time: `from` belongs to it, `to` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First moment inside.
    pub from: Offset,
    /// First moment after.
    pub to: Offset,
}

impl Window {
    /// From one moment to another; empty when `to` is not later.
    #[must_use]
    pub fn new(from: Offset, to: Offset) -> Self {
        Self { from, to }
    }

    /// So long, from a moment on.
    #[must_use]
    pub fn starting(from: Offset, length: Duration) -> Self {
        Self::new(from, from.plus(length))
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// Whether a moment is inside.
    #[must_use]
    pub fn contains(self, at: Offset) -> bool {
        self.from <= at && at < self.to
    }
}

/// One request, as much of it as verdicts need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    due: Offset,
    response_us: u32,
    /// `u32::MAX` when it was never sent.
    service_us: u32,
    /// [`OK`], [`NEVER_SENT`], or 2 + index of the error class.
    outcome: u16,
    step: u16,
}

const OK: u16 = 0;
const NEVER_SENT: u16 = 1;
const CLASSES_FROM: u16 = 2;
const NO_SERVICE: u32 = u32::MAX;

impl Point {
    /// Intended start.
    #[must_use]
    pub fn due(&self) -> Offset {
        self.due
    }

    /// Whether it ended as expected.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.outcome == OK
    }

    /// Whether it was never sent.
    #[must_use]
    pub fn unsent(&self) -> bool {
        self.outcome == NEVER_SENT
    }

    /// From the intended start to the end of the answer; at least the timeout when it failed.
    #[must_use]
    pub fn response(&self) -> Duration {
        Duration::from_micros(u64::from(self.response_us))
    }

    /// From sending to the end of the answer, as it was; `None` when it was never sent.
    #[must_use]
    pub fn service(&self) -> Option<Duration> {
        (self.service_us != NO_SERVICE).then(|| Duration::from_micros(u64::from(self.service_us)))
    }

    /// When its answer was complete or it was given up. One that was never sent waited for its whole timeout.
    #[must_use]
    pub fn ended(&self) -> Offset {
        self.due.plus(self.service().unwrap_or(self.response()))
    }

    /// Index of its step in the load.
    #[must_use]
    pub fn step(&self) -> usize {
        usize::from(self.step)
    }
}

/// Numbers of requests by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// As expected.
    pub ok: u64,
    /// Sent and not as expected.
    pub failed: u64,
    /// Never sent.
    pub unsent: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn offered(self) -> u64 {
        self.ok + self.failed + self.unsent
    }

    /// Those that did not end as expected.
    #[must_use]
    pub fn bad(self) -> u64 {
        self.failed + self.unsent
    }

    /// ok / offered; `None` of nothing.
    #[must_use]
    pub fn success(self) -> Option<f64> {
        (self.offered() > 0).then(|| self.ok as f64 / self.offered() as f64)
    }

    fn count(&mut self, point: &Point) {
        match point.outcome {
            OK => self.ok += 1,
            NEVER_SENT => self.unsent += 1,
            _ => self.failed += 1,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            failed: self.failed + other.failed,
            unsent: self.unsent + other.unsent,
        }
    }
}

/// Lengths of time in order, for quantiles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times(Vec<u32>);

impl Times {
    fn new(mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        Self(micros)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest that at least this share of all do not exceed (nearest rank); `None` when there are fewer than
    /// 1 / (1 - q), for then the answer would be the maximum under another name.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        (self.0.len() as u64 >= measure::needed(q))
            .then(|| self.rank(q))
            .flatten()
    }

    /// As [`Times::quantile`], with as few as one; for drawing, never for a verdict.
    #[must_use]
    pub fn rank(&self, q: f64) -> Option<Duration> {
        let at = nearest_rank(q, self.0.len())?;
        self.0
            .get(at)
            .map(|us| Duration::from_micros(u64::from(*us)))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.0
            .last()
            .map(|us| Duration::from_micros(u64::from(*us)))
    }
}

/// All requests of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    loads: Vec<LoadSeries>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct LoadSeries {
    name: String,
    timeout_us: u32,
    /// Error classes in order of appearance.
    classes: Vec<String>,
    /// By second of the intended start.
    slices: BTreeMap<u64, Vec<Point>>,
}

impl Series {
    /// Empty, for the loads of a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let loads = plan.load.iter().map(|load| LoadSeries {
            name: load.name.clone(),
            timeout_us: micros(load.timeout.get()),
            ..LoadSeries::default()
        });
        Self {
            loads: loads.collect(),
        }
    }

    /// Takes one request. One of a load that the plan does not have is dropped.
    pub fn add(&mut self, sample: &Sample) {
        let Some(load) = self.loads.get_mut(sample.load) else {
            return;
        };
        let took = micros(sample.done.since(sample.due));
        let (outcome, response_us) = match &sample.outcome {
            Outcome::Ok => (OK, took),
            Outcome::Unsent => (NEVER_SENT, took.max(load.timeout_us)),
            Outcome::Failed(class) => (load.class(class), took.max(load.timeout_us)),
        };
        let service_us = match (sample.sent, outcome) {
            (None, _) | (_, NEVER_SENT) => NO_SERVICE,
            (Some(sent), _) => micros(sample.done.since(sent)).min(NO_SERVICE - 1),
        };
        load.put(Point {
            due: sample.due,
            response_us,
            service_us,
            outcome,
            step: u16::try_from(sample.step).unwrap_or(u16::MAX),
        });
    }

    /// Names of the loads, in the order of the plan.
    pub fn loads(&self) -> impl Iterator<Item = &str> {
        self.loads.iter().map(|load| load.name.as_str())
    }

    /// Index of a load by name.
    #[must_use]
    pub fn load(&self, name: &str) -> Option<usize> {
        self.loads.iter().position(|load| load.name == name)
    }

    /// Requests of a load whose intended start is in the window.
    pub fn points(&self, load: usize, window: Window) -> impl Iterator<Item = &Point> {
        let slices =
            window.from.0 / SLICE_US..window.to.0.div_ceil(SLICE_US).max(window.from.0 / SLICE_US);
        self.loads
            .get(load)
            .into_iter()
            .flat_map(move |load| load.slices.range(slices.clone()))
            .flat_map(|(_, points)| points)
            .filter(move |point| window.contains(point.due))
    }

    /// How the requests of a window ended.
    #[must_use]
    pub fn counts(&self, load: usize, window: Window) -> Counts {
        let mut counts = Counts::default();
        self.points(load, window)
            .for_each(|point| counts.count(point));
        counts
    }

    /// Response times of a window, failed and unsent requests included.
    #[must_use]
    pub fn responses(&self, load: usize, window: Window) -> Times {
        Times::new(self.points(load, window).map(|p| p.response_us).collect())
    }

    /// Service times of a window, of what was sent.
    #[must_use]
    pub fn services(&self, load: usize, window: Window) -> Times {
        self.spread(load, window, |_| true).2
    }

    /// Counts, response times and service times of those requests of a window that are wanted.
    pub(crate) fn spread(
        &self,
        load: usize,
        window: Window,
        wanted: impl Fn(&Point) -> bool,
    ) -> (Counts, Times, Times) {
        let mut counts = Counts::default();
        let (mut responses, mut services) = (Vec::new(), Vec::new());
        for point in self.points(load, window).filter(|point| wanted(point)) {
            counts.count(point);
            responses.push(point.response_us);
            if point.service_us != NO_SERVICE {
                services.push(point.service_us);
            }
        }
        (counts, Times::new(responses), Times::new(services))
    }

    /// Error classes of a window with their counts, most frequent first, then by name.
    #[must_use]
    pub fn errors(&self, load: usize, window: Window) -> Vec<(String, u64)> {
        let mut counts = BTreeMap::<u16, u64>::new();
        for point in self.points(load, window).filter(|point| !point.ok()) {
            *counts.entry(point.outcome).or_default() += 1;
        }
        let mut errors: Vec<_> = counts
            .into_iter()
            .map(|(outcome, n)| (self.class_name(load, outcome).to_owned(), n))
            .collect();
        errors.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        errors
    }

    /// Intended start of the last request of a load in a window.
    #[must_use]
    pub fn last_due(&self, load: usize, window: Window) -> Option<Offset> {
        self.points(load, window).map(Point::due).max()
    }

    /// From the first to just after the last intended start, over all loads.
    #[must_use]
    pub fn extent(&self) -> Option<Window> {
        let dues = || {
            let ends = |load: &LoadSeries| {
                let first = load.slices.values().next().cloned().unwrap_or_default();
                let last = load
                    .slices
                    .values()
                    .next_back()
                    .cloned()
                    .unwrap_or_default();
                first.into_iter().chain(last)
            };
            self.loads.iter().flat_map(ends).map(|point| point.due)
        };
        let (first, last) = (dues().min()?, dues().max()?);
        Some(Window::new(first, last.plus(Duration::from_micros(1))))
    }

    /// Response times of a window as an HDR histogram in microseconds (three significant digits, up to an hour and more).
    #[must_use]
    pub fn histogram(&self, load: usize, window: Window) -> Histogram<u64> {
        // Bounds and digits are constants within what the constructor allows.
        let mut histogram = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3)
            .unwrap_or_else(|_| unreachable!("constant bounds"));
        for point in self.points(load, window) {
            histogram.saturating_record(u64::from(point.response_us));
        }
        histogram
    }

    /// Puts requests in order of their intended start, as they are on disk; no answer depends on it.
    pub(crate) fn sort(&mut self) {
        for load in &mut self.loads {
            load.slices
                .values_mut()
                .for_each(|slice| slice.sort_unstable());
        }
    }

    fn class_name(&self, load: usize, outcome: u16) -> &str {
        match outcome.checked_sub(CLASSES_FROM) {
            None => UNSENT,
            Some(class) => self.loads[load]
                .classes
                .get(usize::from(class))
                .map_or("other", String::as_str),
        }
    }
}

impl LoadSeries {
    /// Number of an error class; new ones are entered until the numbers run out, which classes of low cardinality
    /// never reach.
    fn class(&mut self, class: &str) -> u16 {
        let index = self
            .classes
            .iter()
            .position(|known| known == class)
            .unwrap_or_else(|| {
                if self.classes.len() < usize::from(u16::MAX - CLASSES_FROM) {
                    self.classes.push(class.to_owned());
                }
                self.classes.len() - 1
            });
        u16::try_from(index).map_or(u16::MAX, |index| index.saturating_add(CLASSES_FROM))
    }

    fn put(&mut self, point: Point) {
        self.slices
            .entry(point.due.0 / SLICE_US)
            .or_default()
            .push(point);
    }
}

/// Place, in order, of the smallest of `n` values that at least this share of all do not exceed; `None` of nothing.
fn nearest_rank(q: f64, n: usize) -> Option<usize> {
    let rank = (q * n as f64 - 1e-9).ceil().max(1.0) as usize;
    rank.min(n).checked_sub(1)
}

/// Microseconds, at most an hour and eleven minutes.
fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
