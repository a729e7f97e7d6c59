//! The whole stack against servers, on paused time and a network inside the process; once on real TCP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use proptest::prelude::*;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use super::pool::Pool;
use super::tried::Tried;
use super::*;
use crate::breaker::Outcome;
use crate::env::Env;
use crate::http::testing::{Log, MemoryNet, Mood, Server, node, states, until};
use crate::net::{SharedNet, TcpNet};
use crate::registry::Status;
use crate::registry::client::{Discovery, Peer};
use crate::units::HumanDuration;

mod faults;
mod streams;

pub(super) const POLICIES: [Balance; 6] = [
    Balance::LeastResponseTime,
    Balance::LeastConnections,
    Balance::RoundRobin,
    Balance::Weighted,
    Balance::ConsistentHash,
    Balance::Random,
];

const MS: Duration = Duration::from_millis(1);

struct Bed {
    env: Env,
    log: Log,
    servers: Vec<Server>,
    discovery: Discovery,
    upstream: Upstream,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Bed {
    /// `count` servers on `net` at ports 1, 2, ... (or free ones for 0).
    async fn new(net: SharedNet, count: u16, free_ports: bool, config: UpstreamConfig) -> Self {
        Self::seeded(net, count, free_ports, config, 42).await
    }

    async fn seeded(
        net: SharedNet,
        count: u16,
        free_ports: bool,
        config: UpstreamConfig,
        seed: u64,
    ) -> Self {
        let (env, log) = node("gateway-1", net, seed);
        let mut servers = Vec::new();
        for i in 1..=count {
            let port = if free_ports { 0 } else { i };
            servers.push(Server::start(&env, &format!("p{i}"), local(port)).await);
        }
        let discovery = Discovery::fixed(servers.iter().map(|s| peer(s, 1)).collect());
        let upstream = Upstream::new(&env, discovery.clone(), config);
        Self {
            env,
            log,
            servers,
            discovery,
            upstream,
        }
    }

    async fn memory(count: u16, config: UpstreamConfig) -> Self {
        Self::new(Arc::new(MemoryNet::default()), count, false, config).await
    }

    /// Makes `count` reads, one per `every`, at once and not one after the other; `at` runs before the given one.
    async fn load(
        &mut self,
        count: usize,
        every: Duration,
        mut at: BTreeMap<usize, Act>,
    ) -> Vec<(Result<Reply, UpstreamError>, Duration)> {
        let mut calls = Vec::new();
        for i in 0..count {
            if let Some(act) = at.remove(&i) {
                match act {
                    Act::Kill(which) => self.servers[which].kill().await,
                    Act::Set(which, mood) => self.servers[which].set(mood),
                }
            }
            let upstream = self.upstream.clone();
            calls.push(tokio::spawn(async move {
                let began = Instant::now();
                (upstream.call(read(1000)).await, began.elapsed())
            }));
            tokio::time::sleep(every).await;
        }
        join_all(calls)
            .await
            .into_iter()
            .map(|call| call.expect("no panic"))
            .collect()
    }

    fn breaker(&self, which: usize) -> &'static str {
        self.upstream.snapshot()[which].breaker
    }
}

enum Act {
    Kill(usize),
    Set(usize, Mood),
}

fn peer(server: &Server, epoch: u64) -> Peer {
    Peer {
        epoch,
        ..Peer::fixed(&server.name, server.address.to_string())
    }
}

fn read(deadline_ms: u64) -> Call {
    Call::get(
        "/frame?at=1s",
        Instant::now() + Duration::from_millis(deadline_ms),
    )
}

fn stream(idle: Duration) -> Call {
    let deadline = Instant::now() + Duration::from_secs(60);
    Call::post_streamed("/task", "{}", deadline, Duration::from_secs(1), idle)
}

