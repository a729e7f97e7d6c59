//! What an instance costs at the moment: latency as a peak-sensitive moving average, and a penalty for failing.
//!
//! Failures are kept apart from latency. A refused connection is fast, so averaged in it would draw traffic to a dead
//! instance; as a huge latency it would keep a recovered one away for a minute, the time the average needs to decay.
//! The penalty decays within seconds and the breaker covers what lasts longer.

use std::time::Duration;

use tokio::time::Instant;

/// Time constant of the average.
const LATENCY_TAU: f64 = 10.0;
/// Time constant of the penalty: from 5 s to 10 ms in about six seconds.
const PENALTY_TAU: f64 = 1.0;
const PENALTY: f64 = 5.0;

#[derive(Debug, Clone, Copy)]
struct Decaying {
    value: f64,
    at: Instant,
}

impl Decaying {
    fn read(self, now: Instant, tau: f64) -> f64 {
        self.value * (-now.saturating_duration_since(self.at).as_secs_f64() / tau).exp()
    }
}

/// Load of one instance.
#[derive(Debug, Default)]
pub(super) struct Load {
    latency: Option<Decaying>,
    penalty: Option<Decaying>,
}

impl Load {
    /// Estimated latency in seconds; `None` before the first sample.
    pub(super) fn latency(&self, now: Instant) -> Option<f64> {
        self.latency.map(|latency| latency.read(now, LATENCY_TAU))
    }

    /// Seconds added to the cost for recent failures.
    pub(super) fn penalty(&self, now: Instant) -> f64 {
        self.penalty
            .map_or(0.0, |penalty| penalty.read(now, PENALTY_TAU))
    }

    /// A call took `took`. A slower one than the estimate replaces it at once, a faster one pulls it down slowly.
    pub(super) fn sample(&mut self, took: Duration, now: Instant) {
        let sample = took.as_secs_f64();
        let value = match self.latency {
            None => sample,
            Some(old) => {
                let estimate = old.read(now, LATENCY_TAU);
                if sample > estimate {
                    sample
                } else {
                    let elapsed = now.saturating_duration_since(old.at).as_secs_f64();
                    let weight = (-elapsed / LATENCY_TAU).exp();
                    old.value * weight + sample * (1.0 - weight)
                }
            }
        };
        self.latency = Some(Decaying { value, at: now });
    }

    /// A call was given up after `took`: the true latency is at least that, so it only counts if it is news.
    pub(super) fn sample_at_least(&mut self, took: Duration, now: Instant) {
        if self
            .latency(now)
            .is_some_and(|estimate| took.as_secs_f64() > estimate)
        {
            self.sample(took, now);
        }
    }

    /// A call failed.
    pub(super) fn punish(&mut self, now: Instant) {
        self.penalty = Some(Decaying {
            value: PENALTY,
            at: now,
        });
    }

    /// It answers after all.
    pub(super) fn forgive(&mut self) {
        self.penalty = None;
    }

    /// Forgets everything: what was measured before an outage says nothing about after.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 1e-6)
    }

    #[tokio::test(start_paused = true)]
    async fn rises_at_once_and_falls_slowly() {
        let start = Instant::now();
        let mut load = Load::default();
        assert_eq!(load.latency(start), None);
        load.sample(ms(10), start);
        load.sample(ms(400), start);
        assert!(near(load.latency(start), 0.4));
        let later = start + Duration::from_secs(1);
        load.sample(ms(10), later);
        let weight = (-0.1_f64).exp();
        assert!(near(
            load.latency(later),
            0.4 * weight + 0.01 * (1.0 - weight)
        ));
        // Reading does not write.
        assert_eq!(load.latency(later + ms(500)), load.latency(later + ms(500)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_failure_makes_an_instance_dearer_not_cheaper() {
        let start = Instant::now();
        let mut load = Load::default();
        load.sample(ms(20), start);
        load.punish(start);
        assert!(near(load.latency(start), 0.02) && load.penalty(start) > 4.9);
        assert!(load.penalty(start + Duration::from_secs(7)) < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_early_is_only_a_lower_bound() {
        let start = Instant::now();
        let mut load = Load::default();
        load.sample_at_least(ms(5), start);
        assert_eq!(load.latency(start), None);
        load.sample(ms(20), start);
        load.sample_at_least(ms(5), start);
        assert!(near(load.latency(start), 0.02));
        load.sample_at_least(ms(250), start);
        assert!(near(load.latency(start), 0.25));
    }
}
