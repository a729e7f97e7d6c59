use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::breaker::Outcome;
use crate::http::testing::{MemoryNet, Server, node};
use crate::upstream::{Balancing, hash_key};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A pool whose instances answer probes; how calls go is said by the test.
struct Bed {
    pool: Pool,
    discovery: Discovery,
    _servers: Vec<Server>,
}

impl Bed {
    async fn new(peers: Vec<Peer>, config: UpstreamConfig) -> Self {
        let (env, _) = node("gateway-1", Arc::new(MemoryNet::default()), 42);
        let mut servers = Vec::new();
        for port in 1..=6 {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            servers.push(Server::start(&env, &format!("p{port}"), address).await);
        }
        let discovery = Discovery::fixed(peers);
        Self {
            pool: Pool::new(&env, discovery.clone(), config),
            discovery,
            _servers: servers,
        }
    }

    async fn of(count: usize, balance: Balance) -> Self {
        Self::new(peers(count), only(balance)).await
    }

    fn pick(&self, key: Option<u64>) -> Picked {
        let picked = self.pool.pick(&Tried::default(), key, Instant::now());
        picked.expect("somebody is listed")
    }

    /// Picks, gives back at once, and counts by name.
    fn shares(&self, picks: u64) -> BTreeMap<String, u64> {
        let mut shares = BTreeMap::new();
        for key in 0..picks {
            let picked = self.pick(Some(hash_key(&key.to_string())));
            *shares.entry(picked.name().to_owned()).or_default() += 1;
            drop(picked);
        }
        shares
    }

    fn share(&self, name: &str, picks: u64) -> u64 {
        self.shares(picks).get(name).copied().unwrap_or(0)
    }

    fn instance(&self, name: &str) -> Arc<Instance> {
        let roster = self.pool.roster();
        Arc::clone(&roster.member(name).expect("a member").instance)
    }

    /// A call to `name` that took `took`.
    fn answered(&self, name: &str, took: Duration) {
        let instance = self.instance(name);
        let now = Instant::now();
        let began = now.checked_sub(took).unwrap_or(now);
        let ticket = Ticket::last_resort(began);
        instance.record(ticket, Outcome::Success, None, now);
    }

    fn fail(&self, name: &str) {
        let instance = self.instance(name);
        for _ in 0..5 {
            let ticket = instance.breaker.try_ticket(Instant::now());
            let ticket = ticket.expect("closed");
            instance.record(ticket, Outcome::TransportFailure, None, Instant::now());
        }
        assert!(instance.open());
    }

    fn heal(&self, name: &str) {
        let instance = self.instance(name);
        instance.breaker.force_close();
    }

    fn view(&self, name: &str) -> InstanceView {
        let view = self.pool.view(Instant::now());
        view.into_iter().find(|v| v.name == name).expect("a member")
    }
}

fn peers(count: usize) -> Vec<Peer> {
    (1..=count)
        .map(|i| Peer::fixed(format!("p{i}"), format!("127.0.0.1:{i}")))
        .collect()
}

fn only(balance: Balance) -> UpstreamConfig {
    UpstreamConfig {
        balance,
        ..UpstreamConfig::default()
    }
}

