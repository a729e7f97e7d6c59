//! Choosing one of several instances. Pure: draws come from a generator that is handed in.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::config::Balance;
use crate::env::SharedRng;

/// What the choice looks at.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    pub(super) weight: f64,
    /// Estimated latency in seconds; `None` for an instance that was not measured yet.
    pub(super) latency: Option<f64>,
    /// Seconds added for recent failures.
    pub(super) penalty: f64,
    pub(super) in_flight: u32,
}

/// Latency that is assumed while nobody was measured: any value does, they are all the same then.
const UNKNOWN_LATENCY: f64 = 0.01;

/// Chooses one of `candidates`; `None` only when there is none.
pub(super) fn choose(
    balance: Balance,
    candidates: &[Candidate<'_>],
    turns: &mut Turns,
    rng: &SharedRng,
) -> Option<usize> {
    match balance {
        Balance::PeakEwma => two_choices(candidates, rng),
        Balance::RoundRobin => turns.next(candidates),
        Balance::Random => weighted(candidates, rng),
    }
}

/// The cheaper of two different ones drawn at random: nearly as good as the cheapest of all, without every gateway
/// running to the same one.
fn two_choices(candidates: &[Candidate<'_>], rng: &SharedRng) -> Option<usize> {
    let count = candidates.len();
    if count < 2 {
        return (count == 1).then_some(0);
    }
    let first = rng.below(count);
    let mut second = rng.below(count - 1);
    if second >= first {
        second += 1;
    }
    // A newcomer counts as usual. Counted as free it would draw everything, counted as dear it would starve.
    let usual = median(candidates.iter().filter_map(|c| c.latency)).unwrap_or(UNKNOWN_LATENCY);
    let cost = |index: usize| {
        let c = &candidates[index];
        (c.latency.unwrap_or(usual) + c.penalty) * f64::from(c.in_flight + 1) / c.weight
    };
    Some(if cost(second) < cost(first) {
        second
    } else {
        first
    })
}

fn weighted(candidates: &[Candidate<'_>], rng: &SharedRng) -> Option<usize> {
    let total: f64 = candidates.iter().map(|c| c.weight).sum();
    let mut draw = rng.unit() * total;
    for (index, candidate) in candidates.iter().enumerate() {
        draw -= candidate.weight;
        if draw < 0.0 {
            return Some(index);
        }
    }
    candidates.len().checked_sub(1)
}

/// The lower median: of one or two, the lower; so that one slow instance of two does not look usual.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// State of the smooth weighted round robin: each gains its weight per turn, the richest goes and pays for all.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<String, f64>);

impl Turns {
    fn next(&mut self, candidates: &[Candidate<'_>]) -> Option<usize> {
        let total: f64 = candidates.iter().map(|c| c.weight).sum();
        let mut best: Option<(usize, f64)> = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let credit = match self.0.get_mut(candidate.name) {
                Some(credit) => credit,
                None => self.0.entry(candidate.name.to_owned()).or_default(),
            };
            *credit += candidate.weight;
            if best.is_none_or(|(_, most)| credit.total_cmp(&most) == Ordering::Greater) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.0.get_mut(candidates[index].name) {
            *credit -= total;
        }
        Some(index)
    }

    /// Forgets who is no longer there.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, weight: f64, latency_ms: f64, in_flight: u32) -> Candidate<'_> {
        Candidate {
            name,
            weight,
            latency: Some(latency_ms / 1000.0),
            penalty: 0.0,
            in_flight,
        }
    }

    fn shares(balance: Balance, candidates: &[Candidate<'_>]) -> Vec<usize> {
        let (mut turns, rng) = (Turns::default(), SharedRng::seeded(7));
        let mut shares = vec![0; candidates.len()];
        for _ in 0..6000 {
            shares[choose(balance, candidates, &mut turns, &rng).expect("not empty")] += 1;
        }
        shares
    }

    #[test]
    fn none_of_none_and_one_of_one() {
        for balance in [Balance::PeakEwma, Balance::RoundRobin, Balance::Random] {
            let (mut turns, rng) = (Turns::default(), SharedRng::seeded(7));
            assert_eq!(choose(balance, &[], &mut turns, &rng), None);
            let one = [candidate("a", 1.0, 10.0, 3)];
            assert_eq!(choose(balance, &one, &mut turns, &rng), Some(0));
        }
    }

    #[test]
    fn equals_share_equally_and_the_dearest_of_three_gets_nothing() {
        let mut three = [
            candidate("a", 1.0, 10.0, 0),
            candidate("b", 1.0, 10.0, 0),
            candidate("c", 1.0, 10.0, 0),
        ];
        assert!(
            shares(Balance::PeakEwma, &three)
                .iter()
                .all(|share| (1850..2150).contains(share))
        );
        three[1].latency = Some(0.4);
        assert_eq!(shares(Balance::PeakEwma, &three)[1], 0);
        // ... until the others are busy enough to make up for it.
        three[0].in_flight = 50;
        three[2].in_flight = 50;
        assert!(shares(Balance::PeakEwma, &three)[1] > 3500);
    }

    #[test]
    fn who_fails_fast_is_not_cheap() {
        let mut two = [
            candidate("dead", 1.0, 0.1, 0),
            candidate("alive", 1.0, 20.0, 0),
        ];
        two[0].penalty = 5.0;
        assert_eq!(shares(Balance::PeakEwma, &two), [0, 6000]);
    }

    #[test]
    fn a_newcomer_counts_as_usual() {
        let mut three = [
            candidate("a", 1.0, 10.0, 0),
            candidate("b", 1.0, 10.0, 0),
            candidate("new", 1.0, 0.0, 0),
        ];
        three[2].latency = None;
        assert!((1850..2150).contains(&shares(Balance::PeakEwma, &three)[2]));
    }

    #[test]
    fn weights_are_kept() {
        let two = [candidate("a", 2.0, 10.0, 0), candidate("b", 1.0, 10.0, 0)];
        assert_eq!(shares(Balance::RoundRobin, &two), [4000, 2000]);
        assert!((3850..4150).contains(&shares(Balance::Random, &two)[0]));
    }
}
