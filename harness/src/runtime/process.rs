//! Nodes as child processes, each the leader of an own process group, so that whatever it starts goes with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clip_service::observe::Notice;
use clip_service::units::HumanDuration;
use futures_util::future::BoxFuture;
use indexmap::IndexMap;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::logs::NodeLog;
use super::{AddressSender, Departure, HostPort, Node, NodeContext, Pause, RuntimeError, role};
use crate::event::EventKind;
use crate::journal::{self, Entry, MARKER, UndoNote};
use crate::plan::{NodePlan, NodeStart, RuntimeKind};
use crate::procfs::process as proc;
use crate::scenario::template::{self, Resolver};

/// Runs nodes as child processes: roles of the service, and any other program.
#[derive(Debug, Clone, Copy)]
pub struct ProcessRuntime;

impl super::Runtime for ProcessRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    fn node(
        &self,
        plan: &NodePlan,
        context: &NodeContext,
        address: AddressSender,
    ) -> Result<Arc<dyn Node>, RuntimeError> {
        let program = match &plan.start {
            NodeStart::Service { system, .. } => role::command(*system, plan, context)?,
            NodeStart::Run { command, env } => program(plan, command, env, context)?,
        };
        Ok(Arc::new(ProcessNode::new(
            &plan.name, program, address, context,
        )))
    }
}

/// Time a signal has to show its effect.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// Longest line of a child's output that is kept in one piece.
const LINE_LIMIT: usize = 64 * 1024;

/// How a node's program is started.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) listens: Listens,
}

/// How the harness learns where a program listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listens {
    /// It says so in a notice on stdout.
    ByNotice,
    /// It is told a free port in the variable `PORT`.
    ByPort,
}

/// The program of a generic node: any command, with link addresses filled into its arguments and environment.
pub(super) fn program(
    plan: &NodePlan,
    command: &[String],
    env: &IndexMap<String, String>,
    context: &NodeContext,
) -> Result<Program, RuntimeError> {
    let failed = |reason: String| RuntimeError::Start {
        node: plan.name.clone(),
        reason,
    };
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| failed("its command is empty".to_owned()))?;
    let links = context.reachable(plan)?;
    let fill_in = |what: &str, text: &String| {
        template::render(text, &mut LinksOnly(&links))
            .map_err(|error| failed(format!("{what}: {error}")))
    };
    let mut filled = BTreeMap::new();
    for (name, value) in env {
        filled.insert(name.clone(), fill_in(name, value)?);
    }
    let arguments = arguments.iter().map(|word| fill_in("its command", word));
    Ok(Program {
        program: PathBuf::from(program),
        arguments: arguments.collect::<Result<_, _>>()?,
        env: filled,
        listens: Listens::ByPort,
    })
}

/// Knows links and nothing else: what a node's command and environment may refer to.
struct LinksOnly<'a>(&'a BTreeMap<String, HostPort>);

impl Resolver for LinksOnly<'_> {
    fn uuid(&mut self) -> String {
        String::new()
    }

    fn draw(&mut self, low: i64, _: i64) -> i64 {
        low
    }

    fn fixture(&self, _: &str) -> Option<String> {
        None
    }

    fn link(&self, name: &str) -> Option<String> {
        self.0.get(name).map(ToString::to_string)
    }

    fn capture(&self, _: &str) -> Option<String> {
        None
    }
}

/// One child process at a time, started again after each end.
#[derive(Debug)]
pub struct ProcessNode {
    name: String,
    program: Program,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
    context: NodeContext,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    incarnation: u32,
    live: Option<Live>,
    /// Process groups that were not seen to be empty, with the start time of each one's leader.
    groups: Groups,
}

type Groups = Arc<Mutex<BTreeMap<i32, u64>>>;

/// Living members of a group, its leader aside. A group's number is not given away while it has members, so whoever
/// is in it and began after its leader belongs to it.
fn followers(pgid: i32, leader_start: u64) -> Vec<proc::Stat> {
    proc::group(pgid)
        .into_iter()
        .filter(|stat| stat.pid != pgid && stat.start >= leader_start)
        .collect()
}

#[derive(Debug, Clone)]
struct Live {
    pid: u32,
    pgid: i32,
    /// Set before the harness ends it.
    expected: Arc<AtomicBool>,
    ended: watch::Receiver<Option<String>>,
}

