//! One instance in the table: what is known of it, and the status that follows. Pure.

use tokio::time::Instant;

use super::check::Checked;
use super::flap::Flap;
use crate::registry::wire::{CheckState, Instance, Orders, Registration, Status};

/// Why an instance is in its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Registered,
    Ready,
    NotReady,
    Unchecked,
    CheckFailed,
    HeldDown,
    Late,
    LeaseExpired,
    ProbesFailed,
    SaidGoodbye,
    DrainOrdered,
    CheckSaysDraining,
    Maintenance,
}

/// One life of one instance.
#[derive(Debug)]
pub(super) struct Entry {
    /// As it said itself; `draining` stays once it was said.
    pub(super) registration: Registration,
    /// Where the index has it.
    pub(super) slot: u32,
    pub(super) status: Status,
    pub(super) why: Why,
    /// What the last heartbeat said.
    pub(super) ready: bool,
    /// It has been ready and well before, so that not being so is bad news.
    pub(super) was_up: bool,
    /// Heartbeats are missing.
    pub(super) late: bool,
    /// Its lease is over, and why.
    pub(super) lost: Option<Why>,
    /// Set while silent in a mass loss.
    pub(super) suspect: bool,
    pub(super) failed_probes: u32,
    /// Its last sign of life was an answer to a probe: it is alive, though no heartbeat arrives. From then on only a
    /// failed probe ends its lease.
    pub(super) vouched: bool,
    /// Last sign of life, moved on by the time the registry itself stood still.
    pub(super) seen: Instant,
    pub(super) critical_since: Instant,
    pub(super) drain_ordered: bool,
    pub(super) weight_ordered: Option<u32>,
    pub(super) check: Option<Checked>,
    /// Of this life: a new start has a clean record.
    pub(super) flap: Flap,
}

impl Entry {
    pub(super) fn new(registration: Registration, orders: &Orders, now: Instant) -> Self {
        Self {
            slot: 0,
            status: Status::Starting,
            why: Why::Registered,
            ready: registration.ready,
            was_up: false,
            late: false,
            lost: None,
            suspect: false,
            failed_probes: 0,
            vouched: false,
            seen: now,
            critical_since: now,
            drain_ordered: orders.drain,
            weight_ordered: orders.weight,
            check: registration
                .check
                .clone()
                .map(|rules| Checked::new(rules, now)),
            flap: Flap::default(),
            registration,
        }
    }

    /// Status but for maintenance and hold-down: what heartbeats, check and goodbyes say together.
    pub(super) fn plain(&self) -> (Status, Why) {
        let check = self.check.as_ref().map(Checked::state);
        if self.registration.draining {
            (Status::Draining, Why::SaidGoodbye)
        } else if self.drain_ordered {
            (Status::Draining, Why::DrainOrdered)
        } else if let Some(why) = self.lost {
            (Status::Critical, why)
        } else if check == Some(CheckState::Draining) {
            (Status::Draining, Why::CheckSaysDraining)
        } else if !self.ready && self.was_up {
            (Status::Critical, Why::NotReady)
        } else if !self.ready {
            (Status::Starting, Why::NotReady)
        } else if check == Some(CheckState::Failing) {
            (Status::Critical, Why::CheckFailed)
        } else if check == Some(CheckState::Unknown) && !self.was_up {
            (Status::Starting, Why::Unchecked)
        } else if self.late {
            (Status::Warning, Why::Late)
        } else {
            (Status::Passing, Why::Ready)
        }
    }

    /// Why it is in its status, in words; `maintenance` is the reason the operator gave.
    pub(super) fn reason(&self, maintenance: Option<&str>) -> String {
        let detail = self.check.as_ref().map_or("", |check| check.detail());
        match self.why {
            Why::Registered => format!("registered with epoch {}", self.registration.epoch),
            Why::Ready => "ready".to_owned(),
            Why::NotReady => "says it is not ready".to_owned(),
            Why::Unchecked => "not checked yet".to_owned(),
            Why::CheckFailed => format!("check failed: {detail}"),
            Why::HeldDown => {
                let length = self.flap.held().unwrap_or_default();
                format!("changed too often, stays out for {}s", length.as_secs())
            }
            Why::Late => "missed 2 heartbeats".to_owned(),
            Why::LeaseExpired => "lease expired".to_owned(),
            Why::ProbesFailed => "lease expired and probes failed".to_owned(),
            Why::SaidGoodbye => "draining".to_owned(),
            Why::DrainOrdered => "drained by an operator".to_owned(),
            Why::CheckSaysDraining => "its check says that it is draining".to_owned(),
            Why::Maintenance => match maintenance {
                None | Some("") => "in maintenance".to_owned(),
                Some(reason) => format!("in maintenance: {reason}"),
            },
        }
    }

    pub(super) fn shown(&self, maintenance: Option<&str>, revision: u64) -> Instance {
        Instance {
            weight: self.weight_ordered.unwrap_or(self.registration.weight),
            reason: self.reason(maintenance),
            check: self.check.as_ref().map(Checked::state),
            suspect: self.suspect,
            revision,
            ..Instance::new(&self.registration, self.status)
        }
    }
}
