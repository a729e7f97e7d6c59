//! The instances of one kind, and the choice among them. Ejection only removes from the choice: as long as anybody is
//! listed, somebody is chosen.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::breaker::Ticket;
use super::config::UpstreamConfig;
use super::instance::{Instance, InstanceView, Reading, SLOW_START};
use super::pick::{Candidate, Turns, choose, median};
use super::tried::Tried;
use crate::env::{Env, SharedRng};
use crate::registry::client::{Discovery, Peer};
use crate::registry::{Status, USUAL_WEIGHT};

/// Weight of an instance whose heartbeats are missing, relative to its own.
const WARNING_WEIGHT: f64 = 0.1;

pub(super) struct Pool {
    env: Env,
    config: UpstreamConfig,
    discovery: Discovery,
    roster: ArcSwap<Roster>,
    /// Taken to rebuild the roster, and by round robin.
    turns: Mutex<Turns>,
    rng: SharedRng,
}

#[derive(Default)]
struct Roster {
    generation: Option<u64>,
    members: Vec<Member>,
}

#[derive(Clone)]
struct Member {
    instance: Arc<Instance>,
    peer: Peer,
}

/// How willingly a member is used. The order is the order of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    /// The registry hears it.
    Usable,
    /// The registry has reason to doubt its own silence.
    Suspect,
    /// The registry has given it up. It may still answer us.
    GivenUp,
}

impl Member {
    /// `None`: never to be used.
    fn tier(&self) -> Option<Tier> {
        match self.peer.status {
            Status::Starting | Status::Draining | Status::Removed => None,
            Status::Critical => Some(Tier::GivenUp),
            Status::Passing | Status::Warning if self.peer.suspect => Some(Tier::Suspect),
            Status::Passing | Status::Warning => Some(Tier::Usable),
        }
    }

    fn weight(&self) -> f64 {
        let own = f64::from(self.peer.weight.max(1)) / f64::from(USUAL_WEIGHT);
        if self.peer.status == Status::Warning {
            own * WARNING_WEIGHT
        } else {
            own
        }
    }
}

/// A member as one choice sees it.
struct Choice<'a> {
    member: &'a Member,
    tier: Tier,
    reading: Reading,
    /// Not tried yet by this call.
    fresh: bool,
    /// Still warming up, and spared this time. A share of the calls by lot, because a mere weight would decide each
    /// comparison of two against it, and so spare it all of them.
    spared: bool,
}

impl Choice<'_> {
    /// Whether it may be called as a matter of course.
    fn regular(&self) -> bool {
        self.reading.admits && self.tier != Tier::GivenUp
    }

    /// Another instance first, then one the registry hears, then one that is warm.
    fn rank(&self) -> (bool, Tier, bool) {
        (!self.fresh, self.tier, self.spared)
    }
}

/// A chosen instance and the right to call it.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) instance: Arc<Instance>,
    pub(super) ticket: Ticket,
    /// Chosen although it should not be used, because nobody better is there.
    pub(super) last_resort: bool,
}

impl Pool {
    pub(super) fn new(env: &Env, discovery: Discovery, config: UpstreamConfig) -> Self {
        Self {
            env: env.clone(),
            config,
            discovery,
            roster: ArcSwap::default(),
            turns: Mutex::default(),
            rng: env.rng.fork("pick"),
        }
    }

    /// Chooses an instance, preferably one that is not in `tried`. `None` when nobody may be used.
    pub(super) fn pick(&self, tried: &Tried<'_>, now: Instant) -> Option<Picked> {
        let roster = self.roster();
        let mut choices: Vec<Choice<'_>> = roster
            .members
            .iter()
            .filter_map(|member| {
                let tier = member.tier()?;
                let reading = member.instance.read(now);
                let fresh = !tried.contains(&member.instance.name);
                let spared = reading.warmth < 1.0 && self.rng.unit() >= reading.warmth;
                Some(Choice {
                    member,
                    tier,
                    reading,
                    fresh,
                    spared,
                })
            })
            .collect();
        while let Some(best) = choices
            .iter()
            .filter(|c| c.regular())
            .map(Choice::rank)
            .min()
        {
            let index = self.choose(&choices, |c| c.regular() && c.rank() == best)?;
            let instance = &choices[index].member.instance;
            match instance.admit() {
                Some(ticket) => {
                    let instance = Arc::clone(instance);
                    return Some(Picked {
                        instance,
                        ticket,
                        last_resort: false,
                    });
                }
                // Another call took the last permit in between: choose again, which costs no retry.
                None => choices[index].reading.admits = false,
            }
        }
        // Nobody is left whom one should use. A call that may fail is better than one that does.
        let best = choices.iter().map(|c| (c.tier, !c.fresh)).min()?;
        let index = self.choose(&choices, |c| (c.tier, !c.fresh) == best)?;
        let instance = Arc::clone(&choices[index].member.instance);
        let ticket = instance.admit().unwrap_or(Ticket::LAST_RESORT);
        Some(Picked {
            instance,
            ticket,
            last_resort: true,
        })
    }

