//! For how long an instance that is being asked has answered nobody.
//!
//! A hung instance never reports anything: callers whose hedge won drop the try. How long that one try had waited is weak
//! evidence, because hedges come early. That *nobody* was answered since the first of those who still wait began is
//! strong evidence, and it is there within milliseconds.
//!
//! Only time counts during which somebody waits: at low rates, what lies between two tries is no silence, and what lies
//! longer back says nothing of now. And however many wait at a time, they all see the same silence: each piece of it is held
//! against the instance once, or a stall of some milliseconds under load would count as failure upon failure.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Nobody waited for so long: what was before is over.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Silence {
    origin: Instant,
    /// How many wait.
    waiting: AtomicU32,
    /// Nanoseconds from the origin to the first try of those who wait, or to the last answer if that was later, plus 1; 0
    /// when nobody waits.
    since: AtomicU64,
    /// Nanoseconds that others have waited since the last answer, and left.
    before: AtomicU64,
    /// Nanoseconds from the origin to when the last of them left.
    left: AtomicU64,
    /// How often it was held against the instance since the last answer.
    blamed: AtomicU64,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            waiting: AtomicU32::new(0),
            since: AtomicU64::new(0),
            before: AtomicU64::new(0),
            left: AtomicU64::new(0),
            blamed: AtomicU64::new(0),
        }
    }

    /// A try began. It ends with [`Silence::heard`] or [`Silence::left`].
    pub(super) fn asked(&self, now: Instant) {
        self.waiting.fetch_add(1, Relaxed);
        if self.since.load(Relaxed) == 0 {
            let at = self.nanos(now) + 1;
            let pause = at.saturating_sub(self.left.load(Relaxed));
            if pause > PAUSE.as_nanos() as u64 {
                self.forget();
            }
            // Whoever was faster was earlier.
            self.since.compare_exchange(0, at, Relaxed, Relaxed).ok();
        }
    }

    /// One of those who waited was told something.
    pub(super) fn heard(&self, now: Instant) {
        let others = self.waiting.fetch_sub(1, Relaxed) > 1;
        let since = if others { self.nanos(now) + 1 } else { 0 };
        self.since.store(since, Relaxed);
        self.forget();
    }

    fn forget(&self) {
        for past in [&self.before, &self.blamed] {
            if past.load(Relaxed) != 0 {
                past.store(0, Relaxed);
            }
        }
    }

    /// One of those who waited has left without an answer.
    pub(super) fn left(&self, now: Instant) {
        if self.waiting.fetch_sub(1, Relaxed) == 1 {
            let waited = self.waited(self.since.swap(0, Relaxed), now);
            self.before.fetch_add(waited, Relaxed);
            self.left.store(self.nanos(now), Relaxed);
        }
    }

    /// How long it has answered nobody although it was asked.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        let waited = self.waited(self.since.load(Relaxed), now);
        Duration::from_nanos(self.before.load(Relaxed) + waited)
    }

    /// Whether it has lasted for another `piece`, which is then held against the instance.
    pub(super) fn blame(&self, piece: Duration, now: Instant) -> bool {
        let blamed = self.blamed.load(Relaxed);
        let more = blamed.saturating_add(1);
        self.lasts(now) >= piece.saturating_mul(u32::try_from(more).unwrap_or(u32::MAX))
            && self
                .blamed
                .compare_exchange(blamed, more, Relaxed, Relaxed)
                .is_ok()
    }

    fn waited(&self, since: u64, now: Instant) -> u64 {
        match since {
            0 => 0,
            since => (self.nanos(now) + 1).saturating_sub(since),
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
        silence.heard(start + ms(535));
        assert_eq!(silence.lasts(start + ms(540)), ms(5), "another waits");
        silence.heard(start + ms(540));
        assert_eq!(silence.lasts(start + ms(550)), Duration::ZERO);
        silence.asked(start + ms(550));
        assert_eq!(silence.lasts(start + ms(551)), ms(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_between_two_questions_is_none() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let silence = Silence::new(start);
        silence.asked(start);
        silence.left(start + ms(10));
        assert_eq!(silence.lasts(start + ms(500)), ms(10));
        silence.asked(start + ms(500));
        assert_eq!(silence.lasts(start + ms(508)), ms(18));
        silence.left(start + ms(508));
        silence.asked(start + ms(1009));
        assert_eq!(silence.lasts(start + ms(1010)), ms(1), "long ago");
        silence.heard(start + ms(1010));
        silence.asked(start + ms(1100));
        assert_eq!(silence.lasts(start + ms(1101)), ms(1));
    }

    #[tokio::test(start_paused = true)]
    async fn each_piece_is_blamed_once_however_many_wait() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let silence = Silence::new(start);
        (0..10).for_each(|_| silence.asked(start));
        let blamed = |at: u64| {
            let tries = (0..10).filter(|_| silence.blame(ms(25), start + ms(at)));
            tries.count()
        };
        assert_eq!([24, 25, 49, 80].map(blamed), [0, 1, 0, 2]);
        silence.heard(start + ms(80));
        assert_eq!([104, 105].map(blamed), [0, 1]);
    }
}
