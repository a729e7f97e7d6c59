//! The contract between a run and everything that watches it.
//!
//! Events are few and kept whole; samples are many and folded at once. Both carry facts, never presentation. The
//! conductor emits them in order of `at`; a [`Sink`] must not block.

use std::time::Duration;

use clip_service::observe::Transition;
use serde::{Deserialize, Serialize};

use crate::plan::LedgerCheck;

/// Time since the run began (before the first node is started), in microseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// From a duration since the run began.
    #[must_use]
    pub fn from_duration(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX))
    }

    /// As a duration since the run began.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Seconds since the run began.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Time from `earlier` to this; zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, more: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(more.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Offset,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// First event of a run. Wall clock in milliseconds since the Unix epoch.
    RunStarted {
        /// Wall clock.
        wall_ms: i64,
        /// Identifies the run and everything it leaves behind.
        run_id: String,
    },
    /// A node was started (again, when `incarnation` > 1).
    NodeStarted {
        /// Its name.
        node: String,
        /// 1 for the first start.
        incarnation: u32,
        /// Process id, where it is a process.
        pid: Option<u32>,
    },
    /// A node met its readiness condition.
    NodeReady {
        /// Its name.
        node: String,
        /// Time since it was started.
        took_us: u64,
    },
    /// A node's process or task ended.
    NodeExited {
        /// Its name.
        node: String,
        /// `exited by signal 9`, `exit code 1`.
        how: String,
        /// Whether the harness meant it to.
        expected: bool,
        /// Its last log lines, where it was not meant to.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        log: Vec<String>,
    },
    /// Every node is ready and every fixture is in place.
    SystemReady,
    /// Load began; `at` is the origin of every intended start and of fault times.
    LoadStarted,
    /// The steady state was met for a whole window; faults may begin. Its window is `[from, at]`.
    SteadyReached {
        /// Start of the window.
        from: Offset,
    },
    /// A fault is in place.
    FaultInjected {
        /// Its name.
        fault: String,
        /// Node or link.
        target: String,
        /// What was done, with evidence: `SIGKILL processor-2 (pid 4711): exited by signal 9`.
        detail: String,
        /// When injecting began. It takes effect before it is known to be in place, so what it did counts from here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        began: Option<Offset>,
    },
    /// A fault was undone and the undo was proved.
    FaultReverted {
        /// Its name.
        fault: String,
        /// Node or link.
        target: String,
        /// Evidence that it bit; `None` when it touched nothing, which fails the run as not exercised.
        proof: Option<String>,
        /// Evidence that it is gone: `restarted, ready after 1.2 s`.
        undo: String,
        /// When undoing began. The fault counts as in place until it is proved to be gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        began: Option<Offset>,
    },
    /// Injecting or undoing failed.
    FaultFailed {
        /// Its name.
        fault: String,
        /// Node or link.
        target: String,
        /// Why.
        error: String,
        /// Whether it was the undo.
        undo: bool,
    },
    /// The steady state held for a whole window after a fault's end. The window began at `from`.
    FaultRecovered {
        /// Its name.
        fault: String,
        /// Start of that window.
        from: Offset,
    },
    /// A node reported a state transition.
    Transition(Transition),
    /// What a node has counted for a probe since it was started.
    ProbeCounts {
        /// The probe.
        probe: String,
        /// The node.
        node: String,
        /// What the probe counts.
        counted: u64,
        /// For so many of the other.
        per: u64,
    },
    /// A line of a node's log at level WARN or above, rate-limited per node.
    NodeLog {
        /// Its name.
        node: String,
        /// The line.
        line: String,
    },
    /// No more work arrives.
    LoadEnded,
    /// Accepted work is being waited for.
    Settling {
        /// Not terminal yet.
        open: u64,
        /// Accepted in all.
        accepted: u64,
    },
    /// Nothing is waited for any more.
    Settled {
        /// Time since load ended.
        took_us: u64,
    },
    /// Something the reader should know, without effect on the verdict.
    Warning {
        /// What.
        message: String,
    },
    /// The harness itself stood still for so long, until now: stopped, suspended, or kept from its processor.
    HarnessStalled {
        /// How long.
        for_us: u64,
    },
    /// Links had run out of files or ports for so many connections, by the end of load; told only when there were any.
    LinksExhausted {
        /// How many.
        connections: u64,
    },
    /// Load generator health, once at the end.
    Generator {
        /// 99th percentile of (sent - intended), microseconds.
        lag_p99_us: u64,
        /// Largest.
        lag_max_us: u64,
        /// Arrivals never sent.
        unsent: u64,
    },
    /// Host resources, about once a second.
    Host {
        /// Busy share of all cores, 0 to 1.
        cpu: f64,
        /// Bytes available.
        memory_available: u64,
    },
    /// Last event of a run.
    RunEnded {
        /// How.
        outcome: RunOutcome,
    },
}

