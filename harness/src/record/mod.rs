//! What happened: everything a run leaves behind, complete enough to be judged and reported at any later time.
//!
//! A [`Recorder`] watches a run as a [`Sink`] and becomes a [`Record`]; [`mod@format`] puts that on disk and reads it back;
//! [`timeline`] reads the list of events as spans of time. No opinion on what is good or bad lives here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind, LedgerEntry, Offset, Outcome, RunOutcome, Sample, Sink};
use crate::plan::{LedgerCheck, Plan};
use crate::series::Series;

pub mod environment;
pub mod format;
pub mod timeline;

pub use environment::Environment;
pub use format::{FORMAT, RecordError, open, run_dir, save};
pub use timeline::Timeline;

/// Slowest good requests kept of each load.
pub const SLOWEST_KEPT: usize = 25;
/// Failed requests kept of each load and error class, the earliest.
pub const FAILED_KEPT: usize = 10;
/// Failed requests kept in all.
pub const FAILED_KEPT_IN_ALL: usize = 200;

/// Everything a run leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format on disk.
    pub format: u32,
    /// What was to happen.
    pub plan: Plan,
    /// Where it happened.
    pub environment: Environment,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// Every request, as numbers.
    pub series: Series,
    /// Some requests in full.
    pub exemplars: Exemplars,
    /// What became of accepted work; `None` when the run did not get to reading it.
    pub ledger: Option<Ledger>,
    /// How the run ended.
    pub outcome: RunOutcome,
}

/// What became of accepted work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Every submit that may have been accepted.
    pub entries: Vec<LedgerEntry>,
    /// What was looked into when it was read back.
    pub checks: Vec<LedgerCheck>,
}

/// Requests worth looking at one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exemplars {
    /// Slowest good ones of each load, slowest first.
    pub slowest: Vec<Exemplar>,
    /// Earliest failed ones of each load and class, in order of their intended start.
    pub failed: Vec<Exemplar>,
}

/// One request in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemplar {
    /// Index of the load in the plan.
    pub load: usize,
    /// Index of the step in the load.
    pub step: usize,
    /// Intended start.
    pub due: Offset,
    /// When it was sent.
    pub sent: Option<Offset>,
    /// When its answer was complete, or it was given up.
    pub done: Offset,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Request id.
    pub request_id: Option<String>,
}

impl Exemplar {
    fn of(sample: &Sample) -> Self {
        Self {
            load: sample.load,
            step: sample.step,
            due: sample.due,
            sent: sample.sent,
            done: sample.done,
            outcome: sample.outcome.clone(),
            status: sample.status,
            request_id: sample.request_id.clone(),
        }
    }
}

impl Record {
    /// Wall clock of the start of the run, milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall_ms(&self) -> Option<i64> {
        self.events.iter().find_map(|event| match event.kind {
            EventKind::RunStarted { wall_ms, .. } => Some(wall_ms),
            _ => None,
        })
    }

    /// The time of the last thing known.
    #[must_use]
    pub fn end(&self) -> Offset {
        let last = self.events.last().map(|event| event.at);
        last.max(self.series.extent().map(|extent| extent.to))
            .unwrap_or_default()
    }
}

/// Watches a run and becomes its [`Record`].
#[derive(Debug)]
pub struct Recorder {
    plan: Plan,
    environment: Environment,
    events: Vec<Event>,
    series: Series,
    /// Per load, the fastest of the kept ones on top.
    slowest: Vec<BinaryHeap<Reverse<(u64, u64)>>>,
    kept: BTreeMap<(usize, u64, u64), Exemplar>,
    failed: Vec<Exemplar>,
    failed_kept: BTreeMap<(usize, String), usize>,
    ledger: Option<Ledger>,
    stream: Option<BufWriter<File>>,
    stream_error: Option<io::Error>,
    /// Tells apart what has the same response time.
    sequence: u64,
}

impl Recorder {
    /// Of a run of this plan on this machine.
    #[must_use]
    pub fn new(plan: Plan, environment: Environment) -> Self {
        Self {
            series: Series::new(&plan),
            slowest: plan.load.iter().map(|_| BinaryHeap::new()).collect(),
            plan,
            environment,
            events: Vec::new(),
            kept: BTreeMap::new(),
            failed: Vec::new(),
            failed_kept: BTreeMap::new(),
            ledger: None,
            stream: None,
            stream_error: None,
            sequence: 0,
        }
    }