fn failures(results: &[(Result<Reply, UpstreamError>, Duration)]) -> Vec<String> {
    results
        .iter()
        .filter_map(|(result, _)| match result {
            Ok(reply) if reply.response.status().is_success() => None,
            Ok(reply) => Some(reply.response.status().to_string()),
            Err(error) => Some(error.to_string()),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn one_killed_of_three_fails_no_read_and_its_restart_is_used_at_once() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    let results = bed
        .load(600, 2 * MS, BTreeMap::from([(200, Act::Kill(1))]))
        .await;
    assert_eq!(failures(&results), Vec::<String>::new());
    let worst = results.iter().map(|(_, took)| *took).max().expect("calls");
    assert!(worst < 50 * MS, "{worst:?}");
    assert_eq!(states(&bed.log, "p2"), ["open"]);
    let metrics = bed.upstream.metrics();
    assert!(
        (1..=30).contains(&metrics.retries) && metrics.failed == 0,
        "{metrics:?}"
    );

    let again = Server::start(&bed.env, "p2", bed.servers[1].address).await;
    let peers = vec![
        peer(&bed.servers[0], 1),
        peer(&again, 2),
        peer(&bed.servers[2], 1),
    ];
    bed.discovery.replace(peers);
    assert_eq!(
        failures(&bed.load(100, 2 * MS, BTreeMap::new()).await),
        Vec::<String>::new()
    );
    assert!(again.hits() > 0);
    assert_eq!(states(&bed.log, "p2"), ["open", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn one_killed_of_two_fails_no_read() {
    let mut bed = Bed::memory(2, UpstreamConfig::default()).await;
    let results = bed
        .load(300, 2 * MS, BTreeMap::from([(100, Act::Kill(0))]))
        .await;
    assert_eq!(failures(&results), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_hung_of_three_fails_no_read_and_returns_when_it_wakes() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    let results = bed
        .load(
            800,
            2 * MS,
            BTreeMap::from([(100, Act::Set(2, Mood::Hangs))]),
        )
        .await;
    assert_eq!(failures(&results), Vec::<String>::new());
    let late = results.iter().filter(|(_, took)| *took > 200 * MS).count();
    let worst = results.iter().map(|(_, took)| *took).max().expect("calls");
    assert!(
        late <= 60 && worst < 300 * MS,
        "{late} late, worst {worst:?}"
    );
    assert_eq!(bed.breaker(2), "open");
    let reason = bed.log.lock()[0].reason.clone();
    assert!(reason.contains("5 transport failures in a row"), "{reason}");

    bed.servers[2].set(Mood::Well);
    let before = bed.servers[2].hits();
    let results = bed.load(2500, 2 * MS, BTreeMap::new()).await;
    assert_eq!(failures(&results), Vec::<String>::new());
    assert_eq!(states(&bed.log, "p3"), ["open", "half-open", "closed"]);
    assert!(bed.servers[2].hits() > before + 100, "gets its share again");
}

#[tokio::test(start_paused = true)]
async fn a_killed_instance_on_the_same_address_returns_by_a_probe() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    let killed = Instant::now();
    bed.load(10, 2 * MS, BTreeMap::from([(1, Act::Kill(1))]))
        .await;
    until("it is taken out", || bed.breaker(1) == "open").await;
    assert!(
        killed.elapsed() < 300 * MS,
        "taken out after {:?}",
        killed.elapsed()
    );
    let address = bed.servers[1].address;
    bed.servers[1] = Server::start(&bed.env, "p2", address).await;
    let results = bed.load(1000, 2 * MS, BTreeMap::new()).await;
    assert_eq!(failures(&results), Vec::<String>::new());
    assert_eq!(states(&bed.log, "p2"), ["open", "half-open", "closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_killed_instance_that_nobody_calls_is_noticed() {
    for (mood, within) in [(None, 1000 * MS), (Some(Mood::Hangs), 2500 * MS)] {
        let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
        assert_eq!(bed.breaker(1), "closed");
        match mood {
            None => bed.servers[1].kill().await,
            Some(mood) => bed.servers[1].set(mood),
        }
        let since = Instant::now();
        until("it is taken out", || bed.breaker(1) == "open").await;
        assert!(
            since.elapsed() < within,
            "taken out after {:?}",
            since.elapsed()
        );
        assert_eq!([bed.breaker(0), bed.breaker(2)], ["closed"; 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_answers_errors_is_taken_out_and_no_read_fails() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    let results = bed
        .load(
            600,
            2 * MS,
            BTreeMap::from([(50, Act::Set(0, Mood::Fails))]),
        )
        .await;
    assert_eq!(failures(&results), Vec::<String>::new());
    let tries = bed.upstream.metrics().tries;
    assert!(tries <= 720, "{tries} tries for 600 calls");
}

#[tokio::test(start_paused = true)]
async fn when_everybody_answers_errors_the_answer_is_passed_on_and_retries_stay_in_budget() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    for server in &bed.servers {
        server.set(Mood::Fails);
    }
    let results = bed.load(2000, MS, BTreeMap::new()).await;
    assert_eq!(failures(&results).len(), 2000);
    assert!(results.iter().all(|(result, _)| {
        result
            .as_ref()
            .is_ok_and(|r| r.response.status() == StatusCode::INTERNAL_SERVER_ERROR)
    }));
    let metrics = bed.upstream.metrics();
    // Never more than a fifth of the calls; and all of them reached somebody, ejected or not.
    assert!((1..=400).contains(&metrics.retries), "{metrics:?}");
    assert!(metrics.last_resorts > 0, "{metrics:?}");
}

#[tokio::test(start_paused = true)]
async fn with_the_layers_off_a_killed_instance_fails_calls() {
    let mut config = UpstreamConfig::default();
    config.breaker.enabled = false;
    config.retry.enabled = false;
    for balance in POLICIES {
        let config = UpstreamConfig {
            balance,
            ..config.clone()
        };
        let mut bed = Bed::memory(3, config).await;
        let results = bed
            .load(600, 2 * MS, BTreeMap::from([(200, Act::Kill(1))]))
            .await;
        let failed = failures(&results).len();
        assert!(
            (100..300).contains(&failed),
            "{balance:?}: {failed} of 600 failed"
        );
        assert_eq!(states(&bed.log, "p2"), Vec::<String>::new());
        assert_eq!(bed.upstream.metrics().retries, 0);
    }
}

/// A proxy whose upstream is gone: accepts, reads the request, closes without a byte.
async fn closing_proxy(env: &Env, port: u16, reads: bool) -> tokio::task::JoinHandle<()> {
    let mut acceptor = env.net.bind(local(port)).await.expect("a free port");
    tokio::spawn(async move {
        while let Ok((mut io, _)) = acceptor.accept().await {
            if reads {
                assert!(io.read_u8().await.is_ok(), "a request");
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_before_the_answer_is_a_transport_failure() {
    for reads in [false, true] {
        let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
        bed.servers[0].kill().await;
        let proxy = closing_proxy(&bed.env, 1, reads).await;
        let results = bed.load(300, 2 * MS, BTreeMap::new()).await;
        assert_eq!(failures(&results), Vec::<String>::new(), "reads: {reads}");
        let opened = bed.log.lock()[0].clone();
        assert_eq!(
            (
                opened.name.as_str(),
                opened.to.as_str(),
                opened.reason.as_str()
            ),
            (
                "p1",
                "open",
                "5 transport failures in a row, probes included"
            )
        );
        proxy.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_idempotent_is_repeated_only_when_it_was_not_sent() {
    let mut bed = Bed::memory(1, UpstreamConfig::default()).await;
    let task = || Call {
        idempotent: false,
        ..read(1000)
    };
    bed.servers[0].set(Mood::Hangs);
    let error = bed.upstream.call(task()).await.expect_err("hangs");
    assert!(matches!(
        error,
        UpstreamError::Exhausted {
            attempts: 1,
            last: TryError::Timeout(_),
            ..
        }
    ));
    assert_eq!(
        (bed.servers[0].hits(), error.status()),
        (1, StatusCode::GATEWAY_TIMEOUT)
    );
    bed.servers[0].kill().await;
    let error = bed.upstream.call(task()).await.expect_err("refused");
    assert!(matches!(
        error,
        UpstreamError::Exhausted {
            attempts: 3,
            last: TryError::Connect(_),
            ..
        }
    ));
    assert_eq!(error.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test(start_paused = true)]
async fn a_lone_instance_is_called_even_when_its_breaker_is_open() {
    let mut bed = Bed::memory(1, UpstreamConfig::default()).await;
    bed.servers[0].set(Mood::Fails);
    bed.load(100, 2 * MS, BTreeMap::new()).await;
    assert_eq!(bed.breaker(0), "open");
    bed.servers[0].set(Mood::Well);
    let reply = bed.upstream.call(read(1000)).await.expect("answered");
    assert_eq!(reply.response.status(), StatusCode::OK);
    assert_eq!(bed.breaker(0), "open");
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_fails_fast_and_a_newcomer_is_waited_for() {
    let bed = Bed::memory(1, UpstreamConfig::default()).await;
    let peers = bed.discovery.peers().peers.clone();
    for status in [Status::Starting, Status::Draining, Status::Maintenance] {
        bed.discovery.replace(
            peers
                .iter()
                .cloned()
                .map(|p| Peer { status, ..p })
                .collect(),
        );
        let began = Instant::now();
        let error = bed.upstream.call(read(1000)).await.expect_err("nobody");
        assert_eq!(
            (error, began.elapsed()),
            (UpstreamError::NoInstance, 50 * MS)
        );
    }
    let (upstream, discovery) = (bed.upstream.clone(), bed.discovery.clone());
    let waiting = tokio::spawn(async move { upstream.call(read(1000)).await });
    tokio::time::sleep(20 * MS).await;
    discovery.replace(peers);
    assert!(waiting.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_bounds_everything() {
    let bed = Bed::memory(3, UpstreamConfig::default()).await;
    for server in &bed.servers {
        server.set(Mood::Hangs);
    }
    for (deadline, at_most) in [(0, 0), (3, 3), (100, 100), (400, 400)] {
        let began = Instant::now();
        let error = bed
            .upstream
            .call(read(deadline))
            .await
            .expect_err("everybody hangs");
        assert_eq!(error.status(), StatusCode::GATEWAY_TIMEOUT, "{error}");
        assert!(
            began.elapsed() <= at_most * MS,
            "{:?} of {deadline} ms",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_pool_stretches_the_timeout_instead_of_failing() {
    let mut config = UpstreamConfig::default();
    config.hedge.enabled = false;
    let bed = Bed::memory(3, config).await;
    for (server, ms) in bed
        .servers
        .iter()
        .cycle()
        .zip((0..60).map(|i| 100 + i * 10))
    {
        for server in &bed.servers {
            server.slow_down(ms * MS);
        }
        let reply = bed.upstream.call(read(5000)).await.expect("answered");
        assert_eq!(reply.attempts, 1, "{} at {ms} ms", server.name);
    }
}

/// Everything that chooses draws from the node's generator, so a run repeats: same answers, same tries, same times.
#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
            let acts = [(60, Act::Kill(1)), (200, Act::Set(2, Mood::Hangs))];
            let results = bed.load(1500, 2 * MS, BTreeMap::from(acts)).await;
            let calls: Vec<_> = results
                .into_iter()
                .map(|(result, took)| (result.map(|r| (r.instance, r.attempts)), took))
                .collect();
            let moves: Vec<_> = bed
                .log
                .lock()
                .iter()
                .map(|t| (t.name.clone(), t.reason.clone()))
                .collect();
            (calls, moves, bed.upstream.metrics())
        })
    };
    let (first, second) = (run(), run());
    assert_eq!(first.1.len(), 2, "{:?}", first.1);
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn one_ten_times_slower_of_three_is_avoided() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    bed.load(300, 2 * MS, BTreeMap::new()).await;
    bed.servers[1].slow_down(30 * MS);
    let results = bed.load(1000, 2 * MS, BTreeMap::new()).await;
    assert_eq!(failures(&results), Vec::<String>::new());
    let mut took: Vec<_> = results.iter().map(|(_, took)| *took).collect();
    took.sort();
    // A healthy call takes 3 ms; one of the first to find out takes 30.
    assert!(
        took[990] < 5 * MS && took[999] < 40 * MS,
        "{:?}, {:?}",
        took[990],
        took[999]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_starts_one_after_the_other_shares_at_once() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    let all = bed.discovery.peers().peers.clone();
    for known in 1..=3 {
        bed.discovery.replace(all[..known].to_vec());
        bed.load(1, 20 * MS, BTreeMap::new()).await;
    }
    bed.load(300, 2 * MS, BTreeMap::new()).await;
    let hits: Vec<_> = bed.servers.iter().map(Server::hits).collect();
    assert!(hits.iter().all(|hits| *hits > 60), "{hits:?}");
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_up_early_still_find_out_an_instance_that_hangs() {
    let bed = Bed::memory(1, UpstreamConfig::default()).await;
    bed.servers[0].set(Mood::Hangs);
    for _ in 0..5 {
        let call = bed.upstream.call(read(1000));
        assert!(tokio::time::timeout(150 * MS, call).await.is_err());
    }
    assert_eq!(bed.breaker(0), "open");
    let view = &bed.upstream.snapshot()[0];
    assert_eq!((view.in_flight, view.failed), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_polite_stop_finishes_what_is_in_flight() {
    let mut bed = Bed::memory(1, UpstreamConfig::default()).await;
    bed.servers[0].slow_down(500 * MS);
    let upstream = bed.upstream.clone();
    let call = Call {
        try_timeout: Some(Duration::from_secs(2)),
        ..read(5000)
    };
    let calling = tokio::spawn(async move { upstream.call(call).await });
    until("the request arrives", || bed.servers[0].hits() == 1).await;
    bed.servers[0].stop().await;
    let reply = calling.await.expect("no panic").expect("answered");
    assert_eq!(
        (reply.attempts, reply.response.status()),
        (1, StatusCode::OK)
    );
    let error = bed
        .upstream
        .call(read(100))
        .await
        .expect_err("no longer there");
    assert!(error.to_string().contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn on_real_tcp_one_killed_of_three_fails_no_read() {
    let net = Arc::new(TcpNet::new(BTreeMap::new()));
    let config = UpstreamConfig {
        timeouts: Timeouts {
            read_try: HumanDuration::secs(2),
            ..Timeouts::default()
        },
        ..UpstreamConfig::default()
    };
    let mut bed = Bed::new(net, 3, true, config).await;
    let results = bed
        .load(200, 2 * MS, BTreeMap::from([(60, Act::Kill(1))]))
        .await;
    assert_eq!(failures(&results), Vec::<String>::new());
    assert_eq!(states(&bed.log, "p2"), ["open"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever happened before, nobody whose breaker is open is chosen while another may be; and as long as anybody may
    /// be called at all, somebody is chosen.
    #[test]
    fn an_ejected_instance_is_never_chosen_while_another_is_available(
        count in 1_usize..6,
        seed in any::<u64>(),
        balance in proptest::sample::select(&POLICIES[..]),
        steps in proptest::collection::vec((any::<u8>(), 0_u64..700), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let (env, _) = node("gateway-1", Arc::new(MemoryNet::default()), seed);
            let peers = (0..count).map(|i| Peer::fixed(format!("p{i}"), format!("p{i}:9")));
            let discovery = Discovery::fixed(peers.collect());
            let config = UpstreamConfig { balance, ..UpstreamConfig::default() };
            let pool = Pool::new(&env, discovery, config);
            for (dice, wait) in steps {
                let now = Instant::now();
                let key = Some(u64::from(dice % 8));
                let states = |now| -> BTreeMap<String, (&'static str, &'static str)> {
                    let view = pool.view(now).into_iter();
                    view.map(|v| (v.name, (v.breaker, v.place))).collect()
                };
                let picked = pool.pick(&Tried::default(), key, now).expect("somebody is listed");
                let name = picked.instance.name.clone();
                let all = states(now);
                let closed = all.values().filter(|(breaker, _)| *breaker != "open").count();
                let panic = closed == 0 || (count >= 5 && closed * 2 < count);
                match all[&name] {
                    ("open", "ejected") => assert!(panic, "{all:?}"),
                    ("open", place) => assert_eq!(place, "overflow"),
                    _ => assert!(!picked.last_resort || closed == 0 || all[&name].0 == "half-open"),
                }
                let ejected = all.values().filter(|(_, place)| *place == "ejected").count();
                assert!(closed == 0 || ejected <= (count / 2).max(1), "{all:?}");
                if count > 1 && !picked.last_resort {
                    let other = pool.pick(&Tried::new(std::slice::from_ref(&name)), key, now).expect("another");
                    let nobody = states(now)
                        .iter()
                        .all(|(own, (_, place))| *own == name || *place == "ejected");
                    assert!(other.instance.name != name || nobody, "tried again");
                    drop(other);
                }
                let outcome = match dice {
                    0..=60 => Outcome::Success,
                    61..=80 => Outcome::ErrorStatus,
                    _ => Outcome::TransportFailure,
                };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let mut picked = picked;
                picked.settle(outcome, None, Instant::now());
            }
        });
    }
}
