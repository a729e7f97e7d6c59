use super::*;
use crate::admission::{Bounds, Gradient};
use proptest::prelude::*;
use tokio::task::JoinSet;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const WAITING: Waiting = Waiting {
    places: 16,
    longest: Some(Duration::from_millis(100)),
    target: Duration::from_millis(5),
    interval: Duration::from_millis(100),
    give_up: Duration::from_millis(5),
};

fn fixed(count: usize) -> Limiter {
    Limiter::new(Limit::Fixed(count), WAITING)
}

#[tokio::test(start_paused = true)]
async fn turns_go_round_and_the_important_go_first() {
    let limiter = fixed(2);
    let first = limiter.acquire(Priority::High, 0, None).await.unwrap();
    let _second = limiter.acquire(Priority::High, 0, None).await.unwrap();
    let mut waiting = JoinSet::new();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let limiter = limiter.clone();
        waiting.spawn(async move { (priority, limiter.acquire(priority, 0, None).await.is_ok()) });
    }
    tokio::time::sleep(ms(1)).await;
    assert_eq!(limiter.state().waiting, 3);
    drop(first);
    let told = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(told, (Priority::High, true));
    // The others have a smaller share of the two than one, and one is in use.
    let rest = waiting.join_all().await;
    assert!(rest.iter().all(|(_, admitted)| !admitted), "{rest:?}");
    assert_eq!(limiter.state().in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_its_bound_or_at_the_deadline() {
    let limiter = fixed(1);
    let held = limiter.acquire(Priority::High, 0, None).await.unwrap();
    let began = Instant::now();
    let refused = limiter.acquire(Priority::High, 0, None).await.unwrap_err();
    assert_eq!((refused.0, began.elapsed()), (Reason::QueueAge, ms(100)));
    let began = Instant::now();
    let until = Some(began + ms(30));
    let refused = limiter.acquire(Priority::High, 0, until).await.unwrap_err();
    assert_eq!((refused.0, began.elapsed()), (Reason::Deadline, ms(30)));
    drop(held);
    assert!(limiter.acquire(Priority::High, 0, None).await.is_ok());
    let refused = limiter.state().refused[Priority::High.index()];
    assert_eq!(refused.iter().sum::<u64>(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_no_hole() {
    let limiter = fixed(1);
    let held = limiter.acquire(Priority::High, 0, None).await.unwrap();
    let mut given_up = Box::pin(limiter.acquire(Priority::High, 0, None));
    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
    let mut waits = Box::pin(limiter.acquire(Priority::High, 0, None));
    assert!(futures_util::poll!(waits.as_mut()).is_pending());
    // Told, and gone before it looks.
    drop(held);
    drop(given_up);
    assert!(waits.await.is_ok());
    assert_eq!(limiter.state().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let limiter = fixed(1);
    let _held = limiter.acquire(Priority::High, 0, None).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING.places {
        let limiter = limiter.clone();
        waiting.spawn(async move { limiter.acquire(Priority::Low, 0, None).await.is_ok() });
    }
    tokio::time::sleep(ms(1)).await;
    let began = Instant::now();
    let refused = limiter.acquire(Priority::Low, 0, None).await.unwrap_err();
    assert_eq!((refused.0, began.elapsed()), (Reason::QueueFull, ms(0)));
    assert_eq!(limiter.pass(Priority::Low).unwrap_err().0, Reason::Limit);
}

/// Requests of several priorities on a server with `workers`, each taking 10 ms, arriving evenly; what became of them
/// by priority, as (answered, offered).
async fn run(
    limiter: &Limiter,
    workers: usize,
    rates: &[(Priority, u64)],
    time: Duration,
) -> Vec<(u64, u64)> {
    let server = Arc::new(tokio::sync::Semaphore::new(workers));
    let mut requests = JoinSet::new();
    let start = Instant::now();
    let mut arrivals: Vec<(Duration, usize)> = Vec::new();
    for (which, (_, per_second)) in rates.iter().enumerate() {
        let count = per_second * time.as_millis() as u64 / 1000;
        arrivals.extend((0..count).map(|n| (time.mul_f64(n as f64 / count as f64), which)));
    }
    arrivals.sort();
    for (at, which) in arrivals {
        tokio::time::sleep_until(start + at).await;
        let (limiter, server) = (limiter.clone(), Arc::clone(&server));
        let priority = rates[which].0;
        requests.spawn(async move {
            let began = Instant::now();
            let until = began + ms(250);
            let answered = async {
                let permit = limiter.acquire(priority, 0, Some(until)).await.ok()?;
                let _worker = server.acquire().await.ok()?;
                tokio::time::sleep(ms(10)).await;
                permit.done();
                Some(())
            };
            let answered = tokio::time::timeout_at(until, answered).await;
            (which, matches!(answered, Ok(Some(()))))
        });
    }
    let mut outcome = vec![(0, 0); rates.len()];
    while let Some(ended) = requests.join_next().await {
        let (which, answered) = ended.unwrap();
        outcome[which].0 += u64::from(answered);
        outcome[which].1 += 1;
    }
    outcome
}

fn adaptive(seed: u64) -> Limiter {
    let bounds = Bounds {
        min: 4.0,
        initial: 64.0,
        max: 1024.0,
        buffer: 0.25,
    };
    let gradient = Gradient::new(bounds, Instant::now());
    Limiter::new(
        Limit::Adaptive(Box::new(gradient), SharedRng::seeded(seed)),
        WAITING,
    )
}

#[tokio::test(start_paused = true)]
async fn overload_keeps_goodput_and_sheds_the_least_first() {
    let limiter = adaptive(1);
    // 400 a second is what it can do.
    let rates = [(Priority::High, 280), (Priority::Low, 20)];
    let calm = run(&limiter, 4, &rates, ms(2000)).await;
    assert!(calm.iter().all(|(answered, offered)| answered == offered));
    let rates = [
        (Priority::High, 300),
        (Priority::Low, 500),
        (Priority::Background, 400),
    ];
    let time = ms(10_000);
    let outcome = run(&limiter, 4, &rates, time).await;
    let share = |which: usize| outcome[which].0 as f64 / outcome[which].1 as f64;
    let goodput = outcome.iter().map(|(answered, _)| answered).sum::<u64>();
    assert!(goodput >= 3600, "{goodput} of 4000 possible: {outcome:?}");
    assert!(share(0) > 0.97, "{outcome:?}");
    assert!(share(2) < 0.1, "{outcome:?}");
    assert!(share(1) > share(2), "{outcome:?}");
    // In calm it takes everything again.
    tokio::time::sleep(ms(1000)).await;
    let calm = run(&limiter, 4, &rates[..1], ms(1000)).await;
    assert_eq!(calm[0].0, calm[0].1);
}

#[tokio::test(start_paused = true)]
async fn only_important_requests_beyond_capacity_still_give_full_goodput() {
    let limiter = adaptive(2);
    let outcome = run(&limiter, 2, &[(Priority::High, 600)], ms(10_000)).await;
    assert!(outcome[0].0 >= 1800, "{outcome:?} of 2000 possible");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever is offered, turns are never exceeded, all come back, and a more important request fares no worse.
    #[test]
    fn the_shed_order_holds(workers in 1_usize..6, high in 10_u64..600, low in 10_u64..600, retries in 10_u64..600) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limiter = adaptive(3);
            let rates = [(Priority::High, high), (Priority::Low, low), (Priority::Retry, retries)];
            // The first second is for the limit to find its place.
            run(&limiter, workers, &rates, ms(1000)).await;
            let outcome = run(&limiter, workers, &rates, ms(2000)).await;
            let shares: Vec<f64> = outcome.iter().map(|(a, n)| *a as f64 / *n as f64).collect();
            prop_assert!(shares.windows(2).all(|pair| pair[0] >= pair[1] - 0.05), "{:?}", outcome);
            let state = limiter.state();
            prop_assert_eq!((state.in_flight, state.waiting), (0, 0));
            Ok(())
        })?;
    }
}
