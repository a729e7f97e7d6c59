//! The conductor: starts the system, drives load, walks the faults, undoes everything, and says how the run ended.
//!
//! It knows neither judge nor report. Whatever happens (a stop condition, Ctrl-C, a panic, the time limit), the way out
//! is the same: load stops, every fault is undone, the system is stopped, and that nothing is left is proved.

mod fault_runner;
mod host;
mod monitor;
mod probes;
mod pump;
mod settle;
pub mod signals;
mod stall;
mod stop;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clip_service::env::WallClock;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::{EventKind, LedgerEntry, RunOutcome, Sink};
use crate::file_limit::FileLimit;
use crate::journal::{Entry, Journal, UndoNote};
use crate::load::StepContext;
use crate::load::drive::{Driver, Goose, Setup};
use crate::plan::Plan;
use crate::runtime::emit::Emitter;
use crate::runtime::{NodeContext, RuntimeError, Runtimes, fleet, needs};
use crate::series::Series;
use crate::sut::acting;
use crate::testbed::Testbed;
use fault_runner::FaultRunner;
use monitor::LiveMonitor;
use stop::StopReason;

/// What a run needs to know besides its plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the run and everything it leaves behind; unique, and fit for a file name.
    pub run_id: String,
    /// Directory for the nodes' log files; made when missing.
    pub logs: PathBuf,
    /// Directory of undo journals.
    pub journal: PathBuf,
    /// How nodes are run.
    pub runtimes: Runtimes,
    /// What drives the load.
    pub load: Arc<dyn Driver>,
    /// Whether a run that this machine lacks something for ends as skipped; otherwise it ends as not ready.
    pub skip: bool,
    /// The limit on open files that processes of the system get, where this process has raised its own.
    pub files: Option<FileLimit>,
    /// Cut waiting short: undo is still done, draining is not waited for.
    pub force: CancellationToken,
}

impl Options {
    /// Options with the usual journal.
    #[must_use]
    pub fn new(run_id: impl Into<String>, logs: impl Into<PathBuf>) -> Self {
        Self {
            run_id: run_id.into(),
            logs: logs.into(),
            journal: crate::journal::directory(),
            runtimes: Runtimes::default(),
            load: Arc::new(Goose),
            skip: true,
            files: None,
            force: CancellationToken::new(),
        }
    }
}

/// Carries out a plan. Everything that happens goes to `sink`, the last event being [`EventKind::RunEnded`].
/// Cancelling `cancel` ends the run early with everything undone.
pub async fn run(
    plan: &Plan,
    sink: &mut dyn Sink,
    options: Options,
    cancel: CancellationToken,
) -> RunOutcome {
    let (emitter, messages) = Emitter::new();
    let series = Arc::new(Mutex::new(Series::new(plan)));
    let window_edge = Notify::new();
    let pump = pump::run(messages, sink, series.clone(), &window_edge);
    let execute = async {
        let outcome = execute(plan, &emitter, series, &options, &window_edge, &cancel).await;
        emitter.event(EventKind::RunEnded {
            outcome: outcome.clone(),
        });
        outcome
    };
    let ((), outcome) = tokio::join!(pump, execute);
    outcome
}

async fn execute(
    plan: &Plan,
    emitter: &Emitter,
    series: Arc<Mutex<Series>>,
    options: &Options,
    window_edge: &Notify,
    cancel: &CancellationToken,
) -> RunOutcome {
    emitter.event(EventKind::RunStarted {
        wall_ms: WallClock::system().now().as_millisecond(),
        run_id: options.run_id.clone(),
    });
    if let Some(outcome) = lacking(plan, options) {
        return outcome;
    }
    let run_dir = match RunDir::prepare(options) {
        Ok(run_dir) => run_dir,
        Err(error) => {
            return RunOutcome::Broken {
                reason: format!("the undo journal cannot be opened: {error}"),
            };
        }
    };
    let heartbeat = stall::Heartbeat::start(emitter.clone());
    let stop = StopReason::default();
    let mut ledger = None;
    let context = NodeContext {
        emitter: emitter.clone(),
        journal: run_dir.journal.clone(),
        run_id: options.run_id.clone(),
        logs: options.logs.clone(),
        data: run_dir.data.clone(),
        seed: plan.seed,
        runtimes: options.runtimes.clone(),
        stopping: Arc::default(),
        files: options.files,
        links: BTreeMap::new(),
        routes: BTreeMap::new(),
    };
    let testbed = match Testbed::new(plan, context, options.force.clone()) {
        Ok(testbed) => Some(testbed),
        Err(error) => {
            stop.set(RunOutcome::NotReady {
                reason: error.to_string(),
            });
            None
        }
    };
    let mut left = Vec::new();
    if let Some(testbed) = &testbed {
        let faults = FaultRunner::new(plan, testbed, emitter, &stop);
        let over = CancellationToken::new();
        let run_phases = async {
            let played = AssertUnwindSafe(run_phases(
                plan,
                testbed,
                &faults,
                series,
                options,
                &run_dir.data,
            ))
            .catch_unwind()
            .await;
            match played {
                Ok(entries) => ledger = entries,
                Err(panic) => stop.set(RunOutcome::Broken {
                    reason: format!("the harness panicked: {}", panic_message(panic.as_ref())),
                }),
            }
            // After a panic, or where a phase ended early, faults may still be in place.
            left.extend(faults.undo_all().await);
            over.cancel();
        };
        tokio::join!(
            run_phases,
            stop.guard(cancel, plan.limit.get(), &over),
            host::watch(emitter, &over),
            probes::watch(plan, &testbed.system, emitter, window_edge, &over),
            fleet::follow(&testbed.system, emitter.wanted(), &over)
        );
        left.extend(testbed.system.stop(&options.force).await);
    }
    drop(testbed);
    drop(heartbeat);
    left.extend(run_dir.clear());
    if let Some(entries) = ledger {
        emitter.ledger(entries, plan.expect.end.ledger.clone());
    }
    if left.is_empty() {
        stop.outcome()
    } else {
        RunOutcome::UndoFailed { leftovers: left }
    }
}