/// How a run ended, apart from whether the system was good enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything in the plan was done.
    Completed,
    /// A stop condition became true.
    Aborted {
        /// Which.
        reason: String,
    },
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The system did not become ready.
    NotReady {
        /// What was waited for and last seen.
        reason: String,
    },
    /// Nothing was started: the machine lacks what the scenario needs.
    Skipped {
        /// What is missing.
        reason: String,
    },
    /// A fault could not be injected, or another failure of the harness.
    Broken {
        /// What.
        reason: String,
    },
    /// Something could not be undone, or was left behind.
    UndoFailed {
        /// What.
        leftovers: Vec<String>,
    },
}

/// One request of one load.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Index of the load in the plan.
    pub load: usize,
    /// Intended start.
    pub due: Offset,
    /// When it was sent; `None` when it never was.
    pub sent: Option<Offset>,
    /// When its answer was complete, or it was given up.
    pub done: Offset,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// `x-request-id` of the answer or of the request.
    pub request_id: Option<String>,
    /// Index of the step in its load.
    pub step: usize,
}

/// Class of requests that failed because the load generator ran out of files, buffers or ports.
pub const OWN_LIMIT: &str = "load generator out of file descriptors or ports";

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As expected.
    Ok,
    /// Anything else; a short class with low cardinality: `status 503`, `timeout`, `connection reset`, `content type`.
    Failed(String),
    /// Due and never sent: the generator had no free place in time.
    Unsent,
}

/// What is known of one piece of accepted (or maybe accepted) work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Which load submitted it (index in the plan).
    pub load: usize,
    /// Its id in the system; `None` when the submit gave no definite answer.
    pub id: Option<String>,
    /// Intended start of the submit.
    pub due: Offset,
    /// What the submit said.
    pub accepted: Accepted,
    /// What the system said of it in the end; `None` before that was asked.
    pub fate: Option<Fate>,
}

/// What a submit said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// A definite yes.
    Ok,
    /// A definite no.
    Refused,
    /// Timeout or reset: may have happened.
    Unknown,
}

/// What became of accepted work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Finished; `results` were listed, `decoded` of them could be decoded, `duplicates` ranks appeared twice.
    Done {
        /// Results listed.
        results: u32,
        /// Results that could be decoded, where that was checked.
        decoded: Option<u32>,
        /// Ranks that appeared more than once.
        duplicates: u32,
        /// Why a result could not be decoded.
        trouble: Option<String>,
    },
    /// The system says it failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// Not terminal when the settle time was over.
    Open {
        /// Its last state.
        state: String,
    },
    /// The system does not know it.
    Lost,
    /// Could not be read back.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Receives what happens. Called from one task, in order; must not block.
pub trait Sink: Send {
    /// Takes an event.
    fn event(&mut self, event: &Event);
    /// Takes a sample.
    fn sample(&mut self, sample: &Sample);
    /// Takes the final ledger, once, after settling.
    fn ledger(&mut self, entries: &[LedgerEntry], checks: &[LedgerCheck]);
}

/// A sink that may not be there.
impl<S: Sink> Sink for Option<S> {
    fn event(&mut self, event: &Event) {
        if let Some(sink) = self {
            sink.event(event);
        }
    }

    fn sample(&mut self, sample: &Sample) {
        if let Some(sink) = self {
            sink.sample(sample);
        }
    }

    fn ledger(&mut self, entries: &[LedgerEntry], checks: &[LedgerCheck]) {
        if let Some(sink) = self {
            sink.ledger(entries, checks);
        }
    }
}
