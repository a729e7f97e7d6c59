//! The service's seams filled with turmoil's simulated network and virtual time.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::{Env, Exec, SharedRng, WallClock};
use clip_service::media::MediaEngine;
use clip_service::net::{Acceptor, BoxIo, Net};
use clip_service::observe::{Notice, Notices};
use clip_service::store::{Blobs, JobStore};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The simulated network of the host that uses it.
pub(super) struct SimNet;

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

    fn connect(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<BoxIo>> {
        Box::pin(async move {
            // The simulation parks a connect to a crashed host until it is back; a kernel would refuse it.
            let dial = turmoil::net::TcpStream::connect((host.as_str(), port));
            let stream = tokio::time::timeout(Duration::from_millis(100), dial)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::ConnectionRefused, "host is down"))??;
            Ok(Box::new(stream) as BoxIo)
        })
    }
}

/// Everything that happened, one line each, in order: the fingerprint of a run.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn line(&self, text: impl AsRef<str>) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.0
            .lock()
            .push(format!("{:>9.3} {}", at.as_secs_f64(), text.as_ref()));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// Storage that outlives a crash of the node that uses it.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) store: Arc<dyn JobStore>,
    pub(super) blobs: Arc<dyn Blobs>,
}

/// The world of one incarnation of one node. Called inside the simulation.
pub(super) fn env(
    node: &str,
    seed: u64,
    incarnation: u64,
    disk: &Disk,
    media: Arc<dyn MediaEngine>,
    log: &Log,
) -> Env {
    let log = log.clone();
    Env {
        node: node.into(),
        net: Arc::new(SimNet),
        exec: Exec::Local,
        clock: WallClock::new(|| {
            let elapsed = turmoil::sim_elapsed().unwrap_or_default();
            let epoch = Timestamp::from_second(1_700_000_000).expect("a valid time");
            epoch + SignedDuration::try_from(elapsed).expect("a short run")
        }),
        rng: SharedRng::seeded(seed)
            .fork(node)
            .fork(&incarnation.to_string()),
        store: Arc::clone(&disk.store),
        blobs: Arc::clone(&disk.blobs),
        media,
        notices: Notices::new(move |notice: Notice| {
            if let Notice::Transition(t) = notice {
                log.line(format!(
                    "{} {:?} {}: {} -> {} ({})",
                    t.source, t.subject, t.name, t.from, t.to, t.reason
                ));
            }
        }),
        shutdown: CancellationToken::new(),
    }
}
