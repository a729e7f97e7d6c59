//! The phases of a run, from the first node to the settled ledger, and what watches them meanwhile.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::fault_runner::FaultRunner;
use super::monitor::LiveMonitor;
use super::options::Options;
use super::stop::StopReason;
use super::{host, probes, settle};
use crate::event::{EventKind, LedgerEntry, RunOutcome};
use crate::load::StepContext;
use crate::load::drive::{Driven, Setup};
use crate::plan::Plan;
use crate::runtime::emit::Emitter;
use crate::runtime::{RuntimeError, fleet};
use crate::series::Series;
use crate::sut::acting;
use crate::testbed::Testbed;

/// What the phases work with.
pub(super) struct Phases<'a> {
    pub(super) plan: &'a Plan,
    pub(super) testbed: &'a Testbed,
    pub(super) faults: FaultRunner<'a>,
    pub(super) series: Arc<Mutex<Series>>,
    pub(super) options: &'a Options,
    /// For files that go with the run.
    pub(super) scratch: &'a Path,
}

/// A system that is ready, with what steps of the load can refer to.
struct Ready {
    addresses: BTreeMap<String, SocketAddr>,
    entry: SocketAddr,
    fixtures: BTreeMap<String, String>,
}

impl Phases<'_> {
    fn emitter(&self) -> &Emitter {
        self.faults.emitter
    }

    fn stop(&self) -> &StopReason {
        self.faults.stop
    }

    /// Runs the phases, and undoes every fault whatever became of them. What was submitted, once load has run, and what
    /// is left of faults.
    pub(super) async fn run_watched(
        &self,
        window_edge: &Notify,
        cancel: &CancellationToken,
    ) -> (Option<Vec<LedgerEntry>>, Vec<String>) {
        let over = CancellationToken::new();
        let phases = async {
            let ended = AssertUnwindSafe(self.run()).catch_unwind().await;
            let ledger = ended.unwrap_or_else(|panic| {
                self.stop().set(RunOutcome::Broken {
                    reason: format!("the harness panicked: {}", panic_message(panic.as_ref())),
                });
                None
            });
            // After a panic, or where a phase ended early, faults may still be in place.
            let left = self.faults.undo_all().await;
            over.cancel();
            (ledger, left)
        };
        let system = &self.testbed.system;
        let (ended, ..) = tokio::join!(
            phases,
            self.stop().guard(cancel, self.plan.limit.get(), &over),
            host::watch(self.emitter(), &over),
            probes::watch(self.plan, system, self.emitter(), window_edge, &over),
            fleet::follow(system, self.emitter().wanted(), &over)
        );
        ended
    }

    /// What was submitted, once load has run.
    async fn run(&self) -> Option<Vec<LedgerEntry>> {
        let ready = self.make_ready().await?;
        let running = self.start_load(&ready).await?;
        let submitted = self.drive(running).await?;
        let settled = settle::settle(
            &self.plan.expect.end,
            submitted,
            ready.entry,
            self.emitter(),
            self.stop().token(),
            self.scratch,
        );
        Some(settled.await)
    }

    fn not_ready<T>(&self, reason: String) -> Option<T> {
        self.stop().set(RunOutcome::NotReady { reason });
        None
    }

    fn broken<T>(&self, error: impl std::fmt::Display) -> Option<T> {
        self.stop().set(RunOutcome::Broken {
            reason: error.to_string(),
        });
        None
    }

    /// Starts the nodes and makes fixtures.
    async fn make_ready(&self) -> Option<Ready> {
        match self.testbed.system.start(self.stop().token()).await {
            Ok(()) => {}
            // The reason is the one that cancelled it.
            Err(RuntimeError::Cancelled) => return None,
            Err(error) => return self.not_ready(error.to_string()),
        }
        let plan = &self.plan.system;
        let addresses = self.testbed.links.addresses();
        let Some(entry) = addresses.get(&plan.entry).copied() else {
            return self.not_ready(format!("there is no link `{}`", plan.entry));
        };
        let prepare = async {
            match acting::acting(plan.sut().kind()) {
                Some(acting) => acting.prepare(&plan.fixtures, entry).await,
                None => Ok(BTreeMap::new()),
            }
        };
        let prepared = tokio::select! {
            biased;
            () = self.stop().token().cancelled() => return None,
            prepared = prepare => prepared,
        };
        let fixtures = match prepared {
            Ok(fixtures) => fixtures,
            Err(error) => return self.not_ready(error),
        };
        self.emitter().event(EventKind::SystemReady);
        Some(Ready {
            addresses,
            entry,
            fixtures,
        })
    }

    async fn start_load(&self, ready: &Ready) -> Option<Box<dyn Driven>> {
        let links = ready.addresses.iter();
        let setup = Setup {
            plan: self.plan,
            run_id: &self.options.run_id,
            addresses: &ready.addresses,
            context: StepContext {
                fixtures: ready.fixtures.clone(),
                links: links
                    .map(|(name, address)| (name.clone(), address.to_string()))
                    .collect(),
            },
            emitter: self.emitter(),
            cancel: self.stop().token(),
        };
        match self.options.load.start(setup).await {
            Ok(running) => Some(running),
            Err(error) => self.broken(error),
        }
    }

    /// Waits for the load, walks the faults meanwhile, and stops when a stop condition turns true. What was submitted.
    async fn drive(&self, running: Box<dyn Driven>) -> Option<Vec<LedgerEntry>> {
        let series = Arc::clone(&self.series);
        let monitor = LiveMonitor::new(self.plan, series, self.emitter().clone(), running.as_ref());
        let over = CancellationToken::new();
        let drive = async {
            let (finished, ()) = tokio::join!(running.finish(), self.faults.run_all(&monitor));
            over.cancel();
            finished
        };
        let watch = monitor.watch_stop_conditions(self.plan, self.stop(), &over);
        let (finished, ()) = tokio::join!(drive, watch);
        let connections = self.testbed.links.exhausted();
        if connections > 0 {
            self.emitter()
                .event(EventKind::LinksExhausted { connections });
        }
        match finished {
            Ok(entries) => Some(entries),
            Err(error) => self.broken(error),
        }
    }
}

/// The message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
