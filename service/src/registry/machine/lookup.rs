//! Looking things up, and what watchers wait for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Machine, millis};
use crate::registry::wire::{Instance, Listing};

/// What to list: what matches all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// This one.
    pub name: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With all of these tags.
    pub tags: BTreeSet<String>,
}

impl Filter {
    fn matches(&self, instance: &Instance) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == instance.kind)
            && self.tags.is_subset(&instance.tags)
    }
}

/// An answer to a lookup, to be written down ([`Found::listing`]) once the machine is free for others again.
#[derive(Debug)]
pub struct Found {
    head: Listing,
    /// With the milliseconds since each was heard of.
    instances: Vec<(Arc<Instance>, u64)>,
}

impl Found {
    /// Writes it down.
    #[must_use]
    pub fn listing(self) -> Listing {
        let aged = |(instance, age): (Arc<Instance>, u64)| Instance {
            heartbeat_age_ms: Some(age),
            ..Arc::unwrap_or_clone(instance)
        };
        Listing {
            instances: self.instances.into_iter().map(aged).collect(),
            ..self.head
        }
    }
}

impl Machine {
    /// Whether a watcher that has seen `since` has something new to see.
    #[must_use]
    pub fn is_news(&self, filter: &Filter, since: u64, incarnation: Option<&str>) -> bool {
        incarnation.is_some_and(|seen| seen != self.incarnation)
            || since > self.revision
            || self.filtered_revision(filter) > since
    }

    fn filtered_revision(&self, filter: &Filter) -> u64 {
        match &filter.kind {
            // A kind nobody has registered yet can only change by registering.
            Some(kind) => self.kinds.get(kind).copied().unwrap_or(1),
            None => self.revision,
        }
    }

    /// Who matches, by name. By name alone in O(log n); by kind and tags through the index.
    #[must_use]
    pub fn find(&self, filter: &Filter) -> Vec<Arc<Instance>> {
        if let Some(name) = &filter.name {
            let entry = self.entries.get(name);
            let found = entry.and_then(|entry| self.index.get(entry.slot));
            return found
                .filter(|found| filter.matches(found))
                .cloned()
                .into_iter()
                .collect();
        }
        let mut found = self.index.find(filter.kind.as_deref(), &filter.tags);
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Who matches, with what watchers need to wait for the next change.
    #[must_use]
    pub fn look_up(&self, filter: &Filter, now: Instant) -> Found {
        let aged = |instance: Arc<Instance>| {
            let seen = self.entries.get(&instance.name).map(|entry| entry.seen);
            let age = seen.map_or(Duration::ZERO, |seen| now.duration_since(seen));
            (instance, millis(age))
        };
        Found {
            head: Listing {
                incarnation: self.incarnation.clone(),
                revision: self.filtered_revision(filter),
                settling: self.settling,
                ttl_ms: millis(self.times.ttl),
                instances: Vec::new(),
            },
            instances: self.find(filter).into_iter().map(aged).collect(),
        }
    }
}
