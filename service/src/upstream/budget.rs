//! The retry budget: retries may add a share to the load, never multiply it. Pure; takes `now`.

use std::time::Duration;

use tokio::time::Instant;

use super::config::RetryConfig;

const SLOTS: usize = 10;
const SLOT: Duration = Duration::from_secs(1);
/// Tokens are counted in thousandths, so that a ratio of 0.2 or 0.6 loses nothing to rounding.
const DEPOSIT: i64 = 1000;

/// Ten one-second slots of deposits less withdrawals, and a reserve.
#[derive(Debug)]
pub(super) struct Budget {
    slots: [i64; SLOTS],
    slot: usize,
    slot_ends: Instant,
    deposit: i64,
    cost: i64,
    reserve: i64,
}

impl Budget {
    pub(super) fn new(config: &RetryConfig, now: Instant) -> Self {
        let (deposit, cost) = if config.budget_ratio > 0.0 {
            // Up to 10 retries per call can be configured, so a retry costs at least 100.
            (
                DEPOSIT,
                ((DEPOSIT as f64 / config.budget_ratio).round() as i64).max(1),
            )
        } else {
            (0, DEPOSIT)
        };
        let window = i64::try_from(SLOTS).unwrap_or(i64::MAX);
        Self {
            slots: [0; SLOTS],
            slot: 0,
            slot_ends: now + SLOT,
            deposit,
            cost,
            reserve: i64::from(config.min_per_second)
                .saturating_mul(window)
                .saturating_mul(cost),
        }
    }

    /// A first try was made.
    pub(super) fn deposit(&mut self, now: Instant) {
        self.roll(now);
        self.slots[self.slot] += self.deposit;
    }

    /// Takes one retry, if it is covered.
    pub(super) fn withdraw(&mut self, now: Instant) -> bool {
        self.roll(now);
        let covered = self.balance() >= self.cost;
        if covered {
            let slot = &mut self.slots[self.slot];
            *slot = slot.saturating_sub(self.cost);
        }
        covered
    }

    /// Retries that are covered now.
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        self.roll(now);
        u64::try_from(self.balance() / self.cost).unwrap_or(0)
    }

    fn balance(&self) -> i64 {
        self.slots
            .iter()
            .fold(self.reserve, |sum, slot| sum.saturating_add(*slot))
    }

    fn roll(&mut self, now: Instant) {
        for _ in 0..SLOTS {
            if now < self.slot_ends {
                return;
            }
            self.slot = (self.slot + 1) % SLOTS;
            self.slots[self.slot] = 0;
            self.slot_ends += SLOT;
        }
        // Idle for longer than the window: every slot is empty, only the clock is left to set.
        if now >= self.slot_ends {
            self.slot_ends = now + SLOT;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn budget(ratio: f64, min_per_second: u32, now: Instant) -> Budget {
        let config = RetryConfig {
            budget_ratio: ratio,
            min_per_second,
            ..RetryConfig::default()
        };
        Budget::new(&config, now)
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_calls_may_be_retried() {
        for (ratio, expected) in [(0.2, 200), (0.6, 599), (1.0, 1000), (0.0, 0)] {
            let now = Instant::now();
            let mut budget = budget(ratio, 0, now);
            (0..1000).for_each(|_| budget.deposit(now));
            let granted = (0..2000).filter(|_| budget.withdraw(now)).count();
            assert_eq!(granted, expected, "ratio {ratio}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_covers_a_quiet_service_and_comes_back() {
        let start = Instant::now();
        let mut budget = budget(0.2, 10, start);
        assert_eq!((0..500).filter(|_| budget.withdraw(start)).count(), 100);
        let later = start + Duration::from_secs(11);
        assert_eq!(budget.left(later), 100);
        assert_eq!(budget.left(later + Duration::from_secs(3600)), 100);
    }

    proptest! {
        /// Whenever a retry is granted, the retries of the last seconds, it included, stay within the ratio of the calls
        /// of the same time plus the reserve.
        #[test]
        fn never_beyond_ratio_and_reserve(
            ratio in 0.05_f64..2.0,
            min in 0_u32..5,
            steps in proptest::collection::vec((0_u64..400, any::<bool>()), 1..600),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut budget = budget(ratio, min, now);
            let (mut calls, mut retries) = (Vec::new(), Vec::new());
            for (wait, is_call) in steps {
                now += Duration::from_millis(wait);
                if is_call {
                    budget.deposit(now);
                    calls.push(now);
                } else if budget.withdraw(now) {
                    retries.push(now);
                    // Slots end on whole seconds: the last nine seconds are always counted, never more than ten.
                    let within = |times: &[Instant], seconds| {
                        let window = Duration::from_secs(seconds);
                        times.iter().filter(|at| now - **at < window).count() as f64
                    };
                    let allowed = within(&calls, 10) * ratio * 1.001 + f64::from(min) * 10.0;
                    prop_assert!(within(&retries, 9) <= allowed + 1e-6);
                }
            }
        }
    }
}
