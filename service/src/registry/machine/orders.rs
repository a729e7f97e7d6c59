//! Goodbyes and orders: what ends an instance's work other than its health.

use tokio::time::Instant;

use super::{Machine, Refused, Taken};
use crate::registry::wire::{Lease, Orders, Status};

impl Machine {
    /// It wants no new work: says the instance itself with its epoch, or an operator without.
    ///
    /// # Errors
    /// It is not registered, or not with that epoch.
    pub fn drain(&mut self, name: &str, epoch: Option<u64>, now: Instant) -> Taken {
        let entry = self.current(name, epoch)?;
        if epoch.is_some() {
            entry.registration.draining = true;
            entry.seen = now;
        } else {
            entry.drain_ordered = true;
        }
        let changes = self.settle(name, now).into_iter().collect();
        Ok((self.lease(name), changes))
    }

    /// It is gone for good: says the instance itself with its epoch, or an operator without, who thereby takes back
    /// what was ordered of it as well.
    ///
    /// # Errors
    /// It is not registered, or not with that epoch.
    pub fn deregister(&mut self, name: &str, epoch: Option<u64>) -> Taken {
        self.current(name, epoch)?;
        if epoch.is_none() {
            self.maintenance.remove(name);
        }
        let changes = self.remove(name, "deregistered");
        let lease = Lease {
            status: Status::Removed,
            ttl_ms: 0,
            orders: Orders::default(),
        };
        Ok((lease, changes.into_iter().collect()))
    }

    /// Orders maintenance, with a reason, or takes the order back. It outlives heartbeats, restarts of the instance
    /// and its registration: whoever comes back under that name is not picked until the order is taken back.
    ///
    /// # Errors
    /// Nobody is registered under that name (nor in maintenance, when taking back), or there is no room.
    pub fn maintain(&mut self, name: &str, reason: Option<String>, now: Instant) -> Taken {
        let known = self.entries.contains_key(name);
        match reason {
            Some(_) if !known => return Err(Refused::Unknown),
            Some(reason) => {
                let full = self.maintenance.len() >= self.max_instances;
                if full && !self.maintenance.contains_key(name) {
                    return Err(Refused::Full(self.max_instances));
                }
                self.maintenance.insert(name.to_owned(), reason);
            }
            None if self.maintenance.remove(name).is_none() && !known => {
                return Err(Refused::Unknown);
            }
            None => {}
        }
        let change = self.settle(name, now);
        if known && change.is_none() {
            self.publish(name); // The reason may be another.
        }
        Ok((self.lease(name), change.into_iter().collect()))
    }

    /// Orders another weight, until the instance starts anew.
    ///
    /// # Errors
    /// Nobody is registered under that name.
    pub fn weigh(&mut self, name: &str, weight: u32) -> Taken {
        let entry = self.current(name, None)?;
        if entry.weight_ordered.replace(weight) != Some(weight) {
            self.publish(name);
        }
        Ok((self.lease(name), Vec::new()))
    }
}
