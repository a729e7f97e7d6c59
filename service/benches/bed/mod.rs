//! What the benchmarks of both crates stand on: one thread, servers on loopback, measurements in turns.
//!
//! Callers and servers share the thread, so a figure is the work done and not the scheduler's choice of a core; it
//! contains the server's part, which is the same for all that are compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clip_service::env::{Env, Exec, Scoped, SharedRng, WallClock};
use clip_service::http::{Drain, Patience, Served, serve};
use clip_service::media::NoMedia;
use clip_service::net::TcpNet;
use clip_service::observe::Notices;
use clip_service::store::{MemoryBlobs, MemoryStore};
use criterion::Criterion;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

pub(crate) mod paired;

/// A runtime on the calling thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A node on real TCP, with nothing stored.
pub(crate) fn env() -> Env {
    Env {
        node: "bench".into(),
        net: Arc::new(TcpNet::new(BTreeMap::new())),
        exec: Exec::Tokio,
        clock: WallClock::system(),
        rng: SharedRng::seeded(42),
        store: Arc::new(MemoryStore::default()),
        blobs: Arc::new(MemoryBlobs::default()),
        media: Arc::new(NoMedia),
        notices: Notices::silent(),
        shutdown: CancellationToken::new(),
    }
}

/// Serves `router` on a free port until the handle is dropped.
pub(crate) async fn server(env: &Env, router: Router) -> (SocketAddr, Scoped<Served>) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let acceptor = env.net.bind(any).await.unwrap();
    let address = acceptor.local_addr().unwrap();
    let drain = Drain {
        stop: CancellationToken::new(),
        limit: Duration::ZERO,
    };
    let env = env.clone();
    let serving = async move { serve(&env, acceptor, router, Patience::default(), drain).await };
    (address, Exec::Tokio.scoped(serving))
}

/// Short enough that all benchmarks together take less than two minutes.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
        .configure_from_args()
}
