//! The conductor: starts the system, drives load, walks the faults, undoes everything, and says how the run ended.
//!
//! It knows neither judge nor report. Whatever happens (a stop condition, Ctrl-C, a panic, the time limit), the way out
//! is the same: load stops, every fault is undone, the system is stopped, and that nothing is left is proved.

mod faults;
mod halt;
mod host;
mod outlook;
mod pump;
mod settle;
pub mod signals;
mod upstreams;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clip_service::env::{SharedRng, WallClock};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::{EventKind, LedgerEntry, RunOutcome, Sink};
use crate::journal::{Entry, Journal, Undo};
use crate::link::Links;
use crate::load::{Facts, Load};
use crate::plan::Plan;
use crate::runtime::emit::Emitter;
use crate::runtime::{Addresses, RuntimeError, Surroundings, System, fleet, service};
use crate::series::Series;
use faults::Stage;
use halt::Halt;
use outlook::Outlook;

/// What a run needs to know besides its plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the run and everything it leaves behind; unique, and fit for a file name.
    pub run_id: String,
    /// Directory for the nodes' log files; made when missing.
    pub logs: PathBuf,
    /// Directory of undo journals.
    pub journal: PathBuf,
    /// Cut waiting short: undo is still done, draining is not waited for.
    pub hurry: CancellationToken,
}

