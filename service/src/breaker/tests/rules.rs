//! Every rule, at times that the test makes up.

use parking_lot::Mutex;

use super::*;

#[tokio::test(start_paused = true)]
async fn opens_at_five_transport_failures_in_a_row() {
    let now = Instant::now();
    let breaker = probed(config(), now);
    assert_eq!(fail(&breaker, 4, now), None);
    assert_eq!(once(&breaker, Outcome::Success, now), None);
    assert_eq!(fail(&breaker, 4, now), None);
    assert_eq!(
        once(&breaker, Outcome::ErrorStatus, now),
        None,
        "no end of the row"
    );
    let moved = fail(&breaker, 1, now).expect("the fifth in a row");
    assert_eq!((moved.from, moved.to), (State::Closed, State::Open));
    assert_eq!(moved.reason.to_string(), "5 transport failures in a row");
    assert_eq!((moved.epoch, moved.attempt, &*moved.breaker), (2, 1, "one"));
    assert_eq!((moved.counts.failed, moved.counts.ok), (10, 1));
    let rejected = breaker.try_permit(now).expect_err("open");
    assert_eq!(rejected.retry_after, moved.wait);
}

#[tokio::test(start_paused = true)]
async fn opens_at_half_of_twenty_and_not_before() {
    let now = Instant::now();
    let breaker = probed(config(), now);
    for i in 0..19 {
        let outcome = if i % 2 == 0 {
            Outcome::ErrorStatus
        } else {
            Outcome::Success
        };
        assert_eq!(once(&breaker, outcome, now), None, "call {i}");
    }
    let moved = once(&breaker, Outcome::ErrorStatus, now).expect("11 of 20");
    assert_eq!(moved.reason.to_string(), "11 of 20 calls failed");
}