    /// Also writes each event as a line of `events.jsonl` in this directory the moment it comes, so that a run that
    /// is killed leaves a trace.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn stream_to(mut self, directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = File::create(directory.join(format::EVENTS_FILE))?;
        self.stream = Some(BufWriter::new(file));
        Ok(self)
    }

    /// What was measured so far.
    #[must_use]
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// The run is over.
    #[must_use]
    pub fn finish(mut self) -> Record {
        if let Some(error) = self.stream_error.take() {
            let at = self.events.last().map(|event| event.at).unwrap_or_default();
            let message = format!("{} is incomplete: {error}", format::EVENTS_FILE);
            self.events.push(Event {
                at,
                kind: EventKind::Warning { message },
            });
        }
        let ended = self
            .events
            .iter()
            .rev()
            .find_map(|event| match &event.kind {
                EventKind::RunEnded { outcome } => Some(outcome.clone()),
                _ => None,
            });
        self.series.sort();
        let mut slowest: Vec<_> = self.kept.into_iter().collect();
        slowest
            .sort_by_key(|((load, response, sequence), _)| (*load, Reverse(*response), *sequence));
        self.failed
            .sort_by_key(|exemplar| (exemplar.due, exemplar.load));
        Record {
            format: FORMAT,
            plan: self.plan,
            environment: self.environment,
            events: self.events,
            series: self.series,
            exemplars: Exemplars {
                slowest: slowest.into_iter().map(|(_, exemplar)| exemplar).collect(),
                failed: self.failed,
            },
            ledger: self.ledger,
            outcome: ended.unwrap_or_else(|| RunOutcome::Broken {
                reason: "the run stopped without saying how it ended".to_owned(),
            }),
        }
    }

    fn keep_if_slow(&mut self, sample: &Sample) {
        let Some(heap) = self.slowest.get_mut(sample.load) else {
            return;
        };
        let response = u64::try_from(sample.done.since(sample.due).as_micros()).unwrap_or(u64::MAX);
        if heap.len() >= SLOWEST_KEPT {
            match heap.peek() {
                Some(Reverse((fastest, _))) if *fastest < response => {}
                _ => return,
            }
            if let Some(Reverse((response, sequence))) = heap.pop() {
                self.kept.remove(&(sample.load, response, sequence));
            }
        }
        self.sequence += 1;
        heap.push(Reverse((response, self.sequence)));
        self.kept
            .insert((sample.load, response, self.sequence), Exemplar::of(sample));
    }

    fn keep_failed(&mut self, sample: &Sample, class: &str) {
        if self.failed.len() >= FAILED_KEPT_IN_ALL {
            return;
        }
        let kept = self
            .failed_kept
            .entry((sample.load, class.to_owned()))
            .or_default();
        if *kept < FAILED_KEPT {
            *kept += 1;
            self.failed.push(Exemplar::of(sample));
        }
    }
}

impl Sink for Recorder {
    fn event(&mut self, event: &Event) {
        if let Some(stream) = &mut self.stream {
            let written = serde_json::to_writer(&mut *stream, event)
                .map_err(io::Error::from)
                .and_then(|()| stream.write_all(b"\n"))
                .and_then(|()| stream.flush());
            if let Err(error) = written {
                self.stream = None;
                self.stream_error = Some(error);
            }
        }
        self.events.push(event.clone());
    }

    fn sample(&mut self, sample: &Sample) {
        self.series.add(sample);
        match &sample.outcome {
            Outcome::Ok => self.keep_if_slow(sample),
            Outcome::Failed(class) => self.keep_failed(sample, class),
            Outcome::Unsent => self.keep_failed(sample, crate::series::UNSENT),
        }
    }

    fn ledger(&mut self, entries: &[LedgerEntry], checks: &[LedgerCheck]) {
        self.ledger = Some(Ledger {
            entries: entries.to_vec(),
            checks: checks.to_vec(),
        });
    }
}

#[cfg(test)]
mod tests;
