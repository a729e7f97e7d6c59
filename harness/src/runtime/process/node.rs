//! One node as child processes: started, killed, paused, asked to end, each with the evidence that it happened.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clip_service::units::HumanDuration;
use futures_util::future::BoxFuture;
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::watch;

use super::effect::{ABANDON_WITHIN, EFFECT_WITHIN, blocking};
use super::output::Output;
use super::program::{Listens, Program};
use super::tracker::{Owner, TRACKER};
use super::watcher::{Asked, Watcher};
use crate::event::EventKind;
use crate::journal::{MARKER, NODE_MARKER, UndoNote};
use crate::process_set::{self, counted, listed};
use crate::procfs::process::{self, Rest, Stat};
use crate::runtime::logs::NodeLog;
use crate::runtime::refused::refused;
use crate::runtime::{AddressSender, Departure, Node, NodeContext, Pause, RuntimeError};

/// One child process at a time, started again after each end.
#[derive(Debug)]
pub(super) struct ProcessNode {
    owner: Owner,
    program: Program,
    address: AddressSender,
    context: NodeContext,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    incarnation: u32,
    last: Option<Incarnation>,
}

#[derive(Debug, Clone)]
struct Incarnation {
    leader: Stat,
    asked: Arc<Asked>,
    ended: watch::Receiver<Option<String>>,
}

impl ProcessNode {
    /// A node that is not started yet.
    pub(super) fn new(
        name: &str,
        program: Program,
        address: AddressSender,
        context: &NodeContext,
    ) -> Self {
        Self {
            owner: Owner {
                run: context.run_id.as_str().into(),
                node: name.into(),
            },
            program,
            address,
            context: context.clone(),
            state: Mutex::new(State::default()),
        }
    }

    fn live(&self) -> Option<Incarnation> {
        let last = self.state.lock().last.clone();
        last.filter(|last| last.ended.borrow().is_none())
    }

    fn must_live(&self, signal: &str) -> Result<Incarnation, RuntimeError> {
        self.live()
            .ok_or_else(|| self.control(format!("no {signal}: it has no living process")))
    }

