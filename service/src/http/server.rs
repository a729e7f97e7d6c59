//! The accept loop of every role, with a graceful and bounded end.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::body::InFlight;
use crate::env::{Env, Exec};
use crate::net::{Acceptor, BoxIo};

/// A peer that has not sent a whole request head by then (idle keep-alive included) is closed.
const HEADER_READ: Duration = Duration::from_secs(30);
/// `accept` fails when descriptors run out; at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// When to stop, and how long to wait for what is in flight.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Cancelled: no further connection is accepted, idle ones are closed, requests in flight go on.
    pub stop: CancellationToken,
    /// Bound on that going on; what is left then is cut off.
    pub limit: Duration,
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Connections that were still busy when the drain limit was reached.
    pub cut: usize,
}

/// Serves `router` on `acceptor` until `drain.stop` is cancelled and the connections are done. Dropping the future
/// ends every connection, as the death of a process would.
pub async fn serve(
    env: &Env,
    mut acceptor: Box<dyn Acceptor>,
    router: Router,
    drain: Drain,
) -> Served {
    let kill = CancellationToken::new();
    let _kill_on_drop = kill.clone().drop_guard();
    let open = InFlight::default();
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
        // The date is the machine's; a simulated run must not depend on it.
        .auto_date_header(env.exec == Exec::Tokio);
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.stop.cancelled() => break,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok((io, _)) => {
                let guard = open.enter();
                let connection = connection(
                    server.clone(),
                    io,
                    router.clone(),
                    drain.stop.clone(),
                    kill.clone(),
                );
                drop(env.exec.spawn(async move {
                    connection.await;
                    drop(guard);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(acceptor);
    let drained = tokio::time::timeout(drain.limit, open.idle()).await.is_ok();
    let cut = if drained { 0 } else { open.count() };
    if cut > 0 {
        tracing::warn!(cut, "drain limit reached, connections cut off");
    }
    Served { cut }
}

async fn connection(
    server: http1::Builder,
    io: BoxIo,
    router: Router,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let serving = server.serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            () = kill.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
        }
    }
}
