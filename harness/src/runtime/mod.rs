//! Where a system runs: nodes that can be started, killed, paused and stopped, in this process or as child processes.
//!
//! A [`Node`] says where it listens by a `watch` channel, which is what links follow. How a role of a system
//! that the harness knows is started is that system's to say ([`crate::sut::acting`]).

pub mod embedded;
pub mod emit;
pub mod fleet;
pub mod logs;
pub mod process;
pub mod ready;
mod role;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use indexmap::IndexMap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::journal::Journal;
use crate::plan::{NodePlan, NodeStart, ReadyPlan, RuntimeKind, SystemPlan};
use emit::Emitter;

/// What a node is asked to do and cannot.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// It could not be started.
    #[error("{node} cannot be started: {reason}")]
    Start {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// It was started and never met its readiness condition.
    #[error("{node} was not ready within {within}: waited for {wanted}, last saw {seen}")]
    NotReady {
        /// The node.
        node: String,
        /// How long it had.
        within: String,
        /// The condition.
        wanted: String,
        /// What was there instead.
        seen: String,
    },
    /// A signal did not have its effect.
    #[error("{node}: {reason}")]
    Control {
        /// The node.
        node: String,
        /// What was tried and what happened.
        reason: String,
    },
    /// The runtime has no such operation.
    #[error("the {runtime} runtime cannot {what} a node")]
    Unsupported {
        /// Which runtime.
        runtime: &'static str,
        /// What was asked.
        what: &'static str,
    },
    /// There is no node of this name.
    #[error("there is no node `{0}`")]
    Unknown(String),
    /// The run was cancelled while waiting.
    #[error("interrupted")]
    Cancelled,
}

/// How a node ended that was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// How, for people.
    pub how: String,
    /// Whether it did not end by itself in time and was made to.
    pub forced: bool,
}

/// One node of a running system.
pub trait Node: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> &str;
    /// Where it listens; `None` while it does not.
    fn address(&self) -> watch::Receiver<Option<SocketAddr>>;
    /// Its process id, where it is a process that lives.
    fn pid(&self) -> Option<u32>;
    /// How its present (or last) incarnation ended; `None` while it lives.
    fn ended(&self) -> Option<String>;
    /// Starts it (again). Returns when it has been started, not when it is ready.
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Ends it without warning; says what was done and how it ended.
    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
    /// Stops it from running without ending it; the evidence.
    fn pause(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
    /// Lets it run again; the evidence.
    fn resume(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
    /// Asks it to end by itself, and does not wait; what was done. An error when it is not running.
    fn terminate(&self) -> Result<String, RuntimeError>;
    /// Waits for so long until it has ended, then makes it. Leaves nothing of it behind.
    fn end_within(&self, grace: Duration) -> BoxFuture<'_, Result<Departure, RuntimeError>>;
    /// Asks it to end, waits for so long, then makes it; nothing to do when it is not running.
    fn stop(&self, grace: Duration) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async move {
            if self.terminate().is_err() {
                tracing::debug!(node = self.name(), "has ended already");
            }
            self.end_within(grace).await.map(drop)
        })
    }
    /// What is still there of it after [`Node::stop`], for people.
    fn leftovers(&self) -> Vec<String>;
    /// Ends it now, without waiting: for the way out of a panic.
    fn abandon(&self);
}

/// What nodes of every runtime are made with.
#[derive(Debug, Clone)]
pub struct NodeContext {
    /// Where events go.
    pub emitter: Emitter,
    /// Where undo is written down.
    pub journal: Journal,
    /// Identifies the run.
    pub run_id: String,
    /// Directory of the nodes' log files.
    pub logs: PathBuf,
    /// Directory that all nodes of the system share, removed at the end.
    pub data: PathBuf,
    /// Seed of the run.
    pub seed: u64,
    /// Address of each link, by the link's name.
    pub links: BTreeMap<String, SocketAddr>,
    /// For each node, the address to dial for each peer it has a link to.
    pub routes: BTreeMap<String, BTreeMap<String, SocketAddr>>,
}

/// The nodes of a running system, in order of start.
#[derive(Debug)]
pub struct System {
    nodes: IndexMap<String, (NodePlan, Arc<dyn Node>)>,
    emitter: Emitter,
}

