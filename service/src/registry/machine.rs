//! The registry's state machine. Pure: takes `now`, does no I/O, and returns what changed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Heartbeat, Instance, Lease, Listing, Registration, Status};

/// Probes that must fail, one after the other, before a suspect's lease ends.
const PROBES_TO_FAIL: u32 = 2;

/// One instance changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) name: String,
    pub(crate) from: Status,
    pub(crate) to: Status,
    pub(crate) reason: String,
}

/// Why a message of an instance was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It must register (again).
    #[error("no instance of that name and epoch is registered")]
    Unknown,
    /// A later life of the instance is registered.
    #[error("a later start of this instance is registered, with epoch {current}")]
    Superseded { current: u64 },
    /// The table is full.
    #[error("the registry is full ({0} instances)")]
    Full(usize),
}

/// A suspect that should be asked directly whether it is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) address: String,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) changes: Vec<Change>,
    pub(crate) probes: Vec<Probe>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) tag: Option<String>,
}

struct Entry {
    registration: Registration,
    status: Status,
    /// Set while silent in a mass loss.
    suspect: bool,
    failed_probes: u32,
    /// Its last sign of life was an answer to a probe: it is alive, though no heartbeat arrives. From then on only a
    /// failed probe ends its lease.
    vouched: bool,
    /// Last sign of life, moved on by the time the registry itself stood still.
    seen: Instant,
    critical_since: Instant,
    revision: u64,
}

/// Times the machine is run by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) ttl: Duration,
    pub(crate) deregister_after: Duration,
}

impl Times {
    /// How often [`Machine::sweep`] is to be called: an expiry is noticed at most this late.
    pub(crate) fn sweep_every(&self) -> Duration {
        self.ttl / 12
    }

    /// Silence after which two heartbeats are missing: two intervals at their longest (a third of the TTL, +20 %).
    fn warn_after(&self) -> Duration {
        self.ttl.mul_f64(0.8)
    }
}

/// The table of instances.
pub(crate) struct Machine {
    times: Times,
    max_instances: usize,
    incarnation: String,
    started: Instant,
    settling: bool,
    revision: u64,
    /// Revision of the last change per kind, removals included: what a filtered watch waits on.
    kinds: BTreeMap<String, u64>,
    entries: BTreeMap<String, Entry>,
    swept: Instant,
    /// When instances were given up, for the last TTL: jitter spreads a mass loss over several sweeps.
    given_up: VecDeque<Instant>,
}

