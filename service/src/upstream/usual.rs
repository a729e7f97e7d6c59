//! How long calls take in a pool as a whole: the yardstick for each of its instances. Worked out now and then by whoever asks,
//! read by everybody without a lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::pick::median;
use super::tick::Tick;

/// Worked out this often at most, in seconds: every try asks for it.
const EVERY: f32 = 0.05;

/// Seconds that calls take in a pool.
#[derive(Debug, Default)]
pub(super) struct PoolLatency {
    /// The usual one, an `f32`, and the tick when it was worked out. All zero bits: not yet.
    usual: AtomicU64,
    /// That of the quickest instance, as the bits of an `f32`; 0 while nobody was measured.
    least: AtomicU32,
}

impl PoolLatency {
    /// The usual one, if it was worked out lately.
    pub(super) fn fresh(&self, now: Tick) -> Option<f32> {
        let word = self.usual.load(Relaxed);
        let at = Tick::new(word as u32);
        (word != 0 && now.since(at) < EVERY).then(|| f32::from_bits((word >> 32) as u32))
    }

    /// The usual one, however long ago it was worked out; 0 while nobody was measured.
    pub(super) fn last(&self) -> f32 {
        f32::from_bits((self.usual.load(Relaxed) >> 32) as u32)
    }

    /// That of the quickest instance; 0 while nobody was measured.
    pub(super) fn least(&self) -> f32 {
        f32::from_bits(self.least.load(Relaxed))
    }

    /// Takes what the instances' estimates are now; the usual one of them, if there are any.
    pub(super) fn learn(&self, estimates: &mut [f32], now: Tick) -> Option<f32> {
        let usual = median(estimates)?;
        let least = estimates.iter().copied().fold(usual, f32::min);
        self.least.store(least.to_bits(), Relaxed);
        let word = u64::from(usual.to_bits()) << 32 | u64::from(now.get());
        self.usual.store(word, Relaxed);
        Some(usual)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn is_fresh_for_a_twentieth_of_a_second() {
        let latency = PoolLatency::default();
        let now = Tick::new(7);
        assert_eq!((latency.fresh(now), latency.last()), (None, 0.0));
        assert_eq!(latency.learn(&mut [], now), None);
        assert_eq!(latency.learn(&mut [0.5, 0.1, 0.2], now), Some(0.2));
        assert_eq!((latency.fresh(now), latency.least()), (Some(0.2), 0.1));
        let later = now.after(Duration::from_millis(51));
        assert_eq!((latency.fresh(later), latency.last()), (None, 0.2));
    }
}
