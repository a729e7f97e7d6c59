//! The conductor: starts the system, drives load, walks the faults, undoes everything, and says how the run ended.
//!
//! It knows neither judge nor report. Whatever happens (a stop condition, Ctrl-C, a panic, the time limit), the way out
//! is the same: load stops, every fault is undone, the system is stopped, and that nothing is left is proved.

mod fault_runner;
mod host;
mod monitor;
mod options;
mod phases;
mod probes;
mod pump;
mod run_dir;
mod settle;
pub mod signals;
mod stall;
mod stop;

use std::collections::BTreeMap;
use std::sync::Arc;

use clip_service::env::WallClock;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::{EventKind, RunOutcome, Sink};
use crate::plan::Plan;
use crate::runtime::emit::Emitter;
use crate::runtime::{NodeContext, needs};
use crate::series::Series;
use crate::testbed::Testbed;
use fault_runner::FaultRunner;
pub use options::Options;
use phases::Phases;
use run_dir::RunDir;
use stop::StopReason;

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
    let (mut ledger, mut left) = (None, Vec::new());
    match Testbed::new(plan, context, options.force.clone()) {
        Ok(testbed) => {
            let phases = Phases {
                plan,
                testbed: &testbed,
                faults: FaultRunner::new(plan, &testbed, emitter, &stop),
                series,
                options,
                scratch: &run_dir.data,
            };
            (ledger, left) = phases.run_watched(window_edge, cancel).await;
            left.extend(testbed.system.stop(&options.force).await);
        }
        Err(error) => stop.set(RunOutcome::NotReady {
            reason: error.to_string(),
        }),
    }
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

#[cfg(test)]
mod tests;
