//! Every edge of a system runs through a [`Link`]: a TCP proxy whose address never changes, whatever happens to the node
//! behind it. All network faults live here.
//!
//! A link knows no node: where it leads is a `watch` channel, fed where the node is started. It follows where HTTP/1
//! messages begin and end, so that faults of requests can strike at any time on any connection, and passes everything
//! else as it comes; what is no HTTP/1 feels no such fault. It tells the truth about connections: an end of stream passes as a half-close, a reset passes as a reset, a
//! refused dial resets the caller at once. Every control call is bounded in time.

mod exchanges;
mod http1;
mod proxy;
mod pump;
pub(crate) mod toxics;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clip_service::env::SharedRng;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::file_limit::is_exhausted;
use crate::plan::LinkPlan;
use toxics::LinkToxic;

/// Longest time that a control call may take before it is reported as failed.
const CONTROL_BOUND: Duration = Duration::from_secs(3);

/// Where a link leads: the node's present address, `None` while it has none.
pub type Upstream = watch::Receiver<Option<SocketAddr>>;

/// Why a link did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Its listening socket could not be opened.
    #[error("link {name} cannot listen: {source}")]
    Listen {
        /// The link.
        name: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// It did not confirm a change in time.
    #[error("link {name} did not go {wanted} within {within:?}")]
    Stuck {
        /// The link.
        name: String,
        /// `down` or `up`.
        wanted: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// There is no link of this name.
    #[error("there is no link `{0}`")]
    Unknown(String),
}

/// What has passed through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Bytes from the caller to the node.
    pub bytes_up: u64,
    /// Bytes from the node to the caller.
    pub bytes_down: u64,
    /// Dials that failed, each of which reset its caller.
    pub dials_failed: u64,
    /// Live connections cut by the link going down.
    pub cut: u64,
    /// Connections that could not be accepted or dialled because this process had run out of files or ports.
    pub exhausted: u64,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) upstream: Upstream,
    /// What is wrong with it now, in order of being put.
    pub(crate) chain: watch::Sender<Chain>,
    /// Toxics put so far.
    pub(crate) put: AtomicU64,
    /// How many faults want it down; it listens while there are none.
    pub(crate) downs: watch::Sender<u32>,
    /// Whether the listening socket is open.
    pub(crate) listening: watch::Sender<bool>,
    /// Raised by one to cut every live connection.
    pub(crate) cuts: watch::Sender<u64>,
    pub(crate) rng: SharedRng,
    pub(crate) tally: Mutex<Tally>,
    pub(crate) last_activity: Mutex<Option<Instant>>,
}

impl Inner {
    /// Counts an error that is this process's own fault.
    pub(crate) fn note(&self, error: &io::Error) {
        if is_exhausted(error) {
            self.tally.lock().exhausted += 1;
        }
    }
}

/// The toxics on a link.
pub(crate) type Chain = Arc<[OnLink]>;

/// A toxic that is on a link.
#[derive(Debug, Clone)]
pub(crate) struct OnLink {
    pub(crate) id: ToxicId,
    /// The fault that put it there; its randomness is forked by this name.
    pub(crate) fault: Arc<str>,
    pub(crate) toxic: Arc<dyn LinkToxic>,
}

/// Names a toxic on its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToxicId(u64);

/// One edge: a TCP proxy with a stable address. Dropping it closes its socket and every connection through it.
pub struct Link {
    inner: Arc<Inner>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.inner.name)
            .field("address", &self.address)
            .field("tally", &self.tally())
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.inner.cuts.send_modify(|epoch| *epoch += 1);
    }
}

impl Link {
    /// Opens a link on a free port of an address of this machine: the loopback interface, unless its callers are on
    /// another network.
    ///
    /// # Errors
    /// When no socket can be opened.
    pub fn open(
        name: &str,
        bind: IpAddr,
        upstream: Upstream,
        rng: &SharedRng,
    ) -> Result<Self, LinkError> {
        let any = SocketAddr::from((bind, 0));
        let failed = |source| LinkError::Listen {
            name: name.to_owned(),
            source,
        };
        let socket = proxy::reserve(any).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let listener = socket.listen(proxy::BACKLOG).map_err(failed)?;
        let rng = rng.fork(&format!("link/{name}"));
        let inner = Arc::new(Inner {
            name: name.to_owned(),
            upstream,
            chain: watch::Sender::new(Arc::default()),
            put: AtomicU64::new(0),
            downs: watch::Sender::new(0),
            listening: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            rng,
            tally: Mutex::new(Tally::default()),
            last_activity: Mutex::new(None),
        });
        let task = tokio::spawn(proxy::serve(inner.clone(), listener, address));
        Ok(Self {
            inner,
            address,
            task,
        })
    }