impl ProcessNode {
    /// A node that is not started yet.
    #[must_use]
    pub(super) fn new(
        name: &str,
        program: Program,
        address: Arc<watch::Sender<Option<SocketAddr>>>,
        context: &NodeContext,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program,
            address,
            context: context.clone(),
            state: Mutex::new(State::default()),
        }
    }

    fn live(&self) -> Option<Live> {
        let state = self.state.lock();
        state
            .live
            .clone()
            .filter(|live| live.ended.borrow().is_none())
    }

    fn must_live(&self, signal: &str) -> Result<Live, RuntimeError> {
        self.live()
            .ok_or_else(|| self.control(format!("no {signal}: it has no living process")))
    }

    fn control(&self, reason: String) -> RuntimeError {
        RuntimeError::Control {
            node: self.name.clone(),
            reason,
        }
    }

    fn failed(&self, reason: impl std::fmt::Display) -> RuntimeError {
        RuntimeError::Start {
            node: self.name.clone(),
            reason: reason.to_string(),
        }
    }

    fn spawn(&self) -> Result<(), RuntimeError> {
        if self.live().is_some() {
            return Err(self.failed("it is running already"));
        }
        let mut command = Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .envs(&self.program.env)
            .env(MARKER, &self.context.run_id)
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
        let program = self.program.program.display();
        let mut child = command
            .spawn()
            .map_err(|error| self.failed(format!("{program}: {error}")))?;
        // `id` is only `None` after the child was waited for, which has not happened.
        let pid = child.id().unwrap_or_default();
        let pgid = i32::try_from(pid).unwrap_or_default();
        let leader = proc::stat(pgid).ok_or_else(|| self.failed("it is gone already"))?;
        let start = leader.start;
        let entry = self
            .context
            .journal
            .note(UndoNote::group(&self.name, leader))
            .map_err(|error| {
                journal::kill_group(pgid);
                self.failed(format!("its undo cannot be written down: {error}"))
            })?;
        let (ended_tx, ended) = watch::channel(None);
        let expected = Arc::new(AtomicBool::new(false));
        let (incarnation, groups) = {
            let mut state = self.state.lock();
            state.incarnation += 1;
            state.groups.lock().insert(pgid, start);
            state.live = Some(Live {
                pid,
                pgid,
                expected: expected.clone(),
                ended,
            });
            (state.incarnation, state.groups.clone())
        };
        self.context.emitter.event(EventKind::NodeStarted {
            node: self.name.clone(),
            incarnation,
            pid: Some(pid),
        });
        if given.is_some() {
            self.address.send_replace(given);
        }
        let outputs = self.follow_outputs(&mut child)?;
        let watcher = Watcher {
            name: self.name.clone(),
            pgid,
            start,
            groups,
            expected,
            address: self.address.clone(),
            context: self.context.clone(),
        };
        tokio::spawn(watcher.watch(child, outputs, ended_tx, entry));
        Ok(())
    }

    /// Reads stdout for notices and stderr for the log; the returned tasks end with the streams.
    fn follow_outputs(
        &self,
        child: &mut Child,
    ) -> Result<(SharedLog, Vec<tokio::task::JoinHandle<()>>), RuntimeError> {
        let log = NodeLog::open(&self.name, &self.context.logs, self.context.emitter.clone())
            .map_err(|error| self.failed(format!("its log file: {error}")))?;
        let log = Arc::new(Mutex::new(log));
        let mut tasks = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            tasks.push(tokio::spawn(each_line(stderr, move |line| {
                log.lock().line(line);
            })));
        }
        if let Some(stdout) = child.stdout.take() {
            let log = log.clone();
            let address = self.address.clone();
            let emitter = self.context.emitter.clone();
            let by_notice = self.program.listens == Listens::ByNotice;
            tasks.push(tokio::spawn(each_line(stdout, move |line| {
                match serde_json::from_str(line) {
                    Ok(Notice::Listening { address: said, .. }) if by_notice => {
                        match said.parse() {
                            Ok(parsed) => {
                                address.send_replace(Some(parsed));
                            }
                            Err(_) => emitter.warn(format!("not an address: {said}")),
                        }
                    }
                    Ok(Notice::Transition(transition)) => {
                        emitter.event(EventKind::Transition(transition));
                    }
                    // Other programs may print what they like.
                    Ok(Notice::Listening { .. }) | Err(_) => log.lock().line(line),
                }
            })));
        }
        Ok((log, tasks))
    }

    async fn wait_ended(&self, live: &Live, bound: Duration) -> Option<String> {
        let mut ended = live.ended.clone();
        let how = tokio::time::timeout(bound, ended.wait_for(Option::is_some)).await;
        match how {
            Ok(Ok(how)) => how.clone(),
            Ok(Err(_)) => Some("ended".to_owned()),
            Err(_) => None,
        }
    }

    /// Polls the leader's state in `/proc` until `wanted` says yes; what it was last.
    async fn wait_state(&self, pid: i32, wanted: impl Fn(char) -> bool) -> Result<char, String> {
        let until = Instant::now() + EFFECT_WITHIN;
        loop {
            let state = proc::stat(pid).map(|stat| stat.state);
            match state {
                Some(state) if wanted(state) => return Ok(state),
                None => return Err("it is gone".to_owned()),
                Some(state) if Instant::now() >= until => {
                    return Err(format!("state {state} after {EFFECT_WITHIN:?}"));
                }
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
}

impl Node for ProcessNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    fn ended(&self) -> Option<String> {
        let state = self.state.lock();
        let live = state.live.as_ref()?;
        live.ended.borrow().clone()
    }

    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async { self.spawn() })
    }

    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let live = self.must_live("SIGKILL")?;
            live.expected.store(true, Ordering::SeqCst);
            killpg(Pid::from_raw(live.pgid), Signal::SIGKILL)
                .map_err(|error| self.control(format!("SIGKILL: {error}")))?;
            let how = self
                .wait_ended(&live, EFFECT_WITHIN)
                .await
                .ok_or_else(|| self.control("it lives on after SIGKILL".to_owned()))?;
            Ok(format!("SIGKILL {} (pid {}): {how}", self.name, live.pid))
        })
    }

    fn terminate(&self) -> Result<String, RuntimeError> {
        let live = self.must_live("SIGTERM")?;
        live.expected.store(true, Ordering::SeqCst);
        // A stopped process would take the request only when it is continued. That either signal finds nobody means that
        // it ended just now, which is what is wanted.
        killpg(Pid::from_raw(live.pgid), Signal::SIGCONT).ok();
        kill(Pid::from_raw(live.pgid), Signal::SIGTERM).ok();
        Ok(format!("SIGTERM {} (pid {})", self.name, live.pid))
    }

    fn end_within(&self, grace: Duration) -> BoxFuture<'_, Result<Departure, RuntimeError>> {
        Box::pin(async move {
            let last = self.state.lock().live.clone();
            let Some(live) = last else {
                return Ok(Departure {
                    how: "never started".to_owned(),
                    forced: false,
                });
            };
            if let Some(how) = self.wait_ended(&live, grace).await {
                return Ok(Departure { how, forced: false });
            }
            self.context.emitter.warn(format!(
                "{} did not end by itself within {}",
                self.name,
                HumanDuration(grace)
            ));
            journal::kill_group(live.pgid);
            match self.wait_ended(&live, EFFECT_WITHIN).await {
                Some(how) => Ok(Departure { how, forced: true }),
                None => Err(self.control(format!("pid {} cannot be ended", live.pid))),
            }
        })
    }

    fn leftovers(&self) -> Vec<String> {
        let groups = self.state.lock().groups.clone();
        let groups = groups.lock();
        groups
            .iter()
            .flat_map(|(pgid, start)| {
                let leader = proc::stat(*pgid).filter(|stat| stat.start == *start && stat.lives());
                followers(*pgid, *start).into_iter().chain(leader)
            })
            .map(|stat| {
                format!(
                    "process {} of {} ({})",
                    stat.pid,
                    self.name,
                    proc::command(stat.pid)
                )
            })
            .collect()
    }

    fn abandon(&self) {
        if let Some(live) = self.live() {
            live.expected.store(true, Ordering::SeqCst);
            journal::kill_group(live.pgid);
        }
    }

    fn pausable(&self) -> Option<&dyn Pause> {
        Some(self)
    }
}

