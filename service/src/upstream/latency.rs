//! How long the tries of one route take: quantiles over the last half minute to minute. Lock-free; takes `now`.
//!
//! A try that is given up before its end (the other leg of a hedge won, the caller left) took *at least* so long. Left
//! out, slow tries would vanish, quantiles would fall, hedges would come earlier and make more of them vanish; taken for
//! its whole time, the tail would look shorter than it is. So both kinds are kept apart and the quantiles are those of
//! the product-limit estimate (Kaplan and Meier, 1958), which is made for that.
//!
//! Tries that failed are not here: what a broken instance does is no measure of what is usual.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// A pair of histograms takes turns of this length.
const TURN: Duration = Duration::from_secs(30);
/// Quantiles are computed anew this often.
const REFRESH_US: u64 = 100_000;

/// Sixteen buckets per doubling: 6 % apart.
const STEPS: u64 = 16;
const STEP_BITS: u32 = 4;
/// Longest time that is told apart: 2^26 microseconds, a minute.
const TOP_BITS: u32 = 26;
const BUCKETS: usize = ((TOP_BITS - STEP_BITS + 1) as usize) * STEPS as usize;

/// Quantiles of a route's tries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usual {
    /// Tries that were seen to their end.
    pub(super) samples: u32,
    pub(super) p50: Duration,
    pub(super) p95: Duration,
    pub(super) p999: Duration,
}

const QUANTILES: [f64; 3] = [0.5, 0.95, 0.999];

#[derive(Debug)]
pub(super) struct Latency {
    origin: Instant,
    pair: [Half; 2],
    /// Microseconds since the origin at which the quantiles below are due again.
    due: AtomicU64,
    samples: AtomicU32,
    /// Microseconds, in the order of [`QUANTILES`].
    quantiles: [AtomicU64; 3],
}

#[derive(Debug)]
struct Half {
    /// Which turn it holds; 0 for none.
    turn: AtomicU64,
    ended: Box<[AtomicU32; BUCKETS]>,
    given_up: Box<[AtomicU32; BUCKETS]>,
}

impl Half {
    fn new() -> Self {
        let empty = || Box::new(std::array::from_fn(|_| AtomicU32::new(0)));
        Self {
            turn: AtomicU64::new(0),
            ended: empty(),
            given_up: empty(),
        }
    }

    /// Empties it for `turn`, unless it holds that already.
    fn enter(&self, turn: u64) {
        let held = self.turn.load(Relaxed);
        if held == turn
            || self
                .turn
                .compare_exchange(held, turn, Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        // What others add meanwhile may be lost: a few samples of half a minute's.
        for bucket in self.ended.iter().chain(self.given_up.iter()) {
            bucket.store(0, Relaxed);
        }
    }
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let top = micros.ilog2();
    let octave = u64::from(top - STEP_BITS + 1);
    let step = (micros >> (top - STEP_BITS)) % STEPS;
    ((octave * STEPS + step) as usize).min(BUCKETS - 1)
}

/// Upper end of a bucket, microseconds.
fn upper(bucket: usize) -> u64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if octave == 0 {
        step
    } else {
        ((STEPS + step + 1) << (octave - 1)) - 1
    }
}

impl Latency {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            pair: [Half::new(), Half::new()],
            due: AtomicU64::new(0),
            samples: AtomicU32::new(0),
            quantiles: Default::default(),
        }
    }

    /// A try was answered after `took`.
    pub(super) fn ended(&self, took: Duration, now: Instant) {
        self.half(now).ended[bucket(micros(took))].fetch_add(1, Relaxed);
    }

    /// A try was given up after `took`, through no fault of its instance.
    pub(super) fn given_up(&self, took: Duration, now: Instant) {
        self.half(now).given_up[bucket(micros(took))].fetch_add(1, Relaxed);
    }

    fn turn(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs() / TURN.as_secs() + 1
    }

    fn half(&self, now: Instant) -> &Half {
        let turn = self.turn(now);
        let half = &self.pair[(turn % 2) as usize];
        half.enter(turn);
        half
    }

    /// What is usual, at most a tenth of a second old.
    pub(super) fn usual(&self, now: Instant) -> Usual {
        let at = micros(now.saturating_duration_since(self.origin));
        let due = self.due.load(Relaxed);
        if at >= due
            && self
                .due
                .compare_exchange(due, at + REFRESH_US, Relaxed, Relaxed)
                .is_ok()
        {
            self.refresh(now);
        }
        let [p50, p95, p999] = [0, 1, 2].map(|at| {
            let micros = self.quantiles[at].load(Relaxed);
            Duration::from_micros(micros)
        });
        Usual {
            samples: self.samples.load(Relaxed),
            p50,
            p95,
            p999,
        }
    }

    fn refresh(&self, now: Instant) {
        let turn = self.turn(now);
        let mut counts = [(0_u32, 0_u32); BUCKETS];
        for half in &self.pair {
            let held = half.turn.load(Relaxed);
            if held == turn || held + 1 == turn {
                for (at, (ended, given_up)) in counts.iter_mut().enumerate() {
                    *ended += half.ended[at].load(Relaxed);
                    *given_up += half.given_up[at].load(Relaxed);
                }
            }
        }
        let (samples, quantiles) = estimate(&counts);
        for (known, fresh) in self.quantiles.iter().zip(quantiles) {
            known.store(fresh, Relaxed);
        }
        self.samples.store(samples, Relaxed);
    }
}

