//! The nodes of one run as a whole: started wave by wave, waited for, stopped in the opposite order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use indexmap::IndexMap;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::emit::Emitter;
use super::{AddressSender, Node, NodeContext, RuntimeError, Runtimes, ready};
use crate::event::EventKind;
use crate::plan::{NodePlan, ReadyPlan, SystemPlan};

/// The nodes of a running system, in order of start.
#[derive(Debug)]
pub struct System {
    nodes: IndexMap<String, (NodePlan, Arc<dyn Node>)>,
    emitter: Emitter,
    stopping: Arc<AtomicBool>,
    runtimes: Runtimes,
    run_id: String,
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
            let runtime = context.runtimes.for_node(node_plan)?;
            let node = runtime.node(node_plan, context, address)?;
            nodes.insert(node_plan.name.clone(), (node_plan.clone(), node));
        }
        Ok(Self {
            nodes,
            emitter: context.emitter.clone(),
            stopping: context.stopping.clone(),
            runtimes: context.runtimes.clone(),
            run_id: context.run_id.clone(),
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
        self.stopping.store(true, Ordering::SeqCst);
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
        for runtime in self.runtimes.iter() {
            let swept = runtime.sweep(&self.run_id).await;
            for ended in swept.ended {
                self.warn(format!(
                    "was still running when every node had been stopped, and was ended: {ended}"
                ));
            }
            left.extend(swept.left);
        }
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
pub struct Addresses(BTreeMap<String, AddressSender>);

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

    fn sender(&self, name: &str) -> Result<AddressSender, RuntimeError> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| RuntimeError::Unknown(name.to_owned()))
    }
}
