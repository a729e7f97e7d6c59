//! What callers notice when instances hang, fail, slow down or are all gone, and what it costs the instances. Calls are
//! sent on a schedule, whether earlier ones were answered or not, and timed from the moment they were due.

use super::*;

type Calls = Vec<(Result<Reply, UpstreamError>, Duration)>;

/// 500 calls a second.
const EVERY: Duration = Duration::from_millis(2);

/// Share of calls that were answered without error within `limit`.
fn within(calls: &Calls, limit: Duration) -> f64 {
    let good = calls.iter().filter(|(result, took)| {
        let answered = result.as_ref();
        answered.is_ok_and(|reply| reply.response.status().is_success()) && *took <= limit
    });
    good.count() as f64 / calls.len() as f64
}

fn worst(calls: &Calls) -> Duration {
    calls.iter().map(|(_, took)| *took).max().expect("calls")
}

/// The time that `share` of the calls stays within.
fn quantile(calls: &Calls, share: f64) -> Duration {
    let mut took: Vec<_> = calls.iter().map(|(_, took)| *took).collect();
    took.sort();
    took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1]
}

fn balances() -> impl Iterator<Item = UpstreamConfig> {
    let config = |balance| UpstreamConfig {
        balance,
        ..UpstreamConfig::default()
    };
    [
        Balance::LeastResponseTime,
        Balance::RoundRobin,
        Balance::Random,
    ]
    .map(config)
    .into_iter()
}

#[tokio::test(start_paused = true)]
async fn one_hung_of_three_is_hardly_noticed_by_anybody() {
    for config in balances() {
        let balance = config.balance;
        for warm in [500, 0] {
            let mut bed = Bed::memory(3, config.clone()).await;
            bed.load(warm, EVERY, BTreeMap::new()).await;
            let hang = BTreeMap::from([
                (50, Act::Set(1, Mood::Hangs)),
                (1050, Act::Set(1, Mood::Well)),
            ]);
            let calls = bed.load(1500, EVERY, hang).await;
            let seen = format!(
                "{balance:?} after {warm}: {:.4}, p99 {:?}, worst {:?}, {:?}",
                within(&calls, 250 * MS),
                quantile(&calls, 0.99),
                worst(&calls),
                bed.upstream.metrics(),
            );
            assert!(within(&calls, 250 * MS) >= 0.999, "{seen}");
            assert!(worst(&calls) <= 300 * MS, "{seen}");
            // Who goes by latency avoids it so well that nobody is left to find out but probes.
            let opened = states(&bed.log, "p2").first() == Some(&"open".to_owned());
            assert!(opened || balance == Balance::LeastResponseTime, "{seen}");
            assert_eq!(bed.upstream.metrics().failed, 0, "{seen}");
        }
    }
}

/// Hedging alone must find a hung instance: nobody waits long enough for a timeout.
#[tokio::test(start_paused = true)]
async fn a_hung_instance_is_taken_out_within_a_fifth_of_a_second_by_those_who_overtook_it() {
    let config = UpstreamConfig {
        balance: Balance::RoundRobin,
        ..UpstreamConfig::default()
    };
    let mut bed = Bed::memory(3, config).await;
    bed.load(500, EVERY, BTreeMap::new()).await;
    bed.servers[1].set(Mood::Hangs);
    let calls = bed.load(100, EVERY, BTreeMap::new()).await;
    assert_eq!(bed.breaker(1), "open");
    assert_eq!(failures(&calls), Vec::<String>::new());
    assert!(worst(&calls) < 20 * MS, "{:?}", worst(&calls));
    let metrics = bed.upstream.metrics();
    assert_eq!(
        (metrics.retries, metrics.hedges_refused),
        (0, 0),
        "{metrics:?}"
    );
}

