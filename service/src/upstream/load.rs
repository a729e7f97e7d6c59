//! What an instance costs at the moment: latency as a peak-sensitive moving average, and a penalty for failing. Read and
//! written without a lock; reading does not write.
//!
//! Failures are kept apart from latency. A refused connection is fast, so averaged in it would draw traffic to a dead
//! instance; as a huge latency it would keep a recovered one away for a minute, the time the average needs to decay.
//! The penalty decays within seconds and the breaker covers what lasts longer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::tick::Tick;

/// Time constant of the average, seconds.
const LATENCY_TAU: f32 = 10.0;
/// Time constant of the penalty, seconds: from 5 s to 10 ms in about six.
const PENALTY_TAU: f32 = 1.0;
/// What a failure costs, seconds.
const PENALTY: f32 = 5.0;
/// An instance that asks to be left alone is, at most for this long.
const LONGEST_PENALTY: Duration = Duration::from_secs(300);
/// Latency that is assumed while nobody was measured: any value does, they are all the same then.
const UNKNOWN_LATENCY: f32 = 0.01;
/// Estimates do not fall below this, so that calls in flight always count.
const LEAST: f32 = 1e-6;

/// A value that decays from a moment on: an `f32` and a tick in one word, so that they are read and written together.
/// All zero bits: none.
#[derive(Debug, Default)]
struct Decaying(AtomicU64);

impl Decaying {
    fn unpack(word: u64) -> Option<(f32, Tick)> {
        (word != 0).then(|| (f32::from_bits((word >> 32) as u32), Tick::new(word as u32)))
    }

    fn pack(value: f32, at: Tick) -> u64 {
        u64::from(value.to_bits()) << 32 | u64::from(at.get())
    }

    fn parts(&self) -> Option<(f32, Tick)> {
        Self::unpack(self.0.load(Relaxed))
    }

    fn read(&self, now: Tick, tau: f32) -> Option<f32> {
        let (value, at) = self.parts()?;
        Some(decayed(value, at, now, tau))
    }

