//! What is asked of the system: open arrivals that come whether or not it keeps up, and closed users that think.
//!
//! Every request is a sample with its intended start. What could not be sent is a sample as well; nothing is dropped.
//! `goose.rs` supplies the worker tasks, [`pacing`] says when, `session.rs` takes an arrival
//! through its steps, and `steps/` knows what a step does. Nothing here judges.

pub mod drive;
mod entry_balancer;
mod goose;
mod outstanding;
mod pacer;
pub mod pacing;
mod progress;
mod session;
mod steps;
mod users;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clip_service::env::SharedRng;
use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{EventKind, LedgerEntry};
use crate::plan::{LoadModel, LoadPlan};
use crate::runtime::emit::Emitter;
use drive::{Driven, Driver, Horizon, Setup};
use entry_balancer::EntryBalancer;
use goose::Attack;
pub use goose::AttackError;
use outstanding::Outstanding;
use pacer::{ArrivalStream, Stop};
use pacing::Schedule;
use progress::Progress;
use session::Shared;
pub use session::StepContext;
use steps::http::NOWHERE;
use users::{Lag, User, Worker, WorkerPool};

/// Between everything being ready to go and the first intended start.
const RUN_UP: Duration = Duration::from_millis(50);
/// On top of the longest that a request can take, before an unfinished drain is reported.
const DRAIN_SLACK: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A load that is set up and not started.
pub struct Load {
    loads: Vec<Arc<Shared>>,
    length: Duration,
    emitter: Emitter,
    rng: SharedRng,
    outstanding: Arc<Outstanding>,
    ledger: Arc<Mutex<Vec<LedgerEntry>>>,
    cancel: CancellationToken,
    balancers: Vec<Arc<EntryBalancer>>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load")
            .field("balancers", &self.balancers)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Load {
    /// The load of a plan, aimed at the links it enters through.
    #[must_use]
    pub fn new(setup: Setup<'_>) -> Self {
        let Setup {
            plan,
            run_id,
            addresses,
            context,
            emitter,
            cancel,
        } = setup;
        let rng = SharedRng::seeded(plan.seed).fork("load");
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let context = Arc::new(context);
        let client = crate::http::client();
        // Loads that enter through the same links take turns together.
        let mut by_entries: BTreeMap<&[String], Arc<EntryBalancer>> = BTreeMap::new();
        for load in &plan.load {
            let entries = plan.entries(load);
            by_entries.entry(entries).or_insert_with(|| {
                Arc::new(EntryBalancer::new(plan, entries, |link| {
                    addresses.get(link).copied()
                }))
            });
        }
        let loads = plan
            .load
            .iter()
            .enumerate()
            .map(|(index, load)| {
                Arc::new(Shared {
                    index,
                    plan: load.clone(),
                    balancer: by_entries[plan.entries(load)].clone(),
                    client: client.clone(),
                    context: context.clone(),
                    rng: rng.fork(&load.name),
                    emitter: emitter.clone(),
                    ledger: ledger.clone(),
                    cancel: cancel.clone(),
                    tag: run_id.to_owned(),
                })
            })
            .collect();
        let length = plan.load.iter().map(LoadPlan::length).max();
        Self {
            loads,
            length: length.unwrap_or_default(),
            emitter: emitter.clone(),
            rng,
            outstanding: Arc::new(Outstanding::default()),
            ledger,
            cancel: cancel.clone(),
            balancers: by_entries.into_values().collect(),
        }
    }

    /// Begins to ask. Returns when the first intended start is set.
    ///
    /// # Errors
    /// When the load generator cannot be set up.
    pub async fn start(self) -> Result<Running, AttackError> {
        let mut workers = Vec::new();
        let mut streams = Vec::new();
        for (index, load) in self.loads.iter().enumerate() {
            self.spawn_users(index, &load.plan, &mut workers, &mut streams);
        }
        let lag = Arc::new(Mutex::new(Lag {
            // Three digits from a microsecond up; it grows by itself.
            micros: Histogram::new(3).unwrap_or_else(|_| unreachable!("3 digits are allowed")),
            unsent: 0,
        }));
        let (origin_tx, origin) = watch::channel(None);
        let users = workers.len();
        let over = CancellationToken::new();
        let logic = Arc::new(WorkerPool {
            workers,
            loads: self.loads.clone(),
            origin,
            over: over.clone(),
            outstanding: self.outstanding.clone(),
            cancel: self.cancel.clone(),
            lag: lag.clone(),
        });
        let attack = if users == 0 {
            None
        } else {
            Some(Attack::launch(&format!("http://{NOWHERE}"), users, logic).await?)
        };
        let mut checks = JoinSet::new();
        self.balancers
            .iter()
            .for_each(|balancer| balancer.watch(&mut checks));
        let origin = Instant::now() + RUN_UP;
        origin_tx.send_replace(Some(origin));
        let stop = Arc::new(Stop::default());
        let pacer = self.pace(origin, streams, &stop, &lag);
        tokio::time::sleep_until(origin).await;
        let began = self.emitter.event(EventKind::LoadStarted);
        Ok(Running {
            load: self,
            attack,
            origin,
            began,
            over,
            stop,
            pacer,
            lag,
            _checks: checks,
        })
    }

    /// Users for one load, and its arrivals.
    fn spawn_users(
        &self,
        index: usize,
        plan: &LoadPlan,
        workers: &mut Vec<Worker>,
        streams: &mut Vec<ArrivalStream>,
    ) {
        match &plan.model {
            LoadModel::Arrivals { shape, stages, .. } => {
                let rng = self.rng.fork(&format!("{}/arrivals", plan.name));
                let schedule = Schedule::new(stages, *shape, rng);
                let users = plan.concurrency();
                let (to, arrivals) = async_channel::unbounded();
                workers.extend((0..users).map(|_| Worker::Arrivals {
                    load: index,
                    arrivals: arrivals.clone(),
                }));
                streams.push(ArrivalStream {
                    load: index,
                    schedule: schedule.peekable(),
                    to,
                });
            }
            LoadModel::Users {
                count,
                think,
                ramp_up,
                stay,
            } => workers.extend((0..*count).map(|number| {
                Worker::User(User {
                    load: index,
                    number,
                    starts: ramp_up.get().mul_f64(number as f64 / *count as f64),
                    stay: stay.get(),
                    think: (think.0.get(), think.1.get()),
                    rounds: AtomicU64::new(0),
                })
            })),
        }
    }

    fn pace(
        &self,
        origin: Instant,
        streams: Vec<ArrivalStream>,
        stop: &Arc<Stop>,
        lag: &Arc<Mutex<Lag>>,
    ) -> tokio::task::JoinHandle<()> {
        let loads = self.loads.clone();
        let outstanding = self.outstanding.clone();
        let (stop, lag) = (stop.clone(), lag.clone());
        tokio::task::spawn_blocking(move || {
            pacer::run(origin, streams, &outstanding, &stop, |load, due| {
                // What was not due yet when the run ended early was never offered, and says nothing of the system.
                if due <= Instant::now() {
                    loads[load].unsent(due, due);
                    lag.lock().unsent += 1;
                }
            });
        })
    }
}

/// A load that is being asked.
pub struct Running {
    load: Load,
    attack: Option<Attack>,
    origin: Instant,
    began: crate::event::Offset,
    over: CancellationToken,
    stop: Arc<Stop>,
    pacer: tokio::task::JoinHandle<()>,
    lag: Arc<Mutex<Lag>>,
    /// Questions to the nodes that load enters through; they end with it.
    _checks: JoinSet<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("load", &self.load)
            .field("began", &self.began)
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Origin of intended starts.
    #[must_use]
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// When no more work arrives.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.origin + self.load.length
    }

