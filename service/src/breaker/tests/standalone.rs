//! Wrapped calls, the layer, the manager, and who is told.

use std::future::{pending, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::sync::broadcast::error::TryRecvError;
use tower::{Layer as _, Service, ServiceExt as _};

use super::*;

#[tokio::test(start_paused = true)]
async fn calls_that_fail_open_it_and_calls_that_hang_and_are_dropped_do_too() {
    let hanging = Breaker::new("one", config(), rng());
    for _ in 0..5 {
        let call = hanging.call(pending::<Result<(), ()>>());
        tokio::time::timeout(secs(2), call)
            .await
            .expect_err("it hangs");
    }
    let refused = hanging.call(ready(Ok::<_, ()>(1))).await;
    assert!(
        matches!(refused, Err(BreakerError::Rejected(_))),
        "{refused:?}"
    );

    let impatient = Breaker::new("one", config(), rng());
    for _ in 0..5 {
        let call = impatient.call(pending::<Result<(), ()>>());
        tokio::time::timeout(ms(10), call)
            .await
            .expect_err("it hangs");
    }
    assert_eq!(impatient.call(ready(Ok::<_, ()>(1))).await, Ok(1));
    assert_eq!(impatient.snapshot(Instant::now()).totals.ignored, 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_admitted_is_not_made() {
    let breaker = Breaker::new("one", config(), rng());
    breaker.force_open();
    let mut made = false;
    let call = breaker.call(async {
        made = true;
        Ok::<_, &str>(())
    });
    let error = call.await.expect_err("held open");
    assert_eq!(error.to_string(), "breaker `one` is forced-open");
    assert_eq!((made, error.into_inner()), (false, None));
    assert_eq!(breaker.snapshot(Instant::now()).totals.rejected, 1);
}

/// Ready once per `poll_ready`, as a service that reserves something is: a clone is not ready, and neither is one that
/// has been called. Panics where the contract is broken.
struct Strict {
    open_for: Arc<AtomicU32>,
    reserved: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            open_for: Arc::clone(&self.open_for),
            reserved: false,
        }
    }
}

impl Service<u32> for Strict {
    type Response = u32;
    type Error = String;
    type Future = std::future::Ready<Result<u32, String>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.reserved {
            return Poll::Ready(Ok(()));
        }
        let took = self
            .open_for
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if took.is_err() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.reserved = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        assert!(self.reserved, "called without being ready");
        self.reserved = false;
        ready(match request {
            0 => Err("nothing".to_owned()),
            n => Ok(n),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_calls_only_what_is_ready_and_reserves_nothing() {
    let breaker = Breaker::new("one", config(), rng());
    let open_for = Arc::new(AtomicU32::new(u32::MAX));
    let strict = Strict {
        open_for: Arc::clone(&open_for),
        reserved: false,
    };
    let mut service = BreakerLayer::new(breaker.clone()).layer(strict);
    for n in 1..10 {
        assert_eq!(service.ready().await.expect("ready").call(n).await, Ok(n));
        // A clone of a service that is ready is not.
        service.ready().await.expect("ready");
        assert_eq!(service.clone().oneshot(n).await, Ok(n));
    }
    // Ready and never called holds no permit.
    breaker.force_open();
    breaker.release();
    let fails = |n| service.clone().oneshot(n);
    for _ in 0..5 {
        assert_eq!(
            fails(0).await,
            Err(BreakerError::Inner("nothing".to_owned()))
        );
    }
    assert_eq!(breaker.state(), State::Open);
    let before = open_for.load(Ordering::Relaxed);
    service.ready().await.expect("an open breaker is ready");
    assert!(matches!(
        service.call(1).await,
        Err(BreakerError::Rejected(_))
    ));
    assert!(before - open_for.load(Ordering::Relaxed) <= 1);

    tokio::time::advance(secs(2)).await;
    let ready: Vec<_> = (0..10).map(|_| service.clone()).collect();
    for mut one in ready {
        one.ready().await.expect("ready");
    }
    for n in 1..=3 {
        assert_eq!(service.ready().await.expect("ready").call(n).await, Ok(n));
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_does_not_wait_for_a_service_that_is_stuck() {
    let breaker = Breaker::new("one", config(), rng());
    let open_for = Arc::new(AtomicU32::new(0));
    let strict = Strict {
        open_for: Arc::clone(&open_for),
        reserved: false,
    };
    let mut service = BreakerLayer::new(breaker.clone()).layer(strict);
    fail(&breaker, 5, Instant::now());
    service.ready().await.expect("at once");
    assert!(service.call(1).await.is_err());
    // It was ready because the breaker was open; by the time of the call the breaker admits, so the call waits.
    service.ready().await.expect("at once");
    tokio::time::advance(secs(2)).await;
    let answer = service.call(1);
    open_for.store(1, Ordering::Relaxed);
    assert_eq!(answer.await, Ok(1));
    assert_eq!(breaker.state(), State::HalfOpen);
    // A closed one does wait, and a dropped answer gives its trial back.
    drop(service.call(1));
    breaker.force_close();
    let waiting = tokio::time::timeout(ms(5), pending_ready(&mut service)).await;
    assert!(waiting.is_err());
}

async fn pending_ready(service: &mut BreakerService<Strict>) {
    // Wakes itself all the time, so time must be given a chance to pass.
    loop {
        if let Poll::Ready(ready) = futures_util::poll!(service.ready()) {
            ready.expect("ready");
            return;
        }
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_layer_asks_what_results_mean() {
    let breaker = Breaker::new("one", config(), rng());
    let harmless = |_: &Result<u32, String>| Outcome::Ignored;
    let inner = tower::service_fn(|n: u32| ready(Err::<u32, _>(n.to_string())));
    let service = BreakerLayer::with(breaker.clone(), harmless).layer(inner);
    for n in 0..50 {
        service.clone().oneshot(n).await.expect_err("it fails");
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot(Instant::now()).totals.ignored, 50);
}

#[tokio::test(start_paused = true)]
async fn a_manager_tells_of_all_and_takes_orders_by_name() {
    let breakers = Breakers::new(rng());
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    let first = breakers.get_or_create("database", config());
    breakers.on_transition(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let mut events = breakers.events();
    let other = BreakerConfig {
        consecutive_failures: 1,
        ..config()
    };
    let second = breakers.get_or_create("webhook", other.clone());
    assert_eq!(breakers.get_or_create("webhook", config()).config(), &other);
    fail(&first, 5, Instant::now());
    fail(&second, 1, Instant::now());
    let names = [events.try_recv(), events.try_recv()].map(|event| match event {
        Ok(Event::Moved(moved)) => moved.breaker.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(names, ["database", "webhook"]);
    for (order, state) in [
        (
            Breakers::force_open as fn(&Breakers, &str) -> bool,
            State::ForcedOpen,
        ),
        (Breakers::release, State::Closed),
        (Breakers::observe, State::Observe),
        (Breakers::reset, State::Closed),
        (Breakers::force_close, State::Closed),
    ] {
        assert!(order(&breakers, "webhook") && !order(&breakers, "mail"));
        assert_eq!(second.state(), state);
    }
    assert_eq!(told.load(Ordering::Relaxed), 2 + 4);
    let list = breakers.list(Instant::now());
    let states: Vec<_> = list
        .iter()
        .map(|one| (one.name.as_str(), one.state))
        .collect();
    assert_eq!(
        states,
        [("database", State::Open), ("webhook", State::Closed)]
    );
    assert!(breakers.remove("database") && !breakers.remove("database"));
    assert!(breakers.get("database").is_none());
}

#[tokio::test(start_paused = true)]
async fn callbacks_may_use_the_breaker_and_slow_readers_hold_nobody_up() {
    let breakers = Breakers::new(rng());
    let breaker = breakers.get_or_create("one", config());
    let (same, all) = (breaker.clone(), breakers.clone());
    breaker.on_transition(move |moved| {
        if moved.to == State::Open {
            same.on_transition(|_| {});
            assert!(all.force_close("one"));
            assert_eq!(all.list(Instant::now()).len(), 1);
        }
    });
    let mut events = breaker.events();
    for _ in 0..1000 {
        fail(&breaker, 5, Instant::now()).expect("open");
        assert_eq!(breaker.state(), State::Closed, "closed by the callback");
    }
    match events.try_recv() {
        Err(TryRecvError::Lagged(missed)) => assert_eq!(missed, 2000 - 256),
        other => panic!("{other:?}"),
    }
}
