//! The right to one call, and what remains of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Breaker, Outcome, Transition};

/// Which state admitted a call, and when: enough to say later how it ended. In any later state it decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(super) epoch: u64,
    pub(super) began: Instant,
}

impl Ticket {
    /// No state has this epoch.
    pub(super) const LAST_RESORT: u64 = 0;

    /// When the call was admitted.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }
}

/// The right to one call. Dropped without a verdict (the caller went away) it is [`Outcome::Ignored`], or
/// [`Outcome::Abandoned`] if the call had already waited unusually long.
#[derive(Debug)]
#[must_use = "a permit that is dropped says that its caller went away"]
pub struct Permit {
    breaker: Breaker,
    ticket: Ticket,
    patience: Duration,
    settled: bool,
}

impl Permit {
    pub(super) fn new(breaker: Breaker, epoch: u64, began: Instant) -> Self {
        Self {
            patience: breaker.machine.patience,
            breaker,
            ticket: Ticket { epoch, began },
            settled: false,
        }
    }

    /// From when on dropping it is [`Outcome::Abandoned`], for this call.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// For news that may come after the verdict ([`Breaker::report`]).
    #[must_use]
    pub const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Says how the call ended. What it took is the time since the permit was given. Returns the transition that this
    /// caused, after callbacks have run.
    pub fn record(mut self, outcome: Outcome, now: Instant) -> Option<Arc<Transition>> {
        self.settled = true;
        self.breaker.settle(self.ticket, outcome, None, now)
    }

    /// Like [`Permit::record`], with what the dependency asked for (`Retry-After`): if this opens the breaker it stays
    /// open for that long, within `open` and `max_open`.
    pub fn record_with_hint(
        mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<Arc<Transition>> {
        self.settled = true;
        self.breaker.settle(self.ticket, outcome, retry_after, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let now = Instant::now();
        let late = now.saturating_duration_since(self.ticket.began) >= self.patience;
        let outcome = if late {
            Outcome::Abandoned
        } else {
            Outcome::Ignored
        };
        self.breaker.settle(self.ticket, outcome, None, now);
    }
}
