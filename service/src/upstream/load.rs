//! What an instance costs at the moment: latency as a peak-sensitive moving average, and a penalty for failing. Read and
//! written without a lock; reading does not write.
//!
//! The average is Finagle's peak EWMA but for three things, without which a pool of equals ends with one busy instance and
//! idle ones beside it, and one that is really slow hides among them:
//!
//! - A peak counts at once only when two samples in a row show it. One slow answer in a hundred is the tail that every
//!   healthy instance has.
//! - Each sample moves the estimate by a sixteenth at least. By time alone, what was slow once, with cold caches, looks slow
//!   for half a minute however many samples say otherwise.
//! - What is not measured any more is taken for as good as the best of the pool in the end, not for free: an instance that
//!   was left alone for long then gets its share, and not everything at once. An estimate made of few samples gets there
//!   sooner: whose first call was slow is asked again soon.
//!
//! Failures are kept apart from latency. A refused connection is fast, so averaged in it would draw traffic to a dead
//! instance; as a huge latency it would keep a recovered one away for a minute, the time the average needs to decay.
//! The penalty decays within seconds and the breaker covers what lasts longer.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::tick::Tick;

/// Time constant of the average, seconds, once it is made of enough samples.
const LATENCY_TAU: f32 = 10.0;
/// Samples that are enough; of fewer, the time constant is shorter in proportion.
const ENOUGH: u32 = 16;
/// Least share of a sample in the estimate it makes.
const LEAST_SHARE: f32 = 1.0 / 16.0;
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

    /// On its way from what it was to `end`.
    fn read(&self, now: Tick, tau: f32, end: f32) -> Option<f32> {
        let (value, at) = self.parts()?;
        Some(decayed(value, at, now, tau, end))
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

fn decayed(value: f32, at: Tick, now: Tick, tau: f32, end: f32) -> f32 {
    let age = now.since(at);
    if age == 0.0 || value <= end {
        value
    } else {
        end + (value - end) * fade(age / tau)
    }
}

/// `e^-x` for an `x` from 0 on, to a twentieth of a percent. Three of them are most of what a choice costs, and libm's is a
/// call.
fn fade(x: f32) -> f32 {
    // As 2^-y: the whole part of y is the exponent, for the rest five terms of the series are enough.
    let y = (x * std::f32::consts::LOG2_E).min(126.0);
    let whole = y as u32;
    let rest = y - whole as f32;
    let series = [
        -0.001_333_4,
        0.009_618_1,
        -0.055_504_1,
        0.240_226_5,
        -std::f32::consts::LN_2,
    ];
    let part = series.iter().fold(0.0, |sum, term| (sum + term) * rest) + 1.0;
    part * f32::from_bits((127 - whole) << 23)
}

/// Load of one instance.
#[derive(Debug, Default)]
pub(super) struct Load {
    latency: Decaying,
    penalty: Decaying,
    /// The sample before the next, as the bits of an `f32`; 0 for none.
    last: AtomicU32,
    /// How many samples the latency is made of, up to [`ENOUGH`]; 0 while it is only assumed.
    samples: AtomicU32,
}

impl Load {
    /// Seconds that a call is expected to cost. `least`, here and below: what it takes on the quickest instance of the pool,
    /// in seconds; 0 if that is not known.
    pub(super) fn cost(&self, least: f32, now: Tick) -> f32 {
        let latency = self.latency.read(now, self.tau(), least);
        latency.map_or(UNKNOWN_LATENCY, |latency| latency.max(LEAST)) + self.penalty(now)
    }

    /// Estimated latency in seconds; `None` before the first sample.
    pub(super) fn latency(&self, least: f32, now: Tick) -> Option<f32> {
        if self.samples.load(Relaxed) == 0 {
            return None;
        }
        self.latency.read(now, self.tau(), least)
    }

    /// An assumption is worth as much as one sample.
    fn tau(&self) -> f32 {
        match self.samples.load(Relaxed) {
            ENOUGH.. => LATENCY_TAU,
            few => LATENCY_TAU * few.max(1) as f32 / ENOUGH as f32,
        }
    }

    /// Seconds added to the cost for recent failures.
    pub(super) fn penalty(&self, now: Tick) -> f32 {
        self.penalty.read(now, PENALTY_TAU, 0.0).unwrap_or(0.0)
    }

    /// A call took `took`. What two in a row took at least replaces an estimate below it at once; otherwise the estimate
    /// moves towards the sample, by more the longer ago the one before was. Whether it was the first.
    pub(super) fn sample(&self, took: Duration, least: f32, now: Tick) -> bool {
        let sample = took.as_secs_f32().max(LEAST);
        let last = f32::from_bits(self.last.swap(sample.to_bits(), Relaxed));
        let tau = self.tau();
        let samples = self.samples.load(Relaxed);
        if samples < ENOUGH {
            // Of two threads at once one may not be counted, or both be the first: neither matters.
            self.samples.fetch_max(samples + 1, Relaxed);
        }
        if samples == 0 {
            self.latency.set(sample, now);
            return true;
        }
        let twice = sample.min(last);
        self.latency.update(|old| {
            let Some((value, at)) = old else {
                return Some((sample, now));
            };
            if twice > decayed(value, at, now, tau, least) {
                return Some((twice, now));
            }
            let share = 1.0 - fade(now.since(at) / tau);
            let share = share.max(LEAST_SHARE);
            Some((value * (1.0 - share) + sample * share, now))
        });
        false
    }

    /// A call was given up after `took`: it would have taken longer. Of latencies with a long tail as much again is a fair
    /// guess; taken for the whole time, what hedges cut off would make a slow instance look nearly as quick as they are. It
    /// only counts if it is news.
    pub(super) fn sample_at_least(&self, took: Duration, least: f32, now: Tick) {
        let likely = took * 2;
        if self
            .latency(least, now)
            .is_some_and(|estimate| likely.as_secs_f32() > estimate)
        {
            self.sample(likely, least, now);
        }
    }

    /// Takes an instance that was not measured for a usual one, until it is. Counted as free it would draw everything,
    /// counted as dear it would starve.
    pub(super) fn assume(&self, usual: f32, now: Tick) {
        if self.samples.load(Relaxed) == 0 && self.latency.parts().is_none() {
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
        self.samples.store(0, Relaxed);
        self.last.store(0, Relaxed);
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
    fn fading_is_the_exponential_function() {
        for step in 0..5000_u16 {
            let x = f32::from(step) / 100.0;
            let (exact, ours) = ((-x).exp(), fade(x));
            assert!(
                (ours - exact).abs() <= exact * 0.0005,
                "{x}: {ours}, {exact}"
            );
        }
        assert!(fade(1e9) < 1e-37 && fade(f32::INFINITY) < 1e-37);
    }

    /// Measured often enough to be sure.
    fn sure(took: Duration) -> Load {
        let load = Load::default();
        (0..ENOUGH).for_each(|_| {
            load.sample(took, 0.0, at(0));
        });
        load
    }

    #[test]
    fn rises_at_the_second_slow_sample_and_falls_slowly() {
        assert_eq!(Load::default().latency(0.0, at(0)), None);
        assert!(Load::default().sample(ms(10), 0.0, at(0)));
        let load = sure(ms(10));
        assert!(!load.sample(ms(410), 0.0, at(0)));
        assert!(near(load.latency(0.0, at(0)), 0.01 + 0.4 / 16.0));
        load.sample(ms(400), 0.0, at(0));
        assert!(near(load.latency(0.0, at(0)), 0.4));
        load.sample(ms(10), 0.0, at(1000));
        let weight = (-0.1_f32).exp();
        assert!(near(
            load.latency(0.0, at(1000)),
            0.4 * weight + 0.01 * (1.0 - weight)
        ));
        // Reading does not write.
        assert_eq!(load.latency(0.0, at(1500)), load.latency(0.0, at(1500)));
    }

    #[test]
    fn what_few_samples_say_is_soon_forgotten() {
        let load = Load::default();
        load.sample(ms(12), 0.0, at(0));
        assert!(
            load.latency(0.0, at(2000))
                .is_some_and(|left| left < 0.0005)
        );
        load.sample(ms(1), 0.0, at(2000));
        // Twice in a row, after all: the first took longer.
        assert!(near(load.latency(0.0, at(2000)), 0.001), "{load:?}");
        let left = sure(ms(12)).latency(0.0, at(2000));
        assert!(near(left, 0.012 * (-0.2_f32).exp()));
    }

    #[test]
    fn what_is_not_measured_any_more_becomes_as_good_as_the_best_and_no_better() {
        let load = sure(ms(100));
        let weight = (-1.0_f32).exp();
        assert!(near(load.latency(0.01, at(10_000)), 0.01 + 0.09 * weight));
        assert!(near(load.latency(0.01, at(200_000)), 0.01));
        // The best itself is believed.
        assert!(near(load.latency(0.2, at(200_000)), 0.1));
    }

    /// A tail of one in a hundred does not make a healthy instance look like one that is always as slow.
    #[test]
    fn a_tail_is_told_from_an_instance_that_is_slow() {
        let (healthy, slow) = (Load::default(), Load::default());
        let mut dearest = 0.0_f32;
        for step in 0..3000 {
            let tail = step % 100 == 99;
            healthy.sample(ms(if tail { 20 } else { 1 }), 0.0, at(step * 25));
            slow.sample(ms(20), 0.0, at(step * 25));
            dearest = dearest.max(healthy.latency(0.0, at(step * 25)).expect("measured"));
        }
        assert!(dearest < 0.0025, "{dearest}");
        assert!(near(slow.latency(0.0, at(3000 * 25)), 0.02));
    }

    #[test]
    fn many_fast_samples_end_a_slow_beginning() {
        let after = |samples: u64| {
            let load = sure(ms(400));
            (1..=samples).for_each(|step| {
                load.sample(ms(10), 0.0, at(step * 2000 / samples));
            });
            load.latency(0.0, at(2000)).expect("measured")
        };
        // In the same two seconds; few count by the time since the one before.
        let one = 0.01 + 0.39 * (-0.2_f32).exp();
        assert!(near(Some(after(1)), one), "{}", after(1));
        assert!(near(Some(after(3)), one), "{}", after(3));
        assert!(near(Some(after(200)), 0.01), "{}", after(200));
    }

    #[test]
    fn a_fast_failure_makes_an_instance_dearer_not_cheaper() {
        let load = Load::default();
        load.sample(ms(20), 0.0, at(0));
        load.punish(None, at(0));
        assert!(near(load.latency(0.0, at(0)), 0.02) && load.penalty(at(0)) > 4.9);
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
        load.sample_at_least(ms(5), 0.0, at(0));
        assert_eq!(load.latency(0.0, at(0)), None);
        load.sample(ms(20), 0.0, at(0));
        load.sample_at_least(ms(5), 0.0, at(0));
        assert!(near(load.latency(0.0, at(0)), 0.02));
        load.sample_at_least(ms(250), 0.0, at(0));
        load.sample_at_least(ms(250), 0.0, at(0));
        assert!(near(load.latency(0.0, at(0)), 0.5), "and as much again");
    }

    #[test]
    fn an_assumption_gives_way_to_the_first_measurement() {
        let load = Load::default();
        load.assume(0.5, at(0));
        load.assume(0.7, at(0));
        assert_eq!(load.latency(0.0, at(0)), None);
        assert!(near(Some(load.cost(0.0, at(0))), 0.5));
        load.sample(ms(3), 0.0, at(1));
        assert!(near(load.latency(0.0, at(1)), 0.003));
        load.assume(0.5, at(2));
        assert!(near(Some(load.cost(0.0, at(2))), 0.003));
        load.reset();
        assert_eq!(load.latency(0.0, at(3)), None);
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
                load.sample(ms(sample), 0.0, at(time));
                peak = peak.max(sample);
                let estimate = load.latency(0.0, at(time)).expect("measured");
                prop_assert!(estimate > 0.0 && estimate <= ms(peak).as_secs_f32() * 1.001);
            }
        }
    }
}
