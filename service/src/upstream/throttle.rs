//! The adaptive throttle of a client (Site Reliability Engineering, chapter 21): when instances shed more than they
//! accept, some calls are refused here, before they cost an instance the work of refusing.
//!
//! `P(refuse) = max(0, (requests - k * accepts) / (requests + 1))`, over a window, bounded by a cap.
//!
//! Only verdicts of instances that are alive count: accepted or shed. Connections that break, timeouts and error statuses
//! do not. They are the business of breakers and budgets, and a throttle that learnt from them would go on refusing after
//! an outage, which is when calls succeed again. For the same reason the window is ten seconds and not the book's two
//! minutes, and the cap leaves a quarter of the calls through: they are what it notices the end of the overload by.

use tokio::time::Instant;

use super::config::ThrottleConfig;
use super::ring::Ring;
use crate::env::SharedRng;

#[derive(Debug)]
pub(super) struct Throttle {
    config: ThrottleConfig,
    requests: Ring,
    accepts: Ring,
}

impl Throttle {
    pub(super) fn new(config: &ThrottleConfig, now: Instant) -> Self {
        let window = config.window.get();
        Self {
            config: config.clone(),
            requests: Ring::new(window, now),
            accepts: Ring::new(window, now),
        }
    }

    /// Whether a call may be made. One that may not counts as a request: refusing must not look like less demand.
    pub(super) fn admits(&self, rng: &SharedRng, now: Instant) -> bool {
        let refuse = self.probability(now);
        let admits = refuse <= 0.0 || rng.unit() >= refuse;
        if !admits {
            self.requests.add(1, now);
        }
        admits
    }

    /// An instance answered a call as asked, or shed it.
    pub(super) fn heard(&self, accepted: bool, now: Instant) {
        if self.config.enabled {
            self.requests.add(1, now);
            self.accepts.add(i64::from(accepted), now);
        }
    }

    /// Share of calls that is refused now.
    pub(super) fn probability(&self, now: Instant) -> f64 {
        if !self.config.enabled {
            return 0.0;
        }
        let (requests, accepts) = (self.requests.sum(now), self.accepts.sum(now));
        let (requests, accepts) = (requests as f64, accepts as f64);
        let rate = requests / self.config.window.get().as_secs_f64();
        if rate <= self.config.min_rate {
            return 0.0;
        }
        let refuse = (requests - self.config.k * accepts) / (requests + 1.0);
        refuse.clamp(0.0, self.config.cap)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Calls at 100/s for `seconds`; every `nth` one is accepted, of those that are let through. Returns the share refused.
    fn run(throttle: &Throttle, rng: &SharedRng, now: &mut Instant, seconds: u32, nth: u32) -> f64 {
        let mut refused = 0;
        for call in 0..seconds * 100 {
            *now += 10 * MS;
            if throttle.admits(rng, *now) {
                throttle.heard(call % nth == 0, *now);
            } else {
                refused += 1;
            }
        }
        f64::from(refused) / f64::from(seconds * 100)
    }

    fn throttle(change: impl FnOnce(&mut ThrottleConfig)) -> (Throttle, SharedRng, Instant) {
        let mut config = ThrottleConfig::default();
        change(&mut config);
        let now = Instant::now();
        (Throttle::new(&config, now), SharedRng::seeded(3), now)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_refused_while_half_is_accepted() {
        let (throttle, rng, mut now) = throttle(|_| {});
        assert_eq!(run(&throttle, &rng, &mut now, 20, 1), 0.0);
        // The window may begin between a call that is accepted and one that is not.
        assert!(run(&throttle, &rng, &mut now, 20, 2) < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn when_most_is_shed_most_is_refused_here_and_never_all() {
        let (throttle, rng, mut now) = throttle(|_| {});
        run(&throttle, &rng, &mut now, 20, 50);
        let refused = run(&throttle, &rng, &mut now, 20, 50);
        assert!((0.7..=0.8).contains(&refused), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_lets_go_within_its_window() {
        let (throttle, rng, mut now) = throttle(|config| {
            config.window = crate::units::HumanDuration::secs(1);
        });
        run(&throttle, &rng, &mut now, 5, 50);
        assert!(throttle.probability(now) > 0.5);
        run(&throttle, &rng, &mut now, 2, 1);
        assert_eq!(throttle.probability(now), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_calls_and_a_throttle_that_is_off_refuse_nothing() {
        for change in [
            (|config| config.min_rate = 200.0) as fn(&mut ThrottleConfig),
            |config| config.enabled = false,
        ] {
            let (throttle, rng, mut now) = throttle(change);
            assert_eq!(run(&throttle, &rng, &mut now, 20, 50), 0.0);
        }
    }
}