    fn set(&self, value: f32, at: Tick) {
        self.0.store(Self::pack(value, at), Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    /// Replaces it by what `next` makes of it, however many do so at once.
    fn update(&self, mut next: impl FnMut(Option<(f32, Tick)>) -> Option<(f32, Tick)>) {
        let mut seen = self.0.load(Relaxed);
        while let Some((value, at)) = next(Self::unpack(seen)) {
            let word = Self::pack(value, at);
            match self.0.compare_exchange_weak(seen, word, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}

fn decayed(value: f32, at: Tick, now: Tick, tau: f32) -> f32 {
    let age = now.since(at);
    if age == 0.0 {
        value
    } else {
        value * (-age / tau).exp()
    }
}

/// Load of one instance.
#[derive(Debug, Default)]
pub(super) struct Load {
    latency: Decaying,
    penalty: Decaying,
    /// Whether the latency was measured, and not only assumed.
    measured: AtomicBool,
}

impl Load {
    /// Seconds that a call is expected to cost.
    pub(super) fn cost(&self, now: Tick) -> f32 {
        let latency = self.latency.read(now, LATENCY_TAU);
        latency.map_or(UNKNOWN_LATENCY, |latency| latency.max(LEAST)) + self.penalty(now)
    }

    /// Estimated latency in seconds; `None` before the first sample.
    pub(super) fn latency(&self, now: Tick) -> Option<f32> {
        if !self.measured.load(Relaxed) {
            return None;
        }
        self.latency.read(now, LATENCY_TAU)
    }

    /// Seconds added to the cost for recent failures.
    pub(super) fn penalty(&self, now: Tick) -> f32 {
        self.penalty.read(now, PENALTY_TAU).unwrap_or(0.0)
    }

    /// A call took `took`. A slower one than the estimate replaces it at once, a faster one pulls it down slowly. Whether
    /// it was the first.
    pub(super) fn sample(&self, took: Duration, now: Tick) -> bool {
        let sample = took.as_secs_f32().max(LEAST);
        if !self.measured.swap(true, Relaxed) {
            self.latency.set(sample, now);
            return true;
        }
        self.latency.update(|old| {
            let Some((value, at)) = old else {
                return Some((sample, now));
            };
            let estimate = decayed(value, at, now, LATENCY_TAU);
            if sample > estimate {
                return Some((sample, now));
            }
            let weight = (-now.since(at) / LATENCY_TAU).exp();
            // Within one tick the weight is 1 and a faster sample changes nothing: the next tick's will.
            (weight < 1.0).then_some((value * weight + sample * (1.0 - weight), now))
        });
        false
    }

    /// A call was given up after `took`: the true latency is at least that, so it only counts if it is news.
    pub(super) fn sample_at_least(&self, took: Duration, now: Tick) {
        if self
            .latency(now)
            .is_some_and(|estimate| took.as_secs_f32() > estimate)
        {
            self.sample(took, now);
        }
    }

    /// Takes an instance that was not measured for a usual one, until it is. Counted as free it would draw everything,
    /// counted as dear it would starve. The assumption decays as a measurement does, or others would overtake it.
    pub(super) fn assume(&self, usual: f32, now: Tick) {
        if !self.measured.load(Relaxed) && self.latency.parts().is_none() {
            self.latency.set(usual.max(LEAST), now);
        }
    }

    /// A call failed. `leave_alone`: how long the instance asked for (`Retry-After`); only then the penalty begins to
    /// decay.
    pub(super) fn punish(&self, leave_alone: Option<Duration>, now: Tick) {
        let leave_alone = leave_alone.unwrap_or_default().min(LONGEST_PENALTY);
        let from = now.after(leave_alone);
        self.penalty.update(|old| match old {
            Some((value, at)) if at.is_after(from) => Some((value, at)),
            _ => Some((PENALTY, from)),
        });
    }

    /// It answers after all.
    pub(super) fn forgive(&self) {
        self.penalty.clear();
    }

    /// Forgets everything: what was measured before an outage says nothing about after.
    pub(super) fn reset(&self) {
        self.measured.store(false, Relaxed);
        self.latency.clear();
        self.penalty.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(ms: u64) -> Tick {
        Tick::new(0).after(Duration::from_millis(ms))
    }

    fn near(value: Option<f32>, expected: f32) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 1e-4)
    }

    #[test]
    fn rises_at_once_and_falls_slowly() {
        let load = Load::default();
        assert_eq!(load.latency(at(0)), None);
        assert!(load.sample(ms(10), at(0)));
        assert!(!load.sample(ms(400), at(0)));
        assert!(near(load.latency(at(0)), 0.4));
        load.sample(ms(10), at(1000));
        let weight = (-0.1_f32).exp();
        assert!(near(
            load.latency(at(1000)),
            0.4 * weight + 0.01 * (1.0 - weight)
        ));
        // Reading does not write.
        assert_eq!(load.latency(at(1500)), load.latency(at(1500)));
    }

    #[test]
    fn many_fast_samples_in_little_time_pull_it_down_as_few_do() {
        let [many, few] = [1, 100].map(|every| {
            let load = Load::default();
            load.sample(ms(400), at(0));
            for step in (1..=2000).filter(|step| step % every == 0) {
                load.sample(ms(10), at(step));
            }
            load.latency(at(2000)).expect("measured")
        });
        assert!((many - few).abs() < 0.01, "{many}, {few}");
        assert!(near(Some(many), 0.01 + 0.39 * (-0.2_f32).exp()), "{many}");
    }

    #[test]
    fn a_fast_failure_makes_an_instance_dearer_not_cheaper() {
        let load = Load::default();
        load.sample(ms(20), at(0));
        load.punish(None, at(0));
        assert!(near(load.latency(at(0)), 0.02) && load.penalty(at(0)) > 4.9);
        assert!(load.penalty(at(7000)) < 0.01);
    }

    #[test]
    fn who_asks_to_be_left_alone_is_but_not_for_ever() {
        let load = Load::default();
        load.punish(Some(Duration::from_secs(30)), at(0));
        // A failure in between asks for nothing, and takes nothing back.
        load.punish(None, at(20_000));
        assert!(load.penalty(at(30_000)) > 4.9 && load.penalty(at(37_000)) < 0.01);
        load.punish(Some(Duration::from_secs(86_400)), at(40_000));
        assert!(load.penalty(at(339_000)) > 4.9 && load.penalty(at(347_000)) < 0.01);
    }

    #[test]
    fn giving_up_early_is_only_a_lower_bound() {
        let load = Load::default();
        load.sample_at_least(ms(5), at(0));
        assert_eq!(load.latency(at(0)), None);
        load.sample(ms(20), at(0));
        load.sample_at_least(ms(5), at(0));
        assert!(near(load.latency(at(0)), 0.02));
        load.sample_at_least(ms(250), at(0));
        assert!(near(load.latency(at(0)), 0.25));
    }

    #[test]
    fn an_assumption_gives_way_to_the_first_measurement() {
        let load = Load::default();
        load.assume(0.5, at(0));
        load.assume(0.7, at(0));
        assert_eq!(load.latency(at(0)), None);
        assert!(near(Some(load.cost(at(0))), 0.5));
        load.sample(ms(3), at(1));
        assert!(near(load.latency(at(1)), 0.003));
        load.assume(0.5, at(2));
        assert!(near(Some(load.cost(at(2))), 0.003));
        load.reset();
        assert_eq!(load.latency(at(3)), None);
    }

    proptest! {
        /// An estimate lies between the least and the greatest sample, but for what time takes off.
        #[test]
        fn an_estimate_is_never_above_every_sample(
            samples in proptest::collection::vec((1_u64..10_000, 0_u64..5_000), 1..50)
        ) {
            let load = Load::default();
            let mut time = 0;
            let mut peak = 0;
            for (sample, wait) in samples {
                time += wait;
                load.sample(ms(sample), at(time));
                peak = peak.max(sample);
                let estimate = load.latency(at(time)).expect("measured");
                prop_assert!(estimate > 0.0 && estimate <= ms(peak).as_secs_f32() * 1.001);
            }
        }
    }
}