impl Pause for ProcessNode {
    fn pause(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let live = self.must_live("SIGSTOP")?;
            killpg(Pid::from_raw(live.pgid), Signal::SIGSTOP)
                .map_err(|error| self.control(format!("SIGSTOP: {error}")))?;
            self.wait_state(live.pgid, |state| state == 'T')
                .await
                .map_err(|seen| self.control(format!("not stopped by SIGSTOP: {seen}")))?;
            Ok(format!(
                "SIGSTOP {} (pid {}): state T (stopped)",
                self.name, live.pid
            ))
        })
    }

    fn resume(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let live = self.must_live("SIGCONT")?;
            killpg(Pid::from_raw(live.pgid), Signal::SIGCONT)
                .map_err(|error| self.control(format!("SIGCONT: {error}")))?;
            let state = self
                .wait_state(live.pgid, |state| state != 'T')
                .await
                .map_err(|seen| self.control(format!("not continued by SIGCONT: {seen}")))?;
            Ok(format!("SIGCONT, state {state}"))
        })
    }
}

/// Sees one incarnation to its end.
struct Watcher {
    name: String,
    pgid: i32,
    start: u64,
    groups: Groups,
    expected: Arc<AtomicBool>,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
    context: NodeContext,
}

/// The log of a node, written by the readers of both its streams.
type SharedLog = Arc<Mutex<NodeLog>>;

