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
/// Most bytes of a request head, and of a body that are kept before a handler takes them.
const HEAD_BYTES: usize = 64 * 1024;
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
        .max_buf_size(HEAD_BYTES)
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::http::testing::{MemoryNet, node};

    struct Bed {
        env: Env,
        stop: CancellationToken,
        task: JoinHandle<Served>,
    }

    /// `/slow` takes ten seconds; drains for `limit`.
    async fn bed(limit: Duration) -> Bed {
        let (env, _) = node("server", Arc::new(MemoryNet::default()), 1);
        let acceptor = env
            .net
            .bind(SocketAddr::from(([127, 0, 0, 1], 1)))
            .await
            .expect("free");
        let router = Router::new().route("/quick", get(async || "quick")).route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_secs(10)).await;
                "slow"
            }),
        );
        let stop = CancellationToken::new();
        let drain = Drain {
            stop: stop.clone(),
            limit,
        };
        let serving = env.clone();
        let task = tokio::spawn(async move { serve(&serving, acceptor, router, drain).await });
        Bed { env, stop, task }
    }

    impl Bed {
        /// Sends `text` on a connection of its own; the answer is all that comes until the end.
        async fn send(&self, text: &'static str) -> JoinHandle<String> {
            let mut io = self
                .env
                .net
                .connect("server".to_owned(), 1)
                .await
                .expect("listens");
            tokio::spawn(async move {
                io.write_all(text.as_bytes()).await.expect("taken");
                let mut answer = Vec::new();
                // A connection that is cut may end in an error; what came before it counts.
                io.read_to_end(&mut answer).await.ok();
                String::from_utf8(answer).expect("text")
            })
        }
    }

    const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    const QUICK: &str = "GET /quick HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn draining_closes_idle_connections_and_finishes_requests() {
        let bed = bed(Duration::from_secs(30)).await;
        let (slow, idle) = (bed.send(SLOW).await, bed.send(QUICK).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stopped = Instant::now();
        bed.stop.cancel();
        assert!(idle.await.expect("no panic").ends_with("quick"));
        assert!(
            stopped.elapsed() < Duration::from_millis(10),
            "idle ones are closed at once"
        );
        assert!(
            bed.env.net.connect("server".to_owned(), 1).await.is_err(),
            "refuses"
        );
        assert!(slow.await.expect("no panic").ends_with("slow"));
        assert_eq!(bed.task.await.expect("no panic"), Served { cut: 0 });
        assert_eq!(stopped.elapsed().as_secs(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_is_bounded() {
        let bed = bed(Duration::from_secs(2)).await;
        let slow = bed.send(SLOW).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stopped = Instant::now();
        bed.stop.cancel();
        assert_eq!(bed.task.await.expect("no panic"), Served { cut: 1 });
        assert_eq!(slow.await.expect("no panic"), "");
        assert_eq!(stopped.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_finishes_its_request_is_closed() {
        let bed = bed(Duration::from_secs(2)).await;
        let began = Instant::now();
        bed.send("GET /quick HTTP/1.1\r\nho")
            .await
            .await
            .expect("no panic");
        assert_eq!(began.elapsed(), HEADER_READ);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_server_ends_its_connections() {
        let bed = bed(Duration::from_secs(2)).await;
        let slow = bed.send(SLOW).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let killed = Instant::now();
        bed.task.abort();
        assert_eq!(slow.await.expect("no panic"), "");
        assert!(killed.elapsed() < Duration::from_millis(10));
    }
}