    /// How far the records are complete, also after the load has ended.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            outstanding: self.load.outstanding.clone(),
            end: self.end(),
        }
    }

    /// Waits for the end of the load and for every answer, or stops at once when cancelled; then reports the
    /// generator's health. What was submitted.
    ///
    /// # Errors
    /// When the load generator does not end.
    pub async fn finish(mut self) -> Result<Vec<LedgerEntry>, AttackError> {
        let cancel = self.load.cancel.clone();
        let end = self.end();
        tokio::select! {
            biased;
            () = cancel.cancelled() => self.stop.stop(),
            () = tokio::time::sleep_until(end) => {}
        }
        if let Err(error) = (&mut self.pacer).await {
            tracing::error!(%error, "pacer");
        }
        self.load.emitter.event(EventKind::LoadEnded);
        self.drain().await;
        self.over.cancel();
        if let Some(mut attack) = self.attack.take() {
            attack.end().await?;
        }
        let lag = self.lag.lock();
        self.load.emitter.event(EventKind::Generator {
            lag_p99_us: lag.micros.value_at_quantile(0.99),
            lag_max_us: lag.micros.max(),
            unsent: lag.unsent,
        });
        drop(lag);
        Ok(std::mem::take(&mut *self.load.ledger.lock()))
    }

    async fn drain(&self) {
        let bounds = self.load.loads.iter().map(|load| load.bound());
        let bound = bounds.max().unwrap_or_default() + DRAIN_SLACK;
        let until = Instant::now() + bound;
        while self.load.outstanding.count() > 0 {
            if Instant::now() >= until {
                self.load.emitter.warn(format!(
                    "{} requests had no end {bound:?} after load ended",
                    self.load.outstanding.count()
                ));
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Running {
    /// The way out of a panic: no more arrivals.
    fn drop(&mut self) {
        self.stop.stop();
        self.over.cancel();
    }
}

/// The load of goose's users and the pacer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goose;

impl Driver for Goose {
    fn start<'a>(
        &'a self,
        setup: Setup<'a>,
    ) -> BoxFuture<'a, Result<Box<dyn Driven>, AttackError>> {
        Box::pin(async move {
            let running = Load::new(setup).start().await?;
            Ok(Box::new(running) as Box<dyn Driven>)
        })
    }
}

impl Driven for Running {
    fn origin(&self) -> Instant {
        Self::origin(self)
    }

    fn horizon(&self) -> Arc<dyn Horizon> {
        Arc::new(self.progress())
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Vec<LedgerEntry>, AttackError>> {
        Box::pin(Self::finish(*self))
    }
}

#[cfg(test)]
mod tests;