impl Watcher {
    async fn watch(
        self,
        mut child: Child,
        outputs: (SharedLog, Vec<tokio::task::JoinHandle<()>>),
        ended: watch::Sender<Option<String>>,
        entry: Entry,
    ) {
        let (log, outputs) = outputs;
        let mut how = match child.wait().await {
            Ok(status) => describe(status),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        self.address.send_replace(None);
        let gone = self.end_group().await;
        for output in outputs {
            // A grandchild that escaped its group may hold the pipe open; its lines are not waited for.
            drop(tokio::time::timeout(Duration::from_secs(1), output).await);
        }
        if gone {
            self.groups.lock().remove(&self.pgid);
            entry.strike();
        } else {
            drop(entry);
        }
        let expected =
            self.expected.load(Ordering::SeqCst) || self.context.stopping.load(Ordering::SeqCst);
        // Whoever ends by himself says why in his last line, if anywhere.
        if !expected && let Some(last) = log.lock().last_line() {
            how = format!("{how}, having said: {last}");
        }
        self.context.emitter.event(EventKind::NodeExited {
            node: self.name,
            how: how.clone(),
            expected,
            log: Vec::new(),
        });
        ended.send_replace(Some(how));
    }

    /// What the leader started does not outlive it. False when something does.
    async fn end_group(&self) -> bool {
        let until = Instant::now() + EFFECT_WITHIN;
        loop {
            let ours = followers(self.pgid, self.start);
            if ours.is_empty() {
                return true;
            }
            for stat in ours {
                kill(Pid::from_raw(stat.pid), Signal::SIGKILL).ok();
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("exited by signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

/// A port that is free now. The program has to take it soon; nobody else is handed it for a while.
fn free_port() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Calls `take` with each line until the stream ends. Lines too long are cut into pieces, bytes that are no text replaced.
async fn each_line(stream: impl AsyncRead + Unpin, mut take: impl FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let (used, complete) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(buffer) => {
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let until = end.unwrap_or(buffer.len());
                line.extend_from_slice(&buffer[..until]);
                (until + usize::from(end.is_some()), end.is_some())
            }
        };
        reader.consume(used);
        if complete || line.len() > LINE_LIMIT {
            take(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }
    if !line.is_empty() {
        take(String::from_utf8_lossy(&line).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_in_pieces() {
        let mut text = b"one\ntwo\n".to_vec();
        text.extend(vec![b'x'; LINE_LIMIT * 2]);
        text.extend(b"\nlast");
        let mut lines = Vec::new();
        each_line(text.as_slice(), |line| lines.push(line.to_owned())).await;
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines.last().map(String::as_str), Some("last"));
        let xs: usize = lines[2..lines.len() - 1].iter().map(String::len).sum();
        assert_eq!(xs, LINE_LIMIT * 2);
    }
}
