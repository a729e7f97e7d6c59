//! What one pass through the admission layers costs: a turn of the adaptive limit, a tenant's rate, a place in a
//! bulkhead, each alone and all together, beside tokio's semaphore and the rate limiter's crate alone.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run shall stop")]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use clip_service::admission::{
    Admission, AdmissionConfig, Bulkhead, Priority, RateLimitConfig, Turn, Work,
};
use clip_service::env::SharedRng;
use criterion::Criterion;
use futures_util::FutureExt as _;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::Instant;

const WORK: Work = Work {
    kind: 0,
    priority: Priority::High,
    turn: Turn::Needed,
    bulkhead: Some(0),
};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let rng = SharedRng::seeded(1);
    let admission = |per_second| {
        let config = AdmissionConfig {
            rate_limit: RateLimitConfig {
                per_second,
                burst: 1_000_000,
            },
            ..AdmissionConfig::default()
        };
        Admission::new(&config, 256, &rng, vec![Bulkhead::new("read", 512)])
    };
    let plain = admission(0.0);
    let limited = admission(1e6);
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-api-key"),
        HeaderValue::from_static("0123456789abcdef0123456789abcdef"),
    )]);
    let until = Instant::now() + Duration::from_secs(3600);
    let turn = |admission: &Admission| {
        let turn = admission.turn(Priority::High, 0, until).now_or_never();
        turn.unwrap().unwrap().unwrap().done();
    };

    let mut group = criterion.benchmark_group("admission");
    group.bench_function("tokio semaphore", |b| {
        let places = Arc::new(Semaphore::new(512));
        b.iter(|| drop(Arc::clone(&places).try_acquire_owned().unwrap()));
    });
    group.bench_function("governor keyed", |b| {
        let limiter = RateLimiter::hashmap(Quota::per_second(NonZeroU32::new(1_000_000).unwrap()));
        b.iter(|| black_box(limiter.check_key(&7_u64).is_ok()));
    });
    group.bench_function("turn", |b| b.iter(|| turn(&plain)));
    group.bench_function("bulkhead", |b| b.iter(|| drop(plain.enter(&WORK).unwrap())));
    group.bench_function("rate", |b| {
        b.iter(|| black_box(limited.rate(&headers).is_ok()))
    });
    group.bench_function("priority, turn and bulkhead", |b| {
        b.iter(|| {
            let priority = Priority::of(&headers, WORK.priority);
            let permit = plain.turn(priority, 0, until).now_or_never();
            let place = plain.enter(&WORK).unwrap();
            permit.unwrap().unwrap().unwrap().done();
            drop(place);
        });
    });
    group.finish();
    criterion.final_summary();
}
