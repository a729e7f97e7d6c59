//! The registry's state machine. Pure: takes `now`, does no I/O, and returns what changed.
//!
//! Reading order: `entry` (one instance and its status), this file (what instances say), `orders` (what operators say),
//! `sweep` (what time does), `check` (what checks say), `flap` and `guard` (when not to believe it), `index` and `lookup`.

mod check;
mod entry;
mod flap;
mod guard;
mod index;
mod lookup;
mod orders;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::check::Checked;
pub use self::check::Outcome;
use self::entry::{Entry, Why};
use self::guard::Guard;
use self::index::Index;
pub use self::lookup::{Filter, Found};
use super::config::HoldDown;
use super::wire::{Check, Heartbeat, Lease, Orders, Registration, Status};

/// One instance changed its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which instance.
    pub name: String,
    /// Status before.
    pub from: Status,
    /// Status after.
    pub to: Status,
    /// Why, in a few words.
    pub reason: String,
}

/// Why something said about an instance was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It must register (again).
    #[error("no instance of that name and epoch is registered")]
    Unknown,
    /// A later life of the instance is registered.
    #[error("a later start of this instance is registered, with epoch {current}")]
    Superseded {
        /// Of the life that is registered.
        current: u64,
    },
    /// The table is full.
    #[error("the registry is full ({0} instances)")]
    Full(usize),
}

/// A lease, and what changed on the way.
pub type Taken = Result<(Lease, Vec<Change>), Refused>;

/// A suspect that should be asked directly whether it is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Which instance.
    pub name: String,
    /// Which life of it.
    pub epoch: u64,
    /// `host:port`.
    pub address: String,
}

/// A check that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which instance.
    pub name: String,
    /// Which life of it.
    pub epoch: u64,
    /// `host:port`.
    pub address: String,
    /// How to ask.
    pub check: Check,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// Who changed status.
    pub changes: Vec<Change>,
    /// Who is to be asked.
    pub probes: Vec<Probe>,
}

/// Times and rules the machine is run by.
#[derive(Debug, Clone)]
pub struct Times {
    /// How long a lease lasts.
    pub ttl: Duration,
    /// How long a critical instance stays listed.
    pub deregister_after: Duration,
    /// When an instance is kept out because it keeps changing.
    pub hold_down: HoldDown,
}

/// The table of instances.
#[derive(Debug)]
pub struct Machine {
    times: Times,
    max_instances: usize,
    incarnation: String,
    started: Instant,
    settling: bool,
    revision: u64,
    /// Revision of the last change per kind, removals included: what a filtered watch waits on.
    kinds: BTreeMap<String, u64>,
    entries: BTreeMap<String, Entry>,
    index: Index,
    /// Who is in maintenance, and why. By name: the order outlives lives, and the registration.
    maintenance: BTreeMap<String, String>,
    /// Checks that are not on their way, by when they are due.
    schedule: BTreeSet<(Instant, String)>,
    swept: Instant,
    guard: Guard,
}

impl Machine {
    /// An empty table, which settles for one lease time: until then instances may be missing that are well.
    #[must_use]
    pub fn new(times: Times, max_instances: usize, incarnation: String, now: Instant) -> Self {
        Self {
            times,
            max_instances,
            incarnation,
            started: now,
            settling: true,
            revision: 1,
            kinds: BTreeMap::new(),
            entries: BTreeMap::new(),
            index: Index::default(),
            maintenance: BTreeMap::new(),
            schedule: BTreeSet::new(),
            swept: now,
            guard: Guard::default(),
        }
    }