    fn choose(
        &self,
        choices: &[Choice<'_>],
        eligible: impl Fn(&Choice<'_>) -> bool,
    ) -> Option<usize> {
        let (indexes, candidates): (Vec<usize>, Vec<Candidate<'_>>) = choices
            .iter()
            .enumerate()
            .filter(|(_, choice)| eligible(choice))
            .map(
                |(
                    index,
                    Choice {
                        member, reading, ..
                    },
                )| {
                    let candidate = Candidate {
                        name: &member.instance.name,
                        weight: member.weight(),
                        latency: reading.latency,
                        penalty: reading.penalty,
                        in_flight: reading.in_flight,
                    };
                    (index, candidate)
                },
            )
            .unzip();
        let mut turns = self.turns.lock();
        choose(self.config.balance, &candidates, &mut turns, &self.rng).map(|at| indexes[at])
    }

    /// Whether an instance that is not in `tried` could be called at once.
    pub(super) fn has_other(&self, tried: &Tried<'_>, now: Instant) -> bool {
        self.roster().members.iter().any(|member| {
            member.tier().is_some_and(|tier| tier != Tier::GivenUp)
                && !tried.contains(&member.instance.name)
                && member.instance.read(now).admits
        })
    }

    /// Latency that is usual in the pool, seconds.
    pub(super) fn usual_latency(&self, now: Instant) -> Option<f64> {
        let roster = self.roster();
        let read = roster
            .members
            .iter()
            .map(|member| member.instance.read(now));
        median(
            read.filter(|reading| reading.admits)
                .filter_map(|reading| reading.latency),
        )
    }

    /// Returns once the list is another than the one the last choice saw.
    pub(super) async fn changed(&self) {
        let seen = self.roster.load().generation.unwrap_or(0);
        self.discovery.changed(seen).await;
    }

    pub(super) fn view(&self, now: Instant) -> Vec<InstanceView> {
        let roster = self.roster();
        roster
            .members
            .iter()
            .map(|member| member.instance.view(&member.peer, now))
            .collect()
    }

    pub(super) fn discovery(&self) -> &Discovery {
        &self.discovery
    }

    /// The roster, brought up to date with discovery first.
    fn roster(&self) -> Arc<Roster> {
        let roster = self.roster.load_full();
        if roster.generation == Some(self.discovery.generation()) {
            return roster;
        }
        let mut turns = self.turns.lock();
        let old = self.roster.load_full();
        let peers = self.discovery.peers();
        if old.generation == Some(peers.generation) {
            return old; // Another call was faster.
        }
        // Whoever joins a pool that works starts slowly. One that is new as a whole has nobody to spare it.
        let settled = old
            .members
            .iter()
            .any(|m| m.instance.joined.elapsed() >= SLOW_START);
        let known = |peer: &Peer| old.members.iter().find(|m| m.instance.name == peer.name);
        let members: Vec<Member> = peers
            .peers
            .iter()
            .map(|peer| {
                let instance = match known(peer) {
                    Some(member) if member.instance.is(peer) => Arc::clone(&member.instance),
                    _ => Instance::new(&self.env, &self.config, peer, settled),
                };
                Member {
                    instance,
                    peer: peer.clone(),
                }
            })
            .collect();
        turns.retain(|name| members.iter().any(|member| member.instance.name == name));
        let fresh = Arc::new(Roster {
            generation: Some(peers.generation),
            members,
        });
        self.roster.store(Arc::clone(&fresh));
        drop(turns);
        for gone in &old.members {
            let name = &gone.instance.name;
            match fresh
                .members
                .iter()
                .find(|member| member.instance.name == *name)
            {
                Some(member) if Arc::ptr_eq(&member.instance, &gone.instance) => {}
                Some(_) => gone.instance.retire("the instance was started again"),
                None => gone.instance.retire("the instance has left"),
            }
        }
        fresh
    }
}
