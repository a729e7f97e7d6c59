//! The instances of one kind, and the choice among them. Ejection only removes from the choice: as long as anybody is
//! listed, somebody is chosen.
//!
//! The usual choice takes no lock and allocates nothing: it reads a [`Roster`] that was made ready, draws, and asks only
//! those it has drawn how they are. When one of them is not fit (tried already, warming up, no permit left) the choice is
//! made again by [`Pool::search`], which looks at everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::config::{Balance, UpstreamConfig};
use super::draw::{Draw, Draws};
use super::hash::most_in_flight;
use super::instance::{Instance, Shared};
use super::pick::{FEW, FULL_LOOK, Handicaps, by_weight, cheaper, cheapest, smooth};
use super::picked::Picked;
use super::roster::{Member, Roster};
use super::tick::Tick;
use super::tried::Tried;
use super::view::InstanceView;
use crate::breaker::{Breaker, Ticket};
use crate::env::Env;
use crate::registry::Status;
use crate::registry::client::{Discovery, Peer};

pub(super) struct Pool {
    env: Env,
    config: UpstreamConfig,
    discovery: Discovery,
    roster: ArcSwap<Roster>,
    /// Held while the roster is made anew.
    planning: Mutex<()>,
    /// Credits of weighted round robin by name, for when there is no list of turns.
    credits: Mutex<Vec<(String, f32)>>,
    turn: AtomicUsize,
    draws: Draws,
    handicaps: Handicaps,
    shared: Arc<Shared>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    panic_picks: AtomicU64,
    ejections: AtomicU64,
    ejections_overflow: AtomicU64,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolCounts {
    pub(super) panic_picks: u64,
    pub(super) ejections: u64,
    pub(super) ejections_overflow: u64,
}

/// One choice: what is asked for, and what was drawn for it.
#[derive(Clone, Copy)]
struct Ask<'a> {
    tried: &'a Tried<'a>,
    key: Option<u64>,
    draw: Draw,
    now: Instant,
    tick: Tick,
}

impl Ask<'_> {
    fn fits(&self, member: &Member) -> bool {
        (member.free || member.instance.breaker.admits())
            && self.fresh(member)
            && !self.spares(member)
    }

    fn fresh(&self, member: &Member) -> bool {
        self.tried.is_empty() || !self.tried.contains(&member.instance.name)
    }

    /// Whether it is spared this call because it is warming up. A share of the calls by lot, because a mere weight would
    /// decide each comparison of two against it, and so spare it all of them. By key the lot is the same each time, so
    /// that keys come to a newcomer one after the other.
    fn spares(&self, member: &Member) -> bool {
        let instance = &member.instance;
        instance.warmth.warming() && self.draw.again().unit() >= instance.warm_share(self.tick)
    }
}

impl Pool {
    pub(super) fn new(env: &Env, discovery: Discovery, config: UpstreamConfig) -> Self {
        Self {
            env: env.clone(),
            config,
            discovery,
            roster: ArcSwap::default(),
            planning: Mutex::default(),
            credits: Mutex::default(),
            turn: AtomicUsize::new(0),
            draws: Draws::new(&env.rng.fork("pick")),
            handicaps: Handicaps::new(),
            shared: Shared::new(Instant::now()),
            tally: Tally::default(),
        }
    }

    /// Chooses an instance, preferably one that is not in `tried`. `None` when nobody may be used. `key`: whose instance it
    /// should be when instances are chosen by key.
    pub(super) fn pick(&self, tried: &Tried<'_>, key: Option<u64>, now: Instant) -> Option<Picked> {
        let roster = self.roster();
        let key = key.filter(|_| self.config.balance == Balance::ConsistentHash);
        let ask = Ask {
            tried,
            key,
            draw: key.map_or_else(|| self.draws.draw(), Draw::of_key),
            now,
            tick: self.shared.tick(now),
        };
        let picked = trial(&roster, &ask)
            .or_else(|| self.usual(&roster, &ask))
            .and_then(|at| take(&roster.members[at], now))
            .or_else(|| self.search(&roster, &ask))?;
        if roster.panic {
            self.tally.panic_picks.fetch_add(1, Relaxed);
        }
        Some(picked)
    }

