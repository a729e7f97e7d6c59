//! What the registry costs: a lookup among 10,000 instances, a heartbeat in the state machine, and heartbeats through
//! HTTP with caller and server on one thread.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use clip_service::http::Client;
use clip_service::registry::{
    Filter, Heartbeat, HoldDown, Lease, Machine, Registration, RegistryConfig, ServiceRegistry,
    Times,
};
use criterion::Throughput;
use futures_util::stream::{self, StreamExt as _};
use http::Method;
use tokio::time::Instant;

#[expect(
    dead_code,
    reason = "there are no servers to make and no peers to compare here"
)]
mod bed;

const INSTANCES: usize = 10_000;
/// Heartbeats on their way at once, as many instances send them.
const AT_ONCE: usize = 32;

/// One of ten kinds, in one of ten racks, of one of ten generations: a kind and two tags name ten in ten thousand.
fn registration(number: usize) -> Registration {
    let (kind, rack, generation) = (number % 10, number / 10 % 10, number / 100 % 10);
    Registration::new(
        format!("instance-{number}"),
        format!("kind-{kind}"),
        "10.0.0.1:80",
        1,
    )
    .ready()
    .tag(format!("rack={rack}"))
    .tag(format!("generation={generation}"))
    .tag("everybody")
}

fn full() -> Machine {
    let times = Times {
        ttl: Duration::from_secs(3),
        deregister_after: Duration::from_secs(60),
        hold_down: HoldDown::default(),
    };
    let now = Instant::now();
    let mut machine = Machine::new(times, INSTANCES, "bench".to_owned(), now);
    for number in 0..INSTANCES {
        machine.register(registration(number), now).unwrap();
    }
    machine
}

fn filter(kind: Option<&str>, tags: &[&str]) -> Filter {
    Filter {
        name: None,
        kind: kind.map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

fn main() {
    let mut criterion = bed::criterion();
    let mut machine = full();
    let mut group = criterion.benchmark_group("registry");
    let by_name = Filter {
        name: Some("instance-4711".to_owned()),
        ..Filter::default()
    };
    let lookups = [
        ("by name", by_name, 1),
        (
            "by kind and 2 tags, 10 found",
            filter(Some("kind-3"), &["rack=4", "generation=5"]),
            10,
        ),
        (
            "by kind and 2 tags, 100 found",
            filter(Some("kind-3"), &["rack=4", "everybody"]),
            100,
        ),
        (
            "by kind and 2 tags, none found",
            filter(Some("kind-3"), &["rack=4", "nobody"]),
            0,
        ),
    ];
    for (name, filter, expected) in &lookups {
        assert_eq!(machine.find(filter).len(), *expected, "{name}");
        group.bench_function(format!("lookup {name}"), |b| {
            b.iter(|| black_box(machine.find(black_box(filter))));
        });
    }
    let names: Vec<String> = (0..INSTANCES).map(|n| format!("instance-{n}")).collect();
    let beat = Heartbeat {
        epoch: 1,
        ready: true,
    };
    let mut turn = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("heartbeat in the machine", |b| {
        let now = Instant::now();
        b.iter(|| {
            turn = (turn + 7919) % INSTANCES; // no neighbour of the last
            machine.heartbeat(&names[turn], beat, now).unwrap()
        });
    });
    group.bench_function("sweep of 10,000", |b| {
        b.iter(|| black_box(machine.sweep(Instant::now())));
    });

    let runtime = bed::runtime();
    let env = bed::env();
    let config = RegistryConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..RegistryConfig::default()
    };
    let client = Client::new(&env);
    let registry = runtime
        .block_on(ServiceRegistry::start(&env, config))
        .unwrap();
    let base = format!("http://{}/v1/instances", registry.address());
    let within = Duration::from_secs(10);
    runtime.block_on(async {
        for number in 0..AT_ONCE {
            let registration = registration(number);
            let url = format!("{base}/{}", registration.name);
            let lease: Lease = client
                .json(Method::PUT, &url, Some(&registration), within)
                .await
                .unwrap();
            black_box(lease);
        }
    });
    let beats = |count: u64| {
        runtime.block_on(async {
            let began = Instant::now();
            let sent = stream::iter(0..count).map(|number| {
                let who = number % u64::try_from(AT_ONCE).unwrap();
                let url = format!("{base}/instance-{who}/heartbeat");
                let client = &client;
                async move {
                    let lease: Lease = client.post_json(&url, &beat, within).await.unwrap();
                    lease.ttl_ms
                }
            });
            let ttls: Vec<u64> = sent.buffer_unordered(AT_ONCE).collect().await;
            assert!(ttls.iter().all(|ttl| *ttl > 0));
            began.elapsed()
        })
    };
    group.bench_function("heartbeat through HTTP", |b| b.iter_custom(beats));
    group.finish();
    criterion.final_summary();
    if bed::paired::measuring() {
        let count = 20_000;
        let took = beats(count);
        let rate = 20_000.0 / took.as_secs_f64();
        println!("{count} heartbeats through HTTP, caller and registry on one thread: {rate:.0}/s");
    }
}
