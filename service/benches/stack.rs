//! What the client stack costs above the HTTP client: time and allocations of a call, less those of the same request by
//! the client alone. The instances are no processes: a connection that answers as soon as a request has been written.
//! So neither a server nor a socket hides what the layers do.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clip_service::env::{Env, Exec, SharedRng, WallClock};
use clip_service::http::Client;
use clip_service::media::NoMedia;
use clip_service::net::{Acceptor, BoxIo, Net};
use clip_service::observe::Notices;
use clip_service::registry::client::{Discovery, Peer};
use clip_service::store::{MemoryBlobs, MemoryStore};
use clip_service::upstream::{Call, Upstream, UpstreamConfig};
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use paired::Rounds;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[path = "bed/paired.rs"]
mod paired;

const ROUNDS: Rounds = Rounds {
    batch: 500,
    rounds: 200,
};
const PATH: &str = "/frame?at=1s";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const DEADLINE: Duration = Duration::from_secs(10);

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by contract; this one passes everything on"
)]
// SAFETY: every call goes to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A network where every address answers at once.
struct Null;

impl Net for Null {
    fn bind(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Acceptor>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn connect(&self, _: String, _: u16) -> BoxFuture<'static, io::Result<BoxIo>> {
        Box::pin(async { Ok(Box::new(Answering::default()) as BoxIo) })
    }
}

#[derive(Default)]
struct Answering {
    /// Answers not read yet.
    due: u32,
    reader: Option<Waker>,
}

impl AsyncWrite for Answering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Requests without a body, written in one piece.
        if bytes.ends_with(b"\r\n\r\n") {
            self.due += 1;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.due == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.due -= 1;
        into.put_slice(ANSWER);
        Poll::Ready(Ok(()))
    }
}

fn env() -> Env {
    Env {
        node: "bench".into(),
        net: Arc::new(Null),
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

struct Bed {
    runtime: Runtime,
    /// One per instance, as the stack has them: connections that were used a moment ago are quicker than those that were not.
    clients: Vec<Client>,
    turn: Cell<usize>,
    upstream: Upstream,
}

impl Bed {
    fn new(instances: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let env = env();
        let peers = (0..instances).map(|i| Peer::fixed(format!("p{i}"), format!("10.0.0.{i}:80")));
        let discovery = Discovery::fixed(peers.collect());
        let upstream = Upstream::new(&env, discovery, UpstreamConfig::default());
        Self {
            clients: (0..instances).map(|_| Client::new(&env)).collect(),
            turn: Cell::new(0),
            upstream,
            runtime,
        }
    }

    /// Runs `one` so often; how long all took, and how many allocations.
    fn run(&self, n: u64, one: impl AsyncFn() -> usize) -> (Duration, u64) {
        self.runtime.block_on(async {
            let (start, before) = (Instant::now(), ALLOCATIONS.load(Relaxed));
            for _ in 0..n {
                assert_eq!(black_box(one().await), 2);
            }
            (start.elapsed(), ALLOCATIONS.load(Relaxed) - before)
        })
    }

    /// The requests that the stack sends, by clients alone, instance after instance.
    fn client(&self, n: u64) -> (Duration, u64) {
        self.run(n, async || {
            let at = self.turn.get();
            self.turn.set((at + 1) % self.clients.len());
            let request = Request::get(format!("http://10.0.0.{at}:80{PATH}"))
                .header("x-timeout-ms", 250_u64)
                .header("x-attempt", 1_u32)
                .body(Full::default())
                .unwrap();
            let response = self.clients[at].request(request).await.unwrap();
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .len()
        })
    }

    fn stack(&self, n: u64) -> (Duration, u64) {
        self.run(n, async || {
            let call = Call::get(PATH, Instant::now() + DEADLINE);
            let reply = self.upstream.call(call).await.unwrap();
            let body = reply.response.into_body().collect().await;
            body.unwrap().to_bytes().len()
        })
    }
}

fn main() {
    if !paired::measuring() {
        return;
    }
    paired::heading(
        "The client stack above the HTTP client, instances that answer at once.",
        ROUNDS,
    );
    for instances in [1, 3, 64] {
        let bed = Bed::new(instances);
        // Connections are made, and what is usual is known.
        bed.client(2000);
        bed.stack(2000);
        let peers: [paired::Peer<'_>; 2] = [
            ("client alone", &|n| bed.client(n).0),
            ("whole stack", &|n| bed.stack(n).0),
        ];
        paired::compare(&format!("{instances} in the pool"), &peers, ROUNDS);
        // Whatever else the machine does only adds, so the fastest round of each is the one it spoilt least.
        let fastest = |one: &dyn Fn(u64) -> (Duration, u64)| {
            let rounds = (0..ROUNDS.rounds).map(|_| one(ROUNDS.batch).0);
            rounds.min().unwrap().as_secs_f64() / ROUNDS.batch as f64 * 1e9
        };
        let above = fastest(&|n| bed.stack(n)) - fastest(&|n| bed.client(n));
        let [(_, client), (_, stack)] = [bed.client(1000), bed.stack(1000)];
        println!(
            "    above the client: {above:.0} ns (fastest rounds), {:.2} allocations ({:.2} and {:.2})",
            (stack as f64 - client as f64) / 1000.0,
            stack as f64 / 1000.0,
            client as f64 / 1000.0,
        );
    }
}
