//! One instance as this gateway knows it: its connections, breaker, load and counts.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::uri::Authority;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::UpstreamConfig;
use super::load::Load;
use super::probes;
use super::silence::Silence;
use super::slow_start::{Ramp, Warmth};
use super::tick::{Origin, Tick};
use super::usual::PoolLatency;
use crate::breaker::{Breaker, Outcome, State, Ticket, Transition};
use crate::env::{Env, SharedRng};
use crate::http::Client;
use crate::observe::Subject;
use crate::registry::client::Peer;

/// What the instances of one pool share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) origin: Origin,
    /// Rises whenever the pool must plan anew: a breaker moved, a first call was measured, an instance has warmed up.
    pub(super) version: AtomicU64,
    /// How long calls take in the pool.
    pub(super) latency: PoolLatency,
    /// Calls in flight on all of them.
    pub(super) in_flight: Apart<AtomicU64>,
}

/// On a cache line of its own: every call writes it, and every choice reads what would be its neighbours.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Apart<T>(pub(super) T);

impl Shared {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            origin: Origin::new(now),
            version: AtomicU64::new(0),
            latency: PoolLatency::default(),
            in_flight: Apart::default(),
        })
    }

    pub(super) fn plan_anew(&self) {
        self.version.fetch_add(1, Relaxed);
    }

    pub(super) fn tick(&self, now: Instant) -> Tick {
        self.origin.tick(now)
    }
}

