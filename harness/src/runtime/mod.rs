//! Where a system runs: nodes that can be started, killed, paused and stopped, in this process or as child processes.
//!
//! A [`Runtime`] makes nodes, and each node of a system may have another. A [`Node`] does the few things that every node
//! can; what only some can is behind a method that returns `None` by default ([`Node::pause`]), so that no method has
//! to fail because a runtime lacks it. A [`System`] is all nodes of a run. A [`Node`] says where it listens by a `watch`
//! channel, which is what links follow. How a role of a system that the harness knows is started is that system's to say
//! ([`crate::sut::acting`]).

pub mod embedded;
pub mod emit;
pub mod fleet;
pub mod logs;
pub mod needs;
pub mod process;
pub mod ready;
mod refused;
mod role;
mod system;
pub mod wanted;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::file_limit::FileLimit;
use crate::journal::Journal;
use crate::plan::{NodePlan, ReadyPlan, RuntimeKind};
use emit::Emitter;
pub use system::{Addresses, System};

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
    /// It ended before it met its readiness condition.
    #[error("{node} ended before it was ready, {after} after its start: {how}")]
    EndedEarly {
        /// The node.
        node: String,
        /// Time from its start.
        after: String,
        /// How.
        how: String,
    },
    /// A signal did not have its effect.
    #[error("{node}: {reason}")]
    Control {
        /// The node.
        node: String,
        /// What was tried and what happened.
        reason: String,
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
    /// How its present (or last) incarnation ended; `None` while it lives.
    fn ended(&self) -> Option<String>;
    /// Starts it (again). Returns when it has been started, not when it is ready.
    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>>;
    /// Ends it without warning; says what was done and how it ended.
    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
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
    /// Asks it for its readiness, directly and not through a link: the status of its answer, or what was seen instead.
    fn probe<'a>(
        &'a self,
        client: &'a reqwest::Client,
        plan: &'a ReadyPlan,
    ) -> BoxFuture<'a, Result<u16, String>> {
        let address = *self.address().borrow();
        Box::pin(ready::probe(client, plan, address))
    }
    /// How it is paused, where it can be ([`Capability::Pause`](crate::scenario::capability::Capability)).
    fn pause(&self) -> Option<&dyn Pause> {
        None
    }
}

/// Stopping a node from running without ending it.
pub trait Pause: Send + Sync {
    /// Stops it; the evidence.
    fn pause(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
    /// Lets it run again; the evidence.
    fn resume(&self) -> BoxFuture<'_, Result<String, RuntimeError>>;
}

/// A way to run nodes. Chosen for each node; nodes of several runtimes make one system.
pub trait Runtime: Send + Sync + fmt::Debug {
    /// Its word in scenarios; what its nodes can do is known from it.
    fn kind(&self) -> RuntimeKind;
    /// Makes a node without starting it. `address` receives where it listens.
    ///
    /// # Errors
    /// When it cannot run here, or a program it needs is missing.
    fn node(
        &self,
        plan: &NodePlan,
        context: &NodeContext,
        address: AddressSender,
    ) -> Result<Arc<dyn Node>, RuntimeError>;
    /// The address that a link must listen at so that its nodes reach it. Other machines reach what listens at all
    /// addresses, so a runtime with a network of its own names the one that leads there.
    fn bind(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }
    /// Ends what was started for a run and belongs to no node any more. Called when every node has been stopped.
    fn sweep<'a>(&'a self, _run: &'a str) -> BoxFuture<'a, Swept> {
        Box::pin(std::future::ready(Swept::default()))
    }
    /// How its nodes dial a link that listens at this address.
    fn reach(&self, link: SocketAddr) -> HostPort {
        link.into()
    }
}

/// What a runtime found at the end of a run that belonged to no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was ended, for people.
    pub ended: Vec<String>,
    /// What could not be ended, for people.
    pub left: Vec<String>,
}

/// Where a node says that it listens.
pub type AddressSender = Arc<watch::Sender<Option<SocketAddr>>>;

/// A host, by name or by address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

/// The runtimes there are, by their words.
#[derive(Debug, Clone)]
pub struct Runtimes(BTreeMap<RuntimeKind, Arc<dyn Runtime>>);

impl Default for Runtimes {
    fn default() -> Self {
        let embedded: Arc<dyn Runtime> = Arc::new(embedded::EmbeddedRuntime);
        let process: Arc<dyn Runtime> = Arc::new(process::ProcessRuntime);
        Self::of([embedded, process])
    }
}

impl Runtimes {
    /// These, and no others.
    #[must_use]
    pub fn of(runtimes: impl IntoIterator<Item = Arc<dyn Runtime>>) -> Self {
        let by_kind = runtimes.into_iter().map(|one| (one.kind(), one));
        Self(by_kind.collect())
    }

    /// Every runtime.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Runtime>> {
        self.0.values()
    }

    /// The runtime that runs this node.
    ///
    /// # Errors
    /// When there is none of its kind.
    pub fn for_node(&self, plan: &NodePlan) -> Result<&Arc<dyn Runtime>, RuntimeError> {
        self.0
            .get(&plan.runtime)
            .ok_or_else(|| RuntimeError::Start {
                node: plan.name.clone(),
                reason: format!("there is no {} runtime here", plan.runtime.word()),
            })
    }
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
    /// The runtimes that run nodes.
    pub runtimes: Runtimes,
    /// Set when the system is being stopped: nodes that end from then on are meant to.
    pub stopping: Arc<AtomicBool>,
    /// The limit on open files that processes get, where this process has raised its own.
    pub files: Option<FileLimit>,
    /// Address of each link, by the link's name, as the harness itself dials it.
    pub links: BTreeMap<String, SocketAddr>,
    /// For each node, the host and port to dial for each peer it has a link to.
    pub routes: BTreeMap<String, BTreeMap<String, String>>,
}

impl NodeContext {
    /// How a node dials every link, by the link's name.
    ///
    /// # Errors
    /// When there is no runtime of the node's kind.
    pub fn reachable(&self, plan: &NodePlan) -> Result<BTreeMap<String, HostPort>, RuntimeError> {
        let runtime = self.runtimes.for_node(plan)?;
        let links = self.links.iter();
        Ok(links
            .map(|(name, address)| (name.clone(), runtime.reach(*address)))
            .collect())
    }
}
