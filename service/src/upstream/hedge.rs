//! Hedging: a read that takes longer than usual is asked for a second time, of another instance, and the first answer
//! counts. The tail of one instance is then not the tail of the service. Decisions only; the race is run in `race.rs`.
//!
//! What keeps it from doubling the load of a service that is slow as a whole: a budget of its own, five percent of the
//! calls. Beyond it only a call whose instance is *silent* while others answer (a process that was stopped, a cable that
//! was pulled) may be hedged, and that draws on the budget of retries: the timeout that it makes unnecessary would have
//! become a retry anyway.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::config::HedgeConfig;
use super::latency::Usual;

/// Tries below which a p95 says nothing.
const ENOUGH: u32 = 100;
/// After an instance shed load nobody hedges for this long: a second try is the last thing it needs.
const AFTER_SHED: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Hedging {
    config: HedgeConfig,
    pub(super) budget: Budget,
    origin: Instant,
    /// Microseconds since the origin of the last answer, and of the last one that shed load; 0 for none.
    answered: AtomicU64,
    shed: AtomicU64,
}

impl Hedging {
    pub(super) fn new(config: &HedgeConfig, now: Instant) -> Self {
        Self {
            config: config.clone(),
            budget: Budget::new(config.budget_ratio, config.min_per_second, now),
            origin: now,
            answered: AtomicU64::new(0),
            shed: AtomicU64::new(0),
        }
    }

    /// How long a read waits before it is hedged; `None` when it is not, because hedging is off or instances shed load.
    pub(super) fn delay(&self, usual: Usual, now: Instant) -> Option<Duration> {
        if !self.config.enabled || self.shed_lately(now) {
            return None;
        }
        Some(if usual.samples >= ENOUGH {
            let (min, max) = (self.config.min_delay.get(), self.config.max_delay.get());
            usual.p95.clamp(min, max.max(min))
        } else {
            self.config.default_delay.get()
        })
    }

    /// Some instance answered; `shed` says that it did so by refusing.
    pub(super) fn heard(&self, shed: bool, now: Instant) {
        let at = self.micros(now) + 1;
        self.answered.store(at, Relaxed);
        if shed {
            self.shed.store(at, Relaxed);
        }
    }

    /// Whether somebody answered after `since`.
    pub(super) fn answered_since(&self, since: Instant) -> bool {
        self.answered.load(Relaxed) > self.micros(since) + 1
    }

    fn shed_lately(&self, now: Instant) -> bool {
        let shed = self.shed.load(Relaxed);
        shed != 0 && self.micros(now).saturating_sub(shed) < AFTER_SHED.as_micros() as u64
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn usual(samples: u32, p95: Duration) -> Usual {
        Usual {
            samples,
            p95,
            ..Usual::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_usual_time_within_bounds() {
        let now = Instant::now();
        let hedging = Hedging::new(&HedgeConfig::default(), now);
        for (samples, p95, expected) in [
            (0, Duration::ZERO, 50 * MS),
            (99, 20 * MS, 50 * MS),
            (100, 20 * MS, 20 * MS),
            (100, MS, 5 * MS),
            (100, 3000 * MS, 1000 * MS),
        ] {
            assert_eq!(hedging.delay(usual(samples, p95), now), Some(expected));
        }
        let off = HedgeConfig {
            enabled: false,
            ..HedgeConfig::default()
        };
        let off = Hedging::new(&off, now);
        assert_eq!(off.delay(usual(100, 20 * MS), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn not_while_load_is_shed() {
        let now = Instant::now();
        let hedging = Hedging::new(&HedgeConfig::default(), now);
        hedging.heard(true, now);
        assert_eq!(hedging.delay(usual(0, MS), now + 999 * MS), None);
        hedging.heard(false, now + 999 * MS);
        assert_eq!(hedging.delay(usual(0, MS), now + 1001 * MS), Some(50 * MS));
    }

    #[tokio::test(start_paused = true)]
    async fn knows_whether_others_answer() {
        let now = Instant::now();
        let hedging = Hedging::new(&HedgeConfig::default(), now);
        assert!(!hedging.answered_since(now));
        hedging.heard(false, now + MS);
        assert!(hedging.answered_since(now) && !hedging.answered_since(now + MS));
    }
}
