//! Real threads on one breaker.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;

const THREADS: u32 = 4;

#[test]
fn counts_add_up() {
    const EACH: u32 = 20_000;
    let now = Instant::now();
    let never = BreakerConfig {
        consecutive_failures: 1_000_000,
        failure_rate: 1.0,
        ..config()
    };
    for window_calls in [None, Some(100)] {
        let config = BreakerConfig {
            window_calls,
            ..never.clone()
        };
        let breaker = alone(config, now);
        // One success first and throughout: the share never reaches the whole.
        for _ in 0..100 {
            once(&breaker, Outcome::Success, now);
        }
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for i in 0..EACH {
                        let outcome = match i % 4 {
                            0 => Outcome::ErrorStatus,
                            1 => Outcome::Ignored,
                            _ => Outcome::Success,
                        };
                        once(&breaker, outcome, now);
                    }
                });
            }
        });
        let snapshot = breaker.snapshot(now);
        let each = u64::from(THREADS * EACH / 4);
        let totals = snapshot.totals;
        assert_eq!(
            (totals.succeeded, totals.failed, totals.ignored),
            (100 + 2 * each, each, each)
        );
        assert_eq!((totals.calls, totals.stale), (100 + 4 * each, 0));
        let judged = u64::from(snapshot.counts.total());
        assert_eq!(judged, window_calls.map_or(100 + 3 * each, u64::from));
    }
}

#[test]
fn half_open_permits_are_never_exceeded() {
    const ROUNDS: u32 = 300;
    let now = Instant::now();
    let breaker = alone(config(), now);
    let opened = AtomicU32::new(0);
    for round in 0..ROUNDS {
        fail(&breaker, 5, now).expect("open");
        opened.fetch_add(1, SeqCst);
        let due = breaker.snapshot(now).until.expect("open");
        let (given, out, most) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (breaker, given, out, most) = (&breaker, &given, &out, &most);
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let mut kept = Vec::new();
                    for i in 0..50 {
                        let Ok(permit) = breaker.try_permit(due) else {
                            continue;
                        };
                        most.fetch_max(out.fetch_add(1, SeqCst) + 1, SeqCst);
                        if (thread + i) % 3 == 0 {
                            given.fetch_add(1, SeqCst);
                            kept.push(permit);
                        } else {
                            // Counted as back before it is: never too few.
                            out.fetch_sub(1, SeqCst);
                            permit.record(Outcome::Ignored, due);
                        }
                    }
                    barrier.wait();
                    kept
                });
            }
        });
        // Threads hand their permits back by dropping them: early, so ignored.
        assert!(most.load(SeqCst) <= 3, "{most:?} at a time");
        assert!(given.load(SeqCst) <= 3, "{given:?} kept");
        assert_eq!(breaker.state(), State::HalfOpen, "round {round}");
        let permits: Vec<_> = std::iter::from_fn(|| breaker.try_permit(due).ok()).collect();
        assert_eq!(permits.len(), 3, "all have come back");
        for permit in permits {
            permit.record(Outcome::Success, due);
        }
        assert_eq!(breaker.state(), State::Closed);
    }
    assert_eq!(breaker.snapshot(now).totals.opened, u64::from(ROUNDS));
}

#[test]
fn one_of_many_opens_it_and_is_told_once() {
    const ROUNDS: u64 = 200;
    let now = Instant::now();
    let breaker = alone(config(), now);
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    breaker.on_transition(move |moved| {
        if moved.to == State::Open {
            counted.fetch_add(1, SeqCst);
        }
    });
    for round in 1..=ROUNDS {
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let permits = [(); 5].map(|()| breaker.try_permit(now).expect("closed"));
                    barrier.wait();
                    for permit in permits {
                        permit.record(Outcome::TransportFailure, now);
                    }
                });
            }
        });
        let snapshot = breaker.snapshot(now);
        assert_eq!(
            (snapshot.state, snapshot.totals.opened),
            (State::Open, round)
        );
        assert_eq!(u64::from(told.load(SeqCst)), round);
        breaker.reset();
    }
}
