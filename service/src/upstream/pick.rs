//! How one of several instances is chosen. Pure: what an instance costs, and what is drawn, is handed in.

use super::draw::Draw;

/// Up to so many instances the least of all is looked for; among more, the lesser of two drawn. A full look costs as much
/// as two draws there, and several gateways that all see the same least one are no matter in a pool that small.
pub(super) const FULL_LOOK: usize = 8;

/// Up to so many instances one is drawn by what all of them cost; among more, the quicker of two drawn. Of three, two draws
/// miss the quickest once in three times, and that third of all calls is what a p95 shows. Of more, there is more to lose
/// by every gateway running to the same one.
pub(super) const FEW: usize = 3;

/// The cheaper of two, the first of two that cost the same. Two that were drawn are nearly as good as the cheapest of all,
/// without every gateway running to the same one.
pub(super) fn cheaper((first, second): (usize, usize), cost: impl Fn(usize) -> f32) -> usize {
    if cost(second) < cost(first) {
        second
    } else {
        first
    }
}

/// Handicaps for a race by cost. The 256 quantiles of `E^(1/6)`, `E` exponential with mean 1: of costs that are multiplied by
/// such numbers, drawn independently, each is the least with a probability in proportion to the sixth power of its inverse,
/// because the least of exponential variables is each in proportion to its rate.
#[derive(Debug)]
pub(super) struct Handicaps([f32; 256]);

impl Handicaps {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|at| {
            let quantile = (at as f32 + 0.5) / 256.0;
            (-(1.0 - quantile).ln()).powf(1.0 / 6.0)
        }))
    }

    /// One of `0..count` (at most [`FEW`]) that has a cost at all, each as likely as the sixth power of how cheap it is.
    /// Equals share equally and stay warm, one that costs twice as much gets a call in 65, and one that costs four times as
    /// much none. To always take the cheapest would be no better and starve its equals: nobody is measured who is not
    /// called, so whoever came second by a hair would stay second, with cold caches, until it must take over.
    pub(super) fn race(
        &self,
        count: usize,
        draw: Draw,
        cost: impl Fn(usize) -> Option<f32>,
    ) -> Option<usize> {
        let mut best: Option<(usize, f32)> = None;
        for at in 0..count {
            if let Some(cost) = cost(at) {
                let cost = cost * self.0[usize::from(draw.byte(at))];
                if best.is_none_or(|(_, least)| cost < least) {
                    best = Some((at, cost));
                }
            }
        }
        best.map(|(at, _)| at)
    }
}

/// The cheapest of `0..count` that has a cost at all. The look begins at `start`, so that of those that cost the same it is
/// not always the same.
pub(super) fn cheapest(
    count: usize,
    start: usize,
    cost: impl Fn(usize) -> Option<f32>,
) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for at in (start..count).chain(0..start) {
        if let Some(cost) = cost(at)
            && best.is_none_or(|(_, least)| cost < least)
        {
            best = Some((at, cost));
        }
    }
    best.map(|(at, _)| at)
}

/// One by weight: `unit` is uniform in `[0, 1)`. `None` only of none.
pub(super) fn by_weight(weights: &[f32], unit: f32) -> Option<usize> {
    let mut draw = unit * weights.iter().sum::<f32>();
    for (at, weight) in weights.iter().enumerate() {
        draw -= weight;
        if draw < 0.0 {
            return Some(at);
        }
    }
    weights.len().checked_sub(1) // Rounding.
}

/// One turn of smooth weighted round robin: each gains its weight, the richest goes and pays for all. Shares are exact, and
/// turns of a heavy one are spread instead of following each other.
pub(super) fn smooth(credits: &mut [f32], weights: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (at, (credit, weight)) in credits.iter_mut().zip(weights).enumerate() {
        *credit += weight;
        if best.is_none_or(|(_, most)| *credit > most) {
            best = Some((at, *credit));
        }
    }
    let (at, _) = best?;
    credits[at] -= weights.iter().sum::<f32>();
    Some(at)
}

