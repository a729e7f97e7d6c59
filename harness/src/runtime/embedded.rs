//! Nodes as tasks of this process, each on an own runtime thread: killing one drops everything it has, its listening
//! sockets and connections included, as the end of a process would.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clip_service::observe::{Notice, Notices};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::emit::Emitter;
use super::refused::refused;
use super::{AddressSender, Departure, Node, NodeContext, RuntimeError, role};
use crate::event::EventKind;
use crate::plan::{NodePlan, NodeStart, RuntimeKind};
pub use crate::sut::acting::Body;

/// Runs roles of the service as tasks of this process.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedRuntime;

impl super::Runtime for EmbeddedRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Embedded
    }

    fn node(
        &self,
        plan: &NodePlan,
        context: &NodeContext,
        address: AddressSender,
    ) -> Result<Arc<dyn Node>, RuntimeError> {
        match &plan.start {
            NodeStart::Service { system, .. } => {
                let body = role::body(*system, plan, context)?;
                Ok(Arc::new(EmbeddedNode::new(
                    &plan.name, body, address, context,
                )))
            }
            NodeStart::Run { .. } => Err(RuntimeError::Start {
                node: plan.name.clone(),
                reason: "a program runs as a process".to_owned(),
            }),
        }
    }
}

/// Time that tasks have to be gone in, once their runtime is shut down.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);

/// One set of tasks at a time, started again after each end.
pub struct EmbeddedNode {
    name: String,
    body: Body,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
    emitter: Emitter,
    stopping: Arc<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    incarnation: u32,
    live: Option<Live>,
}

struct Live {
    /// Taken when it is shut down.
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    expected: Arc<AtomicBool>,
    ended: watch::Receiver<Option<String>>,
}

impl fmt::Debug for EmbeddedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedNode")
            .field("name", &self.name)
            .field("address", &*self.address.borrow())
            .finish_non_exhaustive()
    }
}

/// Reports the end of a node's main task, also when the task is dropped.
struct Ending {
    name: String,
    how: Option<String>,
    expected: Arc<AtomicBool>,
    /// Set when the whole system is being stopped.
    stopping: Arc<AtomicBool>,
    address: Arc<watch::Sender<Option<SocketAddr>>>,
    emitter: Emitter,
    ended: watch::Sender<Option<String>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let how = self
            .how
            .take()
            .unwrap_or_else(|| "its tasks were dropped".to_owned());
        self.address.send_replace(None);
        self.emitter.event(EventKind::NodeExited {
            node: self.name.clone(),
            how: how.clone(),
            expected: self.expected.load(Ordering::SeqCst) || self.stopping.load(Ordering::SeqCst),
            log: Vec::new(),
        });
        self.ended.send_replace(Some(how));
    }
}

impl EmbeddedNode {
    /// A node that is not started yet.
    #[must_use]
    pub fn new(
        name: &str,
        body: Body,
        address: Arc<watch::Sender<Option<SocketAddr>>>,
        context: &NodeContext,
    ) -> Self {
        Self {
            name: name.to_owned(),
            body,
            address,
            emitter: context.emitter.clone(),
            stopping: context.stopping.clone(),
            state: Mutex::new(State::default()),
        }
    }