impl Options {
    /// Options with the usual journal.
    #[must_use]
    pub fn new(run_id: impl Into<String>, logs: impl Into<PathBuf>) -> Self {
        Self {
            run_id: run_id.into(),
            logs: logs.into(),
            journal: crate::journal::directory(),
            hurry: CancellationToken::new(),
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
    let border = Notify::new();
    let pump = pump::run(messages, sink, series.clone(), &border);
    let conduct = async {
        let outcome = conduct(plan, &emitter, series, &options, &border, &cancel).await;
        emitter.event(EventKind::RunEnded {
            outcome: outcome.clone(),
        });
        outcome
    };
    let ((), outcome) = tokio::join!(pump, conduct);
    outcome
}

async fn conduct(
    plan: &Plan,
    emitter: &Emitter,
    series: Arc<Mutex<Series>>,
    options: &Options,
    border: &Notify,
    cancel: &CancellationToken,
) -> RunOutcome {
    emitter.event(EventKind::RunStarted {
        wall_ms: WallClock::system().now().as_millisecond(),
        run_id: options.run_id.clone(),
    });
    let ground = match Ground::prepare(options) {
        Ok(ground) => ground,
        Err(error) => {
            return RunOutcome::Broken {
                reason: format!("the undo journal cannot be opened: {error}"),
            };
        }
    };
    let halt = Halt::default();
    let mut ledger = None;
    let world = match Built::new(plan, emitter, options, &ground) {
        Ok(world) => Some(world),
        Err(error) => {
            halt.because(RunOutcome::NotReady {
                reason: error.to_string(),
            });
            None
        }
    };
    let mut left = Vec::new();
    if let Some(world) = &world {
        let stage = Stage::new(
            plan,
            &world.system,
            &world.links,
            emitter,
            &halt,
            &options.hurry,
        );
        let over = CancellationToken::new();
        let play = async {
            let played = AssertUnwindSafe(play(plan, world, &stage, series, options))
                .catch_unwind()
                .await;
            match played {
                Ok(entries) => ledger = entries,
                Err(panic) => halt.because(RunOutcome::Broken {
                    reason: format!("the harness panicked: {}", words(panic.as_ref())),
                }),
            }
            // After a panic, or where a phase ended early, faults may still be in place.
            left.extend(stage.undo_all().await);
            over.cancel();
        };
        tokio::join!(
            play,
            halt.guard(cancel, plan.limit.get(), &over),
            host::watch(emitter, &over),
            upstreams::watch(plan, &world.system, emitter, border, &over),
            fleet::follow(&world.system, emitter.wanted(), &over)
        );
        left.extend(world.system.stop(&options.hurry).await);
    }
    drop(world);
    left.extend(ground.clear());
    if let Some(entries) = ledger {
        emitter.ledger(entries, plan.expect.end.ledger.clone());
    }
    if left.is_empty() {
        halt.outcome()
    } else {
        RunOutcome::UndoFailed { leftovers: left }
    }
}

/// The run itself, from the first node to the settled ledger. What was submitted, once load has run.
async fn play(
    plan: &Plan,
    world: &Built,
    stage: &Stage<'_>,
    series: Arc<Mutex<Series>>,
    options: &Options,
) -> Option<Vec<LedgerEntry>> {
    let (emitter, halt) = (stage.emitter, stage.halt);
    let not_ready = |reason: String| halt.because(RunOutcome::NotReady { reason });
    match world.system.start(halt.token()).await {
        Ok(()) => {}
        // The reason is the one that cancelled it.
        Err(RuntimeError::Cancelled) => return None,
        Err(error) => {
            not_ready(error.to_string());
            return None;
        }
    }
    let addresses = world.links.addresses();
    let Some(entry) = addresses.get(&plan.system.entry).copied() else {
        not_ready(format!("there is no link `{}`", plan.system.entry));
        return None;
    };
    let prepared = tokio::select! {
        biased;
        () = halt.token().cancelled() => return None,
        prepared = service::prepare_fixtures(&plan.system.fixtures, entry) => prepared,
    };
    let fixtures = match prepared {
        Ok(fixtures) => fixtures,
        Err(error) => {
            not_ready(error);
            return None;
        }
    };
    emitter.event(EventKind::SystemReady);
    let facts = Facts {
        fixtures,
        links: addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect(),
    };
    let load = Load::new(
        plan,
        &options.run_id,
        &addresses,
        facts,
        emitter,
        halt.token(),
    );
    let running = match load.start().await {
        Ok(running) => running,
        Err(error) => {
            halt.because(RunOutcome::Broken {
                reason: error.to_string(),
            });
            return None;
        }
    };
    let outlook = Outlook::new(plan, series, emitter.clone(), &running);
    let over = CancellationToken::new();
    let drive = async {
        let (finished, ()) = tokio::join!(running.finish(), stage.perform(&outlook));
        over.cancel();
        finished
    };
    let (finished, ()) = tokio::join!(drive, outlook.watch_stop_conditions(plan, halt, &over));
    let entries = match finished {
        Ok(entries) => entries,
        Err(error) => {
            halt.because(RunOutcome::Broken {
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
            halt.token(),
            &world.around.data,
        )
        .await,
    )
}

/// What exists outside this process for the length of a run: the journal and the shared directory.
struct Ground {
    journal: Journal,
    children: Entry,
    directory: Entry,
    data: PathBuf,
}

impl Ground {
    fn prepare(options: &Options) -> io::Result<Self> {
        let journal = Journal::open(&options.journal, &options.run_id)?;
        let data = std::env::temp_dir().join(format!("clip-harness-{}", options.run_id));
        let children = journal.note(Undo::Children)?;
        let directory = journal.note(Undo::Directory { path: data.clone() })?;
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
        left.extend(
            self.journal
                .close()
                .into_iter()
                .filter_map(|undo| match undo {
                    Undo::Children => Some("child processes".to_owned()),
                    Undo::Group { node, pgid, .. } => {
                        Some(format!("process group {pgid} of {node}"))
                    }
                    // Said above, with the reason.
                    Undo::Directory { .. } => None,
                }),
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

/// Links and nodes, made and not started.
struct Built {
    links: Links,
    system: System,
    around: Surroundings,
}

impl Built {
    fn new(
        plan: &Plan,
        emitter: &Emitter,
        options: &Options,
        ground: &Ground,
    ) -> Result<Self, RuntimeError> {
        let rng = SharedRng::seeded(plan.seed);
        let nodes = plan.system.nodes.iter().map(|node| node.name.as_str());
        let addresses = Addresses::of(nodes);
        // Links first: their addresses are part of the nodes' configuration.
        let links = Links::open(&plan.system.links, &rng, |to| addresses.receiver(to)).map_err(
            |error| RuntimeError::Start {
                node: "links".to_owned(),
                reason: error.to_string(),
            },
        )?;
        let link_addresses = links.addresses();
        let mut routes: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for link in &plan.system.links {
            if let Some(address) = link_addresses.get(&link.name) {
                routes
                    .entry(link.from.clone())
                    .or_default()
                    .insert(link.to.clone(), *address);
            }
        }
        let around = Surroundings {
            emitter: emitter.clone(),
            journal: ground.journal.clone(),
            run_id: options.run_id.clone(),
            logs: options.logs.clone(),
            data: ground.data.clone(),
            seed: plan.seed,
            links: link_addresses,
            routes,
        };
        let system = System::new(&plan.system, &around, &addresses)?;
        Ok(Self {
            links,
            system,
            around,
        })
    }
}

/// The message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
