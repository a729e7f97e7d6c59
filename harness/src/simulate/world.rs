//! The service's seams filled with turmoil's simulated network and virtual time.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::{Env, Exec, SharedRng, WallClock};
use clip_service::media::MediaEngine;
use clip_service::net::{Acceptor, BoxIo, Net};
use clip_service::observe::{Notice, Notices, Subject, Transition};
use clip_service::store::{Blobs, JobStore};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::active_faults::ActiveFaults;
use super::schedule::HOSTS;

/// Where every role listens.
pub(super) const PORT: u16 = 80;
/// One way over the network, milliseconds: least and most.
pub(super) const LATENCY_MS: (u64, u64) = (1, 3);

/// The simulated network of one host.
struct SimNet {
    host: &'static str,
    active_faults: ActiveFaults,
}

struct SimAcceptor(turmoil::net::TcpListener);

impl Acceptor for SimAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxIo, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.0.accept().await?;
            Ok((Box::new(stream) as BoxIo, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Net for SimNet {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Acceptor>>> {
        Box::pin(async move {
            let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
            let listener = turmoil::net::TcpListener::bind(any).await?;
            Ok(Box::new(SimAcceptor(listener)) as Box<dyn Acceptor>)
        })
    }

    /// Connects as a kernel would. The simulation alone parks a connect to a host that is down until it is back, where a
    /// kernel would be refused; and refuses one over a cut link at once, where a kernel would send the SYN again.
    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxIo>> {
        let (here, active_faults) = (self.host, self.active_faults.clone());
        Box::pin(async move {
            let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "host is down");
            if let Some(there) = HOSTS.into_iter().find(|known| *known == host) {
                active_faults.until_not_cut(here, there).await;
            }
            if active_faults.down(&host) {
                tokio::time::sleep(Duration::from_millis(2 * LATENCY_MS.0)).await;
                return Err(refused());
            }
            let stream = tokio::select! {
                biased;
                stream = turmoil::net::TcpStream::connect((host.as_str(), port)) => stream?,
                () = active_faults.until_down(&host) => return Err(refused()),
            };
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// Everything that happened, one line each, in order: the fingerprint of a run.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} lines)", self.0.lock().len())
    }
}

impl Log {
    /// From inside the simulation.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        self.line_at(now(), text);
    }

    /// From the loop that steps it.
    pub(super) fn line_at(&self, at: Duration, text: impl AsRef<str>) {
        let at = at.as_secs_f64();
        self.0.lock().push(format!("{at:>9.3} {}", text.as_ref()));
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Time since the start of the simulation.
pub(super) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// A breaker moved: when, and how.
pub(super) type Moves = Arc<Mutex<Vec<(Duration, Transition)>>>;

/// What one incarnation of one node is given.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) name: &'static str,
    pub(super) incarnation: u64,
    pub(super) seed: u64,
    pub(super) active_faults: ActiveFaults,
    pub(super) log: Log,
    /// Takes what breakers do.
    pub(super) moves: Moves,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) media: Arc<dyn MediaEngine>,
}

/// The world of a node. Called inside the simulation.
pub(super) fn env(node: Node) -> Env {
    let (log, moves) = (node.log, node.moves);
    Env {
        node: node.name.into(),
        net: Arc::new(SimNet {
            host: node.name,
            active_faults: node.active_faults,
        }),
        exec: Exec::Local,
        clock: WallClock::new(|| {
            let elapsed = SignedDuration::try_from(now()).unwrap_or_default();
            Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_700_000_000) + elapsed
        }),
        rng: SharedRng::seeded(node.seed)
            .fork(node.name)
            .fork(&node.incarnation.to_string()),
        store: node.store,
        blobs: node.blobs,
        media: node.media,
        notices: Notices::new(move |notice: Notice| {
            let Notice::Transition(t) = notice else {
                return;
            };
            log.line(format!(
                "{} {:?} {}: {} -> {} ({})",
                t.source, t.subject, t.name, t.from, t.to, t.reason
            ));
            if t.subject == Subject::Breaker {
                moves.lock().push((now(), t));
            }
        }),
        shutdown: CancellationToken::new(),
    }
}
