//! The members of a pool at one moment, with all that a choice needs to know of them made ready: an immutable value that
//! is made again when the registry has news or an instance's state changes, so that choices need no lock.

use std::sync::Arc;

use super::config::{Balance, UpstreamConfig};
use super::hash::Ring;
use super::instance::Instance;
use super::pick::cycle;
use super::plan::{Facts, Place, Plan, Standing};
use super::tick::Tick;
use crate::breaker::State;
use crate::registry::client::Peer;
use crate::registry::{Status, USUAL_WEIGHT};

/// Weights are counted in tenths of the registry's, so that they stay whole for an instance whose heartbeats are missing,
/// which counts for a tenth.
const TENTHS: u32 = 10;

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) peer: Peer,
    pub(super) place: Place,
    pub(super) near: bool,
    /// Called although its breaker does not admit: too many are out already.
    pub(super) free: bool,
    /// Share of calls next to others: 1 is usual. Without slow start.
    pub(super) weight: f32,
    pub(super) by_weight: f32,
    tenths: u32,
}

/// Members that calls go to alike.
#[derive(Debug, Default)]
pub(super) struct Tier {
    /// Places in the roster.
    pub(super) members: Vec<usize>,
    /// Turns of weighted round robin, as places in the roster; empty when weights are changing, or would need too many.
    pub(super) turns: Vec<usize>,
    /// Sums of weights up to each member, for draws by weight; empty when they are all the same or changing.
    pub(super) sums: Vec<f32>,
    /// All weights are the same, and stay so.
    pub(super) even: bool,
    /// Sum of weights.
    pub(super) total: f32,
}

/// A pool at one moment.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Of the registry's list.
    pub(super) generation: Option<u64>,
    /// Of the instances' states.
    pub(super) version: u64,
    pub(super) members: Vec<Member>,
    pub(super) tiers: [Tier; 3],
    /// In which tier a member is, if in any.
    pub(super) tier_of: Vec<Option<usize>>,
    /// Whose breakers want to be decided by a few calls.
    pub(super) trials: Vec<usize>,
    pub(super) near_share: f32,
    pub(super) panic: bool,
    pub(super) last: [Vec<usize>; 3],
    pub(super) ring: Arc<Ring>,
    /// Whom a breaker took out since the roster before, and who stayed although one would have.
    pub(super) news: News,
}

/// What happened from one roster to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct News {
    pub(super) ejected: u64,
    pub(super) overflowed: u64,
}

fn standing(peer: &Peer, instance: &Instance) -> Standing {
    match peer.status {
        Status::Starting | Status::Draining | Status::Maintenance | Status::Removed => {
            Standing::Never
        }
        // An operator's word counts as the instance's own.
        _ if instance.breaker.state() == State::ForcedOpen => Standing::Never,
        Status::Critical => Standing::GivenUp,
        Status::Passing | Status::Warning if peer.suspect => Standing::Suspect,
        Status::Passing | Status::Warning => Standing::Listed,
    }
}

fn tenths(peer: &Peer) -> u32 {
    let own = peer.weight.max(1);
    if peer.status == Status::Warning {
        own
    } else {
        own.saturating_mul(TENTHS)
    }
}

impl Roster {
    /// Plans anew for `list`. `old` is the roster before.
    pub(super) fn new(
        list: Vec<(Arc<Instance>, Peer)>,
        (generation, version): (u64, u64),
        config: &UpstreamConfig,
        old: &Self,
    ) -> Self {
        let before = |instance: &Arc<Instance>| {
            let mut members = old.members.iter();
            members.find(|member| Arc::ptr_eq(&member.instance, instance))
        };
        let near = |peer: &Peer| {
            !config.balancing.zone_aware || config.zone.is_none() || peer.zone == config.zone
        };
        let facts: Vec<Facts> = list
            .iter()
            .map(|(instance, peer)| Facts {
                standing: standing(peer, instance),
                open: instance.open(),
                near: near(peer),
                ejected: before(instance).is_some_and(|m| m.place == Place::Ejected),
            })
            .collect();
        let plan = Plan::new(&facts);
        let mut news = News::default();
        let members: Vec<Member> = list
            .into_iter()
            .zip(&plan.places)
            .zip(&facts)
            .map(|(((instance, peer), place), facts)| {
                let was = before(&instance).map(|member| member.place);
                let newly = was != Some(*place);
                news.ejected += u64::from(newly && *place == Place::Ejected);
                news.overflowed += u64::from(newly && *place == Place::Overflow);
                let tenths = tenths(&peer);
                let weight = tenths as f32 / (TENTHS * USUAL_WEIGHT) as f32;
                Member {
                    place: *place,
                    near: facts.near,
                    free: facts.open && facts.standing != Standing::Never,
                    weight,
                    by_weight: 1.0 / weight,
                    tenths,
                    instance,
                    peer,
                }
            })
            .collect();
        let mut tier_of = vec![None; members.len()];
        for (number, tier) in plan.tiers.iter().enumerate() {
            for at in tier {
                tier_of[*at] = Some(number);
            }
        }
        let on_trial = |at: &usize| {
            tier_of[*at].is_some() && members[*at].instance.breaker.state() == State::HalfOpen
        };
        let trials = (0..members.len()).filter(on_trial).collect();
        let tiers = plan
            .tiers
            .map(|places| Tier::new(places, &members, config.balance));
        Self {
            generation: Some(generation),
            version,
            ring: ring(&members, config.balance, old),
            tiers,
            tier_of,
            trials,
            near_share: plan.near_share,
            panic: plan.panic,
            last: plan.last,
            members,
            news,
        }
    }

    /// Gives those that nobody has measured what is usual, in seconds.
    pub(super) fn assume(&self, usual: f32, now: Tick) {
        for member in &self.members {
            member.instance.load.assume(usual, now);
        }
    }

    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.instance.name == name)
    }
}

/// The ring of all members, whatever their state: who is out is passed over, and gets its own keys back. The old one, when
/// names and weights are the same.
fn ring(members: &[Member], balance: Balance, old: &Roster) -> Arc<Ring> {
    if balance != Balance::ConsistentHash {
        return Arc::default();
    }
    // Missing heartbeats take calls away, not keys: they may be back in a moment.
    let own = |member: &Member| member.peer.weight.max(1) as f32 / USUAL_WEIGHT as f32;
    let key = |member: &Member| (member.instance.name.clone(), member.peer.weight);
    if members.iter().map(key).eq(old.members.iter().map(key)) {
        return Arc::clone(&old.ring);
    }
    let points = members
        .iter()
        .map(|member| (member.instance.name.as_str(), own(member)));
    Arc::new(Ring::new(points))
}

impl Tier {
    fn new(members: Vec<usize>, all: &[Member], balance: Balance) -> Self {
        let of = || members.iter().map(|at| &all[*at]);
        let changing = of().any(|member| member.instance.warmth.warming());
        let same = of().all(|member| member.tenths == all[members[0]].tenths);
        let total = of().map(|member| member.weight).sum();
        let mut tier = Self {
            even: same && !changing,
            total,
            ..Self::default()
        };
        if balance == Balance::Weighted && !changing {
            let weights: Vec<u32> = of().map(|member| member.tenths).collect();
            let turns = cycle(&weights).into_iter();
            tier.turns = turns.map(|at| members[at as usize]).collect();
        }
        if balance == Balance::Random && !changing && !same {
            let sums = of().scan(0.0, |sum, member| {
                *sum += member.weight;
                Some(*sum)
            });
            tier.sums = sums.collect();
        }
        tier.members = members;
        tier
    }
}