    /// The usual choice; `None` when it takes a [`Pool::search`].
    fn usual(&self, roster: &Roster, ask: &Ask<'_>) -> Option<usize> {
        let number = tier(roster, ask);
        let tier = &roster.tiers[number];
        let members = tier.members.as_slice();
        let fit = |at: usize| ask.fits(&roster.members[at]);
        let count = members.len();
        if count < 2 {
            return members.first().copied().filter(|at| fit(*at));
        }
        match (self.config.balance, ask.key) {
            (Balance::LeastResponseTime, _) | (Balance::ConsistentHash, None)
                if self.looks_at_all(count) =>
            {
                let costs = |place: usize| {
                    let at = members[place];
                    fit(at).then(|| response_time(&roster.members[at], ask.tick))
                };
                self.handicaps
                    .race(count, ask.draw, costs)
                    .map(|place| members[place])
            }
            (Balance::LeastResponseTime, _) | (Balance::ConsistentHash, None) => {
                two(roster, members, ask, |member| {
                    response_time(member, ask.tick)
                })
            }
            (Balance::ConsistentHash, Some(key)) => {
                let total = self.shared.in_flight.0.load(Relaxed);
                roster.ring.find(key, |at| {
                    roster.tier_of[at] == Some(number)
                        && fit(at)
                        && self.has_room(&roster.members[at], tier.total, total)
                })
            }
            (Balance::LeastConnections, _) if count <= FULL_LOOK => {
                let costs = |place: usize| {
                    let at = members[place];
                    fit(at).then(|| connections(&roster.members[at]))
                };
                cheapest(count, ask.draw.below(count), costs).map(|place| members[place])
            }
            (Balance::LeastConnections, _) => two(roster, members, ask, connections),
            (Balance::RoundRobin, _) => Some(members[self.next_turn(count)]).filter(|at| fit(*at)),
            (Balance::Weighted, _) if !tier.turns.is_empty() => {
                Some(tier.turns[self.next_turn(tier.turns.len())]).filter(|at| fit(*at))
            }
            (Balance::Random, _) if tier.even => {
                Some(members[ask.draw.below(count)]).filter(|at| fit(*at))
            }
            (Balance::Random, _) if !tier.sums.is_empty() => {
                let draw = ask.draw.unit() * tier.total;
                let place = tier.sums.partition_point(|sum| *sum <= draw);
                members.get(place).copied().filter(|at| fit(*at))
            }
            (Balance::Weighted | Balance::Random, _) => None,
        }
    }

    /// Whether one is drawn by what all cost, instead of the quicker of two drawn. Not where failures cost nothing: the
    /// quickest is the one that refuses then, and two draws keep a third of the calls away from it.
    fn looks_at_all(&self, count: usize) -> bool {
        count <= FEW && self.config.breaker.enabled
    }

    fn next_turn(&self, count: usize) -> usize {
        self.turn.fetch_add(1, Relaxed) % count
    }

    /// Whether it has fewer calls in flight than its share allows, while keys are bound to it.
    fn has_room(&self, member: &Member, weights: f32, total: u64) -> bool {
        let bound = self.config.balancing.hash_bound as f32;
        let most = most_in_flight(total, member.weight / weights, bound);
        member.instance.in_flight.load(Relaxed) < most
    }

