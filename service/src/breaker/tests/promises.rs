//! Whatever happens in whatever order, some things never do.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Permit,
    Record(usize, u8),
    Drop(usize),
    LastResort(u8),
    Probe(bool),
    Doubt,
    Missed,
    Wait(u64),
    Order(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Permit),
        16 => (0_usize..8, 0_u8..8).prop_map(|(which, how)| Step::Record(which, how)),
        2 => (0_usize..8).prop_map(Step::Drop),
        2 => (0_u8..8).prop_map(Step::LastResort),
        6 => any::<bool>().prop_map(Step::Probe),
        2 => Just(Step::Doubt),
        2 => Just(Step::Missed),
        6 => (0_u64..3000).prop_map(Step::Wait),
        1 => (0_u8..5).prop_map(Step::Order),
    ]
}

fn outcome(how: u8) -> Outcome {
    match how {
        0 | 1 => Outcome::Success,
        2 => Outcome::ErrorStatus,
        3 => Outcome::Ignored,
        4 => Outcome::Abandoned,
        _ => Outcome::TransportFailure,
    }
}

fn settings() -> impl Strategy<Value = BreakerConfig> {
    (
        any::<bool>(),
        1_u32..6,
        1_u32..20,
        proptest::option::of(1_u64..2000),
        proptest::option::of(20_u32..60),
        1_u32..6,
    )
        .prop_map(
            |(observe, row, min_calls, slow, calls, permits)| BreakerConfig {
                mode: if observe {
                    BreakerMode::Observe
                } else {
                    BreakerMode::Enforce
                },
                consecutive_failures: row,
                min_calls,
                slow_after: slow.map(HumanDuration::millis),
                window_calls: calls,
                half_open_permits: permits,
                ..BreakerConfig::default()
            },
        )
}

/// What the test knows of the breaker: permits that are out, each with how many moves had been made when it was given.
struct Known {
    breaker: Breaker,
    probe: bool,
    out: Vec<(Permit, u32)>,
    moves: u32,
    /// Calls that ended and calls that were refused.
    ended: u64,
    refused: u64,
}

impl Known {
    fn step(&mut self, step: Step, now: Instant) -> Result<(), TestCaseError> {
        let breaker = self.breaker.clone();
        let (before, due) = (breaker.state(), breaker.snapshot(now).until);
        let moved = match step {
            Step::Wait(_) => breaker.tick(now),
            Step::Permit => return self.permit(before, due, now),
            Step::Record(which, how) if which < self.out.len() => {
                let (permit, given) = self.out.swap_remove(which);
                self.ended += 1;
                let moved = permit.record(outcome(how), now);
                prop_assert!(
                    given == self.moves || moved.is_none(),
                    "a stale permit moved it"
                );
                moved
            }
            Step::Drop(which) if which < self.out.len() => {
                let (permit, given) = self.out.swap_remove(which);
                self.ended += 1;
                drop(permit);
                prop_assert!(given == self.moves || breaker.state() == before);
                if breaker.state() != before {
                    self.moves += 1;
                }
                return Ok(());
            }
            Step::Record(..) | Step::Drop(_) => return Ok(()),
            Step::LastResort(how) => {
                self.ended += 1;
                let moved = breaker.last_resort(now).record(outcome(how), now);
                prop_assert_eq!(&moved, &None);
                moved
            }
            Step::Doubt | Step::Missed => {
                let moved = match step {
                    Step::Doubt => breaker.doubt(now),
                    _ => breaker.missed(now),
                };
                prop_assert!(moved.is_none() || before == State::Closed);
                moved
            }
            Step::Probe(passed) => {
                let moved = breaker.probed(passed, now);
                let may = before == State::Open && passed && due.is_some_and(|due| now >= due);
                prop_assert_eq!(moved.is_some(), may);
                moved
            }
            Step::Order(which) => match which {
                0 => breaker.force_open(),
                1 => breaker.force_close(),
                2 => breaker.observe(),
                3 => breaker.release(),
                _ => breaker.reset(),
            },
        };
        match moved {
            Some(moved) => {
                self.moves += 1;
                prop_assert_eq!((moved.from, moved.to), (before, breaker.state()));
                prop_assert_ne!(moved.from, moved.to);
                prop_assert_eq!(moved.epoch, u64::from(self.moves) + 1);
            }
            None => prop_assert_eq!(before, breaker.state()),
        }
        Ok(())
    }

    fn permit(
        &mut self,
        before: State,
        due: Option<Instant>,
        now: Instant,
    ) -> Result<(), TestCaseError> {
        let breaker = self.breaker.clone();
        let admits = breaker.admits();
        let permit = breaker.try_permit_owned(now);
        let after = breaker.state();
        self.moves += u32::from(after != before);
        let over = !self.probe && due.is_some_and(|due| now >= due);
        match before {
            State::Closed | State::Observe => prop_assert!(admits && permit.is_ok()),
            State::HalfOpen => {
                prop_assert!(admits == permit.is_ok());
                prop_assert!(after == before || (after == State::Open && permit.is_err()));
            }
            State::Open if over => prop_assert!(permit.is_ok() && after == State::HalfOpen),
            State::Open | State::ForcedOpen => {
                prop_assert!(!admits && permit.is_err(), "admitted while {}", before);
            }
        }
        match permit {
            Ok(permit) => self.out.push((permit, self.moves)),
            Err(_) => self.refused += 1,
        }
        if after == State::HalfOpen {
            let here = self.out.iter().filter(|(_, at)| *at == self.moves).count();
            let most = breaker.config().half_open_permits as usize;
            prop_assert!(here <= most, "{} permits out", here);
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn keeps_its_promises(
        config in settings(),
        probe in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        prop_assume!(config.problems().is_empty());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let breaker = Breaker::builder("one", config, rng()).probe(probe).build(Instant::now());
            let mut known = Known { breaker, probe, out: Vec::new(), moves: 0, ended: 0, refused: 0 };
            for step in steps {
                if let Step::Wait(wait) = step {
                    tokio::time::advance(ms(wait)).await;
                }
                known.step(step, Instant::now())?;
            }
            let totals = known.breaker.snapshot(Instant::now()).totals;
            prop_assert_eq!((totals.calls, totals.rejected), (known.ended, known.refused));
            Ok(())
        })?;
    }
}
