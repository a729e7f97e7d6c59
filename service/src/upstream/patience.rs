//! How long a try may take.
//!
//! A read that sets no time of its own gets 1.5 times the p99.9 of its route, within the configured bounds: of a thousand
//! tries of healthy instances fewer than one is cut off, and one that hangs is given up as soon as that can be told.
//! When the pool as a whole is slower than the bounds the time is stretched, so that load does not look like failure.

use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::config::Timeouts;
use super::latency::Usual;
use super::pool::Pool;
use crate::edge::deadline;

/// A try of a read may take this many times what is usual in the pool, if that is longer than its bounds.
const STRETCH: f64 = 3.0;
/// Room above the p99.9.
const ROOM: f64 = 1.5;
/// Tries below which a p99.9 says nothing.
const ENOUGH: u32 = 1000;
/// An instance that is asked and answers nobody for so long, or for four times what is usual, is taken to hang.
const SILENCE: Duration = Duration::from_millis(25);
const SILENCE_FACTOR: f64 = 4.0;

#[derive(Debug)]
pub(super) struct Patience(Timeouts);

impl Patience {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        Self(timeouts.clone())
    }

    /// Bound of the next try; `None` when there is no time for one.
    pub(super) fn of_try(
        &self,
        call: &Call,
        usual: Usual,
        pool: &Pool,
        now: Instant,
    ) -> Option<Duration> {
        let own = call.try_timeout.unwrap_or_else(|| {
            let most = self.0.read_try.get();
            let bound = if usual.samples >= ENOUGH {
                let least = self.0.read_try_min.get().min(most);
                usual.p999.mul_f64(ROOM).clamp(least, most)
            } else {
                most
            };
            bound.max(self.usual(pool, now).mul_f64(STRETCH))
        });
        deadline::of_try(own, now, call.deadline)
    }

    /// How long an instance that is asked may answer nobody before a hedge that overtook it blames it.
    pub(super) fn of_silence(&self, pool: &Pool, now: Instant) -> Duration {
        SILENCE.max(self.usual(pool, now).mul_f64(SILENCE_FACTOR))
    }

    /// What is usual in the pool at the moment, whatever the route.
    pub(super) fn usual(&self, pool: &Pool, now: Instant) -> Duration {
        let seconds = pool.usual_latency(now).unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}
