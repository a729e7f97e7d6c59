//! What time does to the table: leases that end, holds that end, instances that are forgotten; and the probes that
//! keep a mass loss from being believed.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::Why;
use super::{Change, Machine, Probe, Swept};
use crate::registry::wire::Status;

/// Probes that must fail, one after the other, before a suspect's lease ends.
const PROBES_TO_FAIL: u32 = 2;

impl Machine {
    /// Looks at every lease. To be called every [`super::Times::sweep_every`].
    pub fn sweep(&mut self, now: Instant) -> Swept {
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
        self.guard.pass(self.times.ttl, now);
        self.expire(now, &mut swept);
        self.pass(now, &mut swept.changes);
        self.forget(now, &mut swept);
        swept
    }

    fn expire(&mut self, now: Instant, swept: &mut Swept) {
        let (mut gone, mut moved) = (Vec::new(), Vec::new());
        let (mut expired, mut doubted, mut live) = (Vec::new(), Vec::new(), 0);
        let (ttl, warn_after) = (self.times.ttl, self.times.warn_after());
        for (name, entry) in &mut self.entries {
            let over = now.duration_since(entry.seen) >= ttl;
            if over && entry.registration.draining {
                // It had said goodbye: its silence is no loss to guard against.
                gone.push(name.clone());
                continue;
            }
            // Nobody sends anything to these, so nothing is lost with them.
            if matches!(entry.status, Status::Critical | Status::Maintenance) {
                if over && entry.lost.is_none() {
                    entry.lost = Some(Why::LeaseExpired);
                    moved.push(name.clone());
                }
                continue;
            }
            live += 1;
            if over && entry.vouched {
                doubted.push(name.clone());
            } else if over {
                expired.push(name.clone());
            } else if !entry.late && now.duration_since(entry.seen) >= warn_after {
                entry.late = true;
                moved.push(name.clone());
            }
        }
        for name in gone {
            swept
                .changes
                .extend(self.remove(&name, "gone while draining"));
        }
        for name in moved {
            swept.changes.extend(self.settle(&name, now));
        }
        if self.guard.believes(expired.len(), live) {
            for name in expired.drain(..) {
                self.guard.count(now);
                self.lose(&name, Why::LeaseExpired, now, &mut swept.changes);
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
                self.publish(&name);
            }
        }
    }

    /// Ends a lease. An instance that an operator had drained has nothing left to do and goes at once.
    fn lose(&mut self, name: &str, why: Why, now: Instant, changes: &mut Vec<Change>) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.drain_ordered {
            changes.extend(self.remove(name, "gone while draining"));
            return;
        }
        entry.lost = Some(why);
        changes.extend(self.settle(name, now));
    }

    /// Ends holds that are over.
    fn pass(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let over: Vec<String> = self
            .entries
            .iter_mut()
            .filter_map(|(name, entry)| entry.flap.pass(now).then(|| name.clone()))
            .collect();
        for name in over {
            changes.extend(self.settle(&name, now));
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
                .extend(self.remove(&name, "silent for too long"));
        }
    }

    /// Takes the outcome of a [`Probe`].
    pub fn probed(&mut self, name: &str, epoch: u64, alive: bool, now: Instant) -> Vec<Change> {
        let Ok(entry) = self.current(name, Some(epoch)) else {
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
            self.publish(name);
            return Vec::new();
        }
        entry.failed_probes += 1;
        if entry.failed_probes < PROBES_TO_FAIL {
            return Vec::new();
        }
        entry.suspect = false;
        self.guard.count(now);
        let mut changes = Vec::new();
        self.lose(name, Why::ProbesFailed, now, &mut changes);
        changes
    }
}

impl super::Times {
    /// How often [`Machine::sweep`] is to be called: an expiry is noticed at most this late.
    #[must_use]
    pub fn sweep_every(&self) -> Duration {
        self.ttl / 12
    }

    /// Silence after which two heartbeats are missing: two intervals at their longest (a third of the TTL, +20 %).
    fn warn_after(&self) -> Duration {
        self.ttl.mul_f64(0.8)
    }
}