/// Number of tries that ended, and [`QUANTILES`] in microseconds. A quantile that no try reached is the longest time seen.
fn estimate(counts: &[(u32, u32); BUCKETS]) -> (u32, [u64; 3]) {
    let total = |of: fn(&(u32, u32)) -> u32| counts.iter().map(of).fold(0, u32::saturating_add);
    let (samples, given_up) = (total(|c| c.0), total(|c| c.1));
    let mut left = f64::from(samples) + f64::from(given_up);
    let (mut surviving, mut longest) = (1.0, 0);
    let mut found = [None; 3];
    for (at, (ended, given_up)) in counts.iter().enumerate() {
        if (*ended, *given_up) == (0, 0) {
            continue;
        }
        longest = upper(at);
        surviving *= 1.0 - f64::from(*ended) / left;
        left -= f64::from(*ended) + f64::from(*given_up);
        for (quantile, value) in QUANTILES.iter().zip(&mut found) {
            if value.is_none() && 1.0 - surviving >= quantile - 1e-9 {
                *value = Some(longest);
            }
        }
    }
    (samples, found.map(|value| value.unwrap_or(longest)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SharedRng;

    const MS: Duration = Duration::from_millis(1);

    fn near(value: Duration, expected: Duration) -> bool {
        value >= expected && value <= expected.mul_f64(1.07)
    }

    #[test]
    fn buckets_lie_close_and_none_is_left_out() {
        let mut last = None;
        let every = std::iter::successors(Some(0_u64), |micros| Some(micros + 1 + micros / 40));
        for micros in every.take_while(|micros| *micros < 70_000_000) {
            let at = bucket(micros);
            assert!(last.is_none_or(|last| at == last || at == last + 1));
            last = Some(at);
            if micros < 1 << TOP_BITS {
                let width = upper(at) - micros;
                assert!(width as f64 <= micros as f64 / 16.0, "{micros}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn quantiles_of_what_ended() {
        let start = Instant::now();
        let latency = Latency::new(start);
        assert_eq!(latency.usual(start), Usual::default());
        (1..=1000).for_each(|ms| latency.ended(ms * MS, start));
        let later = start + 100 * MS;
        let usual = latency.usual(later);
        assert_eq!(usual.samples, 1000);
        assert!(
            near(usual.p50, 500 * MS) && near(usual.p95, 950 * MS),
            "{usual:?}"
        );
        assert!(near(usual.p999, 999 * MS), "{usual:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_a_minute_is_forgotten() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.ended(900 * MS, start);
        let next = start + TURN;
        latency.ended(3 * MS, next);
        assert_eq!(latency.usual(next).samples, 2);
        let later = next + TURN;
        assert_eq!(latency.usual(later).samples, 1);
        assert!(near(latency.usual(later).p999, 3 * MS));
        assert_eq!(latency.usual(later + 2 * TURN).samples, 0);
    }

    /// Hedging gives up nearly everything above p95. Left out, or taken for whole times, p95 or p99.9 would sink.
    #[tokio::test(start_paused = true)]
    async fn giving_up_slow_tries_does_not_move_the_quantiles() {
        let start = Instant::now();
        let (free, hedged) = (Latency::new(start), Latency::new(start));
        let rng = SharedRng::seeded(5);
        for _ in 0..50_000 {
            // Exponential, mean 20 ms: p95 is 60 ms.
            let took = (20 * MS).mul_f64(-(1.0 - rng.unit()).ln());
            free.ended(took, start);
            let patience = (60 * MS).mul_f64(1.0 + rng.unit());
            if took > patience && rng.unit() < 0.9 {
                hedged.given_up(patience, start);
            } else {
                hedged.ended(took, start);
            }
        }
        let (free, hedged) = (free.usual(start), hedged.usual(start));
        assert_eq!(free.p95, hedged.p95);
        let ratio = hedged.p999.as_secs_f64() / free.p999.as_secs_f64();
        assert!((0.85..1.2).contains(&ratio), "{free:?}, {hedged:?}");
    }
}
