use super::*;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn breaker(now: Instant) -> Breaker {
    Breaker::new(BreakerConfig::default(), now)
}

fn fail(breaker: &mut Breaker, times: usize, now: Instant) -> Option<Moved> {
    (0..times).fold(None, |_, _| {
        let ticket = breaker.admit().expect("closed");
        breaker.record(ticket, Outcome::TransportFailure, now, 0.0)
    })
}

/// Open for the first time, at `now`.
fn opened(now: Instant) -> Breaker {
    let mut breaker = breaker(now);
    fail(&mut breaker, 5, now);
    assert_eq!(breaker.position(), Position::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn opens_at_five_transport_failures_in_a_row() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    assert_eq!(fail(&mut breaker, 4, now), None);
    let ticket = breaker.admit().expect("closed");
    assert_eq!(breaker.record(ticket, Outcome::Success, now, 0.0), None);
    assert_eq!(fail(&mut breaker, 4, now), None);
    let moved = fail(&mut breaker, 1, now).expect("the fifth in a row");
    assert_eq!((moved.from, moved.to), (Position::Closed, Position::Open));
    assert_eq!(moved.reason, "5 transport failures in a row");
}

#[tokio::test(start_paused = true)]
async fn opens_at_half_of_twenty_and_not_before() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    for i in 0..19 {
        let outcome = if i % 2 == 0 {
            Outcome::ErrorStatus
        } else {
            Outcome::Success
        };
        let ticket = breaker.admit().expect("closed");
        assert_eq!(breaker.record(ticket, outcome, now, 0.0), None, "call {i}");
    }
    let ticket = breaker.admit().expect("closed");
    let moved = breaker
        .record(ticket, Outcome::ErrorStatus, now, 0.0)
        .expect("11 of 20");
    assert_eq!(moved.reason, "11 of 20 calls failed");
}

#[tokio::test(start_paused = true)]
async fn old_successes_do_not_hide_new_failures() {
    let start = Instant::now();
    let mut breaker = breaker(start);
    for _ in 0..1000 {
        let ticket = breaker.admit().expect("closed");
        breaker.record(ticket, Outcome::Success, start, 0.0);
    }
    let later = start + Duration::from_secs(11);
    let mut calls = 0;
    while breaker.position() == Position::Closed {
        let ticket = breaker.admit().expect("closed");
        breaker.record(ticket, Outcome::ErrorStatus, later, 0.0);
        calls += 1;
        assert!(calls <= 20);
    }
    assert_eq!(calls, 20);
}

