//! One instance as this gateway knows it: its connections, breaker, load and counts.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::breaker::{Breaker, Moved, Outcome, Position, Ticket};
use super::config::UpstreamConfig;
use super::load::Load;
use super::silence::Silence;
use crate::env::{Env, SharedRng};
use crate::http::Client;
use crate::observe::Subject;
use crate::registry::Status;
use crate::registry::client::Peer;

/// After an outage an instance gets its share back over this time, beginning at a tenth: its caches are cold.
pub(super) const SLOW_START: Duration = Duration::from_secs(5);

/// Between probes of an instance whose last call failed.
const DOUBT_EVERY: Duration = Duration::from_millis(50);

/// An instance that no call has said anything of for this long is asked how it is. Of three instances the slowest is
/// hardly chosen while load is low, so calls alone may take seconds to learn that it has died.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// One life of one instance. A restarted one is another value: what was learnt about the old life is not held against it.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) epoch: u64,
    pub(super) client: Client,
    /// When this gateway first heard of it.
    pub(super) joined: Instant,
    pub(super) silence: Silence,
    env: Env,
    probe_timeout: Duration,
    learns: bool,
    rng: SharedRng,
    guarded: Mutex<Guarded>,
    in_flight: AtomicU32,
    succeeded: AtomicU64,
    failed: AtomicU64,
    /// Whether somebody is probing it in doubt.
    doubting: AtomicBool,
    retired: AtomicBool,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

struct Guarded {
    breaker: Breaker,
    load: Load,
    warming_since: Option<Instant>,
    /// When a call last said something of it.
    heard: Instant,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

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
    /// `closed`, `open` or `half-open`.
    pub breaker: &'static str,
    /// Estimated latency, milliseconds; `None` before the first answer.
    pub latency_ms: Option<f64>,
    /// Calls in flight, streamed answers included to their end.
    pub in_flight: u32,
    /// Tries that were answered.
    pub succeeded: u64,
    /// Tries that failed.
    pub failed: u64,
}

/// What the choice needs, read at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) admits: bool,
    pub(super) latency: Option<f64>,
    pub(super) penalty: f64,
    pub(super) in_flight: u32,
    /// Share of calls it is ready for: 0.1 to 1 while it warms up.
    pub(super) warmth: f64,
}

impl Instance {
    /// `warming`: whether it joins a pool that works already, and so should start slowly.
    pub(super) fn new(env: &Env, config: &UpstreamConfig, peer: &Peer, warming: bool) -> Arc<Self> {
        let now = Instant::now();
        let stop = env.shutdown.child_token();
        let guarded = Guarded {
            breaker: Breaker::new(config.breaker.clone(), now),
            load: Load::default(),
            warming_since: warming.then_some(now),
            heard: now,
        };
        let instance = Arc::new(Self {
            name: peer.name.clone(),
            address: peer.address.clone(),
            epoch: peer.epoch,
            // A client of its own: its connections end with this life of the instance.
            client: Client::new(env),
            joined: now,
            silence: Silence::new(now),
            env: env.clone(),
            probe_timeout: config.timeouts.probe.get(),
            learns: config.breaker.enabled,
            rng: env
                .rng
                .fork(&format!("breaker/{}/{}", peer.name, peer.epoch)),
            guarded: Mutex::new(guarded),
            in_flight: AtomicU32::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            doubting: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        });
        if instance.learns {
            instance.watch_over(probe_while_idle(Arc::downgrade(&instance)));
        }
        instance
    }

