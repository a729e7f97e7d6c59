//! Who of a pool may be called, and in which order. Pure: made again whenever a breaker moves or the registry has news, and
//! read by every choice until then.

/// What the registry says of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It hears it.
    Listed,
    /// It has reason to doubt its own silence.
    Suspect,
    /// It has given it up: a lease that ended, or a check that failed. It may still answer us.
    GivenUp,
    /// Starting, draining, in maintenance or gone; or an operator holds its breaker open. Never called.
    Never,
}

/// What is known of one instance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    /// Its breaker is open.
    pub(super) open: bool,
    /// It is in the gateway's zone, or zones do not matter.
    pub(super) near: bool,
    /// It was [`Place::Ejected`] in the plan before.
    pub(super) ejected: bool,
}

/// What an instance is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Called as a matter of course, within what its breaker admits.
    Regular,
    /// Its breaker is open, but too many are ejected already: called as a matter of course.
    Overflow,
    /// Called when no regular one is left.
    Suspect,
    /// Its breaker is open: called when nobody else is left.
    Ejected,
    /// Called when even those are none.
    GivenUp,
    /// Not called.
    Unused,
}

impl Place {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Overflow => "overflow",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::GivenUp => "given-up",
            Self::Unused => "unused",
        }
    }
}

/// The order of use. Instances are named by their places in the list of facts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    /// What each is used for.
    pub(super) places: Vec<Place>,
    /// Who is called as a matter of course: near, far, and suspects when both fail.
    pub(super) tiers: [Vec<usize>; 3],
    /// Share of calls that goes to the near ones.
    pub(super) near_share: f32,
    /// So few are available that whom breakers took out is called as well.
    pub(super) panic: bool,
    /// When nobody of the tiers can be called, in this order.
    pub(super) last: [Vec<usize>; 3],
}

/// A zone that has lost no more than this takes all calls: Envoy's overprovisioning factor of 1.4.
const OVERPROVISION: f32 = 1.4;
/// From this many instances on, less than half of them available is panic; among fewer, none. Half of three would be two:
/// with two dead of three, two thirds of all first tries would go to the dead.
const MANY: usize = 5;

/// Most instances of a pool that breakers may take out at a time: half, but one of two or three, and never the only one.
/// What fails everywhere is not the instances' fault, and the rest could not carry the load.
pub(super) fn most_ejected(count: usize) -> usize {
    match count {
        0 | 1 => 0,
        _ => (count / 2).max(1),
    }
}

impl Plan {
    pub(super) fn new(facts: &[Facts]) -> Self {
        let mut places = places(facts);
        let of = |places: &[Place], wanted: fn(Place) -> bool| -> Vec<usize> {
            (0..places.len()).filter(|at| wanted(places[*at])).collect()
        };
        let counted = of(&places, |place| {
            !matches!(place, Place::GivenUp | Place::Unused)
        })
        .len();
        let available = of(&places, |place| {
            matches!(place, Place::Regular | Place::Suspect)
        })
        .len();
        let panic = available == 0 || (counted >= MANY && available * 2 < counted);
        let last = [Standing::Listed, Standing::Suspect, Standing::GivenUp].map(|standing| {
            (0..facts.len())
                .filter(|at| facts[*at].standing == standing)
                .collect()
        });
        let mut plan = Self {
            tiers: Default::default(),
            near_share: 1.0,
            panic: panic && facts.iter().any(|facts| facts.standing != Standing::Never),
            last,
            places: Vec::new(),
        };
        if available == 0 {
            // Nobody is better than the last resorts, so the order is theirs.
            for place in &mut places {
                if *place == Place::Overflow {
                    *place = Place::Ejected;
                }
            }
        } else if panic {
            plan.tiers[0] = joined(facts, &places, counted);
        } else {
            let callable = |place| matches!(place, Place::Regular | Place::Overflow);
            let (near, far) = of(&places, callable)
                .into_iter()
                .partition(|at| facts[*at].near);
            plan.tiers = [near, far, of(&places, |place| place == Place::Suspect)];
            plan.near_share = near_share(facts, &places);
            if plan.tiers[0].is_empty() && plan.tiers[1].is_empty() {
                plan.tiers.swap(0, 2); // As while a registry that was started again has not heard them yet.
            }
        }
        plan.places = places;
        plan
    }
}

fn places(facts: &[Facts]) -> Vec<Place> {
    let candidates = facts
        .iter()
        .filter(|facts| facts.standing <= Standing::Suspect)
        .count();
    let mut room = most_ejected(candidates);
    let mut places: Vec<Place> = facts
        .iter()
        .map(|facts| match facts.standing {
            Standing::Never => Place::Unused,
            Standing::GivenUp => Place::GivenUp,
            Standing::Listed | Standing::Suspect if facts.open => Place::Overflow,
            Standing::Suspect => Place::Suspect,
            Standing::Listed => Place::Regular,
        })
        .collect();
    // Who is out already stays out: it has been probed for longest.
    for first in [true, false] {
        for (place, facts) in places.iter_mut().zip(facts) {
            if *place == Place::Overflow && facts.ejected == first && room > 0 {
                *place = Place::Ejected;
                room -= 1;
            }
        }
    }
    places
}

/// In panic: everybody who is available, and those who are not in the order of last resorts until they are half of all.
fn joined(facts: &[Facts], places: &[Place], counted: usize) -> Vec<usize> {
    let mut joined: Vec<usize> = Vec::new();
    for groups in [
        &[
            (Place::Regular, Standing::Listed),
            (Place::Suspect, Standing::Suspect),
        ][..],
        &[
            (Place::Overflow, Standing::Listed),
            (Place::Ejected, Standing::Listed),
        ],
        &[
            (Place::Overflow, Standing::Suspect),
            (Place::Ejected, Standing::Suspect),
        ],
    ] {
        if joined.len() * 2 >= counted {
            break;
        }
        joined.extend(
            (0..facts.len()).filter(|at| groups.contains(&(places[*at], facts[*at].standing))),
        );
    }
    joined.sort_unstable();
    joined
}

/// Share of calls that stays in the gateway's zone: all of them until that has lost more than the factor allows, then as
/// many as what is left of it can carry, unless the other zones are worse off.
fn near_share(facts: &[Facts], places: &[Place]) -> f32 {
    let health = |near: bool| {
        let of = || (0..facts.len()).filter(|at| facts[*at].near == near);
        let total = of().filter(|at| facts[*at].standing != Standing::Never);
        let healthy = of().filter(|at| places[*at] == Place::Regular);
        let share = healthy.count() as f32 / total.count().max(1) as f32;
        (OVERPROVISION * share).min(1.0)
    };
    let near = health(true);
    let far = health(false).min(1.0 - near);
    if near + far > 0.0 {
        near / (near + far)
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests;
