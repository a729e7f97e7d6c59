//! Three times more requests than a handler can answer, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use clip_service::admission::{Admission, AdmissionConfig, Priority, ShedConfig};
use clip_service::edge::{Class, Endpoint, Operation, StackConfig, router};
use clip_service::env::{Env, Exec, Scoped, SharedRng, WallClock};
use clip_service::http::{Drain, Patience, Served, serve};
use clip_service::media::NoMedia;
use clip_service::net::TcpNet;
use clip_service::observe::Notices;
use clip_service::store::{MemoryBlobs, MemoryStore};
use http::Method;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// What a caller waits.
const PATIENCE_MS: u64 = 500;
/// What a request takes. With few and slow ones the test needs little of the machine, whose own limits are not meant.
const WORK: Duration = Duration::from_millis(40);
const WORKERS: usize = 2;
/// Time in which the limit finds its place, and time that counts.
const SETTLE: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(4);

/// A world with real sockets and nothing else.
pub(crate) fn bare() -> Env {
    Env {
        node: "server".into(),
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

/// Answers with its workers in the order of arrival, as a plain server does.
struct Server {
    client: Client,
    _serving: Scoped<Served>,
}

impl Server {
    async fn start(shed: bool) -> Self {
        let env = bare();
        let config = AdmissionConfig {
            shed: ShedConfig {
                enabled: shed,
                initial: 16,
                ..ShedConfig::default()
            },
            ..AdmissionConfig::default()
        };
        let admission = Admission::new(&config, 16, &env.rng, Vec::new());
        let config = StackConfig {
            env: env.clone(),
            metrics: Arc::default(),
            draining: CancellationToken::new(),
            request: Duration::from_secs(10),
            upload: Duration::from_secs(10),
            body_bytes: 1024,
            admission,
        };
        let workers = Arc::new(Semaphore::new(WORKERS));
        let work = async move || {
            let _worker = workers.acquire().await.unwrap();
            tokio::time::sleep(WORK).await;
            "done"
        };
        let row = Operation {
            class: Class {
                priority: Priority::High,
                ..Class::OTHER
            },
            ..Operation::new(Method::GET, "/work", "work", "Takes its time.")
        };
        let router = router(vec![Endpoint::new(row, get(work))], (), config);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let acceptor = env.net.bind(any).await.unwrap();
        let address = acceptor.local_addr().unwrap().to_string();
        let drain = Drain {
            stop: CancellationToken::new(),
            limit: Duration::ZERO,
        };
        let serving =
            async move { serve(&env, acceptor, router, Patience::default(), drain).await };
        Self {
            client: Client::new(&address),
            _serving: Exec::Tokio.scoped(serving),
        }
    }

    async fn ask(client: &Client, priority: &str) -> Option<Duration> {
        let began = Instant::now();
        let timeout = PATIENCE_MS.to_string();
        let headers = [("x-priority", priority), ("x-timeout-ms", &timeout)];
        let answer = client.try_send(Method::GET, "/work", &headers, "").await;
        let took = began.elapsed();
        let good = answer.is_ok_and(|answer| answer.status == 200)
            && took <= Duration::from_millis(PATIENCE_MS + 50);
        good.then_some(took)
    }

    /// Answers a second when callers come back as soon as they are answered: the peak.
    async fn peak(&self, callers: usize, time: Duration) -> f64 {
        let end = Instant::now() + time;
        let mut calls = JoinSet::new();
        for _ in 0..callers {
            let client = self.client.clone();
            calls.spawn(async move {
                let mut answered = 0;
                while Instant::now() < end {
                    answered += u32::from(Self::ask(&client, "high").await.is_some());
                }
                answered
            });
        }
        let answered: u32 = calls.join_all().await.into_iter().sum();
        f64::from(answered) / time.as_secs_f64()
    }

    /// Sends at fixed rates, whatever comes back. Latencies of good answers and number of requests, by rate.
    async fn offer(&self, rates: &[(&'static str, f64)]) -> Vec<(Vec<Duration>, usize)> {
        let start = Instant::now();
        let mut due: Vec<(Duration, usize)> = Vec::new();
        for (which, (_, rate)) in rates.iter().enumerate() {
            let count = (rate * (SETTLE + TIME).as_secs_f64()) as usize;
            due.extend((0..count).map(|n| (Duration::from_secs_f64(n as f64 / rate), which)));
        }
        due.sort();
        let mut calls = JoinSet::new();
        for (at, which) in due {
            tokio::time::sleep_until(start + at).await;
            let (client, priority) = (self.client.clone(), rates[which].0);
            calls.spawn(async move { (at, which, Self::ask(&client, priority).await) });
        }
        let mut outcome = vec![(Vec::new(), 0); rates.len()];
        for (at, which, took) in calls.join_all().await {
            if at >= SETTLE {
                outcome[which].0.extend(took);
                outcome[which].1 += 1;
            }
        }
        outcome
    }
}

/// What three times the capacity gives: share of the peak that is answered in time, the same of the important and of
/// the unimportant requests, and the 99th percentile.
#[derive(Debug)]
struct Outcome {
    goodput: f64,
    high: f64,
    low: f64,
    p99: Duration,
}

async fn overload(shed: bool) -> Outcome {
    let server = Server::start(shed).await;
    let peak = server.peak(WORKERS, SETTLE).await;
    let rates = [("high", 0.7 * peak), ("low", 2.3 * peak)];
    let outcome = server.offer(&rates).await;
    let share = |which: usize| outcome[which].0.len() as f64 / outcome[which].1 as f64;
    let mut all: Vec<Duration> = outcome.iter().flat_map(|(took, _)| took.clone()).collect();
    all.sort();
    Outcome {
        goodput: all.len() as f64 / TIME.as_secs_f64() / peak,
        high: share(0),
        low: share(1),
        p99: all.get(all.len() * 99 / 100).copied().unwrap_or_default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_times_the_capacity_keeps_goodput_and_sheds_the_unimportant_first() {
    let (protected, bare) = tokio::join!(overload(true), overload(false));
    assert!(protected.goodput >= 0.9, "{protected:?}");
    assert!(protected.high >= 0.9, "{protected:?}");
    assert!(protected.low <= 0.3, "{protected:?}");
    // The wait for a turn, the wait for a worker, the work.
    let bound = Duration::from_millis(100) + 8 * WORK;
    assert!(protected.p99 <= bound, "{protected:?}");
    // Without the layer requests are answered in the order in which they came, and the important wait behind the rest.
    assert!(bare.high <= 0.6, "{bare:?}");
}
