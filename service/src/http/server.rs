//! The accept loop of every role, with a graceful and bounded end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::InFlight;
use super::connection::Connections;
use super::crowd::{Crowd, Guest};
use super::pace::Pace;
use super::wire::Exchanges;
use crate::env::Env;
use crate::net::Acceptor;
use crate::shortage::is_shortage;

/// `accept` fails when descriptors run out; at once again would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How often it is told that it fails.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// When to stop, and how long to wait for what is in flight.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Cancelled: no further connection is accepted, idle ones are closed, requests in flight go on.
    pub stop: CancellationToken,
    /// Bound on that going on; what is left then is cut off.
    pub limit: Duration,
}

/// What is asked of a peer so that it may keep its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A request's body must come at this pace.
    pub sending: Pace,
    /// An answer must be read at this pace.
    pub reading: Pace,
}

impl Default for Patience {
    fn default() -> Self {
        let pace = |secs| Pace {
            bytes: 1024,
            within: Duration::from_secs(secs),
        };
        Self {
            sending: pace(10),
            reading: pace(30),
        }
    }
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
    patience: Patience,
    drain: Drain,
) -> Served {
    let kill = CancellationToken::new();
    let _kill_on_drop = kill.clone().drop_guard();
    let open = InFlight::default();
    let connections = Arc::new(Connections::new(env.clone(), router, patience));
    let mut crowd = Crowd::new(env.net.most_connections());
    let mut failures = Failures::default();
    loop {
        let full_until = crowd.full_until();
        let accept = async {
            if let Some(until) = full_until {
                tokio::time::sleep_until(until).await;
            }
            acceptor.accept().await
        };
        let accepted = tokio::select! {
            biased;
            () = drain.stop.cancelled() => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((io, _)) => {
                let guard = open.enter();
                let connections = Arc::clone(&connections);
                let (stop, end) = (drain.stop.clone(), kill.child_token());
                let exchanges = Arc::new(Exchanges::default());
                let guest = Guest {
                    since: Instant::now(),
                    exchanges: Arc::clone(&exchanges),
                    end: end.clone(),
                };
                let crowded = crowd.enter(guest, open.count() - 1);
                drop(env.exec.spawn(async move {
                    tokio::select! {
                        biased;
                        () = end.cancelled() => {}
                        () = connections.run(io, exchanges, crowded, stop) => {}
                    }
                    drop(guard);
                }));
            }
            Err(error) => {
                if is_shortage(&error) {
                    crowd.relieve();
                }
                if let Some(times) = failures.tell(Instant::now()) {
                    tracing::warn!(%error, times, "cannot accept");
                }
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

/// Failures to accept. They come a hundred times a second, and one line a second says as much.
#[derive(Debug, Default)]
struct Failures {
    untold: u64,
    told: Option<Instant>,
}

impl Failures {
    /// Counts one; gives how many there were since the last that was told, when it is time to tell.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use axum::body::Bytes;
    use axum::middleware::from_fn;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::http::connection::HEADER_READ;
    use crate::http::testing::{MemoryNet, node};
    use crate::http::{Problem, unless_stalled};
    use crate::net::BoxIo;

    /// More than fits on the way from the server to its peer.
    const LARGE: usize = 1 << 20;

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
        let router = Router::new()
            .route("/quick", get(async || "quick"))
            .route("/size", post(async |body: Bytes| body.len().to_string()))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route(
                "/slow",
                get(async || {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    "slow"
                }),
            )
            .layer(from_fn(unless_stalled));
        let stop = CancellationToken::new();
        let drain = Drain {
            stop: stop.clone(),
            limit,
        };
        let serving = env.clone();
        let task = tokio::spawn(async move {
            serve(&serving, acceptor, router, Patience::default(), drain).await
        });
        Bed { env, stop, task }
    }

    impl Bed {
        async fn connect(&self) -> BoxIo {
            let connected = self.env.net.connect("server".to_owned(), 1).await;
            connected.expect("listens")
        }

        /// Sends `text` on a connection of its own; the answer is all that comes until the end.
        async fn send(&self, text: impl Into<String>) -> JoinHandle<String> {
            let mut io = self.connect().await;
            let text = text.into();
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

    const UPLOAD: &str = "POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_body_that_makes_no_progress_is_answered_and_its_connection_closed() {
        let bed = bed(Duration::from_secs(2)).await;
        let mut io = bed.connect().await;
        io.write_all(UPLOAD.as_bytes()).await.expect("taken");
        let began = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(io);
        let dribble = tokio::spawn(async move {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        let mut answer = String::new();
        reader.read_to_string(&mut answer).await.expect("text");
        let within = Patience::default().sending.within;
        assert_eq!(began.elapsed(), within);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // It is listened to for a moment longer, so that the answer arrives.
        drop(reader);
        dribble.await.expect("no panic");
        assert!(began.elapsed() < within + Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_keeps_the_pace_is_taken() {
        let bed = bed(Duration::from_secs(2)).await;
        let mut io = bed.connect().await;
        io.write_all(UPLOAD.as_bytes()).await.expect("taken");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(3)).await;
            io.write_all(&[b'x'; 500]).await.expect("taken");
        }
        let mut answer = [0; 1000];
        let size = io.read(&mut answer).await.expect("answered");
        assert!(answer[..size].ends_with(b"50000"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let bed = bed(Duration::from_secs(2)).await;
        let mut io = bed.connect().await;
        let request = b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n";
        io.write_all(request).await.expect("taken");
        let within = Patience::default().reading.within;
        tokio::time::sleep(within + Duration::from_millis(10)).await;
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.ok(); // what was on its way, then the end
        assert!(answer.len() < LARGE, "{}", answer.len());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_slowly_is_sent_whole() {
        let bed = bed(Duration::from_secs(2)).await;
        let mut io = bed.connect().await;
        let request = b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        io.write_all(request).await.expect("taken");
        let (mut read, mut piece) = (0, [0; 1500]);
        loop {
            tokio::time::sleep(Duration::from_secs(20)).await;
            match io.read(&mut piece).await.expect("whole") {
                0 => break,
                size => read += size,
            }
        }
        assert!(read > LARGE);
    }

    /// The code of the problem that `answer` ends with, which must be a whole one that closes.
    fn problem(answer: &str) -> (u16, String) {
        let (head, body) = answer.rsplit_once("\r\n\r\n").expect("an answer");
        let problem = Problem::parse(body.as_bytes()).unwrap_or_else(|| panic!("{answer}"));
        for line in [
            format!("HTTP/1.1 {} ", problem.status),
            format!("content-length: {}\r\n", body.len()),
            "content-type: application/problem+json\r\n".to_owned(),
            "date: ".to_owned(),
            "x-request-id: ".to_owned(),
        ] {
            assert!(head.contains(&line), "{line}: {answer}");
        }
        assert!(head.ends_with("connection: close"), "{answer}");
        (problem.status, problem.code.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_request_is_answered_with_a_problem() {
        let bed = bed(Duration::from_secs(2)).await;
        let fields = |count: usize| {
            let fields = "a: b\r\n".repeat(count);
            format!("GET /quick HTTP/1.1\r\n{fields}\r\n")
        };
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
        for (text, status, code) in [
            ("NONSENSE\r\n\r\n", 400, "malformed_request"),
            (
                "GET / HTTP/1.1\r\nno field\r\n\r\n",
                400,
                "malformed_request",
            ),
            ("GET / HTTP/3.0\r\n\r\n", 400, "malformed_request"),
            ("\x16\x03\x01\x02\x00\x01\x00\x01", 400, "malformed_request"),
            (&fields(101), 431, "request_head_too_large"),
            (&long, 431, "request_head_too_large"),
            (
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                505,
                "http_version_not_supported",
            ),
            ("GET /quick HTTP/1.1\r\nho", 408, "request_too_slow"),
        ] {
            let answer = bed.send(text.to_owned()).await.await.expect("no panic");
            assert_eq!(problem(&answer), (status, code.to_owned()), "{text:.50}");
        }
        let mut io = bed.connect().await;
        io.write_all(QUICK.as_bytes()).await.expect("taken");
        let mut answer = [0; 1000];
        let size = io.read(&mut answer).await.expect("answered");
        assert!(answer[..size].ends_with(b"quick"));
        io.write_all(b"GET / HT").await.expect("taken");
        io.shutdown().await.expect("half closed");
        let mut answer = String::new();
        io.read_to_string(&mut answer).await.expect("text");
        assert_eq!(problem(&answer), (400, "malformed_request".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_to_accept_are_told_once_a_second() {
        let mut failures = Failures::default();
        let mut told = Vec::new();
        for _ in 0..250 {
            told.extend(failures.tell(Instant::now()));
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        assert_eq!(told, [1, 100, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_told_nothing() {
        let bed = bed(Duration::from_secs(2)).await;
        assert_eq!(bed.send("").await.await.expect("no panic"), "");
        let answer = bed.send(QUICK).await.await.expect("no panic");
        assert!(answer.ends_with("quick"), "{answer}");
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