    /// Its name (`gateway-1->processor-2`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where callers connect to; the same for the whole run.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        *self.inner.tally.lock()
    }

    /// Time since bytes last passed; `None` if none ever did.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        self.inner.last_activity.lock().map(|at| at.elapsed())
    }

    /// The link's own randomness for a fault.
    pub(crate) fn toxic_rng(&self, fault: &str) -> SharedRng {
        self.inner.rng.fork(&format!("toxic/{fault}"))
    }

    /// Puts a toxic of a fault at the end of the chain. It acts on live connections at once, on requests from the next one
    /// on.
    pub(crate) fn put(&self, fault: &str, toxic: Arc<dyn LinkToxic>) -> ToxicId {
        // Never given twice: a connection that was busy would take a new toxic for the one before.
        let id = ToxicId(self.inner.put.fetch_add(1, Ordering::Relaxed));
        self.inner.chain.send_modify(|chain| {
            let new = OnLink {
                id,
                fault: fault.into(),
                toxic,
            };
            *chain = chain.iter().cloned().chain([new]).collect();
        });
        id
    }

    /// Takes a toxic away; what it holds is let go, in order. Evidence that it acted.
    pub(crate) fn take(&self, id: ToxicId) -> Option<String> {
        let mut proof = None;
        self.inner.chain.send_if_modified(|chain| {
            let Some(on) = chain.iter().find(|on| on.id == id) else {
                return false;
            };
            // Read before it is gone, so that what is let go because of that does not count.
            proof = on.toxic.proof();
            *chain = chain.iter().filter(|on| on.id != id).cloned().collect();
            true
        });
        proof
    }

    /// Whether a fault has it down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        *self.inner.downs.borrow() > 0
    }

    /// Takes the link down: closes the listening socket and resets every live connection.
    ///
    /// # Errors
    /// When the proxy does not confirm in time.
    pub async fn take_down(&self) -> Result<(), LinkError> {
        self.inner.downs.send_modify(|downs| *downs += 1);
        self.confirm(false).await
    }

    /// Takes one reason to be down away. With the last one the link listens again, on the same port.
    ///
    /// # Errors
    /// When the proxy does not confirm in time.
    pub async fn bring_up(&self) -> Result<(), LinkError> {
        self.inner
            .downs
            .send_modify(|downs| *downs = downs.saturating_sub(1));
        match self.is_down() {
            true => Ok(()),
            false => self.confirm(true).await,
        }
    }

    async fn confirm(&self, up: bool) -> Result<(), LinkError> {
        let mut listening = self.inner.listening.subscribe();
        let confirmed = listening.wait_for(|listening| *listening == up);
        match tokio::time::timeout(CONTROL_BOUND, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LinkError::Stuck {
                name: self.inner.name.clone(),
                wanted: if up { "up" } else { "down" },
                within: CONTROL_BOUND,
            }),
        }
    }
}

/// All links of a system, by name.
#[derive(Debug, Default)]
pub struct Links {
    links: BTreeMap<String, Arc<Link>>,
    /// Names of the links that lead to each node.
    into: BTreeMap<String, Vec<String>>,
}

impl Links {
    /// Opens every link of the plan; `bind` tells which address those listen at that come from a node, `upstream` where
    /// the node of a name is.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn open(
        plans: &[LinkPlan],
        rng: &SharedRng,
        bind: impl Fn(&str) -> IpAddr,
        mut upstream: impl FnMut(&str) -> Upstream,
    ) -> Result<Self, LinkError> {
        let mut links = BTreeMap::new();
        let mut into: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for plan in plans {
            into.entry(plan.to.clone())
                .or_default()
                .push(plan.name.clone());
            let link = Link::open(&plan.name, bind(&plan.from), upstream(&plan.to), rng)?;
            links.insert(plan.name.clone(), Arc::new(link));
        }
        Ok(Self { links, into })
    }

    /// The links that lead to a node, in order of the plan.
    pub fn leading_to(&self, node: &str) -> impl Iterator<Item = &Arc<Link>> {
        self.into
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|name| self.links.get(name))
    }

    /// The link of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str) -> Result<&Arc<Link>, LinkError> {
        self.links
            .get(name)
            .ok_or_else(|| LinkError::Unknown(name.to_owned()))
    }

    /// Connections of all links that could not be accepted or dialled for want of files or ports.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.links.values().map(|link| link.tally().exhausted).sum()
    }

    /// Every link's address by its name, as this process dials it.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, SocketAddr> {
        self.links
            .iter()
            .map(|(name, link)| (name.clone(), dialled(link.address())))
            .collect()
    }
}

/// Where this process dials what listens at an address: "all addresses" is none that can be dialled.
fn dialled(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests;
