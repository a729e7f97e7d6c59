//! Random draws without a lock: a counter, and a mixer that makes every count look random. What is drawn follows from the
//! seed and the number of draws before it, so a run on one thread repeats. Threads that draw at the same moment may draw the
//! same: two choices that agree do no harm, and a counter that rules it out costs as much as the rest of a choice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::env::SharedRng;

/// 2^64 divided by the golden ratio: consecutive multiples of it lie far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64: each bit of the input decides about half of the output's.
pub(super) const fn mix(word: u64) -> u64 {
    let mut x = word;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// SplitMix64 with a shared counter.
#[derive(Debug)]
pub(super) struct Draws {
    seed: u64,
    count: AtomicU64,
}

impl Draws {
    pub(super) fn new(rng: &SharedRng) -> Self {
        Self {
            seed: rng.next_u64(),
            count: AtomicU64::new(0),
        }
    }

    pub(super) fn draw(&self) -> Draw {
        let count = self.count.load(Relaxed);
        self.count.store(count.wrapping_add(1), Relaxed);
        Draw(mix(self.seed.wrapping_add(count.wrapping_mul(GOLDEN))))
    }
}

/// 64 random bits, and what can be made of them. What one choice needs comes from one draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw(u64);

impl Draw {
    /// Not drawn at all: the same key decides the same each time.
    pub(super) const fn of_key(key: u64) -> Self {
        Self(mix(key))
    }

    /// Another one from the same bits.
    pub(super) const fn again(self) -> Self {
        Self(mix(self.0 ^ GOLDEN))
    }

    /// Uniform in `0..bound`, up to a bias of `bound / 2^32`.
    pub(super) fn below(self, bound: usize) -> usize {
        scaled(self.0 >> 32, bound)
    }

    /// Two different ones of `0..count`, for a count of two or more.
    pub(super) fn pair(self, count: usize) -> (usize, usize) {
        let first = scaled(self.0 >> 32, count);
        let second = scaled(self.0 & u64::from(u32::MAX), count - 1);
        (first, second + usize::from(second >= first))
    }

    /// One of its eight bytes.
    pub(super) const fn byte(self, at: usize) -> u8 {
        (self.0 >> (8 * (at & 7))) as u8
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(self) -> f32 {
        // The upper 24 bits: as many as an `f32` holds exactly.
        (self.0 >> 40) as f32 / (1_u32 << 24) as f32
    }
}

fn scaled(bits: u64, bound: usize) -> usize {
    ((bits * bound as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_different_and_each_is_as_likely() {
        let draws = Draws::new(&SharedRng::seeded(7));
        for count in [2, 3, 64] {
            let mut seen = vec![0_u32; count * count];
            let rounds = 400 * count * (count - 1);
            for _ in 0..rounds {
                let (a, b) = draws.draw().pair(count);
                assert!(a != b && a < count && b < count);
                seen[a * count + b] += 1;
            }
            let drawn = seen.iter().filter(|times| **times > 0);
            assert_eq!(drawn.clone().count(), count * (count - 1));
            assert!(drawn.clone().all(|times| (300..500).contains(times)));
        }
    }

    #[test]
    fn units_stay_below_one_and_their_mean_is_a_half() {
        let draws = Draws::new(&SharedRng::seeded(7));
        let units: Vec<f32> = (0..10_000).map(|_| draws.draw().again().unit()).collect();
        assert!(units.iter().all(|unit| (0.0..1.0).contains(unit)));
        let mean = units.iter().sum::<f32>() / 10_000.0;
        assert!((0.49..0.51).contains(&mean), "{mean}");
        assert!(Draw(u64::MAX).unit() < 1.0 && Draw(u64::MAX).below(3) == 2);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let draws = Draws::new(&SharedRng::seeded(seed));
            (0..8).map(|_| draws.draw().below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
