//! What a breaker costs a call that goes well: the permit and the verdict, on one thread and on two, beside the crates
//! that one would put there instead.
//!
//! Every peer wraps a call that does nothing. Those with a function to wrap it by are called that way; the two that are
//! layers are compared with our layer. A limiter (governor) is among them as a yardstick: about the least that a shared
//! state costs.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::future::Future;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::Duration;

use clip_service::breaker::{Breaker, BreakerConfig, BreakerLayer, Outcome};
use clip_service::env::SharedRng;
use clip_service::units::HumanDuration;
use failsafe::CircuitBreaker as _;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use layered::{Execute, Stack as _};
use paired::{Peer, Rounds};
use recloser::Recloser;
use seatbelt::breaker::Breaker as Seatbelt;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tokio::time::Instant;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_resilience_circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

#[path = "bed/paired.rs"]
mod paired;

/// Calls of a nanosecond's order: a round takes about a millisecond.
const ONE: Rounds = Rounds {
    batch: 10_000,
    rounds: 200,
};
/// Long enough that starting the threads does not count.
const TWO: Rounds = Rounds {
    batch: 100_000,
    rounds: 40,
};

fn breaker(config: BreakerConfig) -> Breaker {
    Breaker::new("bench", config, SharedRng::seeded(42))
}

fn timed(n: u64, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..n {
        call();
    }
    start.elapsed()
}

fn timed_async<F: Future<Output = ()>>(n: u64, mut call: impl FnMut() -> F) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..n {
            call().await;
        }
        start.elapsed()
    })
}

/// Two threads make `n` calls each, from the same moment on; the slower one counts.
fn on_two(n: u64, run: impl Fn(u64) -> Duration + Sync) -> Duration {
    let barrier = Barrier::new(2);
    let one = || {
        barrier.wait();
        run(n)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(one);
        one().max(other.join().unwrap())
    })
}

struct Ours {
    by_time: Breaker,
    by_count: Breaker,
    slow_too: Breaker,
}

impl Ours {
    fn new() -> Self {
        let by_count = BreakerConfig {
            window_calls: Some(100),
            ..BreakerConfig::default()
        };
        let slow_too = BreakerConfig {
            slow_after: Some(HumanDuration::secs(1)),
            ..BreakerConfig::default()
        };
        Self {
            by_time: breaker(BreakerConfig::default()),
            by_count: breaker(by_count),
            slow_too: breaker(slow_too),
        }
    }

    /// As a recorder of load does that reads the clock anyway.
    fn clock_given(breaker: &Breaker, n: u64) -> Duration {
        let now = Instant::now();
        timed(n, || {
            let permit = breaker.try_permit(black_box(now)).unwrap();
            black_box(permit.record(black_box(Outcome::Success), now));
        })
    }

    fn clock_read(breaker: &Breaker, n: u64) -> Duration {
        timed(n, || {
            let permit = breaker.try_permit(Instant::now()).unwrap();
            let verdict = black_box(Outcome::Success);
            black_box(permit.record(verdict, Instant::now()));
        })
    }
}

/// A call through a layer on one thread; clones share the breaker.
fn layered_calls<S: Service<u64>>(mut service: S, n: u64) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        for i in 0..n {
            let Ok(ready) = service.ready().await else {
                panic!("not ready")
            };
            let Ok(answer) = ready.call(i).await else {
                panic!("not admitted")
            };
            black_box(answer);
        }
        start.elapsed()
    })
}

