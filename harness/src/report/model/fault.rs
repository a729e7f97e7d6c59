//! A fault as a report shows it: what was done, with which proof, which requests it hurt, and when it was over.

use std::time::Duration;

use super::Moment;
use crate::judge::Gap;
use crate::plan::Injection;
use crate::printable::Text;

/// When the system was steady again after a fault.
#[derive(Debug, Clone, PartialEq)]
pub enum Recovery {
    /// So long after the end of the fault.
    After(Duration),
    /// Not before load ended.
    Never,
    /// The data does not say.
    Unknown(Gap),
}

/// A fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Name.
    pub name: Text,
    /// `kill`, `latency`, …
    pub kind: Text,
    /// What it was to do, where the plan says so.
    pub inject: Option<Injection>,
    /// What it was to hit.
    pub targets: Vec<Text>,
    /// When injecting it began; `None` when it never was in place.
    pub injected: Option<Moment>,
    /// When undoing it began, where the record says so.
    pub undo_began: Option<Moment>,
    /// When it was proved to be gone.
    pub reverted: Option<Moment>,
    /// Whether it touched anything.
    pub exercised: bool,
    /// Evidence that it bit.
    pub proofs: Vec<Text>,
    /// Evidence that it is gone.
    pub undos: Vec<Text>,
    /// What went wrong with injecting or undoing.
    pub errors: Vec<Text>,
    /// Injection to the first request that did not end as expected.
    pub first_impact: Option<Duration>,
    /// What it did to latency, where that is more than chance.
    pub slowed: Option<Slowed>,
    /// Injection to the first alarm about a target.
    pub detected: Option<Duration>,
    /// What that was.
    pub detected_by: Option<Text>,
    /// Until steady again.
    pub recovery: Recovery,
    /// Requests begun from injection to recovery that did not end as expected.
    pub hurt: u64,
    /// Requests under way when it struck that did not end as expected.
    pub carried_in: u64,
}

/// What a fault did to the latency of the load that it slowed most.
#[derive(Debug, Clone, PartialEq)]
pub struct Slowed {
    /// The load.
    pub load: Text,
    /// Injection to the intended start of the first slowed request.
    pub after: Duration,
    /// Slowed requests.
    pub requests: u64,
    /// Their median response time.
    pub typical: Duration,
    /// Median response time of the baseline.
    pub baseline: Duration,
    /// How many times as long.
    pub factor: f64,
}

impl Fault {
    /// Whether it touched anything and all went well with it.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.exercised && self.errors.is_empty() && self.reverted.is_some()
    }
}