#[tokio::test(start_paused = true)]
async fn each_policy_shares_as_it_says() {
    let mut three = peers(3);
    three[1].weight = 200;
    for (balance, fair) in [
        (Balance::RoundRobin, [1000.0, 1000.0, 1000.0]),
        (Balance::Weighted, [750.0, 1500.0, 750.0]),
        (Balance::Random, [750.0, 1500.0, 750.0]),
        (Balance::ConsistentHash, [750.0, 1500.0, 750.0]),
    ] {
        let exact = matches!(balance, Balance::RoundRobin | Balance::Weighted);
        let slack = if exact { 0.001 } else { 0.2 };
        let bed = Bed::new(three.clone(), only(balance)).await;
        let shares = bed.shares(3000);
        for (share, fair) in shares.values().zip(fair) {
            let share = *share as f64;
            let near = (fair * (1.0 - slack)..=fair * (1.0 + slack)).contains(&share);
            assert!(near, "{balance:?}: {shares:?}");
        }
    }
    for balance in [Balance::LeastResponseTime, Balance::LeastConnections] {
        let shares = Bed::of(3, balance).await.shares(3000);
        assert!(
            shares.values().all(|s| (900..1100).contains(s)),
            "{balance:?}: {shares:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_one_and_none_of_none() {
    for balance in super::super::tests::POLICIES {
        let bed = Bed::of(1, balance).await;
        assert_eq!(bed.share("p1", 50), 50, "{balance:?}");
        bed.discovery.replace(Vec::new());
        assert!(
            bed.pool
                .pick(&Tried::default(), Some(1), Instant::now())
                .is_none()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_fewest_connections_for_its_weight_is_exact_in_a_small_pool() {
    let mut three = peers(3);
    three[2].weight = 300;
    let bed = Bed::new(three, only(Balance::LeastConnections)).await;
    let mut counts = BTreeMap::new();
    for _ in 0..50 {
        let picked = bed.pick(None);
        picked.instance.began();
        *counts.entry(picked.name().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 30]);
    let view = bed.view("p3");
    assert_eq!((view.in_flight, view.picks), (30, 30));
}

#[tokio::test(start_paused = true)]
async fn least_response_time_goes_by_latency_load_and_failures() {
    let bed = Bed::of(3, Balance::LeastResponseTime).await;
    for name in ["p1", "p2", "p3"] {
        bed.answered(name, 10 * MS);
    }
    bed.answered("p2", 400 * MS);
    assert_eq!(bed.share("p2", 1000), 0);
    // The others are busy enough to make up for it.
    for name in ["p1", "p3"] {
        for _ in 0..50 {
            bed.instance(name).began();
        }
    }
    assert!(bed.share("p2", 1000) > 550);
    // A failure outweighs that: it is fast, and no sign of speed.
    let instance = bed.instance("p2");
    let ticket = instance.breaker.try_ticket(Instant::now()).expect("closed");
    instance.record(ticket, Outcome::TransportFailure, None, Instant::now());
    assert_eq!(bed.share("p2", 1000), 0);
    assert!(bed.view("p2").penalty_ms > 4900.0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_be_left_alone_is() {
    let bed = Bed::of(2, Balance::LeastResponseTime).await;
    bed.answered("p1", 10 * MS);
    bed.answered("p2", 10 * MS);
    let instance = bed.instance("p1");
    let ticket = instance.breaker.try_ticket(Instant::now()).expect("closed");
    instance.record(ticket, Outcome::Ignored, Some(30 * SECOND), Instant::now());
    tokio::time::sleep(29 * SECOND).await;
    assert_eq!(bed.share("p1", 100), 0);
    tokio::time::sleep(10 * SECOND).await;
    bed.answered("p2", 100 * MS);
    assert_eq!(bed.share("p1", 100), 100);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_counts_as_usual_and_starts_slowly_where_others_work() {
    let bed = Bed::of(2, Balance::LeastResponseTime).await;
    bed.answered("p1", 10 * MS);
    bed.answered("p2", 10 * MS);
    // A pool that is new as a whole spares nobody.
    bed.discovery.replace(peers(3));
    assert_eq!(
        (bed.view("p3").warmth, bed.view("p3").latency_ms),
        (1.0, None)
    );
    assert!((900..1100).contains(&bed.share("p3", 3000)));
    tokio::time::sleep(10 * SECOND).await;
    for name in ["p1", "p2", "p3"] {
        bed.answered(name, 10 * MS);
    }
    bed.discovery.replace(peers(4));
    let started = bed.share("p4", 4000);
    assert!((60..140).contains(&started), "{started}");
    tokio::time::sleep(5 * SECOND).await;
    let halfway = bed.share("p4", 4000);
    assert!((400..600).contains(&halfway), "{halfway}");
    tokio::time::sleep(5 * SECOND).await;
    bed.shares(100);
    let warm = bed.view("p4");
    assert_eq!((warm.warmth, warm.weight), (1.0, 1.0));
    assert!(!bed.instance("p4").warmth.warming());
}

#[tokio::test(start_paused = true)]
async fn each_policy_starts_who_comes_back_slowly() {
    for balance in super::super::tests::POLICIES {
        let bed = Bed::of(4, balance).await;
        bed.shares(4);
        bed.fail("p2");
        assert_eq!(bed.share("p2", 400), 0, "{balance:?}");
        bed.heal("p2");
        let share = bed.share("p2", 4000);
        assert!((50..160).contains(&share), "{balance:?}: {share}");
        tokio::time::sleep(10 * SECOND).await;
        let share = bed.share("p2", 4000);
        assert!((700..1300).contains(&share), "{balance:?}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_passing_again_starts_slowly_and_who_never_went_does_not() {
    let bed = Bed::of(3, Balance::RoundRobin).await;
    bed.shares(3);
    tokio::time::sleep(11 * SECOND).await;
    let with = |status| {
        let mut peers = peers(3);
        peers[0].status = status;
        bed.discovery.replace(peers);
    };
    with(Status::Warning);
    with(Status::Passing);
    assert_eq!(bed.view("p1").warmth, 1.0);
    for away in [Status::Critical, Status::Maintenance, Status::Draining] {
        with(away);
        assert_eq!(bed.share("p1", 30), 0);
        with(Status::Passing);
        assert!(bed.view("p1").warmth < 0.2, "{away:?}");
        tokio::time::sleep(11 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_one_two_three_and_five_breakers_take_out_no_more_than_half() {
    for (count, failed, ejected, panic) in [
        (1, 1, 1, true),
        (2, 1, 1, false),
        (2, 2, 2, true),
        (3, 1, 1, false),
        (3, 2, 1, false),
        (3, 3, 3, true),
        (5, 2, 2, false),
        (5, 3, 2, true),
        (6, 3, 3, false),
        (6, 4, 3, true),
    ] {
        let bed = Bed::of(count, Balance::RoundRobin).await;
        bed.shares(1);
        for which in 1..=failed {
            bed.fail(&format!("p{which}"));
            bed.shares(1);
        }
        let view = bed.pool.view(Instant::now());
        let out = view.iter().filter(|v| v.place == "ejected").count();
        assert_eq!(out, ejected, "{failed} of {count}");
        let before = bed.pool.counts();
        let shares = bed.shares(60);
        let panics = bed.pool.counts().panic_picks - before.panic_picks;
        assert_eq!(panics, if panic { 60 } else { 0 }, "{failed} of {count}");
        let called = if panic { count } else { count - ejected };
        assert_eq!(shares.len(), called, "{failed} of {count}: {shares:?}");
        let overflow = u64::from(!panic && failed > ejected);
        let counted = bed.pool.counts().ejections_overflow;
        assert!(counted >= overflow, "{failed} of {count}: {counted}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_resort_is_whom_a_breaker_took_out_before_whom_the_registry_gave_up() {
    let mut three = peers(3);
    three[0].status = Status::Critical;
    three[2].status = Status::Maintenance;
    let bed = Bed::new(three, only(Balance::LeastResponseTime)).await;
    assert_eq!(bed.share("p2", 20), 20);
    bed.fail("p2");
    assert_eq!(bed.share("p2", 20), 20);
    assert_eq!(bed.view("p2").last_resort_picks, 20);
    let tried = ["p2".to_owned()];
    let picked = bed
        .pool
        .pick(&Tried::new(&tried), None, Instant::now())
        .expect("p2");
    assert_eq!((picked.name(), picked.last_resort()), ("p2", true));
    drop(picked);
    bed.discovery.replace(peers(3));
    bed.instance("p1").breaker.force_open();
    bed.fail("p3");
    // An operator's word holds even when nobody else is left.
    let shares = bed.shares(20);
    assert_eq!(shares.into_keys().collect::<Vec<_>>(), ["p2", "p3"]);
    assert_eq!(
        (bed.view("p1").place, bed.view("p1").breaker),
        ("unused", "forced-open")
    );
}

#[tokio::test(start_paused = true)]
async fn calls_stay_in_the_zone_until_it_cannot_carry_them() {
    let zoned = || {
        let mut peers = peers(6);
        for (at, peer) in peers.iter_mut().enumerate() {
            peer.zone = Some(if at < 3 { "a" } else { "b" }.to_owned());
        }
        peers
    };
    for balance in super::super::tests::POLICIES {
        let config = UpstreamConfig {
            zone: Some("a".to_owned()),
            ..only(balance)
        };
        let bed = Bed::new(zoned(), config.clone()).await;
        let near = |bed: &Bed| -> u64 {
            let shares = bed.shares(3000);
            let near = |name: &&String| ["p1", "p2", "p3"].contains(&name.as_str());
            shares
                .iter()
                .filter(|(name, _)| near(name))
                .map(|(_, share)| share)
                .sum()
        };
        assert_eq!(near(&bed), 3000, "{balance:?}");
        bed.fail("p1");
        let share = near(&bed);
        assert!((2680..2920).contains(&share), "{balance:?}: {share}");
        bed.fail("p2");
        let share = near(&bed);
        assert!((1250..1550).contains(&share), "{balance:?}: {share}");
        bed.fail("p3");
        assert_eq!(near(&bed), 0, "{balance:?}");
        let everywhere = UpstreamConfig {
            balancing: Balancing {
                zone_aware: false,
                ..Balancing::default()
            },
            ..config
        };
        let bed = Bed::new(zoned(), everywhere).await;
        assert!((1200..1800).contains(&near(&bed)), "{balance:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_leaves_the_zone_when_nobody_else_is_in_it() {
    let mut two = peers(2);
    two[0].zone = Some("a".to_owned());
    let config = UpstreamConfig {
        zone: Some("a".to_owned()),
        ..UpstreamConfig::default()
    };
    let bed = Bed::new(two, config).await;
    assert_eq!(bed.share("p1", 20), 20);
    let tried = ["p1".to_owned()];
    let other = bed
        .pool
        .pick(&Tried::new(&tried), None, Instant::now())
        .expect("p2");
    assert_eq!(other.name(), "p2");
    assert!(bed.pool.has_other(&Tried::new(&tried), Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_instance_until_that_is_busy_tried_or_out() {
    let bed = Bed::of(4, Balance::ConsistentHash).await;
    let key = Some(hash_key("video-1"));
    let home = bed.pick(key).name().to_owned();
    for _ in 0..50 {
        assert_eq!(bed.pick(key).name(), home);
    }
    let next = bed.pool.pick(
        &Tried::new(std::slice::from_ref(&home)),
        key,
        Instant::now(),
    );
    let next = next.expect("another").name().to_owned();
    assert_ne!(next, home);
    // Out, its keys go where they would go if it had left, and come home one after the other.
    bed.fail(&home);
    assert_eq!(bed.pick(key).name(), next);
    bed.heal(&home);
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(bed.pick(key).name(), home);
    // All calls are for the same key: each instance has at most 1.25 times its share of them in flight.
    for placed in 1..=200_u32 {
        bed.pick(key).instance.began();
        let most = (f64::from(placed) / 4.0 * 1.25).ceil();
        let view = bed.pool.view(Instant::now());
        assert!(
            view.iter().all(|v| f64::from(v.in_flight) <= most),
            "{view:?}"
        );
    }
    assert!(bed.view(&home).in_flight >= 60);
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_key_go_by_least_response_time() {
    let bed = Bed::of(3, Balance::ConsistentHash).await;
    for (name, took) in [("p1", 10), ("p2", 400), ("p3", 10)] {
        bed.answered(name, took * MS);
    }
    for _ in 0..100 {
        assert_ne!(bed.pick(None).name(), "p2");
    }
}

#[tokio::test(start_paused = true)]
async fn weights_are_those_of_the_registry_at_the_moment() {
    let bed = Bed::of(2, Balance::Weighted).await;
    assert_eq!(bed.share("p1", 100), 50);
    let with = |change: fn(&mut Peer)| {
        let mut peers = peers(2);
        change(&mut peers[0]);
        bed.discovery.replace(peers);
    };
    with(|peer| peer.weight = 300);
    assert_eq!(bed.share("p1", 100), 75);
    // Heartbeats are missing: a tenth.
    with(|peer| peer.status = Status::Warning);
    assert_eq!(bed.share("p1", 110), 10);
    // Weights whose turns are too many to list are kept all the same.
    with(|peer| peer.weight = 99_991);
    assert!((98..=100).contains(&bed.share("p1", 100)));
}

#[tokio::test(start_paused = true)]
async fn the_usual_latency_is_the_lower_median_of_those_that_may_be_called() {
    let bed = Bed::of(3, Balance::LeastResponseTime).await;
    assert_eq!(bed.pool.usual_latency(Instant::now()), None);
    for (name, took) in [("p1", 10), ("p2", 30), ("p3", 500)] {
        bed.answered(name, took * MS);
    }
    let usual = |bed: &Bed| bed.pool.usual_latency(Instant::now()).expect("measured") * 1000.0;
    tokio::time::sleep(51 * MS).await;
    assert!((28.0..=30.1).contains(&usual(&bed)));
    bed.answered("p2", 100 * MS);
    bed.answered("p2", 100 * MS);
    assert!(
        (28.0..=30.1).contains(&usual(&bed)),
        "not worked out for each call"
    );
    tokio::time::sleep(51 * MS).await;
    assert!((95.0..=100.1).contains(&usual(&bed)));
}

#[tokio::test(start_paused = true)]
async fn a_half_open_breaker_gets_its_trials_however_dear_its_instance_looks() {
    for balance in [Balance::LeastResponseTime, Balance::LeastConnections] {
        let bed = Bed::of(3, balance).await;
        for name in ["p1", "p2", "p3"] {
            bed.answered(name, 10 * MS);
        }
        bed.fail("p2");
        assert_eq!(bed.share("p2", 100), 0);
        tokio::time::advance(Duration::from_secs(5)).await;
        let instance = bed.instance("p2");
        instance.probed(true, Instant::now());
        // A late answer from before says that it is very slow, and it has more in flight than anybody.
        bed.answered("p2", Duration::from_secs(4));
        for _ in 0..20 {
            instance.began();
        }
        let trials: Vec<Picked> = (0..3).map(|_| bed.pick(None)).collect();
        assert!(
            trials.iter().all(|picked| picked.name() == "p2"),
            "{balance:?}"
        );
        // Its permits are all out: everybody else goes elsewhere.
        assert_ne!(bed.pick(None).name(), "p2");
        // Whoever has failed once already is not put at risk.
        for picked in trials {
            drop(picked);
        }
        let mut failed = Tried::default();
        failed.add(&bed.instance("p1"));
        let again = bed.pool.pick(&failed, None, Instant::now());
        assert_eq!(
            again.map(|picked| picked.name().to_owned()),
            Some("p3".to_owned()),
            "{balance:?}"
        );
    }
}
