//! Every edge of a system runs through a [`Link`]: a TCP proxy whose address never changes, whatever happens to the node
//! behind it. All network faults live here.
//!
//! A link knows no node: where it leads is a `watch` channel that whoever starts the node feeds. It follows where HTTP/1
//! messages begin and end, so that faults of requests can strike at any time on any connection, and passes everything
//! else as it comes; what is no HTTP/1 feels no such fault. It tells the truth about connections: an end of stream passes as a half-close, a reset passes as a reset, a
//! refused dial resets the caller at once. Every control call is bounded in time.

mod exchanges;
mod http1;
mod proxy;
mod pump;
mod toxic;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::plan::{LatencySpec, LinkPlan, SlowSpec, StatusSpec};
use toxic::{Held, Toxics};

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
}

/// What a fault has held back since it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeldTally {
    /// Chunks or answers held.
    pub count: u64,
    /// Shortest hold seen.
    pub shortest: Duration,
    /// Longest hold seen.
    pub longest: Duration,
}

impl HeldTally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.count, other.count) {
            (0, _) => other,
            (_, 0) => self,
            _ => Self {
                count: self.count + other.count,
                shortest: self.shortest.min(other.shortest),
                longest: self.longest.max(other.longest),
            },
        }
    }
}

/// What a link that answers itself has done since it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AnsweredTally {
    /// Requests that came to the choice.
    pub requests: u64,
    /// Those that the link answered.
    pub answered: u64,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) upstream: Upstream,
    pub(crate) toxics: watch::Sender<Toxics>,
    /// Whether the listening socket is open.
    pub(crate) listening: watch::Sender<bool>,
    /// Raised by one to cut every live connection.
    pub(crate) cuts: watch::Sender<u64>,
    pub(crate) rng: SharedRng,
    pub(crate) tally: Mutex<Tally>,
    /// What the latency fault has held.
    pub(crate) held: Mutex<Held>,
    /// Answers that the slow fault has held.
    pub(crate) slowed: Mutex<Held>,
    pub(crate) answered: Mutex<AnsweredTally>,
    /// Draws which requests the link answers itself: one stream for all connections, in order of the requests.
    pub(crate) draw: SharedRng,
    pub(crate) last_activity: Mutex<Option<Instant>>,
}

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
    /// Opens a link on a free port of an address of this machine: the loopback interface, unless whoever dials it is on
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
            toxics: watch::Sender::new(Toxics::default()),
            listening: watch::Sender::new(true),
            cuts: watch::Sender::new(0),
            draw: rng.fork("status"),
            rng,
            tally: Mutex::new(Tally::default()),
            held: Mutex::new(Held::default()),
            slowed: Mutex::new(Held::default()),
            answered: Mutex::new(AnsweredTally::default()),
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

    /// What the present (or last) latency fault has held.
    #[must_use]
    pub fn held(&self) -> HeldTally {
        self.inner.held.lock().tally()
    }

    /// Time since bytes last passed; `None` if none ever did.
    #[must_use]
    pub fn idle(&self) -> Option<Duration> {
        self.inner.last_activity.lock().map(|at| at.elapsed())
    }

    /// Sets the latency fault, or takes it away. Acts on live connections at once; taking it away lets everything held
    /// go, in order.
    pub fn set_latency(&self, latency: Option<LatencySpec>) {
        if latency.is_some() {
            *self.inner.held.lock() = Held::default();
        }
        self.inner
            .toxics
            .send_modify(|toxics| toxics.latency = latency);
    }

    /// Answers that the present (or last) slow fault has held.
    #[must_use]
    pub fn slowed(&self) -> HeldTally {
        self.inner.slowed.lock().tally()
    }

    /// What the present (or last) status fault has answered.
    #[must_use]
    pub fn answered(&self) -> AnsweredTally {
        *self.inner.answered.lock()
    }

    /// Sets the slow fault, or takes it away: each answer is held for a multiple of the time since its request was sent.
    /// Acts on live connections at once, as [`Link::set_latency`] does.
    pub fn set_slow(&self, slow: Option<SlowSpec>) {
        if slow.is_some() {
            *self.inner.slowed.lock() = Held::default();
        }
        self.inner.toxics.send_modify(|toxics| toxics.slow = slow);
    }

    /// Sets the status fault, or takes it away: a share of requests is answered by the link and not seen by the node.
    /// Acts on live connections from their next request on.
    pub fn set_status(&self, status: Option<StatusSpec>) {
        if status.is_some() {
            *self.inner.answered.lock() = AnsweredTally::default();
        }
        self.inner
            .toxics
            .send_modify(|toxics| toxics.status = status);
    }

    /// Closes the listening socket and resets every live connection (`down`), or opens it again on the same port.
    ///
    /// # Errors
    /// When the proxy does not confirm in time.
    pub async fn set_down(&self, down: bool) -> Result<(), LinkError> {
        let mut listening = self.inner.listening.subscribe();
        self.inner.toxics.send_modify(|toxics| toxics.down = down);
        let confirmed = listening.wait_for(|listening| *listening != down);
        match tokio::time::timeout(CONTROL_BOUND, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LinkError::Stuck {
                name: self.inner.name.clone(),
                wanted: if down { "down" } else { "up" },
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