/// One life of one instance. A restarted one is another value: what was learnt about the old life is not held against it.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) address: String,
    /// The address as requests carry it; `None` when it is none.
    pub(super) authority: Option<Authority>,
    pub(super) epoch: u64,
    pub(super) client: Client,
    /// When this gateway first heard of it.
    pub(super) joined: Instant,
    pub(super) silence: Silence,
    pub(super) breaker: Breaker,
    pub(super) load: Load,
    pub(super) warmth: Warmth,
    pub(super) in_flight: AtomicU32,
    /// Tries that went here.
    pub(super) picks: AtomicU64,
    /// Those of them that went here only because there was nobody better.
    pub(super) last_resorts: AtomicU64,
    /// When a call last said something of it.
    heard: AtomicU32,
    pub(super) probe_timeout: Duration,
    learns: bool,
    pub(super) rng: SharedRng,
    shared: Arc<Shared>,
    env: Env,
    /// Whether somebody is probing it in doubt.
    doubting: AtomicBool,
    retired: AtomicBool,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Instance {
    pub(super) fn new(
        env: &Env,
        config: &UpstreamConfig,
        peer: &Peer,
        shared: &Arc<Shared>,
    ) -> Arc<Self> {
        let now = Instant::now();
        let stop = env.shutdown.child_token();
        let rng = env
            .rng
            .fork(&format!("breaker/{}/{}", peer.name, peer.epoch));
        let breaker = Breaker::builder(peer.name.as_str(), config.breaker.clone(), rng.clone())
            .probe(true)
            .build(now);
        let instance = Arc::new(Self {
            name: peer.name.clone(),
            address: peer.address.clone(),
            authority: peer.address.parse().ok(),
            epoch: peer.epoch,
            // A client of its own: its connections end with this life of the instance.
            client: Client::new(env),
            joined: now,
            silence: Silence::new(now),
            breaker,
            load: Load::default(),
            warmth: Warmth::new(Ramp::new(&config.balancing)),
            in_flight: AtomicU32::new(0),
            picks: AtomicU64::new(0),
            last_resorts: AtomicU64::new(0),
            heard: AtomicU32::new(shared.tick(now).get()),
            probe_timeout: config.timeouts.probe.get(),
            learns: config.breaker.enabled,
            rng,
            shared: Arc::clone(shared),
            env: env.clone(),
            doubting: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        });
        let known = Arc::downgrade(&instance);
        instance.breaker.on_transition(move |transition| {
            if let Some(instance) = known.upgrade() {
                instance.moved(transition);
            }
        });
        if instance.learns {
            instance.watch_over(probes::while_idle(Arc::downgrade(&instance)));
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

    /// Whether its breaker keeps it out of the choice.
    pub(super) fn open(&self) -> bool {
        self.breaker.state() == State::Open
    }

    /// Whether a call would be admitted. A half-open breaker all of whose trials are out is looked after on the way: nobody
    /// else asks it for a permit.
    pub(super) fn admits(&self, now: Instant) -> bool {
        if self.breaker.admits() {
            return true;
        }
        self.breaker.tick(now);
        false
    }

    /// Share of calls it is ready for: 0.1 to 1 in its slow start, whose end has the pool plan anew.
    pub(super) fn warm_share(&self, now: Tick) -> f32 {
        if !self.warmth.warming() {
            return 1.0;
        }
        if self.warmth.settle(now) {
            self.shared.plan_anew();
        }
        self.warmth.share(now)
    }

    /// Seconds that a call is expected to cost.
    pub(super) fn cost(&self, now: Tick) -> f32 {
        self.load.cost(self.shared.latency.least(), now)
    }

    /// Estimated latency in seconds; `None` before the first sample.
    pub(super) fn latency(&self, now: Tick) -> Option<f32> {
        self.load.latency(self.shared.latency.least(), now)
    }

    /// What is usual in its pool, in seconds; 0 while nobody was measured.
    pub(super) fn usual_latency(&self) -> f32 {
        self.shared.latency.last()
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.shared.in_flight.0.fetch_add(1, Relaxed);
        self.picks.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.shared.in_flight.0.fetch_sub(1, Relaxed);
    }

    /// Takes the outcome of a call. `retry_after`: how long the instance asked to be left alone.
    pub(super) fn record(
        self: &Arc<Self>,
        ticket: Ticket,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) {
        let took = now.saturating_duration_since(ticket.began());
        self.learn(outcome, took, retry_after, now);
        self.breaker.settle(ticket, outcome, retry_after, now);
        self.look_if_in_doubt(outcome);
    }

    /// A streamed answer broke after its head had been counted as a success.
    pub(super) fn broke(self: &Arc<Self>, ticket: Ticket, now: Instant) {
        self.learn(Outcome::TransportFailure, Duration::ZERO, None, now);
        self.breaker.report(ticket, Outcome::TransportFailure, now);
        self.look_if_in_doubt(Outcome::TransportFailure);
    }

    fn learn(&self, outcome: Outcome, took: Duration, retry_after: Option<Duration>, now: Instant) {
        let tick = self.shared.tick(now);
        let least = self.shared.latency.least();
        if outcome != Outcome::Ignored {
            self.heard.store(tick.get(), Relaxed);
        }
        match outcome {
            Outcome::Ignored => {
                self.load.sample_at_least(took, least, tick);
                if retry_after.is_some() && self.learns {
                    self.load.punish(retry_after, tick);
                }
            }
            Outcome::TransportFailure | Outcome::ErrorStatus | Outcome::Abandoned
                if self.learns =>
            {
                self.load.sample_at_least(took, least, tick);
                self.load.punish(retry_after, tick);
            }
            Outcome::Success
            | Outcome::TransportFailure
            | Outcome::ErrorStatus
            | Outcome::Abandoned => {
                if self.load.sample(took, least, tick) {
                    self.shared.plan_anew(); // Now there is something to compare others with.
                }
            }
        }
    }

    fn look_if_in_doubt(self: &Arc<Self>, outcome: Outcome) {
        let failed = matches!(outcome, Outcome::TransportFailure | Outcome::Abandoned);
        if failed && self.learns && self.breaker.in_doubt() {
            self.look();
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
            probes::in_doubt(Weak::clone(&instance)).await;
            if let Some(known) = instance.upgrade() {
                known.doubting.store(false, Relaxed);
            }
        });
    }

    /// A probe of an idle instance failed: as good a reason for doubt as a call that did.
    pub(super) fn missed(self: &Arc<Self>, now: Instant) {
        self.load.punish(None, self.shared.tick(now));
        if self.breaker.missed(now).is_none() {
            self.look();
        }
    }

    /// Takes the outcome of a probe in doubt; whether to go on.
    pub(super) fn looked(&self, passed: bool, now: Instant) -> bool {
        if passed {
            self.load.forgive();
            return false;
        }
        self.load.punish(None, self.shared.tick(now));
        self.breaker.doubt(now).is_none()
    }

    /// Takes the outcome of a probe of an instance whose breaker is open. One that fails makes it dear as a call would: it
    /// may be in the choice still, because too many others are out.
    pub(super) fn probed(&self, passed: bool, now: Instant) {
        if !passed {
            self.load.punish(None, self.shared.tick(now));
        }
        self.breaker.probed(passed, now);
    }

    pub(super) fn idle(&self, now: Instant, after: Duration) -> bool {
        let heard = Tick::new(self.heard.load(Relaxed));
        self.shared.tick(now).since(heard) >= after.as_secs_f32() && !self.doubting.load(Relaxed)
    }

    /// Its breaker moved. Load follows: trials meet an instance that counts as usual, and a closed one warms up.
    fn moved(self: &Arc<Self>, transition: &Transition) {
        match transition.to {
            State::HalfOpen => {
                self.load.reset();
                self.warmth.stop();
            }
            State::Closed if transition.from != State::Observe => {
                if transition.from != State::HalfOpen {
                    self.load.reset(); // Closed by hand: what it is held against was known.
                }
                self.warmth.begin(self.shared.tick(transition.at));
            }
            State::Closed | State::Open | State::ForcedOpen | State::Observe => {}
        }
        self.shared.plan_anew();
        if self.retired.load(Relaxed) {
            return;
        }
        self.env.transition(
            Subject::Breaker,
            &self.name,
            transition.from.as_str(),
            transition.to.as_str(),
            transition.reason.to_string(),
        );
        if transition.to == State::Open {
            self.watch_over(probes::while_open(Arc::downgrade(self)));
        }
    }

    /// Ends this life: the instance has gone, or was started again. An open breaker goes with it.
    pub(super) fn retire(&self, reason: &str) {
        if self.retired.swap(true, Relaxed) {
            return;
        }
        self.stop.cancel();
        let state = self.breaker.state();
        if state != State::Closed {
            let (from, to) = (state.as_str(), State::Closed.as_str());
            self.env
                .transition(Subject::Breaker, &self.name, from, to, reason);
        }
    }
}
