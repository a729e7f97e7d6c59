//! A system and a load that only exist in memory, in virtual time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, EventKind, LedgerEntry, Outcome, Sample, Sink};
use crate::load::AttackError;
use crate::load::drive::{Driven, Driver, Horizon, Setup};
use crate::plan::{LedgerCheck, NodePlan, ReadyPlan, RuntimeKind};
use crate::runtime::emit::Emitter;
use crate::runtime::{AddressSender, Departure, Node, NodeContext, Pause, Runtime, RuntimeError};

/// How nodes behave, by their names.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Behaviour {
    /// Never answers that it is ready.
    pub(super) never_ready: Option<&'static str>,
    /// Does not die.
    pub(super) immortal: Option<&'static str>,
    /// Cannot be started a second time.
    pub(super) once: Option<&'static str>,
}

/// Runs nodes that write down what is done to them.
#[derive(Debug)]
pub(super) struct FakeRuntime {
    pub(super) behaviour: Behaviour,
    /// What was done to which node, in order.
    pub(super) deeds: Arc<Mutex<Vec<String>>>,
}

impl Runtime for FakeRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    fn node(
        &self,
        plan: &NodePlan,
        _: &NodeContext,
        address: AddressSender,
    ) -> Result<Arc<dyn Node>, RuntimeError> {
        Ok(Arc::new(FakeNode {
            name: plan.name.clone(),
            behaviour: self.behaviour,
            deeds: self.deeds.clone(),
            address,
            starts: Mutex::new(0),
            ended: Mutex::new(None),
        }))
    }
}

#[derive(Debug)]
struct FakeNode {
    name: String,
    behaviour: Behaviour,
    deeds: Arc<Mutex<Vec<String>>>,
    address: AddressSender,
    starts: Mutex<u32>,
    ended: Mutex<Option<String>>,
}

impl FakeNode {
    fn did(&self, what: &str) {
        self.deeds.lock().push(format!("{what} {}", self.name));
    }

    fn is(&self, named: Option<&str>) -> bool {
        named == Some(self.name.as_str())
    }

    fn failed(&self, reason: &str) -> RuntimeError {
        RuntimeError::Control {
            node: self.name.clone(),
            reason: reason.to_owned(),
        }
    }
}

impl Node for FakeNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    fn ended(&self) -> Option<String> {
        self.ended.lock().clone()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async {
            self.did("start");
            let mut starts = self.starts.lock();
            *starts += 1;
            if *starts > 1 && self.is(self.behaviour.once) {
                return Err(self.failed("it does not come back"));
            }
            *self.ended.lock() = None;
            Ok(())
        })
    }

    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            self.did("kill");
            if self.is(self.behaviour.immortal) {
                return Err(self.failed("it lives on"));
            }
            *self.ended.lock() = Some("killed".to_owned());
            Ok(format!("SIGKILL {}: exited by signal 9", self.name))
        })
    }

    fn terminate(&self) -> Result<String, RuntimeError> {
        self.did("terminate");
        Ok(format!("SIGTERM {}", self.name))
    }

    fn end_within(&self, _: Duration) -> BoxFuture<'_, Result<Departure, RuntimeError>> {
        Box::pin(async {
            // Long enough to be told from nothing.
            tokio::time::sleep(Duration::from_millis(400)).await;
            *self.ended.lock() = Some("exit code 0".to_owned());
            Ok(Departure {
                how: "exit code 0".to_owned(),
                forced: false,
            })
        })
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }

    fn abandon(&self) {}

    fn probe<'a>(
        &'a self,
        _: &'a reqwest::Client,
        _: &'a ReadyPlan,
    ) -> BoxFuture<'a, Result<u16, String>> {
        let ready = !self.is(self.behaviour.never_ready);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(if ready { 200 } else { 503 })
        })
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }
}

impl Pause for FakeNode {
    fn pause(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            self.did("pause");
            Ok(format!("SIGSTOP {}: stopped", self.name))
        })
    }

    fn resume(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            self.did("resume");
            Ok("SIGCONT".to_owned())
        })
    }
}

/// A load of a request every 50 ms, all of which end well but those due in `bad`, counted from its start.
#[derive(Debug, Clone)]
pub(super) struct FakeLoad {
    pub(super) length: Duration,
    pub(super) bad: std::ops::Range<Duration>,
    /// Panics when it should end.
    pub(super) panics: bool,
}

impl Driver for FakeLoad {
    fn start<'a>(
        &'a self,
        setup: Setup<'a>,
    ) -> BoxFuture<'a, Result<Box<dyn Driven>, AttackError>> {
        Box::pin(async move {
            let origin = Instant::now();
            setup.emitter.event(EventKind::LoadStarted);
            let far = Arc::new(FakeHorizon {
                reached: Mutex::new(origin),
                end: origin + self.length,
                complete: AtomicBool::new(false),
            });
            let running = FakeRunning {
                origin,
                load: self.clone(),
                far,
                emitter: setup.emitter.clone(),
                cancel: setup.cancel.clone(),
            };
            tokio::spawn(running.clone().ask());
            Ok(Box::new(running) as Box<dyn Driven>)
        })
    }
}

#[derive(Debug, Clone)]
struct FakeRunning {
    origin: Instant,
    load: FakeLoad,
    far: Arc<FakeHorizon>,
    emitter: Emitter,
    cancel: CancellationToken,
}

impl FakeRunning {
    async fn ask(self) {
        let mut due = self.origin;
        while due < self.far.end && !self.cancel.is_cancelled() {
            tokio::time::sleep_until(due).await;
            let bad = self.load.bad.contains(&(due - self.origin));
            let at = self.emitter.at(due);
            self.emitter.sample(Sample {
                load: 0,
                due: at,
                sent: Some(at),
                done: at.plus(Duration::from_millis(1)),
                outcome: match bad {
                    true => Outcome::Failed("status 503".to_owned()),
                    false => Outcome::Ok,
                },
                status: None,
                request_id: None,
                step: 0,
            });
            due += Duration::from_millis(50);
            *self.far.reached.lock() = due.min(self.far.end);
        }
        self.far.complete.store(true, Ordering::SeqCst);
    }
}

impl Driven for FakeRunning {
    fn origin(&self) -> Instant {
        self.origin
    }

    fn horizon(&self) -> Arc<dyn Horizon> {
        self.far.clone()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Vec<LedgerEntry>, AttackError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => {}
                () = tokio::time::sleep_until(self.far.end) => {}
            }
            assert!(!self.load.panics, "the load broke");
            self.emitter.event(EventKind::LoadEnded);
            Ok(Vec::new())
        })
    }
}

#[derive(Debug)]
struct FakeHorizon {
    reached: Mutex<Instant>,
    end: Instant,
    complete: AtomicBool,
}

impl Horizon for FakeHorizon {
    fn reached(&self) -> Instant {
        *self.reached.lock()
    }

    fn end(&self) -> Instant {
        self.end
    }

    fn complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst)
    }
}

/// Keeps every event.
#[derive(Debug, Default)]
pub(super) struct Tape(pub(super) Vec<Event>);

impl Sink for Tape {
    fn event(&mut self, event: &Event) {
        self.0.push(event.clone());
    }

    fn sample(&mut self, _: &Sample) {}

    fn ledger(&mut self, _: &[LedgerEntry], _: &[LedgerCheck]) {}
}
