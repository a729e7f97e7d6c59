//! What a client of the registry believes: the last good list, and how a new answer may change it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::wire::{Instance, Listing, Status, USUAL_WEIGHT};

/// One peer as a client may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Unique name.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Which life of it.
    pub epoch: u64,
    /// Share of work; 100 is usual.
    pub weight: u32,
    /// What the registry last said. Neither `Draining` nor `Maintenance` is ever to be picked.
    pub status: Status,
    /// Missing from the last answer, or silent in a mass loss: use it last.
    pub suspect: bool,
    /// Labels.
    pub tags: BTreeSet<String>,
    /// Failure domain.
    pub zone: Option<String>,
}

impl Peer {
    /// A peer that just works: for fixed lists and tests.
    pub fn fixed(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            epoch: 0,
            weight: USUAL_WEIGHT,
            status: Status::Passing,
            suspect: false,
            tags: BTreeSet::new(),
            zone: None,
        }
    }
}

impl From<Instance> for Peer {
    fn from(instance: Instance) -> Self {
        Self {
            name: instance.name,
            address: instance.address,
            epoch: instance.epoch,
            weight: instance.weight,
            status: instance.status,
            suspect: instance.suspect,
            tags: instance.tags,
            zone: instance.zone,
        }
    }
}

/// An immutable list of peers, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peers {
    /// Rises with every change.
    pub generation: u64,
    /// By name.
    pub peers: Vec<Peer>,
}

/// The list, and which of its peers are kept although the registry no longer names them.
#[derive(Debug, Default)]
pub(super) struct Beliefs {
    known: BTreeMap<String, Peer>,
    held: BTreeMap<String, Instant>,
    generation: u64,
}

impl Beliefs {
    /// Takes an answer; returns the new list if it differs from the last.
    ///
    /// An answer may add and change peers freely. What it may not do is empty the pool by omission: a registry that has
    /// just started has not heard everybody yet, and one that forgets more than half at once is more likely to be wrong
    /// than right. Those peers stay for one lease time, as suspects, and go if the registry still does not name them.
    pub(super) fn update(&mut self, listing: Listing, now: Instant) -> Option<Peers> {
        let ttl = Duration::from_millis(listing.ttl_ms);
        let mut next: BTreeMap<String, Peer> = listing
            .instances
            .into_iter()
            .map(|instance| (instance.name.clone(), Peer::from(instance)))
            .collect();
        let missing: Vec<&Peer> = self
            .known
            .values()
            .filter(|peer| !next.contains_key(&peer.name))
            .collect();
        let fresh = missing
            .iter()
            .filter(|peer| !self.held.contains_key(&peer.name))
            .count();
        let many = fresh > (self.known.len() / 2).max(1) || fresh == self.known.len();
        let mut held = BTreeMap::new();
        let mut kept = Vec::new();
        for peer in missing {
            let until = match self.held.get(&peer.name) {
                // While the registry settles, the hold starts anew with every answer.
                Some(_) if listing.settling => now + ttl,
                Some(until) => *until,
                // A peer that was leaving is expected to disappear.
                None if matches!(peer.status, Status::Draining | Status::Maintenance) => continue,
                None if listing.settling || many => now + ttl,
                None => continue,
            };
            if now < until {
                held.insert(peer.name.clone(), until);
                kept.push(Peer {
                    suspect: true,
                    ..peer.clone()
                });
            }
        }
        next.extend(kept.into_iter().map(|peer| (peer.name.clone(), peer)));
        self.held = held;
        if next == self.known {
            return None;
        }
        self.known = next;
        self.generation += 1;
        let peers = self.known.values().cloned().collect();
        Some(Peers {
            generation: self.generation,
            peers,
        })
    }

    /// When the next hold ends, and so when to ask again at the latest.
    pub(super) fn next_release(&self) -> Option<Instant> {
        self.held.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::wire::Registration;

    fn listing(names: &[&str], settling: bool) -> Listing {
        let instances = names
            .iter()
            .map(|name| {
                let address = format!("{name}:80");
                let registration = Registration::new(*name, "processor", address, 1);
                Instance::new(&registration, Status::Passing)
            })
            .collect();
        Listing {
            incarnation: "one".to_owned(),
            revision: 1,
            settling,
            ttl_ms: 3000,
            instances,
        }
    }

    fn names(beliefs: &Beliefs) -> Vec<(&str, bool)> {
        beliefs
            .known
            .values()
            .map(|peer| (peer.name.as_str(), peer.suspect))
            .collect()
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_three_may_leave() {
        let start = Instant::now();
        let mut beliefs = Beliefs::default();
        assert_eq!(
            beliefs
                .update(listing(&["a", "b", "c"], false), start)
                .map(|p| p.generation),
            Some(1)
        );
        assert!(
            beliefs
                .update(listing(&["a", "b", "c"], false), start)
                .is_none()
        );
        beliefs.update(listing(&["a", "c"], false), start);
        assert_eq!(names(&beliefs), [("a", false), ("c", false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_answer_of_a_fresh_registry_drops_nobody() {
        let start = Instant::now();
        let mut beliefs = Beliefs::default();
        beliefs.update(listing(&["a", "b", "c"], false), start);
        beliefs.update(listing(&[], true), start);
        assert_eq!(names(&beliefs), [("a", true), ("b", true), ("c", true)]);
        // Two come back while it settles; the third stays a suspect, and is dropped a lease after the last such answer.
        beliefs.update(listing(&["a", "b"], true), after(start, 2900));
        assert_eq!(names(&beliefs), [("a", false), ("b", false), ("c", true)]);
        beliefs.update(listing(&["a", "b"], false), after(start, 3100));
        assert_eq!(names(&beliefs), [("a", false), ("b", false), ("c", true)]);
        assert_eq!(beliefs.next_release(), Some(after(start, 5900)));
        beliefs.update(listing(&["a", "b"], false), after(start, 5900));
        assert_eq!(names(&beliefs), [("a", false), ("b", false)]);
    }

    #[tokio::test(start_paused = true)]
    async fn losing_most_at_once_waits_for_one_lease() {
        for all in [
            &["a"][..],
            &["a", "b"],
            &["a", "b", "c"],
            &["a", "b", "c", "d"],
        ] {
            let start = Instant::now();
            let mut beliefs = Beliefs::default();
            beliefs.update(listing(all, false), start);
            beliefs.update(listing(&[], false), start);
            assert!(
                names(&beliefs).iter().all(|(_, suspect)| *suspect),
                "{all:?}"
            );
            assert_eq!(names(&beliefs).len(), all.len());
            beliefs.update(listing(&[], false), after(start, 2999));
            assert_eq!(names(&beliefs).len(), all.len());
            beliefs.update(listing(&[], false), after(start, 3000));
            assert_eq!(names(&beliefs), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_draining_leaves_at_once() {
        let start = Instant::now();
        let mut beliefs = Beliefs::default();
        let mut last = listing(&["a"], false);
        last.instances[0].status = Status::Draining;
        beliefs.update(last, start);
        beliefs.update(listing(&[], false), start);
        assert_eq!(names(&beliefs), []);
    }
}