fn main() {
    if !paired::measuring() {
        return;
    }
    let ours = Ours::new();
    let recloser = Recloser::custom().build();
    let failsafe = failsafe::Config::new().build();
    let governor: DefaultDirectRateLimiter =
        RateLimiter::direct(Quota::per_second(NonZeroU32::MAX));
    // Their clock wants a runtime for its timers, which a breaker does not use.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let entered = runtime.enter();
    let context = ResilienceContext::new(tick::Clock::new_tokio());
    drop(entered);
    let seatbelt = (
        Seatbelt::layer("bench", &context)
            .recovery_with(|output: &Result<u64, ()>, _| match output {
                Ok(_) => RecoveryInfo::never(),
                Err(()) => RecoveryInfo::retry(),
            })
            .rejected_input_error(|_: u64, _| ()),
        Execute::new(async |x: u64| Ok::<_, ()>(x)),
    )
        .into_service();
    let by_count = CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .build()
        .unwrap();
    let by_time = CircuitBreakerLayer::builder()
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(Duration::from_millis(1))
        .build()
        .unwrap();

    let nothing = || tower::service_fn(|x: u64| std::future::ready(Ok::<_, ()>(x)));
    let layer = BreakerLayer::new(ours.by_time.clone()).layer(nothing());
    let (by_count, by_time) = (by_count.layer(nothing()), by_time.layer(nothing()));

    let recloser_calls = |n| {
        timed(n, || {
            black_box(recloser.call(|| black_box(Ok::<_, ()>(1))).unwrap());
        })
    };
    let failsafe_calls = |n| {
        timed(n, || {
            black_box(failsafe.call(|| black_box(Ok::<_, ()>(1))).unwrap());
        })
    };
    let governor_calls = |n| timed(n, || black_box(governor.check()).unwrap());
    let seatbelt_calls = |n| {
        timed_async(n, || async {
            black_box(
                layered::Service::execute(&seatbelt, black_box(1))
                    .await
                    .unwrap(),
            );
        })
    };

    paired::heading("A breaker around a call that goes well, one thread.", ONE);
    let calls: [Peer<'_>; 8] = [
        ("permit + record", &|n| Ours::clock_given(&ours.by_time, n)),
        ("- window of 100 calls", &|n| {
            Ours::clock_given(&ours.by_count, n)
        }),
        ("- and both clock reads", &|n| {
            Ours::clock_read(&ours.by_time, n)
        }),
        ("- and slow calls judged", &|n| {
            Ours::clock_read(&ours.slow_too, n)
        }),
        ("recloser", &recloser_calls),
        ("failsafe", &failsafe_calls),
        ("governor", &governor_calls),
        ("two clock reads alone", &|n| {
            timed(n, || {
                black_box(Instant::now());
                black_box(Instant::now());
            })
        }),
    ];
    paired::compare("functions", &calls, ONE);
    let layers: [Peer<'_>; 4] = [
        ("our layer", &|n| layered_calls(layer.clone(), n)),
        ("seatbelt", &seatbelt_calls),
        ("tower-resilience, count", &|n| {
            layered_calls(by_count.clone(), n)
        }),
        ("tower-resilience, 1 ms", &|n| {
            layered_calls(by_time.clone(), n)
        }),
    ];
    paired::compare("layers, clock reads included", &layers, ONE);

    paired::heading("The same on two threads that share one breaker.", TWO);
    let shared: [Peer<'_>; 7] = [
        ("permit + record", &|n| {
            on_two(n, |n| Ours::clock_given(&ours.by_time, n))
        }),
        ("- and both clock reads", &|n| {
            on_two(n, |n| Ours::clock_read(&ours.by_time, n))
        }),
        ("recloser", &|n| on_two(n, recloser_calls)),
        ("failsafe", &|n| on_two(n, failsafe_calls)),
        ("governor", &|n| on_two(n, governor_calls)),
        ("seatbelt", &|n| on_two(n, seatbelt_calls)),
        ("tower-resilience, count", &|n| {
            on_two(n, |n| layered_calls(by_count.clone(), n))
        }),
    ];
    paired::compare("functions and layers", &shared, TWO);

    let snapshot = ours.by_time.snapshot(Instant::now());
    println!(
        "  {} calls, {} rejected",
        snapshot.totals.calls, snapshot.totals.rejected
    );
}