#[tokio::test(start_paused = true)]
async fn ignored_calls_neither_open_nor_use_up_permits() {
    let now = Instant::now();
    let mut closed = breaker(now);
    for _ in 0..100 {
        let ticket = closed.admit().expect("closed");
        assert_eq!(closed.record(ticket, Outcome::Ignored, now, 0.0), None);
    }
    let mut half = opened(now);
    half.probed(true, now + ms(1500), 0.0).expect("half-open");
    for _ in 0..100 {
        let ticket = half.admit().expect("given back each time");
        assert_eq!(
            half.record(ticket, Outcome::Ignored, now + ms(1500), 0.0),
            None
        );
    }
    assert_eq!(half.position(), Position::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn closes_through_a_probe_and_three_calls() {
    let now = Instant::now();
    let mut breaker = opened(now);
    assert_eq!(breaker.probed(true, now + ms(999), 0.0), None, "too early");
    assert_eq!(
        breaker.probed(true, now + ms(1000), 0.0).map(|m| m.to),
        Some(Position::HalfOpen)
    );
    let tickets: Vec<_> = std::iter::from_fn(|| breaker.admit()).collect();
    assert_eq!(tickets.len(), 3);
    let moves: Vec<_> = tickets
        .into_iter()
        .map(|ticket| breaker.record(ticket, Outcome::Success, now + ms(1010), 0.0))
        .map(|moved| moved.map(|moved| moved.to))
        .collect();
    assert_eq!(moves, [None, None, Some(Position::Closed)]);
}

#[tokio::test(start_paused = true)]
async fn failed_probes_do_not_keep_it_out_longer_but_failed_trials_do() {
    let mut now = Instant::now();
    let mut breaker = opened(now);
    for _ in 0..20 {
        now = breaker.probe_at().expect("open");
        assert_eq!(breaker.probed(false, now, 0.9), None);
        assert!(breaker.probe_at().expect("open") - now <= ms(1500));
    }
    let mut waits = Vec::new();
    for _ in 0..8 {
        now = breaker.probe_at().expect("open");
        breaker.probed(true, now, 0.0).expect("half-open");
        let ticket = breaker.admit().expect("a permit");
        breaker
            .record(ticket, Outcome::TransportFailure, now, 0.0)
            .expect("open again");
        waits.push((breaker.probe_at().expect("open") - now).as_secs());
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_forgotten_after_a_healthy_minute_only() {
    for (healthy, expected) in [(59, 2), (60, 1)] {
        let start = Instant::now();
        let mut breaker = opened(start);
        let now = start + ms(1000);
        breaker.probed(true, now, 0.0).expect("half-open");
        for _ in 0..3 {
            let ticket = breaker.admit().expect("a permit");
            breaker.record(ticket, Outcome::Success, now, 0.0);
        }
        let later = now + Duration::from_secs(healthy);
        fail(&mut breaker, 5, later).expect("open");
        assert_eq!(
            (breaker.probe_at().expect("open") - later).as_secs(),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn trials_that_never_answer_open_it_again_and_an_idle_one_waits() {
    let now = Instant::now();
    let mut idle = opened(now);
    idle.probed(true, now + ms(1000), 0.0).expect("half-open");
    assert_eq!(idle.tick(now + Duration::from_secs(600), 0.0), None);
    let ticket = idle.admit().expect("a permit");
    let moved = idle
        .tick(now + Duration::from_secs(600), 0.0)
        .expect("overdue");
    assert_eq!(moved.to, Position::Open);
    // The late answer belongs to a state that is over.
    assert_eq!(
        idle.record(
            ticket,
            Outcome::Success,
            now + Duration::from_secs(601),
            0.0
        ),
        None
    );
    assert_eq!(idle.position(), Position::Open);
}

#[tokio::test(start_paused = true)]
async fn probes_confirm_a_failed_call_but_raise_no_doubt_and_take_none_away() {
    let now = Instant::now();
    let mut breaker = breaker(now);
    assert_eq!(breaker.doubt(now, 0.0), None);
    fail(&mut breaker, 1, now);
    assert!(breaker.in_doubt());
    assert_eq!(
        [(); 3].map(|()| breaker.doubt(now, 0.0)),
        [None, None, None]
    );
    let moved = breaker.doubt(now, 0.0).expect("the fifth in a row");
    assert_eq!(
        moved.reason,
        "5 transport failures in a row, probes included"
    );
    assert!(!breaker.in_doubt() && breaker.doubt(now, 0.0).is_none());
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_never_opens() {
    let now = Instant::now();
    let config = BreakerConfig {
        enabled: false,
        ..BreakerConfig::default()
    };
    let mut breaker = Breaker::new(config, now);
    assert_eq!(fail(&mut breaker, 1000, now), None);
    assert_eq!(breaker.position(), Position::Closed);
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Record(usize, u8),
    LastResort(u8),
    Probe(bool),
    Doubt,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Admit),
        6 => (0_usize..8, 0_u8..6).prop_map(|(which, how)| Step::Record(which, how)),
        1 => (0_u8..6).prop_map(Step::LastResort),
        2 => any::<bool>().prop_map(Step::Probe),
        1 => Just(Step::Doubt),
        2 => (0_u64..3000).prop_map(Step::Wait),
    ]
}

fn outcome(how: u8) -> Outcome {
    match how {
        0 => Outcome::Success,
        1 => Outcome::ErrorStatus,
        2 => Outcome::Ignored,
        _ => Outcome::TransportFailure,
    }
}

proptest! {
    #[test]
    fn keeps_its_promises(steps in proptest::collection::vec(step(), 1..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        let mut now = runtime.block_on(async { Instant::now() });
        let mut breaker = breaker(now);
        // Tickets out, each with how many moves had been made when it was given.
        let mut out: Vec<(Ticket, u32)> = Vec::new();
        let mut moves = 0;
        for step in steps {
            let before = breaker.position();
            let moved = match step {
                Step::Wait(wait) => {
                    now += Duration::from_millis(wait);
                    breaker.tick(now, 0.5)
                }
                Step::Admit => {
                    let ticket = breaker.admit();
                    prop_assert!(before != Position::Open || ticket.is_none(), "admitted while open");
                    out.extend(ticket.map(|ticket| (ticket, moves)));
                    if before == Position::HalfOpen {
                        let here = out.iter().filter(|(_, at)| *at == moves).count();
                        prop_assert!(here <= 3, "{here} permits out");
                    }
                    None
                }
                Step::Record(which, how) if which < out.len() => {
                    let (ticket, given) = out.swap_remove(which);
                    let moved = breaker.record(ticket, outcome(how), now, 0.5);
                    prop_assert!(given == moves || moved.is_none(), "a stale ticket moved it");
                    moved
                }
                Step::Record(..) => None,
                Step::LastResort(how) => {
                    let moved = breaker.record(Ticket::LAST_RESORT, outcome(how), now, 0.5);
                    prop_assert_eq!(&moved, &None);
                    moved
                }
                Step::Doubt => {
                    let moved = breaker.doubt(now, 0.5);
                    prop_assert!(moved.is_none() || before == Position::Closed);
                    moved
                }
                Step::Probe(passed) => {
                    let moved = breaker.probed(passed, now, 0.5);
                    prop_assert!(moved.is_none() || before == Position::Open);
                    moved
                }
            };
            match moved {
                Some(moved) => {
                    moves += 1;
                    prop_assert_eq!((moved.from, moved.to), (before, breaker.position()));
                    prop_assert_ne!(moved.from, moved.to);
                }
                None => prop_assert_eq!(before, breaker.position()),
            }
        }
    }
}