#[tokio::test(start_paused = true)]
async fn exactly_half_is_enough_but_good_news_opens_nothing() {
    let now = Instant::now();
    let breaker = probed(config(), now);
    for _ in 0..10 {
        once(&breaker, Outcome::ErrorStatus, now);
    }
    for _ in 0..10 {
        assert_eq!(once(&breaker, Outcome::Success, now), None);
    }
    assert_eq!(breaker.state(), State::Closed);
    once(&breaker, Outcome::Success, now);
    let moved = once(&breaker, Outcome::ErrorStatus, now).expect("11 of 22");
    assert_eq!(moved.reason.to_string(), "11 of 22 calls failed");
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_if_asked_for_whatever_their_answer() {
    let now = Instant::now() + secs(10);
    let off = probed(config(), now);
    let on = probed(
        BreakerConfig {
            slow_after: Some(HumanDuration::secs(1)),
            ..config()
        },
        now,
    );
    for i in 0..19 {
        let took = if i < 4 { secs(1) } else { ms(1001) };
        assert_eq!(taking(&off, secs(9), Outcome::Success, now), None);
        assert_eq!(taking(&on, took, Outcome::Success, now), None, "call {i}");
    }
    assert_eq!(taking(&off, secs(9), Outcome::Success, now), None);
    let moved = taking(&on, ms(1001), Outcome::Success, now).expect("16 of 20");
    assert_eq!(moved.reason.to_string(), "16 of 20 calls were slow");
    assert_eq!(
        (off.state(), off.snapshot(now).totals.slow),
        (State::Closed, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn slow_trials_open_it_again() {
    let now = Instant::now() + secs(10);
    let slow = BreakerConfig {
        slow_after: Some(HumanDuration::secs(1)),
        ..config()
    };
    for (slow_trials, to) in [(2, State::Closed), (3, State::Open)] {
        let breaker = probed(slow.clone(), now);
        fail(&breaker, 5, now);
        let now = now + secs(2);
        breaker.probed(true, now).expect("half-open");
        let moves: Vec<_> = (0..3)
            .filter_map(|i| {
                let took = if i < slow_trials { secs(2) } else { ms(1) };
                taking(&breaker, took, Outcome::Success, now)
            })
            .collect();
        assert_eq!(moves.len(), 1);
        assert_eq!(moves[0].to, to);
    }
}

#[tokio::test(start_paused = true)]
async fn old_successes_do_not_hide_new_failures() {
    let start = Instant::now();
    let by_time = probed(config(), start);
    let by_count = probed(
        BreakerConfig {
            window_calls: Some(40),
            ..config()
        },
        start,
    );
    for _ in 0..100_000 {
        once(&by_time, Outcome::Success, start);
        once(&by_count, Outcome::Success, start);
    }
    let later = start + secs(11);
    for (breaker, expected) in [(by_time, 20), (by_count, 20)] {
        let mut calls = 0;
        while breaker.state() == State::Closed {
            once(&breaker, Outcome::ErrorStatus, later);
            calls += 1;
            assert!(calls <= expected);
        }
        assert_eq!(calls, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn ignored_calls_neither_open_nor_use_up_permits() {
    let now = Instant::now();
    let closed = probed(config(), now);
    for _ in 0..100 {
        assert_eq!(once(&closed, Outcome::Ignored, now), None);
    }
    assert_eq!(closed.snapshot(now).counts, Counts::default());
    let half = opened(now);
    half.probed(true, now + ms(1500)).expect("half-open");
    for _ in 0..100 {
        assert_eq!(once(&half, Outcome::Ignored, now + ms(1500)), None);
    }
    assert_eq!(half.state(), State::HalfOpen);
    assert_eq!(half.snapshot(now).totals.ignored, 100);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_blames_only_who_was_waited_for() {
    let breaker = Breaker::builder("one", config(), rng())
        .patience(ms(100))
        .build(Instant::now());
    for _ in 0..10 {
        let permit = breaker.try_permit(Instant::now()).expect("closed");
        tokio::time::advance(ms(99)).await;
        drop(permit);
    }
    let totals = breaker.snapshot(Instant::now()).totals;
    assert_eq!((totals.ignored, totals.abandoned), (10, 0));
    for _ in 0..5 {
        assert_eq!(breaker.state(), State::Closed);
        let permit = breaker.try_permit(Instant::now()).expect("closed");
        tokio::time::advance(ms(100)).await;
        drop(permit);
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot(Instant::now()).totals.abandoned, 5);

    let long = alone(config(), Instant::now());
    let permit = long.try_permit(Instant::now()).expect("closed");
    let own = long
        .try_permit(Instant::now())
        .expect("closed")
        .patience(secs(5));
    tokio::time::advance(secs(1)).await;
    drop((permit, own));
    let totals = long.snapshot(Instant::now()).totals;
    assert_eq!((totals.ignored, totals.abandoned), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn closes_through_a_probe_and_three_calls() {
    let now = Instant::now();
    let breaker = opened(now);
    assert_eq!(breaker.probed(true, now + ms(999)), None, "too early");
    let due = wait_of(&breaker, now, secs(1));
    assert_eq!(breaker.probe_at(), Some(due));
    // However long it waits, no caller is sent there before a probe has passed.
    assert!(breaker.try_permit(due + secs(100)).is_err() && !breaker.admits());
    let moved = breaker.probed(true, due).expect("half-open");
    assert_eq!(
        (moved.to, moved.reason),
        (State::HalfOpen, Reason::ProbePassed)
    );
    let permits: Vec<_> = std::iter::from_fn(|| breaker.try_permit(due).ok()).collect();
    assert_eq!(permits.len(), 3);
    assert!(!breaker.admits());
    let moves: Vec<_> = permits
        .into_iter()
        .map(|permit| permit.record(Outcome::Success, due + ms(10)))
        .map(|moved| moved.map(|moved| (moved.to, moved.reason)))
        .collect();
    let closed = (State::Closed, Reason::TrialsSucceeded(3));
    assert_eq!(moves, [None, None, Some(closed)]);
    assert_eq!(
        breaker.snapshot(due).counts,
        Counts::default(),
        "a new beginning"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_prober_the_first_caller_after_the_wait_is_the_trial() {
    let now = Instant::now();
    let breaker = alone(config(), now);
    fail(&breaker, 5, now);
    let due = wait_of(&breaker, now, secs(1));
    let rejected = breaker.try_permit(due - ms(1)).expect_err("open");
    assert_eq!(
        (rejected.state, rejected.retry_after),
        (State::Open, Some(ms(1)))
    );
    let trial = breaker.try_permit(due).expect("a trial");
    assert_eq!(breaker.state(), State::HalfOpen);
    let moved = trial.record(Outcome::ErrorStatus, due).expect("open again");
    assert_eq!(
        (moved.to, moved.reason, moved.attempt),
        (State::Open, Reason::TrialFailed, 2)
    );
    wait_of(&breaker, due, secs(2));
}

#[tokio::test(start_paused = true)]
async fn failed_probes_do_not_keep_it_out_longer_but_failed_trials_do() {
    let mut now = Instant::now();
    let breaker = opened(now);
    for _ in 0..20 {
        now = breaker.probe_at().expect("open");
        assert_eq!(breaker.probed(false, now), None);
        wait_of(&breaker, now, secs(1));
    }
    for nominal in [2, 4, 8, 16, 32, 60, 60, 60] {
        now = breaker.probe_at().expect("open");
        breaker.probed(true, now).expect("half-open");
        let moved = once(&breaker, Outcome::TransportFailure, now).expect("open again");
        assert_eq!(moved.to, State::Open);
        wait_of(&breaker, now, secs(nominal));
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_forgotten_after_a_healthy_minute_only() {
    for (healthy, expected) in [(59, 2), (60, 1)] {
        let breaker = opened(Instant::now());
        let now = breaker.probe_at().expect("open");
        breaker.probed(true, now).expect("half-open");
        for _ in 0..3 {
            once(&breaker, Outcome::Success, now);
        }
        assert_eq!(breaker.state(), State::Closed);
        let later = now + secs(healthy);
        fail(&breaker, 5, later).expect("open");
        wait_of(&breaker, later, secs(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dependency_may_say_for_how_long_within_bounds() {
    let now = Instant::now();
    for (asked, expected) in [(0, 1), (7, 7), (3600, 60)] {
        let breaker = alone(config(), now);
        fail(&breaker, 4, now);
        let permit = breaker.try_permit(now).expect("closed");
        let asked = Some(secs(asked));
        let moved = permit.record_with_hint(Outcome::TransportFailure, asked, now);
        assert_eq!(moved.map(|moved| moved.to), Some(State::Open));
        wait_of(&breaker, now, secs(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn trials_that_never_answer_open_it_again_and_an_idle_one_waits() {
    let breaker = opened(Instant::now());
    let now = breaker.probe_at().expect("open");
    breaker.probed(true, now).expect("half-open");
    let later = now + secs(600);
    assert_eq!(breaker.tick(later), None, "nobody has asked");
    let permit = breaker.try_permit(later).expect("a trial");
    assert_eq!(breaker.tick(later + ms(4999)), None, "it has its time");
    let moved = breaker.tick(later + secs(5)).expect("overdue");
    assert_eq!(
        (moved.to, moved.reason),
        (State::Open, Reason::TrialsOverdue)
    );
    // The late answer belongs to a state that is over.
    assert_eq!(permit.record(Outcome::Success, later + secs(6)), None);
    let snapshot = breaker.snapshot(later + secs(6));
    assert_eq!((snapshot.state, snapshot.totals.stale), (State::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn trials_have_as_long_as_it_was_open_and_callers_find_out_that_they_are_overdue() {
    let now = Instant::now();
    let slow = BreakerConfig {
        open: HumanDuration::secs(20),
        ..config()
    };
    let breaker = alone(slow, now);
    fail(&breaker, 5, now);
    let due = wait_of(&breaker, now, secs(20));
    let out: Vec<_> = std::iter::from_fn(|| breaker.try_permit(due).ok()).collect();
    assert_eq!(out.len(), 3);
    let late = due + (due - now);
    let rejected = breaker.try_permit(late - ms(1)).expect_err("all out");
    assert_eq!(rejected.state, State::HalfOpen);
    assert!(breaker.try_permit(late).is_err());
    assert_eq!(
        (breaker.state(), breaker.snapshot(late).attempt),
        (State::Open, 2)
    );
    // Given back late, they change nothing either.
    drop(out);
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn probes_confirm_a_failed_call_but_raise_no_doubt_and_take_none_away() {
    let now = Instant::now();
    let breaker = probed(config(), now);
    assert_eq!(breaker.doubt(now), None);
    assert_eq!(breaker.snapshot(now).in_a_row, 0);
    fail(&breaker, 1, now);
    assert!(breaker.in_doubt());
    assert_eq!([(); 3].map(|()| breaker.doubt(now)), [None, None, None]);
    let moved = breaker.doubt(now).expect("the fifth in a row");
    let reason = moved.reason.to_string();
    assert_eq!(reason, "5 transport failures in a row, probes included");
    assert!(!breaker.in_doubt() && breaker.doubt(now).is_none());

    let idle = probed(config(), now);
    assert_eq!(idle.missed(now), None);
    assert!(idle.in_doubt(), "a missed probe is a reason");
    assert_eq!(once(&idle, Outcome::Success, now), None);
    assert!(!idle.in_doubt());
}

#[tokio::test(start_paused = true)]
async fn last_resorts_and_late_news_are_told_apart() {
    let now = Instant::now();
    let breaker = opened(now);
    for _ in 0..10 {
        let permit = breaker.last_resort(now);
        assert_eq!(permit.record(Outcome::TransportFailure, now), None);
    }
    let due = breaker.probe_at().expect("open");
    breaker.probed(true, due).expect("half-open");
    breaker
        .last_resort(due)
        .record(Outcome::TransportFailure, due);
    assert_eq!(breaker.state(), State::HalfOpen);
    // An answer that began well and broke fails its trial after all.
    let permit = breaker.try_permit(due).expect("a trial");
    let ticket = permit.ticket();
    assert_eq!(permit.record(Outcome::Success, due), None);
    assert_eq!(breaker.report(ticket, Outcome::Success, due), None);
    let moved = breaker.report(ticket, Outcome::TransportFailure, due);
    assert_eq!(moved.map(|moved| moved.reason), Some(Reason::TrialFailed));
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_counts_and_never_opens_by_itself() {
    let now = Instant::now();
    let off = BreakerConfig {
        enabled: false,
        ..config()
    };
    let breaker = probed(off, now);
    assert_eq!(fail(&breaker, 1000, now), None);
    assert_eq!((breaker.missed(now), breaker.in_doubt()), (None, false));
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.snapshot(now).totals.failed, 1000);
    breaker.force_open().expect("an order is an order");
    assert!(breaker.try_permit(now).is_err());
}

#[tokio::test(start_paused = true)]
async fn observing_it_says_what_it_would_do_and_admits_everything() {
    let now = Instant::now();
    let breaker = probed(
        BreakerConfig {
            mode: BreakerMode::Observe,
            ..config()
        },
        now,
    );
    assert_eq!(breaker.state(), State::Observe);
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&told);
    breaker.on_event(move |event| list.lock().push(event.clone()));
    breaker.on_transition(|moved| panic!("it moved: {moved:?}"));
    assert_eq!(fail(&breaker, 1000, now), None);
    let wait = match told.lock().as_slice() {
        [Event::WouldOpen(would)] => {
            assert_eq!((would.from, would.to), (State::Observe, State::Open));
            assert_eq!(would.reason.to_string(), "5 transport failures in a row");
            would.wait.expect("how long")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((breaker.state(), breaker.admits()), (State::Observe, true));
    assert_eq!(breaker.probe_at(), None);
    // Where a breaker would be open nothing is judged; after it, everything afresh.
    assert_eq!(fail(&breaker, 4, now + wait), None);
    assert_eq!(told.lock().len(), 1);
    assert_eq!(breaker.missed(now + wait), None);
    assert_eq!(told.lock().len(), 2);
    assert_eq!(breaker.snapshot(now).totals.would_open, 2);
    assert_eq!(breaker.snapshot(now).totals.opened, 0);
}

#[tokio::test(start_paused = true)]
async fn orders_hold_until_they_are_taken_back() {
    let now = Instant::now();
    let breaker = alone(config(), now);
    let old = breaker.try_permit(now).expect("closed");
    assert_eq!(breaker.release(), None, "nothing to take back");
    breaker.force_open().expect("moved");
    assert_eq!(breaker.force_open(), None);
    let rejected = breaker.try_permit(now + secs(3600)).expect_err("held open");
    assert_eq!(
        (rejected.state, rejected.retry_after),
        (State::ForcedOpen, None)
    );
    assert_eq!(rejected.to_string(), "breaker `one` is forced-open");
    assert_eq!(
        (breaker.probe_at(), breaker.probed(true, now + secs(3600))),
        (None, None)
    );
    assert_eq!(old.record(Outcome::Success, now), None);
    let moved = breaker.release().expect("moved");
    assert_eq!((moved.from, moved.to), (State::ForcedOpen, State::Closed));
    assert_eq!(moved.reason, Reason::Manual);

    breaker.observe().expect("moved");
    fail(&breaker, 100, now);
    assert_eq!(breaker.state(), State::Observe);
    breaker.force_close().expect("moved");
    fail(&breaker, 5, now).expect("it judges again");
    breaker.force_close().expect("closed by hand");
    assert!(breaker.admits());
    fail(&breaker, 4, now);
    assert!(breaker.snapshot(now).attempt > 0);
    assert_eq!(breaker.reset(), None, "closed already");
    let snapshot = breaker.snapshot(now);
    assert_eq!(
        (snapshot.in_a_row, snapshot.attempt, snapshot.counts),
        (0, 0, Counts::default())
    );
    assert_eq!(fail(&breaker, 4, now), None);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_what_a_page_shows() {
    let now = Instant::now();
    let breaker = opened(now);
    let shown = serde_json::to_value(breaker.snapshot(now)).expect("a page");
    assert_eq!(shown["state"], "open");
    assert_eq!(
        shown["counts"],
        serde_json::json!({ "ok": 0, "failed": 5, "slow": 0 })
    );
    assert_eq!(
        (shown["failure_rate"].as_f64(), shown["attempt"].as_u64()),
        (Some(1.0), Some(1))
    );
    assert!((1000..=1500).contains(&shown["retry_in_ms"].as_u64().expect("open")));
    assert_eq!(shown["totals"]["opened"], 1);
}
