//! What a choice gives: an instance, and the right to one call on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::instance::Instance;
use crate::breaker::{Outcome, Ticket};

/// A chosen instance and the right to call it. Dropped without a call it gives the right back, and nobody learns anything.
#[derive(Debug)]
pub struct Picked {
    pub(super) instance: Arc<Instance>,
    pub(super) ticket: Ticket,
    /// Chosen although it should not be used, because nobody better is there.
    pub(super) last_resort: bool,
    settled: bool,
}

impl Picked {
    pub(super) fn new(instance: &Arc<Instance>, ticket: Ticket, last_resort: bool) -> Self {
        Self {
            instance: Arc::clone(instance),
            ticket,
            last_resort,
            settled: false,
        }
    }

    /// Name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.instance.name
    }

    /// Its `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.instance.address
    }

    /// Whether it should not be used, and nobody better is there.
    #[must_use]
    pub fn last_resort(&self) -> bool {
        self.last_resort
    }

    /// Takes the outcome of the call. `retry_after`: how long the instance asked to be left alone. Only the first counts;
    /// whether this is it.
    pub(super) fn settle(
        &mut self,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        let first = !std::mem::replace(&mut self.settled, true);
        if first {
            self.instance.record(self.ticket, outcome, retry_after, now);
        }
        first
    }

    pub(super) fn settled(&self) -> bool {
        self.settled
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        if !self.settled {
            self.instance.breaker.give_back(self.ticket);
        }
    }
}
