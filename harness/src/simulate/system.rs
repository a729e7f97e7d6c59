//! One run: the hosts, the loop that steps them and breaks them, and what came of it.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use clip_service::config::Config;
use clip_service::env::SharedRng;
use clip_service::http::Client;
use clip_service::media::model::{ModelCosts, ModelMedia};
use clip_service::media::{MediaEngine, NoMedia};
use clip_service::store::{Blobs, JobStore, MemoryBlobs, MemoryStore};
use clip_service::units::HumanDuration;
use clip_service::{gateway, processor, registry};
use parking_lot::Mutex;

use super::active_faults::{ActiveFaults, LinkState, pairs};
use super::check::{Evidence, breaches};
use super::client::{Caller, JOBS_END, Outcome, Seen};
use super::media::SimMedia;
use super::mutants::Flaw;
use super::schedule::{CLIENT, GATEWAYS, HOSTS, PROCESSORS, REGISTRY, Schedule, What};
use super::store::{Ledger, SimStore};
use super::world::{LATENCY_MS, Log, Moves, Node, PORT, env};

/// The smallest step: one tick of tokio's timer. Below it the hosts' clocks would run faster than the simulation's.
const TICK: Duration = Duration::from_millis(1);
/// A link is released in one burst; every connection that waited on it must find room.
const BACKLOG: usize = 4096;

/// What runs have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long load is offered.
    pub length: Duration,
    /// Frames asked for per second.
    pub rate: u32,
    /// A mistake to build in; none, unless the checks themselves are to be tested.
    pub flaw: Option<Flaw>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(20),
            rate: 40,
            flaw: None,
        }
    }
}

/// One run and what came of it.
#[derive(Debug)]
pub struct Run {
    /// What everything random followed from.
    pub seed: u64,
    /// What was broken when.
    pub schedule: Schedule,
    /// What must hold and did not, each in one sentence; empty when all is well.
    pub broken: Vec<String>,
    /// Everything that happened, in order.
    pub log: Vec<String>,
    /// A hash of the log: equal for equal runs.
    pub fingerprint: u64,
    /// Requests sent, frames and submits.
    pub asked: u64,
    /// Requests that got the right answer.
    pub right: u64,
    /// Jobs accepted.
    pub jobs: u64,
    /// The slowest right answer.
    pub worst: Duration,
    /// Leases of tasks that had been held before.
    pub leased_again: u64,
    /// Results refused because their lease was over.
    pub fenced: u64,
    /// Simulated time.
    pub simulated: Duration,
}

/// The service's settings, with shorter times than usual so that a short run sees them all pass, and a small reserve of
/// retries so that the budget matters.
fn config() -> Config {
    let mut config = Config {
        listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)),
        registry_url: format!("{REGISTRY}:{PORT}"),
        ..Config::default()
    };
    config.registry.ttl = HumanDuration::millis(1500);
    // Over before the quiet tail begins, as everything else.
    config.registry.hold_down.first = HumanDuration::secs(2);
    config.registry.hold_down.longest = HumanDuration::secs(4);
    config.jobs.lease = HumanDuration::secs(2);
    config.timeouts.task_try = HumanDuration::secs(1);
    config.timeouts.task_idle = HumanDuration::secs(2);
    config.breaker.open = HumanDuration::millis(500);
    config.breaker.max_open = HumanDuration::secs(2);
    config.retry.min_per_second = 1;
    config
}

fn with_flaw(flaw: Option<Flaw>) -> Config {
    let mut config = config();
    match flaw {
        Some(Flaw::StuckBreaker) => {
            config.breaker.open = HumanDuration::secs(600);
            config.breaker.max_open = HumanDuration::secs(600);
        }
        Some(Flaw::EndlessRetries) => {
            // With breakers a call to processors that are all out is a last resort, which is not tried again.
            config.breaker.enabled = false;
            config.retry.budget_ratio = 10.0;
            config.retry.min_per_second = 1000;
            config.retry.max = 10;
        }
        Some(Flaw::NoFencing | Flaw::WriteBehind | Flaw::WrongFrames) | None => {}
    }
    config
}

/// Runs the schedule that follows from `seed`.
#[must_use]
pub fn simulate(seed: u64, options: &Options) -> Run {
    simulate_schedule(seed, &Schedule::draw(seed, options.length), options)
}

/// Runs a schedule; all other randomness follows from `seed`.
#[must_use]
pub fn simulate_schedule(seed: u64, schedule: &Schedule, options: &Options) -> Run {
    let never = AtomicBool::new(false);
    World::new(seed, schedule, options).run(&never)
}