    /// Looks at everybody: another instance than those tried first, then by tier, then who is warm. If that leaves nobody,
    /// the last resorts: a call that may fail is better than one that does.
    fn search(&self, roster: &Roster, ask: &Ask<'_>) -> Option<Picked> {
        let first = tier(roster, ask);
        let order = [first, 1 - first.min(1), 2];
        for fresh in [true, false] {
            for number in order {
                let mut fit: Vec<usize> = Vec::new();
                fit.extend(roster.tiers[number].members.iter().filter(|at| {
                    let member = &roster.members[**at];
                    ask.fresh(member) == fresh && (member.free || member.instance.admits(ask.now))
                }));
                let mut warm = fit.clone();
                warm.retain(|at| !ask.spares(&roster.members[*at]));
                for mut candidates in [warm, fit] {
                    while let Some(at) = self.choose(roster, &candidates, ask) {
                        if let Some(picked) = take(&roster.members[at], ask.now) {
                            return Some(picked);
                        }
                        // Another call took the last permit in between: choose again, which costs no retry.
                        candidates.retain(|other| *other != at);
                    }
                }
            }
        }
        for places in &roster.last {
            let (fresh, tried): (Vec<usize>, Vec<usize>) = places
                .iter()
                .partition(|at| ask.fresh(&roster.members[**at]));
            for candidates in [fresh, tried] {
                if let Some(at) = self.choose(roster, &candidates, ask) {
                    let instance = &roster.members[at].instance;
                    instance.last_resorts.fetch_add(1, Relaxed);
                    let ticket = instance.breaker.try_ticket(ask.now);
                    let ticket = ticket.unwrap_or_else(|| Ticket::last_resort(ask.now));
                    return Some(Picked::new(instance, ticket, true));
                }
            }
        }
        None
    }

    /// One of `candidates`, which are all fit.
    fn choose(&self, roster: &Roster, candidates: &[usize], ask: &Ask<'_>) -> Option<usize> {
        let count = candidates.len();
        if count < 2 {
            return candidates.first().copied();
        }
        let member = |place: usize| &roster.members[candidates[place]];
        // Slow start is not in it: who is a candidate has won its lot.
        let weights = || -> Vec<f32> {
            let weights = candidates.iter().map(|at| roster.members[*at].weight);
            weights.collect()
        };
        let place = match (self.config.balance, ask.key) {
            (Balance::ConsistentHash, Some(key)) => {
                let total = self.shared.in_flight.0.load(Relaxed);
                let sum = candidates.iter().map(|at| roster.members[*at].weight).sum();
                let listed = |at: usize| candidates.contains(&at);
                let room = |at: usize| self.has_room(&roster.members[at], sum, total);
                let ring = &roster.ring;
                return ring
                    .find(key, |at| listed(at) && room(at))
                    .or_else(|| ring.find(key, listed));
            }
            (Balance::LeastResponseTime | Balance::ConsistentHash, _)
                if self.looks_at_all(count) =>
            {
                self.handicaps.race(count, ask.draw, |place| {
                    Some(response_time(member(place), ask.tick))
                })?
            }
            (Balance::LeastResponseTime | Balance::ConsistentHash, _) => {
                cheaper(ask.draw.pair(count), |place| {
                    response_time(member(place), ask.tick)
                })
            }
            (Balance::LeastConnections, _) => cheapest(count, ask.draw.below(count), |place| {
                Some(connections(member(place)))
            })?,
            (Balance::RoundRobin, _) => self.next_turn(count),
            (Balance::Weighted, _) => {
                let names = candidates
                    .iter()
                    .map(|at| &roster.members[*at].instance.name);
                self.smooth_turn(names, &weights())?
            }
            (Balance::Random, _) => by_weight(&weights(), ask.draw.unit())?,
        };
        Some(candidates[place])
    }