    /// Rises with every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes a registration. The same epoch again only refreshes; a newer one replaces the older life at once.
    ///
    /// # Errors
    /// A later life is registered, or there is no room.
    pub fn register(&mut self, mut registration: Registration, now: Instant) -> Taken {
        let name = registration.name.clone();
        let orders = std::mem::take(&mut registration.orders);
        let beat = Heartbeat {
            epoch: registration.epoch,
            ready: registration.ready,
        };
        let before = match self
            .entries
            .get(&name)
            .map(|e| (e.registration.epoch, e.status))
        {
            Some((current, _)) if current > beat.epoch => {
                return Err(Refused::Superseded { current });
            }
            Some((current, _)) if current == beat.epoch => {
                self.register_again(registration, now);
                return self.heartbeat(&name, beat, now);
            }
            Some((_, status)) => status,
            None if self.entries.len() >= self.max_instances => {
                return Err(Refused::Full(self.max_instances));
            }
            None => Status::Removed,
        };
        // Only a registry that has just started knows less than what the last one said.
        let orders = Some(orders).filter(|_| before == Status::Removed && self.settling);
        let orders = orders.unwrap_or_default();
        if let Some(reason) = &orders.maintenance {
            self.maintenance.insert(name.clone(), reason.clone());
        }
        self.unschedule(&name);
        let mut entry = Entry::new(registration, &orders, now);
        let reason = entry.reason(None);
        self.schedule_first(&entry);
        if let Some(old) = self.entries.remove(&name) {
            entry.slot = old.slot;
        } else {
            entry.slot = self.index.insert(Arc::new(entry.shown(None, 0)));
        }
        self.entries.insert(name.clone(), entry);
        self.publish(&name);
        let mut changes = vec![Change {
            name: name.clone(),
            from: before,
            to: Status::Starting,
            reason,
        }];
        let (lease, more) = self.heartbeat(&name, beat, now)?;
        changes.extend(more);
        Ok((lease, changes))
    }

    /// The life that is registered says again what it is.
    fn register_again(&mut self, registration: Registration, now: Instant) {
        let Some(entry) = self.entries.get_mut(&registration.name) else {
            return;
        };
        let registration = Registration {
            draining: entry.registration.draining || registration.draining,
            ready: entry.registration.ready,
            ..registration
        };
        if entry.registration == registration {
            return;
        }
        let name = registration.name.clone();
        match (&registration.check, &mut entry.check) {
            (Some(rules), Some(check)) => check.rules.clone_from(rules),
            (Some(rules), none) => {
                *none = Some(Checked::new(rules.clone(), now));
                self.schedule.insert((now, name.clone()));
            }
            (None, check) => {
                let due = check.take().and_then(|check| check.due);
                if let Some(due) = due {
                    self.schedule.remove(&(due, name.clone()));
                }
            }
        }
        entry.registration = registration;
        self.publish(&name);
    }

    /// Takes a sign of life.
    ///
    /// # Errors
    /// That life is not the one that is registered.
    pub fn heartbeat(&mut self, name: &str, beat: Heartbeat, now: Instant) -> Taken {
        let entry = self.current(name, Some(beat.epoch))?;
        entry.seen = now;
        entry.failed_probes = 0;
        entry.vouched = false;
        entry.late = false;
        entry.lost = None;
        entry.ready = beat.ready;
        let was_suspect = std::mem::take(&mut entry.suspect);
        let change = self.settle(name, now);
        if was_suspect && change.is_none() {
            self.publish(name);
        }
        Ok((self.lease(name), change.into_iter().collect()))
    }

    /// Checks that are due, at most `room`, the longest due first. Each is on its way until [`Machine::checked`].
    pub fn checks_due(&mut self, room: usize, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        while due.len() < room
            && self.schedule.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = self.schedule.pop_first()
        {
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            let Some(check) = &mut entry.check else {
                continue;
            };
            check.due = None;
            due.push(Due {
                name,
                epoch: entry.registration.epoch,
                address: entry.registration.address.clone(),
                check: check.rules.clone(),
            });
        }
        due
    }