/// Like [`simulate`], but gives up soon after `stop` and then returns nothing.
pub(super) fn simulate_until(seed: u64, options: &Options, stop: &AtomicBool) -> Option<Run> {
    let schedule = Schedule::draw(seed, options.length);
    let run = World::new(seed, &schedule, options).run(stop);
    (!stop.load(Ordering::Relaxed)).then_some(run)
}

thread_local! {
    /// Panics on this thread. A simulation is one thread, and tokio keeps the panics of spawned tasks to itself.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
            before(info);
        }));
    });
    PANICS.with_borrow_mut(Vec::clear);
}

/// Everything that outlives a crash.
struct World<'a> {
    seed: u64,
    schedule: &'a Schedule,
    options: &'a Options,
    active_faults: ActiveFaults,
    log: Log,
    moves: Moves,
    store: Arc<dyn JobStore>,
    blobs: Arc<dyn Blobs>,
    ledger: Arc<Mutex<Ledger>>,
    seen: Arc<Mutex<Seen>>,
    deaths: Vec<(Duration, &'static str)>,
}

impl<'a> World<'a> {
    fn new(seed: u64, schedule: &'a Schedule, options: &'a Options) -> Self {
        Self {
            seed,
            schedule,
            options,
            active_faults: ActiveFaults::default(),
            log: Log::default(),
            moves: Moves::default(),
            store: Arc::new(MemoryStore::default()),
            blobs: Arc::new(MemoryBlobs::default()),
            ledger: Arc::default(),
            seen: Arc::default(),
            deaths: Vec::new(),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Run {
        watch_panics();
        let mut ended = Duration::ZERO;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut sim = self.build();
            let outcome = self.step(&mut sim, stop);
            ended = sim.elapsed();
            outcome
        }));
        let mut broken = match outcome {
            Ok(Ok(())) => Vec::new(),
            Ok(Err(error)) => vec![format!("the simulation ended: {error}")],
            // Told below, with its place.
            Err(_) => Vec::new(),
        };
        let panics = PANICS.with_borrow_mut(std::mem::take);
        broken.extend(panics.iter().map(|text| format!("panic: {text}")));
        let (seen, ledger) = (self.seen.lock(), self.ledger.lock());
        if broken.is_empty() {
            let evidence = Evidence {
                schedule: self.schedule,
                config: &config(),
                seen: &seen,
                ledger: &ledger,
                moves: &self.moves.lock(),
                deaths: &self.deaths,
                ended,
            };
            broken = breaches(&evidence);
        }
        let log = self.log.take();
        let right = seen.requests.iter().filter(|r| r.outcome == Outcome::Right);
        Run {
            seed: self.seed,
            schedule: self.schedule.clone(),
            broken,
            fingerprint: fingerprint(&log),
            log,
            asked: seen.requests.len() as u64,
            right: right.clone().count() as u64,
            jobs: seen.accepted.len() as u64,
            worst: right.map(|r| r.took).max().unwrap_or_default(),
            leased_again: ledger.leased_again,
            fenced: ledger.fenced,
            simulated: ended,
        }
    }

    fn build(&self) -> turmoil::Sim<'static> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .simulation_duration(self.schedule.length + JOBS_END * 2)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(LATENCY_MS.0))
            .max_message_latency(Duration::from_millis(LATENCY_MS.1))
            .tcp_capacity(BACKLOG)
            .build();
        for name in HOSTS {
            self.host(&mut sim, name);
        }
        let node = self.node(CLIENT, 1, Arc::new(NoMedia), Arc::clone(&self.store));
        let (log, seen) = (self.log.clone(), Arc::clone(&self.seen));
        let (store, blobs) = (Arc::clone(&self.store), Arc::clone(&self.blobs));
        let (schedule, rate) = (self.schedule.clone(), self.options.rate);
        sim.client(CLIENT, async move {
            let env = env(node);
            let client = Client::new(&env);
            let caller = Caller {
                env,
                client,
                log,
                seen,
                store,
                blobs,
            };
            Ok(caller.run(&schedule, rate).await?)
        });
        sim
    }

    fn node(
        &self,
        name: &'static str,
        incarnation: u64,
        media: Arc<dyn MediaEngine>,
        store: Arc<dyn JobStore>,
    ) -> Node {
        Node {
            name,
            incarnation,
            seed: self.seed,
            active_faults: self.active_faults.clone(),
            log: self.log.clone(),
            moves: Arc::clone(&self.moves),
            store,
            blobs: Arc::clone(&self.blobs),
            media,
        }
    }

    /// One incarnation after the other of one role.
    fn host(&self, sim: &mut turmoil::Sim<'static>, name: &'static str) {
        let incarnation = AtomicU64::new(0);
        let flaw = self.options.flaw;
        let rng = SharedRng::seeded(self.seed).fork(name).fork("media");
        let store: Arc<dyn JobStore> = Arc::new(SimStore {
            inner: Arc::clone(&self.store),
            host: name,
            active_faults: self.active_faults.clone(),
            log: self.log.clone(),
            ledger: Arc::clone(&self.ledger),
            flaw,
        });
        let template = self.node(name, 0, Arc::new(NoMedia), store);
        sim.host(name, move || {
            let incarnation = incarnation.fetch_add(1, Ordering::Relaxed) + 1;
            // A new process has a new engine: what its predecessor held of workers died with it.
            let media: Arc<dyn MediaEngine> = Arc::new(SimMedia {
                inner: ModelMedia::new(costs(), rng.fork(&incarnation.to_string())),
                host: name,
                active_faults: template.active_faults.clone(),
                flaw,
                first: Arc::default(),
            });
            let node = Node {
                incarnation,
                media,
                ..template.clone()
            };
            async move {
                node.log
                    .line(format!("{name} starts, incarnation {incarnation}"));
                let env = env(node);
                let config = Config {
                    advertise: Some(format!("{name}:{PORT}")),
                    ..with_flaw(flaw)
                };
                if name == REGISTRY {
                    registry::registry(env, config.registry()).await?;
                } else if GATEWAYS.contains(&name) {
                    gateway::gateway(env, config.gateway()).await?;
                } else {
                    debug_assert!(PROCESSORS.contains(&name));
                    processor::processor(env, config.processor()).await?;
                }
                Ok(())
            }
        });
    }

    fn step(&mut self, sim: &mut turmoil::Sim<'_>, stop: &AtomicBool) -> turmoil::Result {
        let mut links: Vec<_> = pairs()
            .into_iter()
            .map(|pair| (pair, LinkState::Open, None))
            .collect();
        let mut steps = self.schedule.steps().into_iter().peekable();
        loop {
            let mut changed = false;
            while let Some((_, index, begins)) = steps.next_if(|(at, ..)| sim.elapsed() >= *at) {
                self.apply(sim, index, begins);
                changed = true;
            }
            if changed {
                for (pair, state, latency) in &mut links {
                    self.adjust(sim, *pair, state, latency);
                }
            }
            if sim.step()? || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    fn apply(&mut self, sim: &mut turmoil::Sim<'_>, index: usize, begins: bool) {
        let what = self.schedule.faults[index].what;
        let at = sim.elapsed();
        let verb = if begins { "begins" } else { "ends" };
        self.log.line_at(at, format!("fault {verb}: {what}"));
        match what {
            What::Bounce(host) => {
                if begins && !self.active_faults.down(host) {
                    sim.crash(host);
                    self.deaths.push((at, host));
                    sim.bounce(host);
                }
            }
            What::Crash(host) if begins => {
                if !self.active_faults.down(host) {
                    sim.crash(host);
                    self.deaths.push((at, host));
                }
                self.active_faults.begin(index, what);
            }
            What::Crash(host) => {
                self.active_faults.end(index);
                if !self.active_faults.down(host) {
                    sim.bounce(host);
                }
            }
            _ if begins => self.active_faults.begin(index, what),
            _ => self.active_faults.end(index),
        }
    }

    /// Brings a link of the simulation to what the active_faults says.
    fn adjust(
        &self,
        sim: &turmoil::Sim<'_>,
        pair: (&'static str, &'static str),
        state: &mut LinkState,
        latency: &mut Option<Duration>,
    ) {
        let (a, b) = pair;
        let wanted = self.active_faults.link(pair);
        if wanted != *state {
            match wanted {
                LinkState::Open => sim.release(a, b),
                LinkState::Held => sim.hold(a, b),
                LinkState::Cut => sim.partition(a, b),
            }
            *state = wanted;
        }
        let wanted = self.active_faults.latency(pair);
        if wanted != *latency {
            // The first call sets least and most.
            let least = wanted.unwrap_or(Duration::from_millis(LATENCY_MS.0));
            let most = wanted.unwrap_or(Duration::from_millis(LATENCY_MS.1));
            sim.set_link_latency(a, b, least);
            sim.set_link_max_message_latency(a, b, most);
            *latency = wanted;
        }
    }
}

/// Short videos, so that jobs end within a short run.
fn costs() -> ModelCosts {
    ModelCosts {
        duration: 20.0,
        ..ModelCosts::default()
    }
}

/// FNV-1a over the lines: the same on every machine and in every release.
fn fingerprint(lines: &[String]) -> u64 {
    let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