    fn spawn(&self) -> Result<(), RuntimeError> {
        let failed = |reason: String| RuntimeError::Start {
            node: self.name.clone(),
            reason,
        };
        let mut state = self.state.lock();
        if let Some(live) = &mut state.live {
            if live.ended.borrow().is_none() {
                return Err(failed("it is running already".to_owned()));
            }
            if let Some(runtime) = live.runtime.take() {
                runtime.shutdown_background();
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(&self.name)
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let (ended_tx, ended) = watch::channel(None);
        let expected = Arc::new(AtomicBool::new(false));
        let shutdown = CancellationToken::new();
        let ending = Ending {
            name: self.name.clone(),
            how: None,
            expected: expected.clone(),
            stopping: self.stopping.clone(),
            address: self.address.clone(),
            emitter: self.emitter.clone(),
            ended: ended_tx,
        };
        state.incarnation += 1;
        self.emitter.event(EventKind::NodeStarted {
            node: self.name.clone(),
            incarnation: state.incarnation,
            pid: None,
        });
        let role = (self.body)(self.notices(), shutdown.clone());
        runtime.spawn(async move {
            // Moved in whole, so that it reports when this task is dropped.
            let mut ending = ending;
            // Spawned once more, so that a panic ends as a reason and not as a missing one.
            let done = tokio::spawn(role).await;
            ending.how = Some(match done {
                Ok(Ok(())) => "returned".to_owned(),
                Ok(Err(error)) => format!("failed: {error}"),
                Err(panic) => format!("failed: {panic}"),
            });
        });
        state.live = Some(Live {
            runtime: Some(runtime),
            shutdown,
            expected,
            ended,
        });
        Ok(())
    }

    fn notices(&self) -> Notices {
        let address = self.address.clone();
        let emitter = self.emitter.clone();
        Notices::new(move |notice: Notice| match notice {
            Notice::Listening { address: said, .. } => match said.parse() {
                Ok(parsed) => {
                    address.send_replace(Some(parsed));
                }
                Err(_) => emitter.warn(format!("not an address: {said}")),
            },
            Notice::Transition(transition) => {
                emitter.event(EventKind::Transition(transition));
            }
        })
    }

    fn control(&self, reason: &str) -> RuntimeError {
        RuntimeError::Control {
            node: self.name.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Drops everything of the present incarnation.
    fn cut(&self) {
        let mut state = self.state.lock();
        if let Some(live) = &mut state.live {
            live.expected.store(true, Ordering::SeqCst);
            if let Some(runtime) = live.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }

    fn ended_receiver(&self) -> Option<watch::Receiver<Option<String>>> {
        self.state
            .lock()
            .live
            .as_ref()
            .map(|live| live.ended.clone())
    }

    async fn wait_ended(&self, bound: Duration) -> bool {
        let Some(mut ended) = self.ended_receiver() else {
            return true;
        };
        tokio::time::timeout(bound, ended.wait_for(Option::is_some))
            .await
            .is_ok()
    }
}

impl Drop for EmbeddedNode {
    /// A runtime must not be dropped where it could block; shut down in the background it may.
    fn drop(&mut self) {
        self.cut();
    }
}

impl Node for EmbeddedNode {
    fn name(&self) -> &str {
        &self.name
    }

    fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.subscribe()
    }

    fn ended(&self) -> Option<String> {
        self.ended_receiver()
            .and_then(|ended| ended.borrow().clone())
    }

    fn start(&self) -> BoxFuture<'_, Result<(), RuntimeError>> {
        Box::pin(async { self.spawn() })
    }

    fn kill(&self) -> BoxFuture<'_, Result<String, RuntimeError>> {
        Box::pin(async {
            let address = *self.address.borrow();
            if self
                .ended_receiver()
                .is_none_or(|ended| ended.borrow().is_some())
            {
                return Err(self.control("cannot be killed: it is not running"));
            }
            self.cut();
            if !self.wait_ended(EFFECT_WITHIN).await {
                return Err(self.control("its tasks live on after their runtime was shut down"));
            }
            let Some(address) = address else {
                return Ok(format!("killed {}: tasks dropped", self.name));
            };
            if !refused(address, EFFECT_WITHIN).await {
                return Err(self.control("its socket still accepts connections"));
            }
            Ok(format!(
                "killed {}: tasks dropped, {address} refuses connections",
                self.name
            ))
        })
    }

    fn terminate(&self) -> Result<String, RuntimeError> {
        let state = self.state.lock();
        match &state.live {
            Some(live) if live.ended.borrow().is_none() => {
                live.expected.store(true, Ordering::SeqCst);
                live.shutdown.cancel();
                Ok(format!("asked {} to end", self.name))
            }
            Some(_) | None => Err(self.control("cannot be asked to end: it is not running")),
        }
    }

    fn end_within(&self, grace: Duration) -> BoxFuture<'_, Result<Departure, RuntimeError>> {
        Box::pin(async move {
            let drained = self.wait_ended(grace).await;
            self.cut();
            if !drained && !self.wait_ended(EFFECT_WITHIN).await {
                return Err(self.control("its tasks cannot be ended"));
            }
            Ok(Departure {
                how: self.ended().unwrap_or_else(|| "never started".to_owned()),
                forced: !drained,
            })
        })
    }

    fn leftovers(&self) -> Vec<String> {
        match self.ended_receiver() {
            Some(ended) if ended.borrow().is_none() => vec![format!("tasks of {}", self.name)],
            Some(_) | None => Vec::new(),
        }
    }

    fn abandon(&self) {
        self.cut();
    }
}

#[cfg(test)]
mod tests {
    use clip_service::observe::Notice;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;
    use crate::journal::Journal;