    fn smooth_turn<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
        weights: &[f32],
    ) -> Option<usize> {
        let names: Vec<&String> = names.collect();
        let mut kept = self.credits.lock();
        let credit = |name: &String| {
            let known = kept.iter().find(|(other, _)| other == name);
            known.map_or(0.0, |(_, credit)| *credit)
        };
        let mut credits: Vec<f32> = names.iter().map(|name| credit(name)).collect();
        let at = smooth(&mut credits, weights);
        for (name, credit) in names.into_iter().zip(credits) {
            match kept.iter_mut().find(|(other, _)| other == name) {
                Some((_, known)) => *known = credit,
                None => kept.push((name.clone(), credit)),
            }
        }
        at
    }

    /// Whether an instance that is not in `tried` could be called at once.
    pub(super) fn has_other(&self, tried: &Tried<'_>, now: Instant) -> bool {
        let roster = self.roster();
        let mut tiers = roster.tiers.iter().flat_map(|tier| &tier.members);
        tiers.any(|at| {
            let member = &roster.members[*at];
            !tried.contains(&member.instance.name) && (member.free || member.instance.admits(now))
        })
    }

    /// Latency that is usual among those whose breakers admit calls, or among all; in seconds, up to 50 ms old.
    pub(super) fn usual_latency(&self, now: Instant) -> Option<f64> {
        let tick = self.shared.tick(now);
        let known = self.shared.latency.fresh(tick);
        let usual = known.or_else(|| self.learn_latency(&self.roster(), tick))?;
        Some(f64::from(usual))
    }

    /// What is usual among those of `roster`, worked out anew.
    fn learn_latency(&self, roster: &Roster, tick: Tick) -> Option<f32> {
        let of = |wanted: fn(&Member) -> bool| {
            let members = roster.members.iter().filter(|member| wanted(member));
            let known = members.filter_map(|member| member.instance.latency(tick));
            let mut known: Vec<f32> = known.collect();
            self.shared.latency.learn(&mut known, tick)
        };
        // When all are out it may be because all are slow, and a bound made for fast ones would keep them out.
        of(|member| member.instance.breaker.admits()).or_else(|| of(|_| true))
    }

    /// Returns once the list is another than the one the last choice saw.
    pub(super) async fn changed(&self) {
        let seen = self.roster.load().generation.unwrap_or(0);
        self.discovery.changed(seen).await;
    }

    pub(super) fn view(&self, now: Instant) -> Vec<InstanceView> {
        let (roster, tick) = (self.roster(), self.shared.tick(now));
        roster
            .members
            .iter()
            .map(|member| InstanceView::of(member, now, tick))
            .collect()
    }

    pub(super) fn breaker(&self, name: &str) -> Option<Breaker> {
        let roster = self.roster();
        let member = roster.member(name)?;
        Some(member.instance.breaker.clone())
    }

    pub(super) fn counts(&self) -> PoolCounts {
        PoolCounts {
            panic_picks: self.tally.panic_picks.load(Relaxed),
            ejections: self.tally.ejections.load(Relaxed),
            ejections_overflow: self.tally.ejections_overflow.load(Relaxed),
        }
    }

    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The roster, brought up to date first.
    fn roster(&self) -> Guard<Arc<Roster>> {
        let roster = self.roster.load();
        if self.current(&roster) {
            return roster;
        }
        drop(roster);
        self.plan();
        self.roster.load()
    }

    fn current(&self, roster: &Roster) -> bool {
        roster.version == self.shared.version.load(Relaxed)
            && roster.generation == Some(self.discovery.generation())
    }

    fn plan(&self) {
        let planning = self.planning.lock();
        let old = self.roster.load_full();
        if self.current(&old) {
            return; // Another call was faster.
        }
        let now = Instant::now();
        let tick = self.shared.tick(now);
        // Read before what it stands for: a move in between is planned for by the next choice.
        let version = self.shared.version.load(Relaxed);
        let peers = self.discovery.peers();
        let list: Vec<(Arc<Instance>, Peer)> = peers
            .peers
            .iter()
            .map(|peer| (self.instance(peer, &old, now, tick), peer.clone()))
            .collect();
        for (instance, _) in &list {
            instance.warmth.settle(tick);
        }
        let roster = Roster::new(list, (peers.generation, version), &self.config, &old);
        if let Some(usual) = self.learn_latency(&roster, tick) {
            roster.assume(usual, tick);
        }
        self.tally.ejections.fetch_add(roster.news.ejected, Relaxed);
        let overflow = &self.tally.ejections_overflow;
        overflow.fetch_add(roster.news.overflowed, Relaxed);
        let fresh = Arc::new(roster);
        self.roster.store(Arc::clone(&fresh));
        drop(planning);
        let mut credits = self.credits.lock();
        credits.retain(|(name, _)| fresh.member(name).is_some());
        drop(credits);
        for gone in &old.members {
            match fresh.member(&gone.instance.name) {
                Some(member) if Arc::ptr_eq(&member.instance, &gone.instance) => {}
                Some(_) => gone.instance.retire("the instance was started again"),
                None => gone.instance.retire("the instance has left"),
            }
        }
    }

    /// The instance that `peer` is: the one known, or a new one. Whoever joins a pool that works, or comes back to it,
    /// starts slowly. One that is new as a whole has nobody to spare it.
    fn instance(&self, peer: &Peer, old: &Roster, now: Instant, tick: Tick) -> Arc<Instance> {
        let known = old.member(&peer.name).filter(|m| m.instance.is(peer));
        let instance = match known {
            Some(member) => Arc::clone(&member.instance),
            None => Instance::new(&self.env, &self.config, peer, &self.shared),
        };
        let works = |peer: &Peer| matches!(peer.status, Status::Passing | Status::Warning);
        let worked = known.is_some_and(|member| works(&member.peer));
        let ramp = self.config.balancing.slow_start.get();
        let settled = |member: &Member| {
            works(&member.peer) && now.saturating_duration_since(member.instance.joined) >= ramp
        };
        let others = old.members.iter().filter(|m| m.peer.name != peer.name);
        if works(peer) && !worked && others.into_iter().any(settled) {
            instance.warmth.begin(tick);
        }
        instance
    }
}

