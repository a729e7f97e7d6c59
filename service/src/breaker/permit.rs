//! The right to one call, and what remains of it.

use std::borrow::Borrow;
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

    /// For a call that is made whatever the breaker says: it decides nothing.
    pub(crate) const fn last_resort(began: Instant) -> Self {
        Self {
            epoch: Self::LAST_RESORT,
            began,
        }
    }

    /// When the call was admitted.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }
}

/// The right to one call. Dropped without a verdict (the caller went away) it is [`Outcome::Ignored`], or
/// [`Outcome::Abandoned`] if the call had already waited unusually long.
///
/// One from [`Breaker::try_permit`] borrows its breaker; one from [`Breaker::try_permit_owned`] keeps it.
#[derive(Debug)]
#[must_use = "a permit that is dropped says that its caller went away"]
pub struct Permit<B: Borrow<Breaker> = Breaker> {
    breaker: B,
    ticket: Ticket,
    patience: Duration,
    settled: bool,
}

impl<B: Borrow<Breaker>> Permit<B> {
    pub(super) fn new(breaker: B, ticket: Ticket) -> Self {
        Self {
            patience: breaker.borrow().machine.patience,
            breaker,
            ticket,
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
    pub fn record(self, outcome: Outcome, now: Instant) -> Option<Arc<Transition>> {
        self.record_with_hint(outcome, None, now)
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
        let breaker = self.breaker.borrow();
        breaker.settle(self.ticket, outcome, retry_after, now)
    }
}

impl<B: Borrow<Breaker>> Drop for Permit<B> {
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
        let breaker = self.breaker.borrow();
        breaker.settle(self.ticket, outcome, None, now);
    }
}
