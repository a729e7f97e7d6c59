//! The role with its clients, on paused time and a network inside the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::{Discovery, Membership, Query};
use super::*;
use crate::env::Env;
use crate::http::testing::{Log, MemoryNet, Server, node, states, until};
use crate::http::{Client, ClientError, Patience};
use crate::net::SharedNet;
use crate::units::HumanDuration;

const REGISTRY: &str = "registry-1:7400";

struct Bed {
    net: SharedNet,
    registry: Node,
}

struct Node {
    env: Env,
    log: Log,
    task: JoinHandle<Result<(), RegistryError>>,
}

fn config() -> RegistryConfig {
    RegistryConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], 7400)),
        ..RegistryConfig::default()
    }
}

fn start(net: &SharedNet, seed: u64) -> Node {
    let (env, log) = node("registry-1", net.clone(), seed);
    let task = tokio::spawn(registry(env.clone(), config()));
    Node { env, log, task }
}

impl Bed {
    fn new() -> Self {
        let net: SharedNet = Arc::new(MemoryNet::default());
        let registry = start(&net, 1);
        Self { net, registry }
    }

    fn member(&self, name: &str, port: u16, epoch: u64) -> Membership {
        let (env, _) = node(name, self.net.clone(), u64::from(port) * 1000 + epoch);
        let mut registration =
            Registration::new(name, "processor", format!("{name}:{port}"), epoch);
        registration.ready = true;
        Membership::join(&env, REGISTRY, registration)
    }

    fn states(&self, name: &str) -> Vec<String> {
        states(&self.registry.log, name)
    }

    async fn kill(&mut self) {
        self.registry.task.abort();
        assert!(
            (&mut self.registry.task)
                .await
                .is_err_and(|ended| ended.is_cancelled())
        );
    }
}

fn watch(bed: &Bed) -> (Discovery, tokio_util::sync::DropGuard) {
    let (env, _) = node("gateway-1", bed.net.clone(), 5);
    Discovery::watch(&env, REGISTRY, "processor")
}

fn seen(discovery: &Discovery) -> Vec<(String, u64, Status, bool)> {
    let peers = discovery.peers();
    peers
        .peers
        .iter()
        .map(|p| (p.name.clone(), p.epoch, p.status, p.suspect))
        .collect()
}

fn passing(discovery: &Discovery) -> usize {
    seen(discovery)
        .iter()
        .filter(|(_, _, status, _)| *status == Status::Passing)
        .count()
}

