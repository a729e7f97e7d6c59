//! Consistent hashing: which instance a key belongs to, so that what one instance has cached is asked of it again.
//!
//! A ring: each instance has points on it, as many as its weight says, and a key belongs to the first point after it. Who
//! joins takes keys from everybody and who leaves gives its own to everybody; nothing else moves.

use super::draw::mix;

/// Points of an instance of usual weight. Shares of 3 instances then differ by about a tenth.
const POINTS: u32 = 160;
const MOST_POINTS: u32 = 10 * POINTS;

/// The key of a call, from the name of what it reads. The same in every process and every release, so that all gateways
/// send the same thing to the same instance.
#[must_use]
pub fn hash_key(name: &str) -> u64 {
    // FNV-1a, and a mixer, because its upper bits depend little on the last letters.
    let fnv = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(fnv)
}

/// Points on a circle of 2^32.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ring {
    /// Position and owner, by position.
    points: Vec<(u32, u32)>,
    /// For each of equal parts of the circle, the first point in it or after it.
    starts: Vec<u32>,
    /// How far to shift a position to get its part.
    shift: u32,
}

impl Ring {
    /// A ring of `members`, by name and weight (1 is usual). The owners are their places in the list.
    pub(super) fn new<'a>(members: impl Iterator<Item = (&'a str, f32)>) -> Self {
        let mut points = Vec::new();
        for (owner, (name, weight)) in members.enumerate() {
            let count = (weight * POINTS as f32).round() as u32;
            let base = hash_key(name);
            points.extend((0..count.clamp(1, MOST_POINTS)).map(|number| {
                let position = mix(base.wrapping_add(u64::from(number))) >> 32;
                (position as u32, owner as u32)
            }));
        }
        points.sort_unstable();
        // At least as many parts as points: about one point in each.
        let bits = points
            .len()
            .next_power_of_two()
            .trailing_zeros()
            .clamp(1, 31);
        let shift = 32 - bits;
        let starts = (0..1_u32 << bits)
            .map(|part| points.partition_point(|(at, _)| *at < part << shift) as u32)
            .collect();
        Self {
            points,
            starts,
            shift,
        }
    }

    /// The owner of `key`, or the next one along the ring that `accept` takes.
    pub(super) fn find(&self, key: u64, mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        let position = (mix(key) >> 32) as u32;
        let mut at = *self.starts.get((position >> self.shift) as usize)? as usize;
        while self
            .points
            .get(at)
            .is_some_and(|(point, _)| *point < position)
        {
            at += 1;
        }
        let mut refused = usize::MAX;
        for _ in 0..self.points.len() {
            if at == self.points.len() {
                at = 0;
            }
            let owner = self.points[at].1 as usize;
            if owner != refused {
                if accept(owner) {
                    return Some(owner);
                }
                refused = owner;
            }
            at += 1;
        }
        None
    }
}

/// How many calls an instance may have in flight, counting the one that is being placed, before its keys go on to the next:
/// its share by weight of what `total` are in flight already and this one, times `bound`.
pub(super) fn most_in_flight(total: u64, share: f32, bound: f32) -> u32 {
    ((total + 1) as f32 * share * bound).ceil() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("processor-{i}")).collect()
    }

    fn ring(names: &[String]) -> Ring {
        Ring::new(names.iter().map(|name| (name.as_str(), 1.0)))
    }

    fn owners(ring: &Ring, names: &[String], keys: u64) -> Vec<String> {
        (0..keys)
            .map(|key| names[ring.find(mix(key), |_| true).expect("not empty")].clone())
            .collect()
    }

    #[test]
    fn none_of_none_and_one_of_one() {
        assert_eq!(ring(&[]).find(1, |_| true), None);
        assert_eq!(Ring::default().find(1, |_| true), None);
        let one = ring(&names(1));
        assert!((0..1000).all(|key| one.find(mix(key), |_| true) == Some(0)));
        assert_eq!(one.find(1, |_| false), None);
    }

    #[test]
    fn the_key_of_a_name_never_changes() {
        assert_eq!(hash_key("video-1"), 0xeac1_1870_61c5_3843);
        assert_ne!(hash_key("video-1"), hash_key("video-2"));
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let names = names(4);
        let weights = [1.0, 1.0, 2.0, 0.1];
        let ring = Ring::new(names.iter().map(String::as_str).zip(weights));
        let mut shares = [0.0; 4];
        for key in 0..40_000 {
            shares[ring.find(mix(key), |_| true).expect("not empty")] += 1.0 / 40_000.0;
        }
        for (share, weight) in shares.into_iter().zip(weights) {
            let fair = weight / 4.1;
            assert!((0.7 * fair..1.4 * fair).contains(&share), "{shares:?}");
        }
    }

    #[test]
    fn the_lookup_by_parts_is_the_search_by_halves() {
        for count in [1, 2, 3, 64] {
            let ring = ring(&names(count));
            for key in 0..5000 {
                let position = (mix(key) >> 32) as u32;
                let at = ring.points.partition_point(|(point, _)| *point < position);
                let owner = ring.points[at % ring.points.len()].1 as usize;
                assert_eq!(ring.find(key, |_| true), Some(owner));
            }
        }
    }

    #[test]
    fn bounds_leave_room_for_everybody() {
        assert_eq!(most_in_flight(0, 1.0, 1.25), 2);
        assert_eq!(most_in_flight(0, 0.1, 1.25), 1);
        for count in [1, 2, 3, 64_u32] {
            for total in 0..200 {
                let each = most_in_flight(total, 1.0 / count as f32, 1.25);
                assert!(u64::from(each * count) > total, "{total} among {count}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        /// Whoever joins or leaves, keys move only to the newcomer or from the one that left, and about as many as its
        /// share.
        #[test]
        fn only_its_share_moves_with_an_instance(count in 1_usize..24, which in any::<prop::sample::Index>()) {
            let all = names(count + 1);
            let moving = which.index(all.len());
            let mut rest = all.clone();
            let moved = rest.remove(moving);
            let keys = 4000;
            let with = owners(&ring(&all), &all, keys);
            let without = owners(&ring(&rest), &rest, keys);
            let mut changed = 0;
            for (with, without) in with.iter().zip(&without) {
                if with != without {
                    prop_assert_eq!(with, &moved);
                    changed += 1;
                }
            }
            let fair = keys as f64 / all.len() as f64;
            prop_assert!((0.5 * fair..1.6 * fair).contains(&f64::from(changed)), "{} of {}", changed, fair);
        }

        /// Refusing an owner has the same effect as its leaving.
        #[test]
        fn who_is_refused_is_passed_over_as_if_gone(count in 2_usize..12, key in any::<u64>()) {
            let all = names(count);
            let full = ring(&all);
            let owner = full.find(key, |_| true).expect("not empty");
            let mut rest = all.clone();
            rest.remove(owner);
            let next = full.find(key, |at| at != owner).expect("another");
            let expected = ring(&rest).find(key, |_| true).expect("not empty");
            prop_assert_eq!(&all[next], &rest[expected]);
        }
    }
}