    /// Runs beside this life of the instance and ends with it.
    fn watch_over(&self, watch: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        drop(self.env.exec.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = watch => {}
            }
        }));
    }

    pub(super) fn is(&self, peer: &Peer) -> bool {
        self.epoch == peer.epoch && self.address == peer.address
    }

    pub(super) fn read(self: &Arc<Self>, now: Instant) -> Reading {
        let (reading, moved) = {
            let mut guarded = self.guarded.lock();
            let jitter = self.rng_for_tick(&guarded);
            let moved = guarded.breaker.tick(now, jitter);
            let warmth = guarded.warming_since.map_or(1.0, |since| {
                (now.duration_since(since).as_secs_f64() / SLOW_START.as_secs_f64()).clamp(0.1, 1.0)
            });
            let reading = Reading {
                admits: guarded.breaker.admits(),
                latency: guarded.load.latency(now),
                penalty: guarded.load.penalty(now),
                in_flight: self.in_flight.load(Relaxed),
                warmth,
            };
            (reading, moved)
        };
        self.moved(moved);
        reading
    }

    /// Draws only when a draw can be used: readings are on the path of every call.
    fn rng_for_tick(&self, guarded: &Guarded) -> f64 {
        if guarded.breaker.position() == Position::HalfOpen {
            self.rng.unit()
        } else {
            0.0
        }
    }

    pub(super) fn admit(&self) -> Option<Ticket> {
        self.guarded.lock().breaker.admit()
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Takes the outcome of a call that took `took`.
    pub(super) fn record(self: &Arc<Self>, ticket: Ticket, outcome: Outcome, took: Duration) {
        let now = Instant::now();
        match outcome {
            Outcome::Success => drop(self.succeeded.fetch_add(1, Relaxed)),
            Outcome::TransportFailure | Outcome::ErrorStatus => {
                self.failed.fetch_add(1, Relaxed);
            }
            Outcome::Ignored => {}
        }
        let jitter = if outcome == Outcome::Success {
            0.0
        } else {
            self.rng.unit()
        };
        let moved = {
            let mut guarded = self.guarded.lock();
            if outcome != Outcome::Ignored {
                guarded.heard = now;
            }
            match outcome {
                Outcome::Success => guarded.load.sample(took, now),
                Outcome::TransportFailure | Outcome::ErrorStatus if self.learns => {
                    guarded.load.sample_at_least(took, now);
                    guarded.load.punish(now);
                }
                Outcome::TransportFailure | Outcome::ErrorStatus => guarded.load.sample(took, now),
                Outcome::Ignored => guarded.load.sample_at_least(took, now),
            }
            let moved = guarded.breaker.record(ticket, outcome, now, jitter);
            guarded.follow(moved.as_ref(), now);
            moved
        };
        let in_doubt = moved.is_none() && outcome == Outcome::TransportFailure;
        self.moved(moved);
        if in_doubt && self.learns {
            self.look();
        }
    }

    /// It has no room: others are preferred for a while.
    pub(super) fn spare(&self, now: Instant) {
        if self.learns {
            self.guarded.lock().load.punish(now);
        }
    }

    /// Looks after an instance whose last call failed. The penalty keeps callers away from it, so without probes the
    /// breaker would learn slowly what is wrong, or an instance that stumbled once would wait long for its next call.
    fn look(self: &Arc<Self>) {
        if self.retired.load(Relaxed) || self.doubting.swap(true, Relaxed) {
            return;
        }
        let instance = Arc::downgrade(self);
        self.watch_over(async move {
            probe_in_doubt(Weak::clone(&instance)).await;
            if let Some(known) = instance.upgrade() {
                known.doubting.store(false, Relaxed);
            }
        });
    }

    /// A probe of an idle instance failed: as good a reason for doubt as a call that did.
    fn missed(self: &Arc<Self>) {
        let (now, jitter) = (Instant::now(), self.rng.unit());
        let moved = {
            let mut guarded = self.guarded.lock();
            guarded.load.punish(now);
            guarded.breaker.missed(now, jitter)
        };
        let in_doubt = moved.is_none();
        self.moved(moved);
        if in_doubt {
            self.look();
        }
    }

    fn idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.guarded.lock().heard) >= IDLE_AFTER
            && !self.doubting.load(Relaxed)
    }

    /// Takes the outcome of a probe in doubt; whether to go on.
    fn looked(self: &Arc<Self>, passed: bool) -> bool {
        let (now, jitter) = (Instant::now(), self.rng.unit());
        let moved = {
            let mut guarded = self.guarded.lock();
            if passed {
                guarded.load.forgive();
                return false;
            }
            guarded.load.punish(now);
            guarded.breaker.doubt(now, jitter)
        };
        let go_on = moved.is_none();
        self.moved(moved);
        go_on
    }

    /// Reports a move, with no lock held, and starts probing an instance that has just been taken out.
    fn moved(self: &Arc<Self>, moved: Option<Moved>) {
        let Some(Moved { from, to, reason }) = moved else {
            return;
        };
        if self.retired.load(Relaxed) {
            return;
        }
        self.env.transition(
            Subject::Breaker,
            &self.name,
            from.as_str(),
            to.as_str(),
            reason,
        );
        if to == Position::Open {
            self.watch_over(probe_while_open(Arc::downgrade(self)));
        }
    }

    async fn probe(&self) -> bool {
        let url = format!("http://{}/health", self.address);
        let Ok(request) = Request::get(url).body(Full::default()) else {
            return false;
        };
        match tokio::time::timeout(self.probe_timeout, self.client.request(request)).await {
            Ok(Ok(response)) => response.status().is_success(),
            _ => false,
        }
    }

    fn probed(self: &Arc<Self>, passed: bool) {
        let (now, jitter) = (Instant::now(), self.rng.unit());
        let moved = {
            let mut guarded = self.guarded.lock();
            let moved = guarded.breaker.probed(passed, now, jitter);
            guarded.follow(moved.as_ref(), now);
            moved
        };
        self.moved(moved);
    }

    /// Ends this life: the instance has gone, or was started again. An open breaker goes with it.
    pub(super) fn retire(&self, reason: &str) {
        if self.retired.swap(true, Relaxed) {
            return;
        }
        self.stop.cancel();
        let position = self.guarded.lock().breaker.position();
        if position != Position::Closed {
            let (from, to) = (position.as_str(), Position::Closed.as_str());
            self.env
                .transition(Subject::Breaker, &self.name, from, to, reason);
        }
    }

    pub(super) fn view(&self, peer: &Peer, now: Instant) -> InstanceView {
        let (position, latency) = {
            let guarded = self.guarded.lock();
            (guarded.breaker.position(), guarded.load.latency(now))
        };
        InstanceView {
            name: self.name.clone(),
            address: self.address.clone(),
            epoch: self.epoch,
            status: peer.status,
            suspect: peer.suspect,
            breaker: position.as_str(),
            latency_ms: latency.map(|seconds| seconds * 1000.0),
            in_flight: self.in_flight.load(Relaxed),
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

impl Guarded {
    /// Load follows the breaker: trials meet an instance that counts as usual, and a closed one warms up.
    fn follow(&mut self, moved: Option<&Moved>, now: Instant) {
        match moved.map(|moved| moved.to) {
            Some(Position::HalfOpen) => {
                self.load.reset();
                self.warming_since = None;
            }
            Some(Position::Closed) => self.warming_since = Some(now),
            Some(Position::Open) | None => {}
        }
    }
}

/// Asks an instance that nobody calls how it is, for as long as it lives.
async fn probe_while_idle(instance: Weak<Instance>) {
    loop {
        let Some(known) = instance.upgrade() else {
            return;
        };
        let pause = IDLE_AFTER.mul_f64(0.9 + 0.2 * known.rng.unit());
        drop(known);
        tokio::time::sleep(pause).await;
        let Some(known) = instance.upgrade() else {
            return;
        };
        if known.idle(Instant::now()) && !known.probe().await {
            known.missed();
        }
    }
}

/// Probes an instance until one probe passes, a call succeeds, or its breaker opens.
async fn probe_in_doubt(instance: Weak<Instance>) {
    loop {
        let Some(known) = instance.upgrade() else {
            return;
        };
        if !known.guarded.lock().breaker.in_doubt() {
            return;
        }
        let passed = known.probe().await;
        if !known.looked(passed) {
            return;
        }
        let pause = DOUBT_EVERY.mul_f64(0.9 + 0.2 * known.rng.unit());
        drop(known);
        tokio::time::sleep(pause).await;
    }
}

/// Probes an instance until its breaker is no longer open. Holds no reference while it waits, so that an instance that
/// nobody else knows can go.
async fn probe_while_open(instance: Weak<Instance>) {
    loop {
        let due = instance
            .upgrade()
            .and_then(|known| known.guarded.lock().breaker.probe_at());
        let Some(due) = due else { return };
        tokio::time::sleep_until(due).await;
        let Some(known) = instance.upgrade() else {
            return;
        };
        let passed = known.probe().await;
        known.probed(passed);
    }
}