/// Turns after which smooth weighted round robin begins anew, if those are few enough to write down: then a turn is one
/// look-up. Empty otherwise.
pub(super) fn cycle(weights: &[u32]) -> Vec<u32> {
    const LONGEST: u64 = 4096;
    let divisor = weights.iter().copied().fold(0, gcd);
    if divisor == 0 {
        return Vec::new();
    }
    let whole: Vec<u32> = weights.iter().map(|weight| weight / divisor).collect();
    let length: u64 = whole.iter().copied().map(u64::from).sum();
    if length > LONGEST {
        return Vec::new();
    }
    // Whole numbers below 2^24 are exact as `f32`.
    let weights: Vec<f32> = whole.iter().map(|weight| *weight as f32).collect();
    let mut credits = vec![0.0; weights.len()];
    (0..length)
        .filter_map(|_| smooth(&mut credits, &weights))
        .map(|at| at as u32)
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The lower median: of one or two, the lower; so that one slow instance of two does not look usual.
pub(super) fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::super::draw::Draws;
    use super::*;
    use crate::env::SharedRng;

    fn shares(costs: &[f32]) -> Vec<usize> {
        let draws = Draws::new(&SharedRng::seeded(7));
        let mut shares = vec![0; costs.len()];
        for _ in 0..6000 {
            let pair = draws.draw().pair(costs.len());
            shares[cheaper(pair, |at| costs[at])] += 1;
        }
        shares
    }

    #[test]
    fn equals_share_equally_and_the_dearest_of_three_gets_nothing() {
        let equal = shares(&[0.01; 3]);
        assert!(
            equal.iter().all(|share| (1850..2150).contains(share)),
            "{equal:?}"
        );
        assert_eq!(shares(&[0.01, 0.4, 0.01])[1], 0);
        // ... until the others are busy enough to make up for it.
        assert!(shares(&[0.51, 0.4, 0.51])[1] > 3500);
        assert_eq!(shares(&[5.0, 0.02]), [0, 6000]);
    }

    #[test]
    fn in_a_race_equals_share_and_the_dear_get_next_to_nothing() {
        let draws = Draws::new(&SharedRng::seeded(7));
        let handicaps = Handicaps::new();
        let shares = |costs: [Option<f32>; 3]| {
            let mut shares = [0; 3];
            for _ in 0..60_000 {
                let winner = handicaps.race(3, draws.draw(), |at| costs[at]);
                shares[winner.expect("one has a cost")] += 1;
            }
            shares
        };
        let equal = shares([Some(0.01); 3]);
        assert!(
            equal.iter().all(|share| (19_500..20_500).contains(share)),
            "{equal:?}"
        );
        assert_eq!(shares([Some(0.01), Some(0.1), Some(0.01)])[1], 0);
        let uneven = shares([Some(0.01), Some(0.02), Some(0.04)]);
        assert!(
            (800..1050).contains(&uneven[1]) && uneven[2] < 40,
            "{uneven:?}"
        );
        assert_eq!(shares([None, Some(5.0), None]), [0, 60_000, 0]);
        let draw = draws.draw();
        assert_eq!(handicaps.race(3, draw, |_| None), None);
        assert_eq!(handicaps.race(0, draw, |_| Some(1.0)), None);
    }

    #[test]
    fn the_cheapest_is_found_from_wherever_the_look_begins() {
        let costs = [Some(3.0), None, Some(1.0), Some(1.0)];
        let found: Vec<_> = (0..4)
            .map(|start| cheapest(4, start, |at| costs[at]))
            .collect();
        assert_eq!(found, [Some(2), Some(2), Some(2), Some(3)]);
        assert_eq!(cheapest(2, 0, |_| None), None);
        assert_eq!(cheapest(0, 0, |_| Some(1.0)), None);
    }

    #[test]
    fn smooth_turns_are_exact_and_spread() {
        let (weights, mut credits) = ([5.0, 1.0, 1.0], [0.0; 3]);
        let turns: Vec<_> = (0..7)
            .filter_map(|_| smooth(&mut credits, &weights))
            .collect();
        // As nginx has it.
        assert_eq!(turns, [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(credits, [0.0; 3]);
        assert_eq!(smooth(&mut [], &[]), None);
    }

    #[test]
    fn a_cycle_is_what_smooth_turns_do() {
        assert_eq!(cycle(&[500, 100, 100]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(cycle(&[100; 64]), (0..64).collect::<Vec<_>>());
        assert_eq!(cycle(&[7]), [0]);
        for (weights, length) in [
            (&[100, 10][..], 11),
            (&[], 0),
            (&[0, 0], 0),
            (&[4099, 4098], 0),
        ] {
            assert_eq!(cycle(weights).len(), length, "{weights:?}");
        }
    }

    #[test]
    fn weights_are_kept_at_random() {
        let draws = Draws::new(&SharedRng::seeded(7));
        let mut shares = [0; 3];
        for _ in 0..6000 {
            shares[by_weight(&[2.0, 0.0, 1.0], draws.draw().unit()).expect("not empty")] += 1;
        }
        assert!(
            (3850..4150).contains(&shares[0]) && shares[1] == 0,
            "{shares:?}"
        );
        assert_eq!(
            (by_weight(&[], 0.0), by_weight(&[1.0], 1.0)),
            (None, Some(0))
        );
    }

    #[test]
    fn the_lower_of_two_is_the_median() {
        for (mut values, expected) in [
            (vec![], None),
            (vec![2.0], Some(2.0)),
            (vec![2.0, 1.0], Some(1.0)),
            (vec![3.0, 1.0, 2.0], Some(2.0)),
        ] {
            assert_eq!(median(&mut values), expected);
        }
    }
}