/// How a run ends that this machine lacks something for.
fn lacking(plan: &Plan, options: &Options) -> Option<RunOutcome> {
    let missing = needs::missing(plan);
    let reasons = missing
        .iter()
        .map(|(need, reason)| format!("this machine lacks {need}: {reason}"));
    let reason = reasons.collect::<Vec<_>>().join("; ");
    match (missing.is_empty(), options.skip) {
        (true, _) => None,
        (false, true) => Some(RunOutcome::Skipped { reason }),
        (false, false) => Some(RunOutcome::NotReady { reason }),
    }
}

/// The run itself, from the first node to the settled ledger. What was submitted, once load has run.
async fn run_phases(
    plan: &Plan,
    testbed: &Testbed,
    faults: &FaultRunner<'_>,
    series: Arc<Mutex<Series>>,
    options: &Options,
    scratch: &Path,
) -> Option<Vec<LedgerEntry>> {
    let (emitter, stop) = (faults.emitter, faults.stop);
    let not_ready = |reason: String| stop.set(RunOutcome::NotReady { reason });
    match testbed.system.start(stop.token()).await {
        Ok(()) => {}
        // The reason is the one that cancelled it.
        Err(RuntimeError::Cancelled) => return None,
        Err(error) => {
            not_ready(error.to_string());
            return None;
        }
    }
    let addresses = testbed.links.addresses();
    let Some(entry) = addresses.get(&plan.system.entry).copied() else {
        not_ready(format!("there is no link `{}`", plan.system.entry));
        return None;
    };
    let acting = acting::acting(plan.system.sut().kind());
    let prepare = async {
        match acting {
            Some(acting) => acting.prepare(&plan.system.fixtures, entry).await,
            None => Ok(BTreeMap::new()),
        }
    };
    let prepared = tokio::select! {
        biased;
        () = stop.token().cancelled() => return None,
        prepared = prepare => prepared,
    };
    let fixtures = match prepared {
        Ok(fixtures) => fixtures,
        Err(error) => {
            not_ready(error);
            return None;
        }
    };
    emitter.event(EventKind::SystemReady);
    let step_context = StepContext {
        fixtures,
        links: addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    };
    let setup = Setup {
        plan,
        run_id: &options.run_id,
        addresses: &addresses,
        context: step_context,
        emitter,
        cancel: stop.token(),
    };
    let running = match options.load.start(setup).await {
        Ok(running) => running,
        Err(error) => {
            stop.set(RunOutcome::Broken {
                reason: error.to_string(),
            });
            return None;
        }
    };
    let monitor = LiveMonitor::new(plan, series, emitter.clone(), running.as_ref());
    let over = CancellationToken::new();
    let drive = async {
        let (finished, ()) = tokio::join!(running.finish(), faults.run_all(&monitor));
        over.cancel();
        finished
    };
    let (finished, ()) = tokio::join!(drive, monitor.watch_stop_conditions(plan, stop, &over));
    let connections = testbed.links.exhausted();
    if connections > 0 {
        emitter.event(EventKind::LinksExhausted { connections });
    }
    let entries = match finished {
        Ok(entries) => entries,
        Err(error) => {
            stop.set(RunOutcome::Broken {
                reason: error.to_string(),
            });
            return None;
        }
    };
    Some(
        settle::settle(
            &plan.expect.end,
            entries,
            entry,
            emitter,
            stop.token(),
            scratch,
        )
        .await,
    )
}

/// What exists outside this process for the length of a run: the journal and the shared directory.
struct RunDir {
    journal: Journal,
    children: Entry,
    directory: Entry,
    data: PathBuf,
}

impl RunDir {
    fn prepare(options: &Options) -> io::Result<Self> {
        let journal = Journal::open(&options.journal, &options.run_id)?;
        let data = std::env::temp_dir().join(format!("clip-harness-{}", options.run_id));
        let children = journal.note(UndoNote::children())?;
        let directory = journal.note(UndoNote::directory(&data))?;
        std::fs::create_dir_all(&data)?;
        Ok(Self {
            journal,
            children,
            directory,
            data,
        })
    }

    /// Removes the directory and closes the journal; what is left.
    fn clear(self) -> Vec<String> {
        let mut left = Vec::new();
        match remove(&self.data) {
            Ok(()) => self.directory.strike(),
            Err(error) => left.push(format!("directory {}: {error}", self.data.display())),
        }
        self.children.strike();
        let said = UndoNote::directory(&self.data);
        left.extend(
            self.journal
                .close()
                .iter()
                // Said above, with the reason.
                .filter(|note| **note != said)
                .map(UndoNote::about),
        );
        left
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
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

#[cfg(test)]
mod tests;