    /// Accepts connections and holds them, in a task of its own, until it is told to end.
    fn holder() -> Body {
        Arc::new(|notices, shutdown| {
            Box::pin(async move {
                let listener = TcpListener::bind("127.0.0.1:0")
                    .await
                    .map_err(|error| error.to_string())?;
                let address = listener.local_addr().map_err(|error| error.to_string())?;
                tokio::spawn(async move {
                    let mut held = Vec::new();
                    while let Ok((stream, _)) = listener.accept().await {
                        held.push(stream);
                    }
                });
                notices.send(Notice::Listening {
                    role: "holder".to_owned(),
                    address: address.to_string(),
                });
                shutdown.cancelled().await;
                Ok(())
            })
        })
    }

    fn node(body: Body, dir: &std::path::Path) -> EmbeddedNode {
        let context = NodeContext {
            emitter: Emitter::new().0,
            journal: Journal::open(dir, "embedded").expect("journal"),
            run_id: "embedded".to_owned(),
            logs: dir.to_owned(),
            data: dir.to_owned(),
            seed: 1,
            runtimes: crate::runtime::Runtimes::default(),
            stopping: Arc::default(),
            files: None,
            links: std::collections::BTreeMap::new(),
            routes: std::collections::BTreeMap::new(),
        };
        EmbeddedNode::new("holder", body, Arc::new(watch::Sender::new(None)), &context)
    }

    async fn listening(node: &EmbeddedNode) -> SocketAddr {
        let mut address = node.address();
        let bound = tokio::time::timeout(EFFECT_WITHIN, address.wait_for(Option::is_some)).await;
        bound.expect("in time").expect("open").expect("address")
    }

    #[tokio::test]
    async fn a_killed_node_drops_sockets_and_connections_and_starts_again() {
        let dir = tempfile::tempdir().expect("dir");
        let node = node(holder(), dir.path());
        node.start().await.expect("start");
        let address = listening(&node).await;
        let mut held = TcpStream::connect(address).await.expect("connect");
        let said = node.kill().await.expect("kill");
        assert!(said.contains("refuses connections"), "{said}");
        let end = tokio::time::timeout(EFFECT_WITHIN, held.read_u8()).await;
        end.expect("the held connection ends").expect_err("ends");
        assert!(node.ended().is_some() && node.address.borrow().is_none());
        assert!(node.kill().await.is_err(), "the dead cannot be killed");
        node.start().await.expect("again");
        let address = listening(&node).await;
        TcpStream::connect(address).await.expect("connect again");
        node.stop(Duration::from_secs(5)).await.expect("stop");
        assert_eq!(node.ended().as_deref(), Some("returned"));
        assert!(node.leftovers().is_empty());
    }

    #[tokio::test]
    async fn a_node_that_is_asked_to_end_drains_and_one_that_does_not_is_made_to() {
        let dir = tempfile::tempdir().expect("dir");
        let willing = node(holder(), dir.path());
        assert!(willing.terminate().is_err(), "it does not run");
        willing.start().await.expect("start");
        listening(&willing).await;
        willing.terminate().expect("asked");
        let departure = willing.end_within(EFFECT_WITHIN).await.expect("ended");
        assert_eq!(
            (departure.how.as_str(), departure.forced),
            ("returned", false)
        );
        assert!(willing.leftovers().is_empty());

        let deaf: Body = Arc::new(|_, _| Box::pin(std::future::pending()));
        let other = tempfile::tempdir().expect("dir");
        let deaf = node(deaf, other.path());
        deaf.start().await.expect("start");
        deaf.terminate().expect("asked");
        let departure = deaf.end_within(Duration::from_millis(50)).await;
        let departure = departure.expect("made to end");
        assert_eq!(departure.how, "its tasks were dropped");
        assert!(departure.forced && deaf.leftovers().is_empty());
    }

    #[tokio::test]
    async fn a_body_that_fails_or_panics_says_so() {
        let dir = tempfile::tempdir().expect("dir");
        let failing: Body = Arc::new(|_, _| Box::pin(async { Err("no data folder".to_owned()) }));
        let node = node(failing, dir.path());
        node.start().await.expect("start");
        assert!(node.wait_ended(EFFECT_WITHIN).await);
        assert_eq!(node.ended().as_deref(), Some("failed: no data folder"));
    }
}
