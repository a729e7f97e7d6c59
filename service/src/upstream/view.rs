//! What the pool looks like from outside.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;
use tokio::time::Instant;

use super::plan::Place;
use super::roster::Member;
use super::tick::Tick;
use crate::breaker::Snapshot;
use crate::registry::Status;

/// What an instance looks like from outside, for pages and metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceView {
    /// Unique name.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Which life of it.
    pub epoch: u64,
    /// What the registry last said.
    pub status: Status,
    /// Whether the registry doubts it.
    pub suspect: bool,
    /// Its failure domain.
    pub zone: Option<String>,
    /// Whether it is in the gateway's own zone, or zones do not matter.
    pub near: bool,
    /// What it is used for: `regular`, `overflow` (its breaker is open, but too many are out already), `suspect` (when no
    /// regular one is left), `ejected` (its breaker is open), `given-up` (last of all) or `unused`.
    pub place: &'static str,
    /// `closed`, `open`, `half-open`, `forced-open` or `observe`.
    pub breaker: &'static str,
    /// All that its breaker knows.
    pub breaker_detail: Snapshot,
    /// Its share of calls next to others: 1 is usual. Slow start included.
    pub weight: f32,
    /// How far it has come in its slow start, from 0.1 to 1; 1 when it is not in one.
    pub warmth: f32,
    /// Estimated latency, milliseconds; `None` before the first answer.
    pub latency_ms: Option<f64>,
    /// What is added to it for recent failures, milliseconds.
    pub penalty_ms: f64,
    /// Calls in flight, streamed answers included to their end.
    pub in_flight: u32,
    /// Tries that went to it.
    pub picks: u64,
    /// Those of them that did although it should not be used, because there was nobody better.
    pub last_resort_picks: u64,
    /// Tries that were answered.
    pub succeeded: u64,
    /// Tries that failed.
    pub failed: u64,
}

impl InstanceView {
    pub(super) fn of(member: &Member, now: Instant, tick: Tick) -> Self {
        let Member {
            instance,
            peer,
            place,
            weight,
            near,
            ..
        } = member;
        let detail = instance.breaker.snapshot(now);
        let warmth = instance.warmth.share(tick);
        let milliseconds = |seconds: f32| f64::from(seconds) * 1000.0;
        Self {
            name: instance.name.clone(),
            address: instance.address.clone(),
            epoch: instance.epoch,
            status: peer.status,
            suspect: peer.suspect,
            zone: peer.zone.clone(),
            near: *near,
            place: place.as_str(),
            breaker: detail.state.as_str(),
            weight: weight * warmth,
            warmth,
            latency_ms: instance.latency(tick).map(milliseconds),
            penalty_ms: milliseconds(instance.load.penalty(tick)),
            in_flight: instance.in_flight.load(Relaxed),
            picks: instance.picks.load(Relaxed),
            last_resort_picks: instance.last_resorts.load(Relaxed),
            succeeded: detail.totals.succeeded,
            failed: detail.totals.failed + detail.totals.abandoned,
            breaker_detail: detail,
        }
    }

    /// Whether the registry lists it and its breaker lets calls through.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.place == Place::Regular.as_str() || self.place == Place::Suspect.as_str()
    }
}
