//! What a breaker tells others, and how: callbacks and a channel that never holds up a call.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::window::Counts;
use super::word::State;

/// Events that wait for a slow reader; then it misses the oldest.
const CHANNEL: usize = 256;

/// Why a breaker moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// So many transport failures in a row.
    ConsecutiveFailures {
        /// How many.
        failures: u32,
        /// Whether a probe was the last of them.
        probed: bool,
    },
    /// Too many of the calls in the window failed.
    FailureRate(Counts),
    /// Too many of the calls in the window were slow.
    SlowRate(Counts),
    /// A call that was to decide failed.
    TrialFailed,
    /// Too many of the calls that were to decide were slow.
    TrialsSlow {
        /// Slow ones.
        slow: u32,
        /// All.
        trials: u32,
    },
    /// Calls that were to decide did not answer in time.
    TrialsOverdue,
    /// An active probe passed.
    ProbePassed,
    /// The wait is over, and nobody probes.
    WaitOver,
    /// So many deciding calls succeeded.
    TrialsSucceeded(u32),
    /// Somebody said so.
    Manual,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsecutiveFailures { failures, probed } => {
                let probes = if *probed { ", probes included" } else { "" };
                write!(f, "{failures} transport failures in a row{probes}")
            }
            Self::FailureRate(counts) => {
                write!(f, "{} of {} calls failed", counts.failed, counts.total())
            }
            Self::SlowRate(counts) => {
                write!(f, "{} of {} calls were slow", counts.slow, counts.total())
            }
            Self::TrialFailed => f.write_str("a trial call failed"),
            Self::TrialsSlow { slow, trials } => {
                write!(f, "{slow} of {trials} trial calls were slow")
            }
            Self::TrialsOverdue => f.write_str("trial calls did not answer"),
            Self::ProbePassed => f.write_str("a probe passed"),
            Self::WaitOver => f.write_str("the wait is over"),
            Self::TrialsSucceeded(calls) => write!(f, "{calls} calls succeeded"),
            Self::Manual => f.write_str("by hand"),
        }
    }
}

/// A breaker moved, or would have.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// Name of the breaker.
    pub breaker: Arc<str>,
    /// State before.
    pub from: State,
    /// State after.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Instant,
    /// Which transition of this breaker it was, the first being 2: threads may report two of them in another order.
    pub epoch: u64,
    /// Openings since the breaker was last healthy, this one included.
    pub attempt: u32,
    /// How long it stays open; for other states, and when a person decides how long, `None`.
    pub wait: Option<Duration>,
    /// Calls in its window at that moment.
    pub counts: Counts,
}

/// What a breaker tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It moved.
    Moved(Arc<Transition>),
    /// It only observes, and would have opened. It goes on to admit calls, and judges them again after `wait`.
    WouldOpen(Arc<Transition>),
}

type Callback = Arc<dyn Fn(&Event) + Send + Sync>;

/// Whom a breaker tells.
#[derive(Default)]
pub(super) struct Listeners {
    callbacks: Mutex<Vec<Callback>>,
    channel: OnceLock<broadcast::Sender<Event>>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners")
            .field("callbacks", &self.callbacks.lock().len())
            .finish_non_exhaustive()
    }
}

impl Listeners {
    pub(super) fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) {
        self.callbacks.lock().push(Arc::new(callback));
    }

    pub(super) fn on_transition(&self, callback: impl Fn(&Transition) + Send + Sync + 'static) {
        self.on_event(move |event| {
            if let Event::Moved(transition) = event {
                callback(transition);
            }
        });
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.channel
            .get_or_init(|| broadcast::channel(CHANNEL).0)
            .subscribe()
    }

    /// Tells everybody. No lock is held while a callback runs, so it may call the breaker or add a callback.
    pub(super) fn tell(&self, event: &Event) {
        let callbacks = self.callbacks.lock().clone();
        for callback in callbacks {
            callback(event);
        }
        if let Some(channel) = self.channel.get() {
            // Nobody listening any more is no error.
            channel.send(event.clone()).ok();
        }
    }
}
