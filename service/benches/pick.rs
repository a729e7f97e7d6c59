//! What it costs to choose an instance: every policy in pools of 3 and of 64, next to what one would take off the shelf
//! (tower's balancer: two choices over peak-sensitive latency) and to the plainest thing that chooses by load at all.
//!
//! A choice is the instance and the right to call it, given back at once; the time is handed in, as the client stack reads
//! it once for several layers. tower chooses when it is asked whether it is ready and keeps that choice until a call is
//! made, so its figure contains a call to a service that answers at once, the clock and what it records of the answer: it
//! is an upper bound of its choice.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bed::paired;
use clip_service::env::Scoped;
use clip_service::http::Served;
use clip_service::registry::client::{Discovery, Peer};
use clip_service::upstream::{Balance, Call, Upstream, UpstreamConfig, hash_key};
use criterion::BenchmarkId;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower::balance::p2c::Balance as TowerBalance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};
use tower::{Service, ServiceExt as _};

mod bed;

const POLICIES: [(&str, Balance); 6] = [
    ("least-response-time", Balance::LeastResponseTime),
    ("least-connections", Balance::LeastConnections),
    ("round-robin", Balance::RoundRobin),
    ("weighted", Balance::Weighted),
    ("consistent-hash", Balance::ConsistentHash),
    ("random", Balance::Random),
];

/// Choices in one measurement, so that reading the clock around them costs nothing.
const CHOICES: u64 = 100;

struct Bed {
    runtime: Runtime,
    pools: Vec<(&'static str, Upstream)>,
    _servers: Vec<Scoped<Served>>,
}

impl Bed {
    /// Pools whose instances have all been called, so that there are latencies to choose by.
    fn new(instances: usize) -> Self {
        let runtime = bed::runtime();
        let env = bed::env();
        let router = Router::new()
            .route("/frame", get(async || "frame"))
            .route("/health", get(async || "well"));
        let (addresses, servers): (Vec<_>, Vec<_>) = (0..instances)
            .map(|_| runtime.block_on(bed::server(&env, router.clone())))
            .unzip();
        let peers: Vec<Peer> = addresses
            .iter()
            .enumerate()
            .map(|(i, address)| Peer::fixed(format!("p{i}"), address.to_string()))
            .collect();
        let pools = POLICIES.map(|(name, balance)| {
            let config = UpstreamConfig {
                balance,
                ..UpstreamConfig::default()
            };
            let _entered = runtime.enter();
            let upstream = Upstream::new(&env, Discovery::fixed(peers.clone()), config);
            runtime.block_on(async {
                for turn in 0..50 * instances {
                    let mut call = Call::get("/frame", Instant::now() + Duration::from_secs(10));
                    call.hash_key = Some(hash_key(&turn.to_string()));
                    // Everybody is measured in turn: by cost alone, the dearest of few would never be asked.
                    let others = (0..instances).filter(|at| *at != turn % instances);
                    call.prefer_not = others.map(|at| format!("p{at}")).collect();
                    upstream.call(call).await.unwrap();
                }
            });
            let view = upstream.snapshot();
            assert!(view.iter().all(|instance| instance.latency_ms.is_some()));
            (name, upstream)
        });
        Self {
            runtime,
            pools: pools.into(),
            _servers: servers,
        }
    }
}

fn choose(upstream: &Upstream, times: u64) -> Duration {
    let began = Instant::now();
    let now = began;
    for turn in 0..times * CHOICES {
        let picked = upstream.pick(&[], Some(turn), now).unwrap();
        black_box(picked.name());
        drop(picked);
    }
    began.elapsed()
}

/// As `choose`, and reads the time for each choice.
fn choose_by_the_clock(upstream: &Upstream, times: u64) -> Duration {
    let began = Instant::now();
    for turn in 0..times * CHOICES {
        let now = Instant::now();
        let picked = upstream.pick(&[], Some(turn), now).unwrap();
        black_box(picked.name());
        drop(picked);
    }
    began.elapsed()
}

/// Answers at once.
#[derive(Clone)]
struct Instant0;

impl Service<()> for Instant0 {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

type Peak = PeakEwma<Instant0>;

fn tower(instances: usize) -> TowerBalance<ServiceList<Vec<Peak>>, ()> {
    let peak = || {
        PeakEwma::new(
            Instant0,
            Duration::from_millis(1),
            1e10,
            CompleteOnResponse::default(),
        )
    };
    TowerBalance::new(ServiceList::new((0..instances).map(|_| peak()).collect()))
}

fn choose_by_tower(
    balance: &Mutex<TowerBalance<ServiceList<Vec<Peak>>, ()>>,
    times: u64,
) -> Duration {
    let mut balance = balance.lock();
    let began = Instant::now();
    for _ in 0..times * CHOICES {
        let ready = balance.ready().now_or_never().unwrap().unwrap();
        ready.call(()).now_or_never().unwrap().unwrap();
    }
    began.elapsed()
}

/// The least loaded of a locked list.
struct Scan(Mutex<Vec<(Arc<str>, AtomicU32)>>);

impl Scan {
    fn new(instances: usize) -> Self {
        let list = (0..instances).map(|i| (format!("p{i}").into(), AtomicU32::new(0)));
        Self(Mutex::new(list.collect()))
    }

    fn choose(&self, times: u64) -> Duration {
        let began = Instant::now();
        for _ in 0..times * CHOICES {
            let list = self.0.lock();
            let least = list.iter().min_by_key(|(_, load)| load.load(Relaxed));
            black_box(Arc::clone(&least.unwrap().0));
        }
        began.elapsed()
    }
}

const ROUNDS: paired::Rounds = paired::Rounds {
    batch: 100,
    rounds: 200,
};

/// Makes so many times a hundred choices.
type Choose<'a> = Box<dyn Fn(u64) -> Duration + 'a>;

fn main() {
    let beds = [3, 64].map(|instances| (instances, Bed::new(instances)));
    let mut criterion = bed::criterion();
    let mut group = criterion.benchmark_group("pick");
    for (instances, bed) in &beds {
        let _entered = bed.runtime.enter();
        for (name, upstream) in &bed.pools {
            let id = BenchmarkId::new(*name, instances);
            group.bench_function(id, |b| b.iter_custom(|n| choose(upstream, n) / 100));
        }
    }
    group.finish();
    criterion.final_summary();
    if !paired::measuring() {
        return;
    }
    paired::heading(
        "Cost of choosing an instance, per 100 choices: 1 µs is 10 ns a choice.",
        ROUNDS,
    );
    for (instances, bed) in &beds {
        let instances = *instances;
        let _entered = bed.runtime.enter();
        let by_tower = Mutex::new(tower(instances));
        let scan = Scan::new(instances);
        let tower = |n| choose_by_tower(&by_tower, n);
        let scanned = |n| scan.choose(n);
        let own: Vec<Choose<'_>> = bed
            .pools
            .iter()
            .map(|(_, upstream)| Box::new(|n| choose(upstream, n)) as Choose<'_>)
            .collect();
        let clocked = |n| choose_by_the_clock(&bed.pools[0].1, n);
        let names = bed.pools.iter().map(|(name, _)| *name);
        let mut peers: Vec<paired::Peer<'_>> = names
            .zip(&own)
            .map(|(name, choose)| (name, &**choose as &dyn Fn(u64) -> Duration))
            .collect();
        peers.push(("the first, clock included", &clocked));
        peers.push(("tower's balancer, with call", &tower));
        peers.push(("locked scan", &scanned));
        paired::compare(&format!("{instances} in the pool"), &peers, ROUNDS);
        println!();
    }
}