/// All who wait for it at that moment see the same stall, and it is one.
#[tokio::test(start_paused = true)]
async fn a_stall_of_some_milliseconds_under_load_opens_no_breaker() {
    let config = UpstreamConfig {
        balance: Balance::RoundRobin,
        ..UpstreamConfig::default()
    };
    let mut bed = Bed::memory(3, config).await;
    bed.load(500, EVERY, BTreeMap::new()).await;
    let stall = BTreeMap::from([
        (50, Act::Set(1, Mood::Hangs)),
        (80, Act::Set(1, Mood::Well)),
    ]);
    let calls = bed.load(500, EVERY, stall).await;
    assert_eq!(failures(&calls), Vec::<String>::new());
    assert_eq!(states(&bed.log, "p2"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn without_hedges_a_hang_is_noticed() {
    let mut config = UpstreamConfig {
        balance: Balance::RoundRobin,
        ..UpstreamConfig::default()
    };
    config.hedge.enabled = false;
    let mut bed = Bed::memory(3, config).await;
    bed.load(1000, EVERY, BTreeMap::new()).await;
    let hang = BTreeMap::from([(50, Act::Set(1, Mood::Hangs))]);
    let calls = bed.load(500, EVERY, hang).await;
    assert!(quantile(&calls, 0.98) >= 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_half_of_its_calls_fails_no_caller_and_costs_little() {
    for config in balances() {
        let balance = config.balance;
        let mut bed = Bed::memory(3, config).await;
        bed.load(500, EVERY, BTreeMap::new()).await;
        let before = bed.upstream.metrics();
        let mut moods = BTreeMap::new();
        for call in (50..1000).step_by(5) {
            let mood = [Mood::Fails, Mood::Well][call / 5 % 2];
            moods.insert(call, Act::Set(0, mood));
        }
        let calls = bed.load(1000, EVERY, moods).await;
        let metrics = bed.upstream.metrics();
        assert!(
            within(&calls, 250 * MS) >= 0.999,
            "{balance:?}: {metrics:?}"
        );
        let tries = metrics.tries - before.tries;
        assert!(tries <= 1200, "{balance:?}: {tries} tries for 1000 calls");
    }
}

#[tokio::test(start_paused = true)]
async fn one_ten_times_slower_does_not_show_in_p99() {
    for config in balances() {
        let balance = config.balance;
        let mut bed = Bed::memory(3, config).await;
        let healthy = bed.load(500, EVERY, BTreeMap::new()).await;
        let healthy = quantile(&healthy, 0.99);
        bed.servers[1].slow_down(30 * MS);
        let calls = bed.load(1500, EVERY, BTreeMap::new()).await;
        let (gray, metrics) = (quantile(&calls, 0.99), bed.upstream.metrics());
        let seen = format!("{balance:?}: {healthy:?}, then {gray:?}, {metrics:?}");
        if balance == Balance::LeastResponseTime {
            assert!(gray <= healthy.mul_f64(1.5), "{seen}");
        }
        // Whoever sends a third of the calls there regardless cannot hedge them all, and must not.
        assert!(metrics.tries <= 2000 + 100 + 20, "{seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_down_is_met_by_no_storm_and_over_as_soon_as_they_are_back() {
    // 200 a second.
    let every = 5 * MS;
    for mood in [None, Some(Mood::Fails), Some(Mood::Hangs)] {
        let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
        bed.load(400, every, BTreeMap::new()).await;
        let before = bed.upstream.metrics();
        for which in 0..3 {
            match mood {
                None => bed.servers[which].kill().await,
                Some(mood) => bed.servers[which].set(mood),
            }
        }
        let down = bed.load(2000, every, BTreeMap::new()).await;
        assert!(within(&down, 250 * MS) < 0.01, "{mood:?}");
        let tries = bed.upstream.metrics().tries - before.tries;
        assert!(tries <= 2400, "{mood:?}: {tries} tries for 2000 calls");
        for which in 0..3 {
            match mood {
                None => {
                    let (name, address) = (format!("p{}", which + 1), bed.servers[which].address);
                    bed.servers[which] = Server::start(&bed.env, &name, address).await;
                }
                Some(_) => bed.servers[which].set(Mood::Well),
            }
        }
        let usual = bed.upstream.routes()[0].clone();
        assert!(usual.p999_ms < 10.0, "an outage is no measure: {usual:?}");
        bed.load(400, every, BTreeMap::new()).await;
        // Two seconds after they are back, and for good.
        let after = bed.load(1000, every, BTreeMap::new()).await;
        for second in after.chunks(200) {
            let second = second.iter().map(|(_, took)| *took <= 50 * MS);
            assert!(second.filter(|good| *good).count() == 200, "{mood:?}");
        }
        assert_eq!(failures(&after), Vec::<String>::new(), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_slow_as_a_whole_is_not_asked_twice() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    bed.load(1000, EVERY, BTreeMap::new()).await;
    let before = bed.upstream.metrics();
    for server in &bed.servers {
        server.slow_down(60 * MS);
    }
    let calls = bed.load(2000, EVERY, BTreeMap::new()).await;
    assert_eq!(failures(&calls), Vec::<String>::new());
    let metrics = bed.upstream.metrics();
    let (hedges, retries) = (
        metrics.hedges - before.hedges,
        metrics.retries - before.retries,
    );
    // A twentieth of these calls and of those before; and soon none, because this is usual now.
    assert!((1..=150).contains(&hedges) && retries == 0, "{metrics:?}");
    assert!(metrics.hedges_refused > 0, "{metrics:?}");
    let usual = bed.upstream.routes()[0].hedge_after_ms;
    assert!(usual.is_some_and(|ms| ms > 60.0), "{usual:?}");
    assert_eq!(states(&bed.log, "p1"), Vec::<String>::new());
}

/// Of a hedged read both legs fail: the call is not over until both have, and the answer is passed on.
#[tokio::test(start_paused = true)]
async fn an_error_of_one_leg_does_not_end_the_race() {
    let mut config = UpstreamConfig::default();
    config.retry.enabled = false;
    for (first, second, expected) in [
        // Milliseconds, whether it fails; the hedge starts at 50.
        ((90, true), (5, false), 200),
        ((60, true), (30, false), 200),
        ((90, false), (5, true), 200),
        ((60, true), (5, true), 500),
    ] {
        let bed = Bed::memory(2, config.clone()).await;
        // Whoever is asked first gets the first behaviour.
        let upstream = bed.upstream.clone();
        for server in &bed.servers {
            server.slow_down(Duration::from_secs(1));
        }
        let calling = tokio::spawn(async move { upstream.call(read(1000)).await });
        until("somebody is asked", || {
            bed.servers.iter().any(|s| s.hits() == 1)
        })
        .await;
        let asked = usize::from(bed.servers[1].hits() == 1);
        bed.servers[asked].answer_in(first.0 * MS, first.1);
        bed.servers[1 - asked].answer_in(second.0 * MS, second.1);
        let reply = calling.await.expect("no panic").expect("an answer");
        assert_eq!(
            reply.response.status().as_u16(),
            expected,
            "{first:?}, {second:?}"
        );
        assert_eq!(reply.attempts, 2);
        let metrics = bed.upstream.metrics();
        let by_hedge = expected == 200 && !second.1;
        assert_eq!(
            (metrics.hedges, metrics.hedges_won),
            (1, u64::from(by_hedge))
        );
        assert!(bed.upstream.snapshot().iter().all(|i| i.in_flight == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn only_plain_reads_are_hedged() {
    let bed = Bed::memory(3, UpstreamConfig::default()).await;
    for server in &bed.servers {
        server.slow_down(200 * MS);
    }
    let second = Duration::from_secs(1);
    for call in [
        stream(second),
        Call {
            try_timeout: Some(second),
            ..read(1000)
        },
        Call {
            idempotent: false,
            ..read(1000)
        },
        Call {
            method: http::Method::PUT,
            ..read(1000).keyed(http::HeaderValue::from_static("k"))
        },
    ] {
        let reply = bed.upstream.call(call).await.expect("answered");
        assert_eq!(reply.attempts, 1);
    }
    assert_eq!(bed.upstream.metrics().hedges, 0);
    assert_eq!(
        bed.upstream
            .call(read(1000))
            .await
            .expect("answered")
            .attempts,
        2
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_shed_goes_to_another_once_and_when_all_shed_many_are_not_asked_at_all() {
    let mut bed = Bed::memory(3, UpstreamConfig::default()).await;
    bed.servers[0].set(Mood::Sheds);
    let calls = bed.load(600, EVERY, BTreeMap::new()).await;
    assert_eq!(failures(&calls), Vec::<String>::new());
    assert_eq!(bed.breaker(0), "closed");
    for server in &bed.servers {
        server.set(Mood::Sheds);
    }
    let calls = bed.load(3000, EVERY, BTreeMap::new()).await;
    assert_eq!(failures(&calls).len(), 3000);
    let metrics = bed.upstream.metrics();
    assert!(metrics.throttled > 1000, "{metrics:?}");
    assert!((0..3).all(|i| bed.breaker(i) == "closed"));
    let hits: usize = bed.servers.iter().map(Server::hits).sum();
    assert!(hits < 3300, "{hits} requests for 3600 calls");
    // It lets go within its window.
    for server in &bed.servers {
        server.set(Mood::Well);
    }
    bed.load(6000, EVERY, BTreeMap::new()).await;
    let calls = bed.load(500, EVERY, BTreeMap::new()).await;
    assert_eq!(failures(&calls), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    /// Whatever instances do, retries and hedges stay within their shares of the calls (or within what is always
    /// allowed), and whatever was begun has ended.
    #[test]
    fn tries_stay_within_the_budgets(
        seed in any::<u64>(),
        moods in proptest::collection::vec((0_usize..3, 0_usize..6, 1_u32..80), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut config = UpstreamConfig::default();
            config.retry.min_per_second = 1;
            config.hedge.min_per_second = 1;
            let mut bed = Bed::seeded(Arc::new(MemoryNet::default()), 3, false, config, seed).await;
            let mut calls = 0;
            for (which, mood, delay) in moods {
                let mood = [
                    Mood::Well, Mood::Hangs, Mood::Fails, Mood::Breaks, Mood::Stalls, Mood::Sheds,
                ][mood];
                bed.servers[which].set(mood);
                bed.servers[which].slow_down(delay * MS);
                bed.load(60, 4 * MS, BTreeMap::new()).await;
                calls += 60;
            }
            let metrics = bed.upstream.metrics();
            let most = |ratio: f64| (f64::from(calls) * ratio).max(10.0) as u64;
            // A silent instance is hedged on the budget of retries.
            assert!(metrics.retries <= most(0.2), "{calls} calls, {metrics:?}");
            assert!(
                metrics.retries + metrics.hedges <= most(0.2) + most(0.05),
                "{calls} calls, {metrics:?}"
            );
            // A retry that was granted may find its time up.
            let begun = metrics.calls - metrics.throttled + metrics.retries + metrics.hedges;
            let expected = begun - metrics.expired..=begun;
            assert!(expected.contains(&metrics.tries), "{metrics:?}");
            assert_eq!((metrics.active, metrics.active_retries), (0, 0));
            assert!(bed.upstream.snapshot().iter().all(|view| view.in_flight == 0));
        });
    }
}
