//! For tests: a network inside the process, so that tests run on paused time, and servers that can be killed or hung.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Drain, Patience, serve};
use crate::env::{Env, Exec, SharedRng, WallClock};
use crate::media::NoMedia;
use crate::net::{Acceptor, BoxIo, Net, SharedNet};
use crate::observe::{Notice, Notices, Transition};
use crate::store::{MemoryBlobs, MemoryStore};

/// Listeners by port; host names do not matter.
#[derive(Default)]
pub(crate) struct MemoryNet {
    listeners: Mutex<BTreeMap<u16, mpsc::Sender<BoxIo>>>,
}

struct MemoryAcceptor {
    incoming: mpsc::Receiver<BoxIo>,
    address: SocketAddr,
}

impl Acceptor for MemoryAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxIo, SocketAddr)>> {
        Box::pin(async move {
            let io = self
                .incoming
                .recv()
                .await
                .ok_or(io::ErrorKind::BrokenPipe)?;
            Ok((io, self.address))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Net for MemoryNet {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Acceptor>>> {
        let (sender, incoming) = mpsc::channel(1024);
        self.listeners.lock().insert(address.port(), sender);
        Box::pin(
            async move { Ok(Box::new(MemoryAcceptor { incoming, address }) as Box<dyn Acceptor>) },
        )
    }

    fn connect(&self, _: String, port: u16) -> BoxFuture<'static, io::Result<BoxIo>> {
        let listener = self.listeners.lock().get(&port).cloned();
        Box::pin(async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let listener = listener.ok_or_else(refused)?;
            listener
                .send(Box::new(theirs))
                .await
                .map_err(|_| refused())?;
            Ok(Box::new(ours) as BoxIo)
        })
    }
}

/// What a node under test reported.
pub(crate) type Log = Arc<Mutex<Vec<Transition>>>;

/// A node on `net`, and its reports.
pub(crate) fn node(name: &str, net: SharedNet, seed: u64) -> (Env, Log) {
    let log = Log::default();
    let into = Arc::clone(&log);
    let notices = Notices::new(move |notice: Notice| {
        if let Notice::Transition(transition) = notice {
            into.lock().push(transition);
        }
    });
    let env = Env {
        node: name.into(),
        net,
        exec: Exec::Tokio,
        clock: WallClock::system(),
        rng: SharedRng::seeded(seed),
        store: Arc::new(MemoryStore::default()),
        blobs: Arc::new(MemoryBlobs::default()),
        media: Arc::new(NoMedia),
        notices,
        shutdown: CancellationToken::new(),
    };
    (env, log)
}

/// States that `name` went to, in order.
pub(crate) fn states(log: &Log, name: &str) -> Vec<String> {
    log.lock()
        .iter()
        .filter(|t| t.name == name)
        .map(|t| t.to.clone())
        .collect()
}

/// Waits until `condition` holds, at most a minute of the test's time.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(in_time.is_ok(), "not within a minute: {what}");
}

/// How a [`Server`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Mood {
    Well,
    /// Takes requests and never answers, as a stopped process does.
    Hangs,
    /// 500.
    Fails,
    /// Sends a head and half of the body, then closes the connection.
    Breaks,
    /// Sends a head and half of the body, then nothing.
    Stalls,
    /// 503 with `x-shed`: has no room.
    Sheds,
}

/// A server that answers every path with its name after `delay`.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    state: Arc<Behaviour>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

struct Behaviour {
    name: String,
    mood: AtomicUsize,
    delay_us: AtomicU64,
    hits: AtomicUsize,
    changed: tokio::sync::Notify,
}

impl Server {
    pub(crate) async fn start(env: &Env, name: &str, address: SocketAddr) -> Self {
        let acceptor = env.net.bind(address).await.expect("a free port");
        let address = acceptor.local_addr().expect("bound");
        let state = Arc::new(Behaviour {
            name: name.to_owned(),
            mood: AtomicUsize::new(Mood::Well as usize),
            delay_us: AtomicU64::new(3000),
            hits: AtomicUsize::new(0),
            changed: tokio::sync::Notify::new(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let stop = CancellationToken::new();
        let drain = Drain {
            stop: stop.clone(),
            limit: Duration::from_secs(5),
        };
        let env = env.clone();
        let task = tokio::spawn(async move {
            serve(&env, acceptor, router, Patience::default(), drain).await;
        });
        Self {
            name: name.to_owned(),
            address,
            state,
            task,
            stop,
        }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state.mood.store(mood as usize, Relaxed);
        self.state.changed.notify_waiters();
    }

    pub(crate) fn slow_down(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).expect("short");
        self.state.delay_us.store(micros, Relaxed);
    }

    /// What waits for its answer gets one after `delay`, as does whatever comes later.
    pub(crate) fn answer_in(&self, delay: Duration, fails: bool) {
        self.set(if fails { Mood::Fails } else { Mood::Well });
        self.slow_down(delay);
        self.state.changed.notify_waiters();
    }

    /// Requests that reached it, probes apart.
    pub(crate) fn hits(&self) -> usize {
        self.state.hits.load(Relaxed)
    }

    /// As `kill -9`: connections break, the port refuses.
    pub(crate) async fn kill(&mut self) {
        self.task.abort();
        assert!(
            (&mut self.task)
                .await
                .is_err_and(|ended| ended.is_cancelled())
        );
    }

    /// As a polite stop; returns when the last request is answered.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.expect("serving does not panic");
    }
}

async fn answer(State(state): State<Arc<Behaviour>>, request: axum::extract::Request) -> Response {
    let request_is_work = request.uri().path() != "/health";
    if request_is_work {
        state.hits.fetch_add(1, Relaxed);
    }
    let mood = || state.mood.load(Relaxed);
    while mood() == Mood::Hangs as usize {
        state.changed.notified().await;
    }
    let began = tokio::time::Instant::now();
    loop {
        // The delay may be changed while it runs.
        let changed = state.changed.notified();
        let delay = Duration::from_micros(state.delay_us.load(Relaxed));
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(began + delay) => break,
            () = changed => {}
        }
    }
    let half = || futures_util::stream::iter([Ok(Bytes::from_static(b"half"))]);
    match mood() {
        m if m == Mood::Fails as usize => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        m if m == Mood::Sheds as usize && request_is_work => {
            (StatusCode::SERVICE_UNAVAILABLE, [("x-shed", "test")]).into_response()
        }
        m if m == Mood::Breaks as usize => {
            use futures_util::StreamExt as _;
            let broken = futures_util::stream::once(async {
                // Time for the first half to be sent.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Body::from_stream(half().chain(broken)).into_response()
        }
        m if m == Mood::Stalls as usize => {
            use futures_util::StreamExt as _;
            let silence = futures_util::stream::pending::<io::Result<Bytes>>();
            Body::from_stream(half().chain(silence)).into_response()
        }
        _ => state.name.clone().into_response(),
    }
}
