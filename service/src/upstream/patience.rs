//! How long a try may take.
//!
//! A read that sets no time of its own gets 1.5 times the p99.9 of its route, within the configured bounds: of a thousand
//! tries of healthy instances fewer than one is cut off, and one that hangs is given up as soon as that can be told.
//! When the pool as a whole is slower than the bounds the time is stretched, so that load does not look like failure.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::call::Call;
use super::config::Timeouts;
use super::deadline;
use super::latency::Usual;
use super::pool::Pool;

/// A try of a read may take this many times what is usual in the pool, if that is longer than its bounds.
const STRETCH: f64 = 3.0;
/// Room above the p99.9.
const ROOM: f64 = 1.5;
/// Tries below which a p99.9 says nothing.
const ENOUGH: u32 = 1000;
/// What is usual in the pool is asked for this often, microseconds: the answer costs a look at every instance.
const REFRESH_US: u64 = 10_000;
/// An instance that is asked and answers nobody for so long, or for four times what is usual, is taken to hang.
const SILENCE: Duration = Duration::from_millis(25);
const SILENCE_FACTOR: f64 = 4.0;

#[derive(Debug)]
pub(super) struct Patience {
    timeouts: Timeouts,
    origin: Instant,
    /// Microseconds since the origin at which the next field is due again.
    due: AtomicU64,
    /// What is usual in the pool, microseconds.
    usual: AtomicU64,
}

impl Patience {
    pub(super) fn new(timeouts: &Timeouts, now: Instant) -> Self {
        Self {
            timeouts: timeouts.clone(),
            origin: now,
            due: AtomicU64::new(0),
            usual: AtomicU64::new(0),
        }
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
            let most = self.timeouts.read_try.get();
            let bound = if usual.samples >= ENOUGH {
                let least = self.timeouts.read_try_min.get().min(most);
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
        let at = now.saturating_duration_since(self.origin).as_micros();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        let due = self.due.load(Relaxed);
        if at >= due
            && self
                .due
                .compare_exchange(due, at + REFRESH_US, Relaxed, Relaxed)
                .is_ok()
        {
            let seconds = pool.usual_latency(now).unwrap_or(0.0);
            self.usual.store((seconds * 1e6) as u64, Relaxed);
        }
        Duration::from_micros(self.usual.load(Relaxed))
    }
}