#[tokio::test(start_paused = true)]
async fn members_are_found_live_on_and_leave() {
    let bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let members = [bed.member("a", 1, 1), bed.member("b", 2, 1)];
    until("both are found", || passing(&discovery) == 2).await;
    for member in &members {
        member.registered().await;
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(
        bed.states("a"),
        ["starting", "passing"],
        "heartbeats keep it"
    );
    assert_eq!(discovery.stale_for(Instant::now()), Duration::ZERO);

    let [a, b] = members;
    a.set_ready(false);
    until("it is not ready", || {
        bed.states("a").last().is_some_and(|s| s == "critical")
    })
    .await;
    a.set_ready(true);
    until("it is ready", || {
        bed.states("a").last().is_some_and(|s| s == "passing")
    })
    .await;
    a.drain().await;
    let draining = Status::Draining;
    until("draining is news", || {
        seen(&discovery).iter().any(|p| p.2 == draining)
    })
    .await;
    a.leave().await;
    until("leaving is news", || seen(&discovery).len() == 1).await;
    let all = [
        "starting", "passing", "critical", "passing", "draining", "removed",
    ];
    assert_eq!(bed.states("a"), all);
    drop(b);
}

#[tokio::test(start_paused = true)]
async fn a_killed_member_expires_and_its_restart_is_found_within_a_second() {
    let bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let mut members: Vec<_> = (1..=3)
        .map(|i| bed.member(&format!("p{i}"), i, 1))
        .collect();
    until("all are found", || passing(&discovery) == 3).await;
    let killed = Instant::now();
    drop(members.remove(1));
    until("it is given up", || {
        bed.states("p2").last().is_some_and(|s| s == "critical")
    })
    .await;
    let took = killed.elapsed();
    assert!(
        took > Duration::from_millis(1700) && took < Duration::from_millis(3500),
        "{took:?}"
    );
    assert_eq!(
        bed.states("p2"),
        ["starting", "passing", "warning", "critical"]
    );

    let restarted = Instant::now();
    let again = bed.member("p2", 2, 2);
    until("the new life is found", || {
        seen(&discovery).contains(&("p2".to_owned(), 2, Status::Passing, false))
    })
    .await;
    assert!(
        restarted.elapsed() < Duration::from_secs(1),
        "{:?}",
        restarted.elapsed()
    );
    drop((members, again));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_or_starts_again_takes_nobody_away() {
    let mut bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let members: Vec<_> = (1..=3)
        .map(|i| bed.member(&format!("p{i}"), i, 1))
        .collect();
    until("all are found", || passing(&discovery) == 3).await;
    bed.kill().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(seen(&discovery).len(), 3);
    let stale = discovery.stale_for(Instant::now());
    assert!(stale > Duration::from_secs(58), "{stale:?}");

    bed.registry = start(&bed.net, 2);
    let back = Instant::now();
    until("the registry is asked again", || {
        discovery.stale_since().is_none()
    })
    .await;
    assert!(
        back.elapsed() <= Duration::from_secs(30),
        "{:?}",
        back.elapsed()
    );
    let until_settled = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until_settled {
        assert_eq!(seen(&discovery).len(), 3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        seen(&discovery)
            .iter()
            .all(|p| p.2 == Status::Passing && !p.3)
    );
    assert_eq!(discovery.stale_for(Instant::now()), Duration::ZERO);
    drop(members);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_when_the_registry_returns_is_dropped_after_a_lease() {
    let mut bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let mut members: Vec<_> = (1..=3)
        .map(|i| bed.member(&format!("p{i}"), i, 1))
        .collect();
    until("all are found", || passing(&discovery) == 3).await;
    bed.kill().await;
    drop(members.pop());
    bed.registry = start(&bed.net, 2);
    until("it is a suspect", || {
        seen(&discovery).last().is_some_and(|p| p.3)
    })
    .await;
    let began = Instant::now();
    until("it is dropped", || seen(&discovery).len() == 2).await;
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took <= Duration::from_secs(7),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_older_life_that_wakes_up_does_not_come_back() {
    let bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let older = bed.member("a", 1, 1);
    older.registered().await;
    let newer = bed.member("a", 1, 2);
    newer.registered().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(
        seen(&discovery),
        [("a".to_owned(), 2, Status::Passing, false)]
    );
    assert_eq!(
        bed.states("a"),
        ["starting", "passing", "starting", "passing"]
    );
    drop((older, newer));
}

#[tokio::test(start_paused = true)]
async fn a_first_start_with_a_clock_that_went_back_takes_over() {
    let bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let crashed = bed.member("a", 1, 100);
    crashed.registered().await;
    drop(crashed);
    let again = bed.member("a", 1, 50);
    tokio::time::timeout(Duration::from_secs(1), again.registered())
        .await
        .expect("taken over");
    until("found", || {
        seen(&discovery) == [("a".to_owned(), 101, Status::Passing, false)]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn silent_members_that_answer_probes_are_kept() {
    let bed = Bed::new();
    let (discovery, _watch) = watch(&bed);
    let mut servers = Vec::new();
    for i in 1..=3_u16 {
        let (env, _) = node(&format!("p{i}"), bed.net.clone(), 9);
        let address = SocketAddr::from(([127, 0, 0, 1], i));
        servers.push(Server::start(&env, &format!("p{i}"), address).await);
    }
    let members: Vec<_> = (1..=3)
        .map(|i| bed.member(&format!("p{i}"), i, 1))
        .collect();
    until("all are found", || passing(&discovery) == 3).await;
    drop(members); // Heartbeats stop, the servers stay.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let given_up = seen(&discovery)
        .iter()
        .filter(|p| p.2 == Status::Critical)
        .count();
    assert!(
        given_up <= 1,
        "at most one of three goes unasked: {:?}",
        seen(&discovery)
    );
    for server in &mut servers {
        server.kill().await;
    }
    until("all are given up", || {
        seen(&discovery).iter().all(|p| p.2 == Status::Critical)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_problems_with_reasons() {
    let bed = Bed::new();
    let (env, _) = node("client", bed.net.clone(), 3);
    let client = Client::new(&env);
    let url = |path: &str| format!("http://{REGISTRY}/v1/{path}");
    let second = Duration::from_secs(1);
    let member = bed.member("witness", 9, 1);
    member.registered().await;
    let bad = Registration {
        weight: 0,
        ..Registration::new("a b", "", "nowhere", 1)
    };
    let put: Result<Lease, _> = client
        .json(Method::PUT, &url("instances/x"), Some(&bad), second)
        .await;
    let Err(ClientError::Status { status, body }) = put else {
        panic!("{put:?}")
    };
    assert_eq!(status, 422);
    let document: serde_json::Value = serde_json::from_str(&body).expect("problem+json");
    assert_eq!(
        document["errors"].as_array().map(Vec::len),
        Some(5),
        "{body}"
    );
    let beat = Heartbeat {
        epoch: 1,
        ready: true,
    };
    for (method, path, expected) in [
        (Method::POST, "instances/nobody/heartbeat", 404),
        (Method::POST, "instances/nobody/drain", 404),
        (Method::DELETE, "instances/nobody?epoch=1", 404),
        (Method::DELETE, "instances/nobody", 404),
        (Method::DELETE, "instances/nobody?epoch=x", 400),
        (Method::POST, "services", 405),
        (Method::GET, "services?knid=x", 400),
        (Method::GET, "nothing", 404),
    ] {
        let body = path.ends_with("heartbeat").then_some(&beat);
        let answer: Result<Lease, _> = client.json(method.clone(), &url(path), body, second).await;
        let status = answer
            .expect_err("refused")
            .status()
            .map(|status| status.as_u16());
        assert_eq!(status, Some(expected), "{method} {path}");
    }
}

/// Without what is another at each look.
fn unaged(mut listing: Listing) -> Listing {
    for instance in &mut listing.instances {
        instance.heartbeat_age_ms = None;
    }
    listing
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_at_its_wait_and_shutdown_ends_the_role() {
    let bed = Bed::new();
    let (env, _) = node("client", bed.net.clone(), 3);
    let client = Client::new(&env);
    tokio::time::sleep(Duration::from_secs(4)).await; // Past settling, which is news of its own.
    let url = format!("http://{REGISTRY}/v1/services");
    let now: Listing = client
        .get_json(&url, Duration::from_secs(1))
        .await
        .expect("a list");
    let began = Instant::now();
    let url = format!("{url}?since={}&wait=7s", now.revision);
    let again: Listing = client
        .get_json(&url, Duration::from_secs(8))
        .await
        .expect("a list");
    let (seen, again) = (unaged(now), unaged(again));
    assert_eq!((again, began.elapsed().as_secs()), (seen, 7));

    let waiting = tokio::spawn(async move {
        client
            .get_json::<Listing>(&url, Duration::from_secs(8))
            .await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stopping = Instant::now();
    bed.registry.env.shutdown.cancel();
    assert!(waiting.await.expect("no panic").is_ok());
    bed.registry
        .task
        .await
        .expect("no panic")
        .expect("a clean end");
    assert!(
        stopping.elapsed() < Duration::from_millis(100),
        "{:?}",
        stopping.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn unusable_settings_are_all_named() {
    let (env, _) = node("registry-1", Arc::new(MemoryNet::default()), 1);
    let config = RegistryConfig {
        ttl: HumanDuration::millis(1),
        max_instances: 0,
        ..config()
    };
    let error = registry(env, config).await.expect_err("unusable");
    assert_eq!(
        error.to_string(),
        "registry: ttl: 1ms is shorter than 100ms; max_instances: 0 would refuse everybody"
    );
}

/// Serves `router` on `port` of the network until the task is aborted.
async fn serving(bed: &Bed, port: u16, router: axum::Router) -> JoinHandle<()> {
    let (env, _) = node("instance", bed.net.clone(), 9);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let acceptor = env.net.bind(address).await.expect("a free port");
    let drain = crate::http::Drain {
        stop: env.shutdown.clone(),
        limit: Duration::ZERO,
    };
    tokio::spawn(async move {
        crate::http::serve(&env, acceptor, router, Patience::default(), drain).await;
    })
}

#[tokio::test(start_paused = true)]
async fn checked_members_are_in_while_heartbeats_and_check_agree() {
    let bed = Bed::new();
    let (env, _) = node("p1", bed.net.clone(), 7);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut server = Server::start(&env, "p1", address).await;
    let registration = Registration::new("p1", "processor", "p1:1", 1)
        .ready()
        .check(Check::http("/ready"));
    let member = Membership::join(&env, REGISTRY, registration);
    let last = |expected: &str| {
        bed.states("p1")
            .last()
            .is_some_and(|state| state == expected)
    };
    until("its first check passed", || last("passing")).await;
    // It hangs as a stopped process does: heartbeats aside, for they come from elsewhere here.
    server.set(crate::http::testing::Mood::Hangs);
    let hung = Instant::now();
    until("the hang is found", || last("critical")).await;
    assert!(
        hung.elapsed() < Duration::from_millis(1400),
        "{:?}",
        hung.elapsed()
    );
    server.set(crate::http::testing::Mood::Well);
    let well = Instant::now();
    until("it is back", || last("passing")).await;
    assert!(
        well.elapsed() < Duration::from_millis(1400),
        "{:?}",
        well.elapsed()
    );
    server.kill().await;
    drop(bed.net.bind(address).await.expect("nobody serves it")); // refuses from now on
    let killed = Instant::now();
    until("the kill is found", || last("critical")).await;
    assert!(
        killed.elapsed() < Duration::from_millis(1000),
        "{:?}",
        killed.elapsed()
    );
    drop(member);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_check_says_draining_is_left_alone() {
    let bed = Bed::new();
    let going = axum::routing::get(async || crate::http::Problem::draining());
    let server = serving(&bed, 1, axum::Router::new().route("/ready", going)).await;
    let (env, _) = node("p1", bed.net.clone(), 7);
    let registration = Registration::new("p1", "processor", "p1:1", 1)
        .ready()
        .check(Check::default());
    let member = Membership::join(&env, REGISTRY, registration);
    until("it leaves", || {
        bed.states("p1").last().is_some_and(|s| s == "draining")
    })
    .await;
    assert_eq!(bed.states("p1"), ["starting", "draining"]);
    server.abort();
    drop(member);
}

#[tokio::test(start_paused = true)]
async fn orders_reach_watchers_and_outlive_the_registry() {
    let mut bed = Bed::new();
    let (env, _) = node("operator", bed.net.clone(), 8);
    let client = ServiceClient::new(&env, REGISTRY);
    let (discovery, _watch) = watch(&bed);
    let members = [bed.member("a", 1, 1), bed.member("b", 2, 1)];
    until("both are found", || passing(&discovery) == 2).await;
    client.weight("a", 300).await.expect("ordered");
    until("the weight is news", || {
        discovery.peers().peers[0].weight == 300
    })
    .await;
    client
        .maintenance("b", Some("disks"))
        .await
        .expect("ordered");
    let in_maintenance = || seen(&discovery)[1].2 == Status::Maintenance;
    until("so is maintenance", in_maintenance).await;
    // The members have heard of it with their next heartbeats, and tell the next registry.
    tokio::time::sleep(Duration::from_secs(3)).await;
    bed.kill().await;
    bed.registry = start(&bed.net, 2);
    let (fresh, _fresh_watch) = watch(&bed);
    until("all are back", || fresh.peers().peers.len() == 2).await;
    let peers = fresh.peers();
    assert_eq!(
        (peers.peers[0].weight, peers.peers[1].status),
        (300, Status::Maintenance)
    );
    client.maintenance("b", None).await.expect("taken back");
    until("it is back", || passing(&fresh) == 2).await;
    client.drain("b").await.expect("ordered");
    until("it drains", || seen(&fresh)[1].2 == Status::Draining).await;
    let refused = client.weight("a", 0).await.expect_err("out of range");
    assert_eq!(refused.status().map(|s| s.as_u16()), Some(422));
    drop(members);
}

#[tokio::test(start_paused = true)]
async fn services_are_discovered_by_tags_and_keep_their_urls_without_a_registry() {
    let mut bed = Bed::new();
    let (env, _) = node("client", bed.net.clone(), 8);
    let client = ServiceClient::new(&env, REGISTRY);
    let gpu = Registration::new("a", "processor", "a:1", 1)
        .ready()
        .tag("gpu")
        .zone("z1");
    let plain = Registration::new("b", "processor", "b:2", 1).ready();
    let members = [client.register(gpu), client.register(plain)];
    for member in &members {
        member.registered().await;
    }
    let peers = client
        .discover(Query::kind("processor").tag("gpu"))
        .await
        .expect("answered");
    assert_eq!(peers.len(), 1);
    assert_eq!(
        (peers[0].name.as_str(), peers[0].zone.as_deref()),
        ("a", Some("z1"))
    );
    assert!(peers[0].tags.contains("gpu"));
    assert_eq!(
        client.discover("processor").await.expect("answered").len(),
        2
    );
    bed.kill().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let url = client
        .url(Query::kind("processor").tag("gpu"), "/frame?at=1")
        .await;
    assert_eq!(url.as_deref(), Ok("http://a:1/frame?at=1"));
    let unknown = client
        .url("gateway", "/")
        .await
        .expect_err("never answered");
    assert_eq!(
        unknown,
        client::ServiceError::NoRegistry {
            registry: REGISTRY.to_owned()
        }
    );
    drop(members);
}

#[tokio::test(start_paused = true)]
async fn urls_are_drawn_by_weight() {
    let bed = Bed::new();
    let (env, _) = node("client", bed.net.clone(), 8);
    let client = ServiceClient::new(&env, REGISTRY);
    let heavy = Registration::new("a", "processor", "a:1", 1)
        .ready()
        .weight(300);
    let light = Registration::new("b", "processor", "b:2", 1).ready();
    let members = [client.register(heavy), client.register(light)];
    for member in &members {
        member.registered().await;
    }
    let mut to_heavy = 0;
    for _ in 0..1000 {
        let url = client.url("processor", "/").await.expect("somebody");
        to_heavy += usize::from(url == "http://a:1/");
    }
    assert!(
        (700..800).contains(&to_heavy),
        "{to_heavy} of 1000 with three quarters of the weight"
    );
    assert_eq!(
        client
            .url("gateway", "/")
            .await
            .expect_err("nobody")
            .to_string(),
        "no gateway can take work"
    );
    drop(members);
}

/// Every operation of the document is answered by the router, and every route is in the document: both come from one
/// table, and this asks the running registry.
#[tokio::test(start_paused = true)]
async fn the_document_describes_every_route() {
    let bed = Bed::new();
    let (env, _) = node("client", bed.net.clone(), 3);
    let client = Client::new(&env);
    let base = format!("http://{REGISTRY}");
    let second = Duration::from_secs(1);
    let document: serde_json::Value = loop {
        // The role is about to listen.
        match client
            .get_json(&format!("{base}/v1/openapi.json"), second)
            .await
        {
            Ok(document) => break document,
            Err(ClientError::Connect(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let mut described = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let method: Method = method.to_ascii_uppercase().parse().expect("a method");
            described.push((method.clone(), path.clone()));
            let url = format!("{base}{}", path.replace("{name}", "nobody"));
            let answer: Result<serde_json::Value, _> =
                client.json(method.clone(), &url, None::<&()>, second).await;
            if let Err(ClientError::Status { status, body }) = answer {
                let problem = crate::http::Problem::parse(body.as_bytes()).expect("a problem");
                assert_ne!(problem.code, "no_such_route", "{method} {path}");
                let responses = &operation["responses"];
                assert!(
                    responses.get(status.as_str()).is_some(),
                    "{method} {path}: {status}"
                );
                let whole: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                assert!(whole["instance"].is_string() && whole["request_id"].is_string());
            }
        }
    }
    let routed: Vec<_> = routes::endpoints()
        .into_iter()
        .map(|endpoint| {
            (
                endpoint.operation.method,
                endpoint.operation.path.to_owned(),
            )
        })
        .collect();
    assert_eq!(described.len(), routed.len());
    for route in &routed {
        assert!(described.contains(route), "{route:?}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().expect("a name");
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
    assert!(text.contains("#/components/schemas/Registration"));
}