    fn control(&self, reason: String) -> RuntimeError {
        RuntimeError::Control {
            node: self.name().to_owned(),
            reason,
        }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> RuntimeError {
        RuntimeError::Start {
            node: self.name().to_owned(),
            reason: reason.to_string(),
        }
    }

    fn spawn(&self) -> Result<(), RuntimeError> {
        if self.live().is_some() {
            return Err(self.failed("it is running already"));
        }
        // Before anything that could become an orphan.
        TRACKER.become_subreaper();
        let log = NodeLog::open(
            self.name(),
            &self.context.logs,
            self.context.emitter.clone(),
        )
        .map_err(|error| self.failed(format!("its log file: {error}")))?;
        let (mut command, given) = self.command()?;
        let program = self.program.program.display();
        let mut child = command
            .spawn()
            .map_err(|error| self.failed(format!("{program}: {error}")))?;
        // `id` is only `None` after the child was waited for, which has not happened; so it is there, dead or alive.
        let pid = child.id().unwrap_or_default();
        let leader = i32::try_from(pid).ok().and_then(process::stat);
        let leader = leader.ok_or_else(|| self.failed("its process cannot be seen in /proc"))?;
        TRACKER.register(&self.owner, leader, given, &self.context.journal);
        let entry = self
            .context
            .journal
            .note(UndoNote::group(self.name(), leader))
            .map_err(|error| {
                drop(self.kill_members(ABANDON_WITHIN));
                self.failed(format!("its undo cannot be written down: {error}"))
            })?;
        let (ended_tx, ended) = watch::channel(None);
        let asked = Arc::new(Asked::default());
        self.begun(Incarnation {
            leader,
            asked: asked.clone(),
            ended,
        });
        if given.is_some() {
            self.address.send_replace(given);
        }
        let output = Output::follow(
            &mut child,
            log,
            self.program.listens,
            self.address.clone(),
            self.context.emitter.clone(),
        );
        let watcher = Watcher {
            owner: self.owner.clone(),
            leader,
            asked,
            address: self.address.clone(),
            context: self.context.clone(),
        };
        tokio::spawn(watcher.watch(child, output, ended_tx, entry));
        Ok(())
    }

    /// What it is started with, and the address that it is told to listen at.
    fn command(&self) -> Result<(Command, Option<SocketAddr>), RuntimeError> {
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .envs(&self.program.env)
            .env(MARKER, &self.context.run_id)
            .env(NODE_MARKER, self.name())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let given = match self.program.listens {
            Listens::ByNotice => None,
            Listens::ByPort => {
                let address = free_port().map_err(|error| self.failed(error))?;
                command.env("PORT", address.port().to_string());
                Some(address)
            }
        };
        if let Some(files) = self.context.files {
            // The system under test has the limit that it would have without the harness.
            #[expect(
                unsafe_code,
                reason = "setrlimit is safe to call between fork and exec"
            )]
            unsafe {
                command.pre_exec(move || files.apply());
            }
        }
        Ok((command, given))
    }

    /// Takes note of a start, and says so.
    fn begun(&self, started: Incarnation) {
        let pid = u32::try_from(started.leader.pid).ok();
        let incarnation = {
            let mut state = self.state.lock();
            state.incarnation += 1;
            state.last = Some(started);
            state.incarnation
        };
        self.context.emitter.event(EventKind::NodeStarted {
            node: self.name().to_owned(),
            incarnation,
            pid,
        });
    }

    async fn wait_ended(&self, live: &Incarnation, bound: Duration) -> Option<String> {
        let mut ended = live.ended.clone();
        let how = tokio::time::timeout(bound, ended.wait_for(Option::is_some)).await;
        match how {
            Ok(Ok(how)) => how.clone(),
            Ok(Err(_)) => Some("ended".to_owned()),
            Err(_) => None,
        }
    }

    /// Ends everything of the node; those that were hit, or those that live on. Blocks.
    fn kill_members(&self, within: Duration) -> Result<Vec<Stat>, Vec<Stat>> {
        process_set::kill(&mut || TRACKER.members(&self.owner), within)
    }

    /// The same, away from the threads that drive load.
    async fn kill_all(&self) -> Result<Vec<Stat>, RuntimeError> {
        let owner = self.owner.clone();
        let hit =
            blocking(move || process_set::kill(&mut || TRACKER.members(&owner), EFFECT_WITHIN))
                .await;
        hit.unwrap_or_else(|| Ok(Vec::new())).map_err(|left| {
            self.control(format!(
                "{} cannot be ended: {}",
                counted(left.len()),
                listed(&left)
            ))
        })
    }

    /// A fault that may have missed a part of the node must not be reported as done.
    async fn all_claimed(&self, signal: &str) -> Result<(), RuntimeError> {
        let run = self.owner.run.clone();
        let unclaimed = blocking(move || TRACKER.unclaimed(&run)).await;
        match unclaimed.unwrap_or_default() {
            none if none.is_empty() => Ok(()),
            some => Err(self.control(format!(
                "no {signal}: {} went into the background and cannot be told to belong to one node or another: {}; run it \
                 in the foreground, or leave it its environment",
                counted(some.len()),
                listed(&some)
            ))),
        }
    }

    /// Whether every process that listens at the node's address is one of these. What cannot be seen cannot be told.
    fn serves_from(&self, members: &[Stat]) -> Result<(), RuntimeError> {
        let Some(address) = *self.address.borrow() else {
            return Ok(());
        };
        let holders = process::listeners(address, &process::all()).unwrap_or_default();
        let others: Vec<Stat> = holders
            .into_iter()
            .filter(|holder| !members.iter().any(|member| member.same(*holder)))
            .collect();
        match others.as_slice() {
            [] => Ok(()),
            others => Err(self.control(format!(
                "{address} is served by processes that the node did not start: {}",
                listed(others)
            ))),
        }
    }
}

impl Node for ProcessNode {
    fn name(&self) -> &str {
        &self.owner.node
    }

    fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    fn ended(&self) -> Option<String> {
        let state = self.state.lock();
        let last = state.last.as_ref()?;
        last.ended.borrow().clone()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async { self.spawn() })
    }

    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let live = self.must_live("SIGKILL")?;
            self.all_claimed("SIGKILL").await?;
            let address = *self.address.borrow();
            live.asked.to_end.store(true, Ordering::SeqCst);
            let hit = self.kill_all().await?;
            let how = self
                .wait_ended(&live, EFFECT_WITHIN)
                .await
                .ok_or_else(|| self.control("it lives on after SIGKILL".to_owned()))?;
            if let Some(address) = address
                && !refused(address, EFFECT_WITHIN).await
            {
                return Err(self.control(format!(
                    "SIGKILL hit {}, and {address} still accepts connections: the node did not start that server",
                    counted(hit.len())
                )));
            }
            Ok(format!(
                "SIGKILL {} (pid {}): {how}, {} hit",
                self.name(),
                live.leader.pid,
                counted(hit.len())
            ))
        })
    }

    fn terminate(&self) -> Result<String, RuntimeError> {
        let live = self.must_live("SIGTERM")?;
        live.asked.to_end.store(true, Ordering::SeqCst);
        live.asked.gracefully.store(true, Ordering::SeqCst);
        // A stopped process would take the request only when it is continued.
        for stat in TRACKER.members(&self.owner) {
            if process::rest(stat.pid) == Rest::Stopped {
                process_set::signal(stat, Signal::SIGCONT);
            }
        }
        // The first process ends its own; what it leaves running is asked in its turn. A signal that
        // finds no process means that it ended just now, which is what is wanted.
        process_set::signal(live.leader, Signal::SIGTERM);
        Ok(format!("SIGTERM {} (pid {})", self.name(), live.leader.pid))
    }

    fn end_within(&self, grace: Duration) -> BoxFuture<'_, Result<Departure, RuntimeError>> {
        Box::pin(async move {
            let last = self.state.lock().last.clone();
            let Some(last) = last else {
                return Ok(Departure {
                    how: "never started".to_owned(),
                    forced: false,
                });
            };
            if let Some(how) = self.wait_ended(&last, grace).await {
                return Ok(Departure { how, forced: false });
            }
            self.context.emitter.warn(format!(
                "{} did not end by itself within {}",
                self.name(),
                HumanDuration(grace)
            ));
            last.asked.to_end.store(true, Ordering::SeqCst);
            self.kill_all().await?;
            match self.wait_ended(&last, EFFECT_WITHIN).await {
                Some(how) => Ok(Departure { how, forced: true }),
                None => Err(self.control(format!("pid {} cannot be ended", last.leader.pid))),
            }
        })
    }

    fn leftovers(&self) -> Vec<String> {
        if self.state.lock().last.is_none() {
            return Vec::new();
        }
        let left = TRACKER.members(&self.owner);
        let left = left.iter().map(|stat| {
            let command = process::command(stat.pid);
            format!("process {} of {} ({command})", stat.pid, self.name())
        });
        left.collect()
    }

    fn abandon(&self) {
        if let Some(live) = self.live() {
            live.asked.to_end.store(true, Ordering::SeqCst);
            if let Err(left) = self.kill_members(ABANDON_WITHIN) {
                tracing::warn!(node = self.name(), left = listed(&left), "not ended");
            }
        }
    }

    fn pause(&self) -> Option<&dyn Pause> {
        Some(self)
    }
}

impl Pause for ProcessNode {
    fn pause(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let live = self.must_live("SIGSTOP")?;
            self.all_claimed("SIGSTOP").await?;
            let owner = self.owner.clone();
            let frozen = blocking(move || {
                process_set::freeze(&mut || TRACKER.members(&owner), EFFECT_WITHIN)
            })
            .await
            .unwrap_or_else(|| Ok(Vec::new()));
            let checked = match frozen {
                Ok(frozen) if !frozen.iter().any(|stat| stat.same(live.leader)) => {
                    Err(self.control("no SIGSTOP: it ended just now".to_owned()))
                }
                Ok(frozen) => self.serves_from(&frozen).map(|()| frozen),
                Err(running) => {
                    Err(self.control(format!("not stopped by SIGSTOP: {}", listed(&running))))
                }
            };
            let frozen = match checked {
                Ok(frozen) => frozen,
                Err(error) => {
                    self.thaw().await?;
                    return Err(error);
                }
            };
            Ok(format!(
                "SIGSTOP {} (pid {}): state T (stopped), {} hit",
                self.name(),
                live.leader.pid,
                counted(frozen.len())
            ))
        })
    }

    fn resume(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            self.must_live("SIGCONT")?;
            let running = self.thaw().await?;
            Ok(format!("SIGCONT, {} run", counted(running.len())))
        })
    }
}

impl ProcessNode {
    /// Lets everything of the node run.
    async fn thaw(&self) -> Result<Vec<Stat>, RuntimeError> {
        let owner = self.owner.clone();
        let thawed =
            blocking(move || process_set::thaw(&mut || TRACKER.members(&owner), EFFECT_WITHIN))
                .await;
        thawed.unwrap_or_else(|| Ok(Vec::new())).map_err(|stopped| {
            self.control(format!("not continued by SIGCONT: {}", listed(&stopped)))
        })
    }
}

/// A port that is free now. The program has to take it soon; the kernel hands it to no one else for a while.
fn free_port() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}
