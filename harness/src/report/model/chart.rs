//! The numbers behind the chart, small enough to travel inside the page.

use std::time::Duration;

use clip_service::observe::Subject;
use serde::Serialize;

use crate::event::{EventKind, Offset};
use crate::judge::{SecondState, seconds};
use crate::printable::Text;
use crate::record::timeline::Lane;
use crate::record::{Record, Timeline};
use crate::series::Window;

/// Buckets over all loads; beyond, a bucket covers more than a second.
const MOST_BUCKETS: u64 = 7_200;
/// Points of the host's lane.
const MOST_HOST_POINTS: usize = 1_800;

/// Everything that is drawn. Times in seconds from the start of load, response times in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    from: f64,
    to: f64,
    /// Seconds per bucket.
    step: u64,
    loads: Vec<LoadChart>,
    /// Per bucket: 0 nothing due, 1 objective met, 2 missed.
    held: Vec<u8>,
    lanes: Vec<LaneChart>,
    /// Time and busy share.
    host: Vec<(f64, f64)>,
    steady: Option<(f64, f64)>,
    faults: Vec<Band>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LoadChart {
    name: Text,
    ok: Vec<u64>,
    bad: Vec<u64>,
    p50: Vec<Option<f64>>,
    p95: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct LaneChart {
    kind: &'static str,
    name: Text,
    /// From, to, state, reason.
    spans: Vec<(f64, f64, Text, Text)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Band {
    name: Text,
    kind: Text,
    from: f64,
    to: f64,
}

/// How the time of the load is cut up, and how its moments are written.
struct Scale {
    origin: Offset,
    whole: Window,
    /// Seconds per bucket.
    step: u64,
    buckets: u64,
}

impl Scale {
    fn of(record: &Record, timeline: &Timeline, origin: Offset) -> Self {
        let whole = timeline.load.unwrap_or(Window::new(origin, origin));
        let length = whole.length().as_secs_f64().ceil() as u64;
        let loads = record.plan.load.len().max(1) as u64;
        let step = (length * loads).div_ceil(MOST_BUCKETS).max(1);
        Self {
            origin,
            whole,
            step,
            buckets: length.div_ceil(step),
        }
    }

    /// Seconds from the start of load, to the millisecond.
    fn at(&self, offset: Offset) -> f64 {
        let seconds = (offset.0 as f64 - self.origin.0 as f64) / 1e6;
        (seconds * 1e3).round() / 1e3
    }

    fn bucket(&self, n: u64) -> Window {
        Window::starting(
            self.whole.from.plus(Duration::from_secs(n * self.step)),
            Duration::from_secs(self.step),
        )
    }
}

pub(super) fn chart(record: &Record, timeline: &Timeline, origin: Offset) -> Chart {
    let scale = Scale::of(record, timeline, origin);
    let steady = timeline.steady;
    Chart {
        from: scale.at(Offset(0)).min(scale.at(scale.whole.from)),
        // Load ends where the last request ends; what follows is waiting and tidying up.
        to: scale.at(timeline.end),
        step: scale.step,
        loads: (0..record.plan.load.len())
            .map(|load| load_chart(record, load, &scale))
            .collect(),
        held: held(record, timeline, scale.step),
        lanes: timeline
            .lanes
            .iter()
            .map(|lane| lane_chart(lane, &timeline.lanes, &scale))
            .collect(),
        host: host(record, &scale),
        steady: steady.map(|steady| (scale.at(steady.from), scale.at(steady.to))),
        faults: timeline
            .faults
            .iter()
            .filter_map(|fault| {
                let window = fault.window(timeline.end)?;
                let planned = record.plan.faults.iter().find(|p| p.name == fault.name);
                Some(Band {
                    name: Text::from(&fault.name),
                    kind: Text::from(planned.map_or("", |planned| planned.inject.kind().name)),
                    from: scale.at(window.from),
                    to: scale.at(window.to),
                })
            })
            .collect(),
    }
}

fn load_chart(record: &Record, load: usize, scale: &Scale) -> LoadChart {
    let mut chart = LoadChart {
        name: Text::from(&record.plan.load[load].name),
        ok: Vec::new(),
        bad: Vec::new(),
        p50: Vec::new(),
        p95: Vec::new(),
        p99: Vec::new(),
    };
    for n in 0..scale.buckets {
        let (counts, times, _) = record.series.spread(load, scale.bucket(n), |_| true);
        let ms = |q| {
            let time = times.rank(q)?;
            Some((time.as_secs_f64() * 1e5).round() / 1e2)
        };
        chart.ok.push(counts.ok);
        chart.bad.push(counts.bad());
        chart.p50.push(ms(0.5));
        chart.p95.push(ms(0.95));
        chart.p99.push(ms(0.99));
    }
    chart
}

/// Per bucket, the worst of its seconds.
fn held(record: &Record, timeline: &Timeline, step: u64) -> Vec<u8> {
    seconds(record, timeline)
        .chunks(usize::try_from(step).unwrap_or(1))
        .map(|chunk| {
            let worst = chunk.iter().map(|(_, state)| match state {
                SecondState::Idle => 0,
                SecondState::Good => 1,
                SecondState::Bad => 2,
            });
            worst.max().unwrap_or(0)
        })
        .collect()
}

fn lane_chart(lane: &Lane, all: &[Lane], scale: &Scale) -> LaneChart {
    let breaker = lane.subject == Subject::Breaker;
    let same = all
        .iter()
        .filter(|other| other.subject == lane.subject && other.name == lane.name);
    LaneChart {
        kind: if breaker { "breaker" } else { "instance" },
        // Several gateways have a breaker for one processor.
        name: match breaker && same.count() > 1 {
            true => Text::from(format!("{} at {}", lane.name, lane.source)),
            false => Text::from(&lane.name),
        },
        spans: lane
            .spans
            .iter()
            .map(|span| {
                let Window { from, to } = span.window;
                (
                    scale.at(from),
                    scale.at(to),
                    Text::from(&span.state),
                    Text::from(&span.reason),
                )
            })
            .collect(),
    }
}

/// Thinned evenly when there is more than can be seen; the busiest of each bunch is kept.
fn host(record: &Record, scale: &Scale) -> Vec<(f64, f64)> {
    let all: Vec<_> = record
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Host { cpu, .. } => Some((scale.at(event.at), (cpu * 1e3).round() / 1e3)),
            _ => None,
        })
        .collect();
    let bunch = all.len().div_ceil(MOST_HOST_POINTS).max(1);
    all.chunks(bunch)
        .filter_map(|bunch| bunch.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)))
        .collect()
}
