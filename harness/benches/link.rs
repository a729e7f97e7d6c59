//! What a link costs: the same requests to the same server, one at a time, directly and through a link without a fault.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bed::paired;
use bytes::Bytes;
use clip_harness::link::Link;
use clip_service::env::Scoped;
use clip_service::http::{Client, Served};
use criterion::BenchmarkId;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::Instant;

// One way of comparing for both crates.
#[path = "../../service/benches/bed/mod.rs"]
mod bed;

/// Calls of a tenth of a millisecond.
const ROUNDS: paired::Rounds = paired::Rounds {
    batch: 100,
    rounds: 200,
};

const SIZES: [(&str, usize); 3] = [("200 B", 200), ("8 KiB", 8 << 10), ("256 KiB", 256 << 10)];

struct Bed {
    runtime: Runtime,
    client: Client,
    direct: SocketAddr,
    link: Link,
    _target: watch::Sender<Option<SocketAddr>>,
    _server: Scoped<Served>,
}

impl Bed {
    fn new() -> Self {
        let runtime = bed::runtime();
        let env = bed::env();
        let mut router = Router::new();
        for (_, size) in SIZES {
            let body = Bytes::from(vec![7; size]);
            router = router.route(&path(size), get(async move || body));
        }
        let (direct, server) = runtime.block_on(bed::server(&env, router));
        let (target, upstream) = watch::channel(Some(direct));
        let opened = async {
            Link::open(
                "client->server",
                std::net::Ipv4Addr::LOCALHOST.into(),
                upstream,
                &env.rng,
            )
        };
        let link = runtime.block_on(opened).unwrap();
        let client = Client::new(&env);
        Self {
            runtime,
            client,
            direct,
            link,
            _target: target,
            _server: server,
        }
    }

    /// Makes `calls` requests for `size` bytes, one after the other, and says how long they took.
    fn time(&self, to: SocketAddr, size: usize, calls: u64) -> Duration {
        let url = format!("http://{to}{}", path(size));
        self.runtime.block_on(async {
            let began = Instant::now();
            for _ in 0..calls {
                let request = Request::get(&url).body(Full::default()).unwrap();
                let response = self.client.request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(black_box(body).len(), size);
            }
            began.elapsed()
        })
    }
}

fn path(size: usize) -> String {
    format!("/{size}")
}

fn main() {
    let bed = Bed::new();
    let (direct, through) = (bed.direct, bed.link.address());
    let mut criterion = bed::criterion();
    let mut group = criterion.benchmark_group("link");
    for (name, size) in SIZES {
        for (way, to) in [("direct", direct), ("link", through)] {
            group.bench_function(BenchmarkId::new(way, name), |b| {
                b.iter_custom(|calls| bed.time(to, size, calls));
            });
        }
    }
    group.finish();
    criterion.final_summary();
    if !paired::measuring() {
        return;
    }
    paired::heading(
        "Cost of a link without a fault: one request at a time over loopback.",
        ROUNDS,
    );
    for (name, size) in SIZES {
        let peers: [paired::Peer<'_>; 2] = [
            ("direct", &|calls| bed.time(direct, size, calls)),
            ("through a link", &|calls| bed.time(through, size, calls)),
        ];
        paired::compare(&format!("answers of {name}"), &peers, ROUNDS);
    }
    let tally = bed.link.tally();
    println!(
        "  the link passed {} MiB on {} connections",
        tally.bytes_down >> 20,
        tally.connections
    );
}
