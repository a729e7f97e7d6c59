//! Budgets: what is sent beside first tries may add a share to the load, never multiply it. Lock-free; takes `now`.

use std::time::Duration;

use tokio::time::Instant;

use super::ring::Ring;

const WINDOW: Duration = Duration::from_secs(10);
/// Tokens are counted in thousandths, so that a ratio of 0.2 or 0.6 loses nothing to rounding.
const DEPOSIT: i64 = 1000;

/// What the calls of the last ten seconds have earned, less what was spent in the same time.
///
/// The reserve is a floor and not an addition: a quiet service may spend it, a busy one stays at its ratio exactly, so
/// that 0.2 means at most 1.2 tries per call also while everything is down.
#[derive(Debug)]
pub struct Budget {
    earned: Ring,
    spent: Ring,
    deposit: i64,
    cost: i64,
    reserve: i64,
}

impl Budget {
    /// A budget of `ratio` per call (0 to 10), but at least `min_per_second`.
    #[must_use]
    pub fn new(ratio: f64, min_per_second: u32, now: Instant) -> Self {
        let (deposit, cost) = if ratio > 0.0 {
            // Up to ten per call can be configured, so one costs at least 100; and no less than a millionth of it.
            let cost = (DEPOSIT as f64 / ratio).round().min(1e9);
            (DEPOSIT, (cost as i64).max(1))
        } else {
            (0, DEPOSIT)
        };
        let window = i64::try_from(WINDOW.as_secs()).unwrap_or(i64::MAX);
        Self {
            earned: Ring::new(WINDOW, now),
            spent: Ring::new(WINDOW, now),
            deposit,
            cost,
            reserve: i64::from(min_per_second)
                .saturating_mul(window)
                .saturating_mul(cost),
        }
    }

    /// A call was made.
    pub fn deposit(&self, now: Instant) {
        self.earned.add(self.deposit, now);
    }

    /// Takes the cost of one more, if it is covered.
    pub fn withdraw(&self, now: Instant) -> bool {
        let turn = self.spent.turn(now);
        // Taken first and given back if it was not there: two that look at the same time must not both find the last one.
        self.spent.add_in(self.cost, turn);
        let spent = self.spent.sum_in(turn);
        let covered = spent <= self.reserve || spent <= self.earned.sum_in(turn);
        if !covered {
            self.spent.add_in(-self.cost, turn);
        }
        covered
    }

    /// Gives back what was withdrawn and not used.
    pub fn refund(&self, now: Instant) {
        self.spent.add(-self.cost, now);
    }

    /// How many more are covered now.
    #[must_use]
    pub fn left(&self, now: Instant) -> u64 {
        let left = self.earned.sum(now).max(self.reserve) - self.spent.sum(now);
        u64::try_from(left / self.cost).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_calls_may_be_retried() {
        for (ratio, expected) in [(0.2, 200), (0.6, 599), (1.0, 1000), (0.0, 0)] {
            let now = Instant::now();
            let budget = Budget::new(ratio, 0, now);
            (0..1000).for_each(|_| budget.deposit(now));
            let granted = (0..2000).filter(|_| budget.withdraw(now)).count();
            assert_eq!(granted, expected, "ratio {ratio}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_covers_a_quiet_service_and_comes_back() {
        let start = Instant::now();
        let budget = Budget::new(0.2, 10, start);
        assert_eq!((0..500).filter(|_| budget.withdraw(start)).count(), 100);
        let later = start + Duration::from_secs(11);
        assert_eq!(budget.left(later), 100);
        assert_eq!(budget.left(later + Duration::from_secs(3600)), 100);
        assert!(budget.withdraw(later));
        budget.refund(later);
        assert_eq!(budget.left(later), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reserve_is_not_added_to_what_was_earned() {
        let now = Instant::now();
        let budget = Budget::new(0.2, 10, now);
        (0..5000).for_each(|_| budget.deposit(now));
        assert_eq!(budget.left(now), 1000);
    }

    #[test]
    fn two_threads_share_one_budget() {
        let now = Instant::now();
        let budget = Budget::new(0.2, 0, now);
        (0..50_000).for_each(|_| budget.deposit(now));
        let granted: usize = std::thread::scope(|scope| {
            let taking = || (0..20_000).filter(|_| budget.withdraw(now)).count();
            let threads = [scope.spawn(taking), scope.spawn(taking)];
            threads.map(|t| t.join().expect("no panic")).iter().sum()
        });
        assert!(granted <= 10_000, "{granted}");
        // What two refused each other at the end is still there for the next.
        assert_eq!(budget.left(now), 10_000 - granted as u64);
    }

    proptest! {
        /// Whenever one is granted, those of the last seconds, it included, stay within the ratio of the calls of the
        /// same time or within the reserve.
        #[test]
        fn never_beyond_ratio_and_reserve(
            ratio in 0.05_f64..2.0,
            min in 0_u32..5,
            steps in proptest::collection::vec((0_u64..400, any::<bool>()), 1..600),
        ) {
            let start = Instant::now();
            let mut now = start;
            let budget = Budget::new(ratio, min, now);
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
                    let earned = within(&calls, 10) * ratio * 1.001;
                    let allowed = earned.max(f64::from(min) * 10.0);
                    prop_assert!(within(&retries, 9) <= allowed + 1e-6);
                }
            }
        }
    }
}