impl Machine {
    pub(crate) fn new(
        times: Times,
        max_instances: usize,
        incarnation: String,
        now: Instant,
    ) -> Self {
        Self {
            times,
            max_instances,
            incarnation,
            started: now,
            settling: true,
            revision: 1,
            kinds: BTreeMap::new(),
            entries: BTreeMap::new(),
            swept: now,
            given_up: VecDeque::new(),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a registration. The same epoch again only refreshes; a newer one replaces the older life at once.
    pub(crate) fn register(
        &mut self,
        registration: Registration,
        now: Instant,
    ) -> Result<(Lease, Vec<Change>), Refused> {
        let name = registration.name.clone();
        let mut changes = Vec::new();
        let full = self.entries.len() >= self.max_instances;
        let before = match self.entries.get_mut(&name) {
            Some(entry) if entry.registration.epoch > registration.epoch => {
                return Err(Refused::Superseded {
                    current: entry.registration.epoch,
                });
            }
            Some(entry) if entry.registration.epoch == registration.epoch => {
                let beat = Heartbeat {
                    epoch: registration.epoch,
                    ready: registration.ready,
                };
                let moved = entry.registration.kind != registration.kind;
                let old_kind = entry.registration.kind.clone();
                let draining = entry.registration.draining || registration.draining;
                let changed = entry.registration != registration;
                entry.registration = Registration {
                    draining,
                    ..registration
                };
                if changed {
                    self.touch(&name);
                    if moved {
                        self.kinds.insert(old_kind, self.revision);
                    }
                }
                return self.heartbeat(&name, beat, now);
            }
            Some(entry) => entry.status,
            None if full => {
                return Err(Refused::Full(self.max_instances));
            }
            None => Status::Removed,
        };
        let epoch = registration.epoch;
        let beat = Heartbeat {
            epoch,
            ready: registration.ready,
        };
        let entry = Entry {
            registration,
            status: Status::Starting,
            suspect: false,
            failed_probes: 0,
            vouched: false,
            seen: now,
            critical_since: now,
            revision: 0,
        };
        let replaced = self.entries.insert(name.clone(), entry);
        self.touch(&name);
        if let Some(old) = replaced {
            self.kinds.insert(old.registration.kind, self.revision);
        }
        changes.push(Change {
            name: name.clone(),
            from: before,
            to: Status::Starting,
            reason: format!("registered with epoch {epoch}"),
        });
        let (lease, more) = self.heartbeat(&name, beat, now)?;
        changes.extend(more);
        Ok((lease, changes))
    }

    /// Takes a sign of life.
    pub(crate) fn heartbeat(
        &mut self,
        name: &str,
        beat: Heartbeat,
        now: Instant,
    ) -> Result<(Lease, Vec<Change>), Refused> {
        let entry = self.current(name, beat.epoch)?;
        entry.seen = now;
        entry.failed_probes = 0;
        entry.vouched = false;
        let was_suspect = std::mem::take(&mut entry.suspect);
        let (to, reason) = match (entry.registration.draining, beat.ready, entry.status) {
            (true, _, _) => (Status::Draining, "draining"),
            (false, true, _) => (Status::Passing, "ready"),
            (false, false, Status::Starting) => (Status::Starting, ""),
            (false, false, _) => (Status::Critical, "says it is not ready"),
        };
        let changes = self.set(name, to, reason, now);
        if was_suspect && changes.is_empty() {
            self.touch(name);
        }
        Ok((self.lease(name), changes))
    }

    /// The instance wants no new work.
    pub(crate) fn drain(
        &mut self,
        name: &str,
        epoch: u64,
        now: Instant,
    ) -> Result<(Lease, Vec<Change>), Refused> {
        let entry = self.current(name, epoch)?;
        entry.registration.draining = true;
        entry.seen = now;
        let changes = self.set(name, Status::Draining, "draining", now);
        Ok((self.lease(name), changes))
    }

    /// The instance is gone for good.
    pub(crate) fn deregister(
        &mut self,
        name: &str,
        epoch: u64,
        now: Instant,
    ) -> Result<(Lease, Vec<Change>), Refused> {
        self.current(name, epoch)?;
        let changes = self.set(name, Status::Removed, "deregistered", now);
        Ok((
            Lease {
                status: Status::Removed,
                ttl_ms: 0,
            },
            changes,
        ))
    }

    /// Looks at every lease. To be called every [`Times::sweep_every`].
    pub(crate) fn sweep(&mut self, now: Instant) -> Swept {
        let mut swept = Swept::default();
        // A registry that stood still (stopped, starved, suspended) has not read the heartbeats of that time. Its own
        // delay must not count as the instances' silence.
        let late = now
            .duration_since(self.swept)
            .saturating_sub(self.times.sweep_every());
        self.swept = now;
        if late > self.times.sweep_every() {
            for entry in self.entries.values_mut() {
                entry.seen = (entry.seen + late).min(now);
            }
        }
        if self.settling && now.duration_since(self.started) >= self.times.ttl {
            // Wakes the watchers, who held back removals until now.
            self.settling = false;
            self.revision += 1;
            for revision in self.kinds.values_mut() {
                *revision = self.revision;
            }
        }
        self.given_up
            .retain(|at| now.duration_since(*at) < self.times.ttl);
        self.expire(now, &mut swept);
        self.forget(now, &mut swept);
        swept
    }

    fn expire(&mut self, now: Instant, swept: &mut Swept) {
        let (mut silent, mut expired, mut doubted, mut live) =
            (Vec::new(), Vec::new(), Vec::new(), 0);
        for (name, entry) in &self.entries {
            let age = now.duration_since(entry.seen);
            match entry.status {
                Status::Critical | Status::Removed => continue,
                Status::Draining if age >= self.times.ttl => {
                    // It had said goodbye: its silence is no loss to guard against.
                    silent.push((name.clone(), Status::Removed, "gone while draining"));
                    continue;
                }
                _ => live += 1,
            }
            if age >= self.times.ttl && entry.vouched {
                doubted.push(name.clone());
            } else if age >= self.times.ttl {
                expired.push(name.clone());
            } else if age >= self.times.warn_after() && entry.status == Status::Passing {
                silent.push((name.clone(), Status::Warning, "missed 2 heartbeats"));
            }
        }
        for (name, to, reason) in silent {
            swept.changes.extend(self.set(&name, to, reason, now));
        }
        // Of N instances, up to half may go in one lease time (one of one, one of two or three, two of four ...). If more
        // fall silent at once, the network between them and the registry is the likelier cause: ask each directly.
        let allowed = ((live + self.given_up.len()) / 2).max(1);
        if expired.len() + self.given_up.len() <= allowed {
            for name in expired.drain(..) {
                self.given_up.push_back(now);
                swept
                    .changes
                    .extend(self.set(&name, Status::Critical, "lease expired", now));
            }
        } else {
            doubted.append(&mut expired);
        }
        for name in doubted {
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            swept.probes.push(Probe {
                name: name.clone(),
                epoch: entry.registration.epoch,
                address: entry.registration.address.clone(),
            });
            if !std::mem::replace(&mut entry.suspect, true) {
                self.touch(&name);
            }
        }
    }

    fn forget(&mut self, now: Instant, swept: &mut Swept) {
        let old: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| {
                entry.status == Status::Critical
                    && now.duration_since(entry.critical_since.max(entry.seen))
                        >= self.times.deregister_after
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in old {
            swept
                .changes
                .extend(self.set(&name, Status::Removed, "silent for too long", now));
        }
    }

    /// Takes the outcome of a [`Probe`].
    pub(crate) fn probed(
        &mut self,
        name: &str,
        epoch: u64,
        alive: bool,
        now: Instant,
    ) -> Vec<Change> {
        let Ok(entry) = self.current(name, epoch) else {
            return Vec::new();
        };
        if !entry.suspect {
            return Vec::new(); // A heartbeat was faster.
        }
        if alive {
            entry.seen = now;
            entry.suspect = false;
            entry.vouched = true;
            entry.failed_probes = 0;
            self.touch(name);
            return Vec::new();
        }
        entry.failed_probes += 1;
        if entry.failed_probes < PROBES_TO_FAIL {
            return Vec::new();
        }
        entry.suspect = false;
        self.given_up.push_back(now);
        self.set(
            name,
            Status::Critical,
            "lease expired and probes failed",
            now,
        )
    }

    /// Whether a watcher that has seen `since` has something new to see.
    pub(crate) fn is_news(&self, filter: &Filter, since: u64, incarnation: Option<&str>) -> bool {
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

    pub(crate) fn list(&self, filter: &Filter) -> Listing {
        let instances = self
            .entries
            .values()
            .filter(|entry| filter.matches(&entry.registration))
            .map(Entry::shown)
            .collect();
        Listing {
            incarnation: self.incarnation.clone(),
            revision: self.filtered_revision(filter),
            settling: self.settling,
            ttl_ms: millis(self.times.ttl),
            instances,
        }
    }

    fn current(&mut self, name: &str, epoch: u64) -> Result<&mut Entry, Refused> {
        let entry = self.entries.get_mut(name).ok_or(Refused::Unknown)?;
        match entry.registration.epoch {
            current if current > epoch => Err(Refused::Superseded { current }),
            current if current < epoch => Err(Refused::Unknown),
            _ => Ok(entry),
        }
    }

    fn lease(&self, name: &str) -> Lease {
        let status = self
            .entries
            .get(name)
            .map_or(Status::Removed, |entry| entry.status);
        Lease {
            status,
            ttl_ms: millis(self.times.ttl),
        }
    }

    fn touch(&mut self, name: &str) {
        self.revision += 1;
        if let Some(entry) = self.entries.get_mut(name) {
            entry.revision = self.revision;
            self.kinds
                .insert(entry.registration.kind.clone(), self.revision);
        }
    }

    fn set(&mut self, name: &str, to: Status, reason: &str, now: Instant) -> Vec<Change> {
        let Some(entry) = self.entries.get_mut(name) else {
            return Vec::new();
        };
        let from = std::mem::replace(&mut entry.status, to);
        if from == to {
            return Vec::new();
        }
        if to == Status::Critical {
            entry.critical_since = now;
        }
        self.touch(name);
        if to == Status::Removed {
            self.entries.remove(name);
        }
        vec![Change {
            name: name.to_owned(),
            from,
            to,
            reason: reason.to_owned(),
        }]
    }
}

impl Filter {
    fn matches(&self, registration: &Registration) -> bool {
        self.name
            .as_ref()
            .is_none_or(|name| *name == registration.name)
            && self
                .kind
                .as_ref()
                .is_none_or(|kind| *kind == registration.kind)
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| registration.tags.contains(tag))
    }
}

impl Entry {
    fn shown(&self) -> Instance {
        let registration = self.registration.clone();
        Instance {
            name: registration.name,
            kind: registration.kind,
            address: registration.address,
            epoch: registration.epoch,
            weight: registration.weight,
            status: self.status,
            suspect: self.suspect,
            revision: self.revision,
            tags: registration.tags,
            meta: registration.meta,
            zone: registration.zone,
            version: registration.version,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