    /// When the next check is due, those on their way aside.
    #[must_use]
    pub fn next_check(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// Takes the outcome of a check. `unit` is random, in `[0, 1)`.
    pub fn checked(
        &mut self,
        name: &str,
        epoch: u64,
        outcome: &Outcome,
        unit: f64,
        now: Instant,
    ) -> Vec<Change> {
        let Ok(entry) = self.current(name, Some(epoch)) else {
            return Vec::new();
        };
        let Some(check) = entry.check.as_mut().filter(|check| check.due.is_none()) else {
            return Vec::new(); // Registered anew without one, or with one that is still to come.
        };
        let before = check.state();
        check.take(outcome, unit, now);
        let (state, due) = (check.state(), check.due);
        if let Some(due) = due {
            self.schedule.insert((due, name.to_owned()));
        }
        let change = self.settle(name, now);
        if change.is_none() && state != before {
            self.publish(name);
        }
        change.into_iter().collect()
    }

    /// The entry of that name, if `epoch` is its own (or none was given).
    fn current(&mut self, name: &str, epoch: Option<u64>) -> Result<&mut Entry, Refused> {
        let entry = self.entries.get_mut(name).ok_or(Refused::Unknown)?;
        match (entry.registration.epoch, epoch) {
            (current, Some(epoch)) if current > epoch => Err(Refused::Superseded { current }),
            (current, Some(epoch)) if current < epoch => Err(Refused::Unknown),
            _ => Ok(entry),
        }
    }

    fn lease(&self, name: &str) -> Lease {
        let entry = self.entries.get(name);
        Lease {
            status: entry.map_or(Status::Removed, |entry| entry.status),
            ttl_ms: millis(self.times.ttl),
            orders: Orders {
                weight: entry.and_then(|entry| entry.weight_ordered),
                maintenance: self.maintenance.get(name).cloned(),
                drain: entry.is_some_and(|entry| entry.drain_ordered),
            },
        }
    }

    /// Lets the status follow from what is known, and shows it.
    fn settle(&mut self, name: &str, now: Instant) -> Option<Change> {
        let maintenance = self.maintenance.get(name).map(String::as_str);
        let entry = self.entries.get_mut(name)?;
        let plain = entry.plain();
        let healthy = match plain.0 {
            Status::Passing | Status::Warning => Some(true),
            Status::Critical => Some(false),
            _ => None,
        };
        entry.flap.observe(&self.times.hold_down, healthy, now);
        entry.was_up |= healthy == Some(true);
        let (to, why) = match plain {
            _ if maintenance.is_some() => (Status::Maintenance, Why::Maintenance),
            _ if healthy == Some(true) && entry.flap.held().is_some() => {
                (Status::Critical, Why::HeldDown)
            }
            plain => plain,
        };
        let from = std::mem::replace(&mut entry.status, to);
        if from == to && entry.why == why {
            return None;
        }
        entry.why = why;
        if to == Status::Critical && from != to {
            entry.critical_since = now;
        }
        let reason = entry.reason(maintenance);
        self.publish(name);
        (from != to).then(|| Change {
            name: name.to_owned(),
            from,
            to,
            reason,
        })
    }

    /// Shows an instance as it is now, under the next revision.
    fn publish(&mut self, name: &str) {
        let Some(entry) = self.entries.get(name) else {
            return;
        };
        self.revision += 1;
        let maintenance = self.maintenance.get(name).map(String::as_str);
        let shown = Arc::new(entry.shown(maintenance, self.revision));
        self.kinds.insert(shown.kind.clone(), self.revision);
        if let Some(old) = self.index.replace(entry.slot, shown)
            && old.kind != entry.registration.kind
        {
            self.kinds.insert(old.kind.clone(), self.revision);
        }
    }

    fn remove(&mut self, name: &str, reason: &str) -> Option<Change> {
        self.unschedule(name);
        let entry = self.entries.remove(name)?;
        self.index.remove(entry.slot);
        self.revision += 1;
        self.kinds.insert(entry.registration.kind, self.revision);
        Some(Change {
            name: name.to_owned(),
            from: entry.status,
            to: Status::Removed,
            reason: reason.to_owned(),
        })
    }

    fn schedule_first(&mut self, entry: &Entry) {
        if let Some(due) = entry.check.as_ref().and_then(|check| check.due) {
            self.schedule.insert((due, entry.registration.name.clone()));
        }
    }

    fn unschedule(&mut self, name: &str) {
        let check = self
            .entries
            .get(name)
            .and_then(|entry| entry.check.as_ref());
        if let Some(due) = check.and_then(|check| check.due) {
            self.schedule.remove(&(due, name.to_owned()));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
