//! Facts that a role reports about itself while it runs: state transitions of breakers, instances and jobs.
//!
//! Not for logs (those are `tracing`) and not for numbers (those are metrics): a [`Transition`] is a state machine
//! changing state, which dashboards and tests want as data. A child process writes each as one JSON line on stdout
//! ([`LineObserver`]); an embedding program hands in its own [`Observer`].

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lines::Lines;

/// What kind of state machine changed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A circuit breaker of one upstream instance, as its gateway sees it (`closed`, `open`, `half-open`).
    Breaker,
    /// A registered instance, as the registry sees it (`starting`, `passing`, `warning`, `critical`, `draining`,
    /// `maintenance`, `removed`).
    Instance,
    /// The number of processors that a gateway wants (`2`, `3`).
    Scale,
    /// What a gateway keeps jobs in, by the gateway's name (`well`, `lost`).
    Storage,
    /// A job (`queued`, `running`, `completed`, `failed`).
    Job,
}

/// One state machine changed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// Milliseconds since the Unix epoch, by the reporter's wall clock.
    pub at_ms: i64,
    /// Node that reports it (`gateway-1`, `registry-1`).
    pub source: String,
    /// Which kind of state machine.
    pub subject: Subject,
    /// Which one: an instance name for breakers and instances, an id for jobs.
    pub name: String,
    /// State before.
    pub from: String,
    /// State after.
    pub to: String,
    /// Why, in a few words: `5 transport failures in a row`.
    pub reason: String,
}

/// The line that a child process writes on stdout for the program that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Notice {
    /// The role listens; `address` is the bound `ip:port`. Written once, before readiness.
    Listening {
        /// Role name (`gateway`, `processor`, `registry`, `serve`).
        role: String,
        /// Bound address.
        address: String,
    },
    /// A state machine changed state.
    Transition(Transition),
}

/// Receives notices. Must not block: it is called from request paths.
pub trait Observer: Send + Sync + 'static {
    /// Takes one notice.
    fn notice(&self, notice: Notice);
}

/// Shared handle to an [`Observer`].
#[derive(Clone)]
pub struct Notices {
    observer: Arc<dyn Observer>,
    /// What the process writes, by where it goes.
    outputs: Arc<[(&'static str, Lines)]>,
}

impl Notices {
    /// Wraps an observer.
    pub fn new(observer: impl Observer) -> Self {
        Self {
            observer: Arc::new(observer),
            outputs: Arc::new([]),
        }
    }

    /// Knows what the process writes beside, so that what is dropped of it can be told.
    #[must_use]
    pub fn with_outputs(self, outputs: Vec<(&'static str, Lines)>) -> Self {
        Self {
            outputs: outputs.into(),
            ..self
        }
    }

    /// Another observer for the same process.
    #[must_use]
    pub fn through(&self, observer: impl Observer) -> Self {
        Self {
            observer: Arc::new(observer),
            outputs: Arc::clone(&self.outputs),
        }
    }

    /// Lines that the process could not write, by where they were to go.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.outputs
            .iter()
            .map(|(to, lines)| (*to, lines.dropped()))
    }

    /// Reports to nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_: Notice| {})
    }

    /// Hands one notice on.
    pub fn send(&self, notice: Notice) {
        self.observer.notice(notice);
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

impl<F: Fn(Notice) + Send + Sync + 'static> Observer for F {
    fn notice(&self, notice: Notice) {
        self(notice);
    }
}

/// Writes each notice as one JSON line. A notice that nobody reads in time is dropped: it must not stop a service.
#[derive(Debug)]
pub struct LineObserver(pub Lines);

impl Observer for LineObserver {
    fn notice(&self, notice: Notice) {
        if let Ok(mut line) = serde_json::to_vec(&notice) {
            line.push(b'\n');
            self.0.send(line);
        }
    }
}
