//! For how long an instance that is being asked has answered nobody.
//!
//! A hung instance never reports anything: callers whose hedge won drop the try. How long that one try had waited is weak
//! evidence, because hedges come early. That *nobody* was answered since the first of those who still wait began is
//! strong evidence, and it is there within milliseconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Silence {
    origin: Instant,
    /// Nanoseconds from the origin to the first try since the last answer, plus 1; 0 when there was none.
    since: AtomicU64,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            since: AtomicU64::new(0),
        }
    }

    /// A try began.
    pub(super) fn asked(&self, now: Instant) {
        if self.since.load(Relaxed) == 0 {
            let at = self.nanos(now) + 1;
            // Whoever was faster was earlier.
            self.since.compare_exchange(0, at, Relaxed, Relaxed).ok();
        }
    }

    /// It said something.
    pub(super) fn heard(&self) {
        self.since.store(0, Relaxed);
    }

    /// How long it has answered nobody although it was asked.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        match self.since.load(Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_nanos((self.nanos(now) + 1).saturating_sub(since)),
        }
    }

    fn nanos(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lasts_from_the_first_question_to_the_next_answer() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let silence = Silence::new(start);
        assert_eq!(silence.lasts(start + ms(500)), Duration::ZERO);
        silence.asked(start + ms(500));
        silence.asked(start + ms(510));
        assert_eq!(silence.lasts(start + ms(530)), ms(30));
        silence.heard();
        assert_eq!(silence.lasts(start + ms(540)), Duration::ZERO);
        silence.asked(start + ms(550));
        assert_eq!(silence.lasts(start + ms(551)), ms(1));
    }
}