/// Time a node has to end by itself when the system is stopped.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl System {
    /// Makes the nodes of a plan without starting any. `addresses` receives where each node listens.
    ///
    /// # Errors
    /// When a node cannot run in this runtime, or a program it needs is missing.
    pub fn new(
        plan: &SystemPlan,
        context: &NodeContext,
        addresses: &Addresses,
    ) -> Result<Self, RuntimeError> {
        let mut nodes = IndexMap::new();
        for node_plan in &plan.nodes {
            let address = addresses.sender(&node_plan.name)?;
            let node: Arc<dyn Node> = match (plan.runtime, &node_plan.start) {
                (RuntimeKind::Process, NodeStart::Service { system, .. }) => {
                    let command = role::command(*system, node_plan, context)?;
                    Arc::new(process::ProcessNode::new(
                        &node_plan.name,
                        command,
                        address,
                        context,
                    ))
                }
                (RuntimeKind::Process, NodeStart::Run { command, env }) => {
                    let command = process::program(&node_plan.name, command, env, context)?;
                    Arc::new(process::ProcessNode::new(
                        &node_plan.name,
                        command,
                        address,
                        context,
                    ))
                }
                (RuntimeKind::Embedded, NodeStart::Service { system, .. }) => {
                    let body = role::body(*system, node_plan, context)?;
                    Arc::new(embedded::EmbeddedNode::new(
                        &node_plan.name,
                        body,
                        address,
                        context,
                    ))
                }
                (RuntimeKind::Embedded, NodeStart::Run { .. }) => {
                    return Err(RuntimeError::Unsupported {
                        runtime: "embedded",
                        what: "start a program as",
                    });
                }
            };
            nodes.insert(node_plan.name.clone(), (node_plan.clone(), node));
        }
        Ok(Self {
            nodes,
            emitter: context.emitter.clone(),
        })
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Arc<dyn Node>, RuntimeError> {
        self.nodes
            .get(name)
            .map(|(_, node)| node)
            .ok_or_else(|| RuntimeError::Unknown(name.to_owned()))
    }

    /// How many nodes of a scaled role run from the start, and the names of those on standby, in their order.
    pub(crate) fn scaled(&self) -> (usize, Vec<&str>) {
        let standby: Vec<&NodePlan> = self
            .nodes
            .values()
            .map(|(plan, _)| plan)
            .filter(|plan| plan.standby)
            .collect();
        let first = self.nodes.values().filter(|(plan, _)| {
            !plan.standby && standby.first().is_some_and(|one| one.role() == plan.role())
        });
        let names = standby.iter().map(|plan| plan.name.as_str());
        (first.count(), names.collect())
    }

    pub(crate) fn warn(&self, message: String) {
        self.emitter.warn(message);
    }

    /// Starts every node that is not on standby, wave by wave, each wave when the one before is ready.
    ///
    /// # Errors
    /// The first node that does not start or become ready.
    pub async fn start(&self, cancel: &CancellationToken) -> Result<(), RuntimeError> {
        let mut waves: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for (name, (plan, _)) in self.nodes.iter().filter(|(_, (plan, _))| !plan.standby) {
            waves.entry(plan.wave).or_default().push(name);
        }
        for names in waves.into_values() {
            let starts = names.into_iter().map(|name| self.start_node(name, cancel));
            for started in join_all(starts).await {
                started?;
            }
        }
        Ok(())
    }

    /// Starts one node and waits until it is ready; how long that took.
    ///
    /// # Errors
    /// When it does not start or does not become ready in time.
    pub async fn start_node(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<Duration, RuntimeError> {
        let (plan, node) = self
            .nodes
            .get(name)
            .ok_or_else(|| RuntimeError::Unknown(name.to_owned()))?;
        let started = Instant::now();
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(RuntimeError::Cancelled),
            begun = node.start() => begun?,
        }
        self.ready(&plan.ready, node.as_ref(), cancel).await?;
        let took = started.elapsed();
        self.emitter.event(EventKind::NodeReady {
            node: name.to_owned(),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
        Ok(took)
    }

    /// Waits until a node that has been started meets its readiness condition.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_ready(
        &self,
        name: &str,
        cancel: &CancellationToken,
    ) -> Result<(), RuntimeError> {
        let (plan, node) = self
            .nodes
            .get(name)
            .ok_or_else(|| RuntimeError::Unknown(name.to_owned()))?;
        self.ready(&plan.ready, node.as_ref(), cancel).await
    }

    async fn ready(
        &self,
        plan: &ReadyPlan,
        node: &dyn Node,
        cancel: &CancellationToken,
    ) -> Result<(), RuntimeError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(RuntimeError::Cancelled),
            ready = ready::wait(plan, node) => ready,
        }
    }

    /// Stops every node, later waves first; what could not be stopped. `force` cuts short the time they have to end by
    /// themselves.
    pub async fn stop(&self, force: &CancellationToken) -> Vec<String> {
        let mut waves: BTreeMap<u32, Vec<&Arc<dyn Node>>> = BTreeMap::new();
        for (plan, node) in self.nodes.values() {
            waves.entry(plan.wave).or_default().push(node);
        }
        let mut left = Vec::new();
        for nodes in waves.into_values().rev() {
            let stops = nodes.iter().map(|node| async move {
                tokio::select! {
                    biased;
                    stopped = node.stop(STOP_GRACE) => stopped,
                    () = force.cancelled() => {
                        node.abandon();
                        node.stop(Duration::ZERO).await
                    }
                }
            });
            for stopped in join_all(stops).await {
                if let Err(error) = stopped {
                    left.push(error.to_string());
                }
            }
        }
        left.extend(self.nodes.values().flat_map(|(_, node)| node.leftovers()));
        left
    }
}

impl Drop for System {
    /// After [`System::stop`] this finds nothing to do; it is the way out of a panic.
    fn drop(&mut self) {
        for (_, node) in self.nodes.values() {
            node.abandon();
        }
    }
}

/// Where each node listens: one channel per node, made before the nodes, because links are made first.
#[derive(Debug)]
pub struct Addresses(BTreeMap<String, Arc<watch::Sender<Option<SocketAddr>>>>);

impl Addresses {
    /// A channel for each of these names.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            names
                .into_iter()
                .map(|name| (name.to_owned(), Arc::new(watch::Sender::new(None))))
                .collect(),
        )
    }

    /// Where this node listens; a name without a node never listens.
    #[must_use]
    pub fn receiver(&self, name: &str) -> watch::Receiver<Option<SocketAddr>> {
        self.0
            .get(name)
            .map_or_else(|| watch::channel(None).1, |sender| sender.subscribe())
    }

    fn sender(&self, name: &str) -> Result<Arc<watch::Sender<Option<SocketAddr>>>, RuntimeError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| RuntimeError::Unknown(name.to_owned()))
    }
}
