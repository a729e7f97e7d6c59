//! What the layers of the client stack cost: the same requests to the same servers, one at a time over loopback, by
//! hyper-util's client alone, by this crate's client over its network seam, and by the whole stack.
//!
//! Nothing fails here: what failures cost is measured by scenarios.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bed::paired;
use bytes::Bytes;
use clip_service::env::Scoped;
use clip_service::http::{Client, Served};
use clip_service::registry::client::{Discovery, Peer};
use clip_service::upstream::{Call, Upstream, UpstreamConfig};
use criterion::BenchmarkId;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Runtime;
use tokio::time::Instant;

mod bed;

/// Calls of a tenth of a millisecond.
const ROUNDS: paired::Rounds = paired::Rounds {
    batch: 100,
    rounds: 200,
};

/// A small frame.
const ANSWER: &[u8] = &[7; 8 * 1024];
const PATH: &str = "/frame?at=1s";
const DEADLINE: Duration = Duration::from_secs(10);
const POOLS: [usize; 3] = [1, 3, 64];

type Bare = legacy::Client<HttpConnector, Full<Bytes>>;

struct Bed {
    runtime: Runtime,
    addresses: Vec<SocketAddr>,
    bare: Bare,
    client: Client,
    upstream: Upstream,
    _servers: Vec<Scoped<Served>>,
}

impl Bed {
    fn new(instances: usize) -> Self {
        let runtime = bed::runtime();
        let env = bed::env();
        let router = Router::new().route("/frame", get(async || ANSWER));
        let (addresses, servers): (Vec<_>, Vec<_>) = (0..instances)
            .map(|_| runtime.block_on(bed::server(&env, router.clone())))
            .unzip();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let peers = addresses.iter().enumerate();
        let peers = peers.map(|(i, address)| Peer::fixed(format!("p{i}"), address.to_string()));
        Self {
            bare: legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .build(connector),
            client: Client::new(&env),
            upstream: Upstream::new(
                &env,
                Discovery::fixed(peers.collect()),
                UpstreamConfig::default(),
            ),
            runtime,
            addresses,
            _servers: servers,
        }
    }

    /// A request to the instances in turn, as one would balance without a stack.
    fn request(&self, turn: u64) -> Request<Full<Bytes>> {
        let instances = u64::try_from(self.addresses.len()).unwrap();
        let at = usize::try_from(turn % instances).unwrap();
        let url = format!("http://{}{PATH}", self.addresses[at]);
        Request::get(url).body(Full::default()).unwrap()
    }

    /// Makes `calls` calls, one after the other, and says how long they took.
    fn time(&self, calls: u64, one: impl AsyncFn(u64) -> Bytes) -> Duration {
        self.runtime.block_on(async {
            let began = Instant::now();
            for turn in 0..calls {
                let body = one(turn).await;
                assert_eq!(black_box(body).len(), ANSWER.len());
            }
            began.elapsed()
        })
    }

    fn bare(&self, calls: u64) -> Duration {
        self.time(calls, async |turn| {
            let response = self.bare.request(self.request(turn)).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    }

    fn client(&self, calls: u64) -> Duration {
        self.time(calls, async |turn| {
            let response = self.client.request(self.request(turn)).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    }

    fn stack(&self, calls: u64) -> Duration {
        self.time(calls, async |_| {
            let call = Call::get(PATH, Instant::now() + DEADLINE);
            let reply = self.upstream.call(call).await.unwrap();
            let body = reply.response.into_body().collect().await;
            body.unwrap().to_bytes()
        })
    }
}

fn main() {
    let beds: Vec<Bed> = POOLS.into_iter().map(Bed::new).collect();
    let mut criterion = bed::criterion();
    let mut group = criterion.benchmark_group("upstream");
    for bed in &beds {
        let instances = bed.addresses.len();
        let id = |peer| BenchmarkId::new(peer, instances);
        group.bench_function(id("hyper-util"), |b| b.iter_custom(|n| bed.bare(n)));
        group.bench_function(id("client"), |b| b.iter_custom(|n| bed.client(n)));
        group.bench_function(id("stack"), |b| b.iter_custom(|n| bed.stack(n)));
    }
    group.finish();
    criterion.final_summary();
    if !paired::measuring() {
        return;
    }
    paired::heading(
        "Cost of the layers: one call at a time over loopback, answers of 8 KiB.",
        ROUNDS,
    );
    for bed in &beds {
        let instances = bed.addresses.len();
        let title = format!("{instances} in the pool");
        let peers: [paired::Peer<'_>; 3] = [
            ("hyper-util alone, in turn", &|n| bed.bare(n)),
            ("client on Env's network", &|n| bed.client(n)),
            ("whole stack", &|n| bed.stack(n)),
        ];
        paired::compare(&title, &peers, ROUNDS);
    }
    for bed in &beds {
        let metrics = bed.upstream.metrics();
        let (failed, retries) = (metrics.failed, metrics.retries);
        println!(
            "  {} in the pool: {} calls, {failed} failed, {retries} retried",
            bed.addresses.len(),
            metrics.calls
        );
    }
}