/// Which tier the call goes to: the near one, or the other for as many calls as the near one cannot carry.
fn tier(roster: &Roster, ask: &Ask<'_>) -> usize {
    if roster.near_share >= 1.0 {
        return 0;
    }
    let unit = ask.draw.again().again().unit();
    usize::from(unit >= roster.near_share)
}

/// An instance whose breaker is half-open and has a permit left. Its trials are to decide soon, and a choice by cost might
/// never come to it: what it was like before the outage, or one slow trial, makes it dear. Only first tries, which can still
/// be made again elsewhere, and those few are all that its permits allow.
fn trial(roster: &Roster, ask: &Ask<'_>) -> Option<usize> {
    if roster.trials.is_empty() || !ask.tried.is_empty() {
        return None;
    }
    let mut trials = roster.trials.iter().copied();
    trials.find(|at| roster.members[*at].instance.admits(ask.now))
}

/// The cheaper of two that are drawn; `None` when one of them is not fit.
fn two(
    roster: &Roster,
    members: &[usize],
    ask: &Ask<'_>,
    cost: impl Fn(&Member) -> f32,
) -> Option<usize> {
    let (first, second) = ask.draw.pair(members.len());
    let pair = (members[first], members[second]);
    let both = ask.fits(&roster.members[pair.0]) && ask.fits(&roster.members[pair.1]);
    both.then(|| cheaper(pair, |at| cost(&roster.members[at])))
}

/// Takes the right to call it; `None` when its breaker has none left.
fn take(member: &Member, now: Instant) -> Option<Picked> {
    let instance = &member.instance;
    let ticket = match instance.breaker.try_ticket(now) {
        Some(ticket) => ticket,
        // Its outcome decides nothing.
        None if member.free => Ticket::last_resort(now),
        None => return None,
    };
    Some(Picked::new(instance, ticket, false))
}

/// Seconds until an answer, if the calls in flight are answered one after the other.
fn response_time(member: &Member, now: Tick) -> f32 {
    member.instance.cost(now) * connections(member)
}

/// Calls in flight, this one included, next to what it is made for.
fn connections(member: &Member) -> f32 {
    (member.instance.in_flight.load(Relaxed) + 1) as f32 * member.by_weight
}

#[cfg(test)]
mod tests;
