use std::time::Duration;

use clip_service::observe::Subject;

use super::testing::{LOAD_AT, breaker, event, survived, transition, unprotected};
use super::*;
use clip_service::units::HumanDuration;

use crate::event::{Accepted, EventKind, Fate, Offset, Outcome};

mod promises;
mod windows;

fn outcome(verdict: &Verdict, text: &str) -> RowOutcome {
    let row = verdict.rows.iter().find(|row| row.text == text);
    row.unwrap_or_else(|| panic!("no row `{text}` in {:#?}", verdict.rows))
        .outcome
}

fn failed(class: &str) -> Outcome {
    Outcome::Failed(class.to_owned())
}

#[test]
fn a_run_that_survived_passes_in_every_row() {
    let verdict = judge(&survived().record());
    assert_eq!(verdict.conclusion, Conclusion::Pass, "{verdict:#?}");
    assert_eq!(
        (verdict.status(), verdict.exit()),
        (Status::Pass, Exit::Pass)
    );
    assert_eq!(verdict.rows.len(), 2 + 2 + 2 + 4);
    assert!(
        verdict
            .rows
            .iter()
            .all(|row| row.outcome == RowOutcome::Pass)
    );
    let crash = &verdict.faults[0];
    assert_eq!(crash.detected, Some(Duration::from_millis(112)));
    assert_eq!(crash.recovered, Recovered::After(Duration::ZERO));
    assert_eq!((crash.first_impact, crash.hurt), (None, 0));
    let headline = &verdict.headline;
    assert_eq!(
        (headline.accepted, headline.lost, headline.decoded),
        (Some(40), Some(0), Some(120))
    );
    assert_eq!(headline.availability.longest_outage, Duration::ZERO);
    assert!(headline.worst_p99.as_ref().unwrap().0 > headline.steady_p99.unwrap());
}

#[test]
fn the_unprotected_system_fails_and_the_verdict_says_where() {
    let verdict = judge(&unprotected().record());
    assert_eq!(
        (verdict.conclusion, verdict.exit()),
        (Conclusion::Fail, Exit::Failed)
    );
    assert_eq!(
        outcome(&verdict, "frames.success >= 99.9%"),
        RowOutcome::Fail
    );
    assert_eq!(
        outcome(&verdict, "frames.success >= 99% over 5s"),
        RowOutcome::Fail
    );
    assert_eq!(
        outcome(&verdict, "breaker(processor-2) opened within 2s"),
        RowOutcome::Fail
    );
    assert_eq!(
        outcome(&verdict, "ledger: no accepted job is lost"),
        RowOutcome::Fail
    );
    assert_eq!(
        outcome(&verdict, "ledger: every accepted job is finished"),
        RowOutcome::Fail
    );
    assert_eq!(
        outcome(&verdict, "ledger: nothing is done twice"),
        RowOutcome::Pass
    );
    let crash = &verdict.faults[0];
    assert!(crash.first_impact.unwrap() < Duration::from_millis(200));
    assert!(crash.hurt > 200, "{crash:?}");
    assert!(
        matches!(crash.recovered, Recovered::After(after) if after > Duration::from_millis(300))
    );
    let availability = &verdict.headline.availability;
    assert_eq!(availability.longest_outage, Duration::from_secs(9));
    assert_eq!(
        (verdict.headline.lost, verdict.headline.unknown),
        (Some(2), Some(1))
    );
}

#[test]
fn a_verdict_survives_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let record = unprotected().record();
    crate::record::save(&record, directory.path()).unwrap();
    let again = crate::record::open(directory.path()).unwrap();
    assert_eq!(judge(&again), judge(&record));
}

#[test]
fn an_empty_run_never_passes() {
    let scene = survived().change(|scene| {
        scene.samples.clear();
        scene.ledger = Some(Vec::new());
    });
    let verdict = judge(&scene.record());
    assert_eq!(
        (verdict.conclusion, verdict.exit()),
        (Conclusion::Invalid, Exit::Inconclusive)
    );
    let passed: Vec<_> = verdict
        .rows
        .iter()
        .filter(|row| row.outcome == RowOutcome::Pass)
        .collect();
    // The breaker did open; everything that asks for requests or jobs is left open.
    assert_eq!(passed.len(), 1, "{passed:#?}");
    let nothing = survived().change(|scene| scene.plan.expect = Default::default());
    let verdict = judge(&nothing.record());
    assert_eq!(
        verdict.conclusion,
        Conclusion::Inconclusive,
        "nothing expected is not a pass"
    );
}

#[test]
fn too_few_samples_are_called_so() {
    // 25 left in the crash window: p99 asks for 100.
    let verdict = judge(
        &survived()
            .change(|scene| {
                let mut left = 25;
                scene.samples.retain(|sample| {
                    let due = sample.due.0 / 1000 - LOAD_AT;
                    let inside = sample.load == 0 && (15_000..23_000).contains(&due);
                    left -= i32::from(inside && left > 0);
                    !inside || left > 0
                });
            })
            .record(),
    );
    assert_eq!(
        outcome(&verdict, "frames.p99 <= 2x steady"),
        RowOutcome::NotEnoughSamples
    );
    assert_eq!(
        (verdict.conclusion, verdict.exit()),
        (Conclusion::Inconclusive, Exit::Inconclusive)
    );
}

#[test]
fn a_fault_that_touched_nothing_is_not_exercised() {
    let untouched = survived().change(|scene| {
        for event in &mut scene.events {
            if let EventKind::FaultReverted { fault, proof, .. } = &mut event.kind
                && fault == "crash"
            {
                *proof = None;
            }
        }
    });
    let verdict = judge(&untouched.record());
    assert_eq!(
        outcome(&verdict, "frames.p99 <= 2x steady"),
        RowOutcome::NotExercised
    );
    assert_eq!(
        (verdict.conclusion, verdict.exit()),
        (Conclusion::NotExercised, Exit::Inconclusive)
    );
    assert_eq!(verdict.status(), Status::Fail);

    // Without any expectation about it, too.
    let verdict = judge(
        &untouched
            .change(|scene| {
                scene.plan.expect.during.clear();
                scene.plan.expect.recover = None;
            })
            .record(),
    );
    assert_eq!(verdict.conclusion, Conclusion::NotExercised);

    let never = survived().without(|kind| {
        matches!(kind, EventKind::FaultInjected { fault, .. } | EventKind::FaultReverted { fault, .. } if fault == "slow-link")
    });
    assert_eq!(judge(&never.record()).conclusion, Conclusion::NotExercised);
}

#[test]
fn a_real_failure_weighs_more_than_a_fault_not_exercised() {
    let scene = survived()
        .without(
            |kind| matches!(kind, EventKind::FaultInjected { fault, .. } if fault == "slow-link"),
        )
        .spoil(0, 10_000, 12_000, &failed("status 503"));
    assert_eq!(judge(&scene.record()).exit(), Exit::Failed);
}

#[test]
fn how_the_run_ended_comes_first() {
    let reason = || "gateway-1: /ready answered 503 for 10 s".to_owned();
    let ends = [
        (RunOutcome::Aborted { reason: reason() }, Exit::Aborted),
        (RunOutcome::Interrupted, Exit::Interrupted),
        (RunOutcome::NotReady { reason: reason() }, Exit::NotReady),
        (RunOutcome::Broken { reason: reason() }, Exit::Inconclusive),
        (
            RunOutcome::UndoFailed {
                leftovers: vec![reason()],
            },
            Exit::UndoFailed,
        ),
    ];
    for (outcome, exit) in ends {
        for scene in [survived(), unprotected()] {
            let verdict = judge(&scene.ended(outcome.clone()).record());
            assert_eq!(verdict.exit(), exit, "{outcome:?}");
            assert_ne!(verdict.status(), Status::Pass);
        }
    }
    let stuck = EventKind::FaultFailed {
        fault: "slow-link".to_owned(),
        target: "gateway-1->processor-1".to_owned(),
        error: "still 400 ms".to_owned(),
        undo: true,
    };
    let scene = survived()
        .without(
            |kind| matches!(kind, EventKind::FaultReverted { fault, .. } if fault == "slow-link"),
        )
        .change(|scene| scene.events.push(event(LOAD_AT + 36_500, stuck)));
    assert_eq!(judge(&scene.record()).exit(), Exit::UndoFailed);
}

#[test]
fn a_generator_that_fell_behind_makes_the_run_invalid_and_not_the_service_slow() {
    let lag = |lag_p99_us| {
        let scene = unprotected().change(|scene| {
            for event in &mut scene.events {
                if let EventKind::Generator {
                    lag_p99_us: lag, ..
                } = &mut event.kind
                {
                    *lag = lag_p99_us;
                }
            }
        });
        judge(&scene.record())
    };
    // A tenth of the strictest limit, 250 ms.
    assert_eq!(lag(24_900).conclusion, Conclusion::Fail);
    let behind = lag(25_100);
    assert_eq!(
        (behind.conclusion, behind.exit()),
        (Conclusion::Invalid, Exit::Inconclusive)
    );
    assert_eq!(behind.validity.lag_limit, Duration::from_millis(25));
    let silent = survived().without(|kind| matches!(kind, EventKind::Generator { .. }));
    assert_eq!(judge(&silent.record()).conclusion, Conclusion::Invalid);
}

#[test]
fn recovery_that_never_comes_fails_and_one_that_cannot_be_seen_is_open() {
    let never = survived().spoil(0, 23_000, 46_000, &failed("status 503"));
    let verdict = judge(&never.record());
    assert_eq!(verdict.faults[0].recovered, Recovered::Never);
    assert_eq!(
        outcome(&verdict, "steady again within 2s"),
        RowOutcome::Fail
    );

    let late = survived().spoil(0, 23_000, 25_500, &failed("status 503"));
    let Recovered::After(after) = judge(&late.record()).faults[0].recovered.clone() else {
        panic!("it recovered");
    };
    assert!(
        (Duration::from_millis(2_300)..=Duration::from_millis(2_600)).contains(&after),
        "{after:?}"
    );

    let cut = survived().change(|scene| {
        scene
            .samples
            .retain(|sample| sample.due.0 / 1000 < LOAD_AT + 39_000);
        scene
            .events
            .retain(|event| event.kind != EventKind::LoadEnded);
    });
    let verdict = judge(&cut.record());
    assert!(
        matches!(verdict.faults[1].recovered, Recovered::Unknown(_)),
        "{:?}",
        verdict.faults[1]
    );
    assert_eq!(verdict.conclusion, Conclusion::Inconclusive);
}

#[test]
fn a_breaker_is_looked_for_from_its_faults_beginning_or_end() {
    let expecting = |change, within| {
        let scene = survived().change(|scene| {
            let opened = breaker("processor-2", change, within);
            scene.plan.expect.set_during("crash", [opened]);
        });
        judge(&scene.record()).rows.swap_remove(2)
    };
    let opened = expecting("opened", 1);
    assert_eq!(opened.outcome, RowOutcome::Pass);
    let Finding::Change { after, source, .. } = &opened.finding else {
        panic!()
    };
    assert_eq!(
        (*after, source.as_deref()),
        (Some(Duration::from_millis(112)), Some("gateway-1"))
    );
    assert_eq!(expecting("opened", 0).outcome, RowOutcome::Fail);
    assert_eq!(expecting("closed", 1).outcome, RowOutcome::Pass);

    // Closed again before the undo was proved, and still so.
    let early = survived()
        .without(|kind| matches!(kind, EventKind::Transition(t) if t.to == "half-open" || t.to == "closed"))
        .change(|scene| {
            let opens = breaker("processor-2", "closed", 1);
            scene.plan.expect.set_during("crash", [opens]);
            let closed = transition("gateway-1", Subject::Breaker, "processor-2", "half-open", "closed", "");
            scene.events.push(event(LOAD_AT + 22_900, closed));
        });
    let row = judge(&early.record()).rows.swap_remove(2);
    assert_eq!(row.outcome, RowOutcome::Pass);
}

#[test]
fn a_steady_state_that_was_not_reached_or_not_real_shows() {
    let never = survived().without(|kind| matches!(kind, EventKind::SteadyReached { .. }));
    let verdict = judge(&never.record());
    assert_eq!(
        (verdict.rows[0].scope.clone(), verdict.rows[0].outcome),
        (Scope::Steady, RowOutcome::Fail)
    );
    assert_eq!(
        outcome(&verdict, "frames.p99 <= 2x steady"),
        RowOutcome::NotEnoughSamples
    );
    let unreal = survived().spoil(0, 13_000, 13_500, &failed("timeout"));
    assert_eq!(
        judge(&unreal.record()).rows[0].outcome,
        RowOutcome::Inconclusive
    );
}

#[test]
fn only_what_was_definitely_accepted_can_be_lost() {
    let fates = |change: fn(&mut crate::event::LedgerEntry)| {
        let scene = survived().change(|scene| change(&mut scene.ledger.as_mut().unwrap()[3]));
        let verdict = judge(&scene.record());
        verdict.rows[6..]
            .iter()
            .map(|row| row.outcome)
            .collect::<Vec<_>>()
    };
    use RowOutcome::{Fail, Inconclusive, Pass};
    let lost: fn(&mut _) = |entry: &mut crate::event::LedgerEntry| entry.fate = Some(Fate::Lost);
    assert_eq!(fates(lost), [Fail, Pass, Fail, Pass]);
    let maybe = fates(|entry| {
        entry.accepted = Accepted::Unknown;
        entry.fate = Some(Fate::Lost);
    });
    assert_eq!(maybe, [Pass; 4]);
    let refused = fates(|entry| (entry.accepted, entry.fate) = (Accepted::Refused, None));
    assert_eq!(refused, [Pass; 4]);
    assert_eq!(fates(|entry| entry.fate = None), [Inconclusive; 4]);
    let unreadable = fates(|entry| {
        entry.fate = Some(Fate::Unreadable {
            reason: "500".to_owned(),
        })
    });
    assert_eq!(unreadable, [Inconclusive; 4]);
    let twice = fates(|entry| entry.id = Some("job-01".to_owned()));
    assert_eq!(twice, [Pass, Fail, Pass, Pass]);
    let broken = fates(|entry| {
        entry.fate = Some(Fate::Done {
            results: 3,
            decoded: Some(2),
            duplicates: 1,
            trouble: None,
        });
    });
    assert_eq!(broken, [Pass, Fail, Pass, Fail]);
    let unchecked = fates(|entry| {
        entry.fate = Some(Fate::Done {
            results: 3,
            decoded: None,
            duplicates: 0,
            trouble: None,
        });
    });
    assert_eq!(unchecked, [Pass, Pass, Pass, Inconclusive]);
    let unread = survived().change(|scene| scene.ledger = None);
    assert_eq!(judge(&unread.record()).conclusion, Conclusion::Inconclusive);
}

#[test]
fn unsent_work_counts_against_the_system() {
    let verdict = judge(
        &survived()
            .spoil(0, 20_000, 21_000, &Outcome::Unsent)
            .record(),
    );
    assert_eq!(
        outcome(&verdict, "frames.success >= 99.9%"),
        RowOutcome::Fail
    );
    assert!(verdict.headline.availability.counts.unsent > 50);
}

#[test]
fn what_was_under_way_when_the_fault_struck_is_counted_apart() {
    let spoilt = survived().spoil(0, 14_900, 15_000, &failed("connection reset"));
    let scene = spoilt.change(|scene| {
        // The last ones before it hang until after it.
        for sample in &mut scene.samples {
            let due = sample.due.0 / 1000 - LOAD_AT;
            if (14_950..15_000).contains(&due) {
                sample.done = sample.due.plus(Duration::from_millis(100));
            }
        }
    });
    let hanging = scene.samples.iter();
    let hanging = hanging.filter(|s| (14_950..15_000).contains(&(s.due.0 / 1000 - LOAD_AT)));
    let hanging = hanging.count() as u64;
    let verdict = judge(&scene.record());
    assert_eq!(verdict.faults[0].carried_in, hanging);
    assert!(verdict.faults[0].carried_in > 0);
    assert_eq!(verdict.faults[0].hurt, 0);
}

#[test]
fn exit_codes_are_the_documented_ones() {
    let codes: Vec<_> = exit::EXITS.iter().map(|(exit, _)| exit.code()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
    assert!(
        exit::EXITS
            .iter()
            .all(|(exit, meaning)| exit.meaning() == *meaning)
    );
}

#[test]
fn the_worst_word_is_the_maximum() {
    assert!(
        RowOutcome::Fail > RowOutcome::NotExercised
            && RowOutcome::NotExercised > RowOutcome::Inconclusive
    );
    assert!(
        RowOutcome::Inconclusive > RowOutcome::NotEnoughSamples
            && RowOutcome::NotEnoughSamples > RowOutcome::Pass
    );
    assert!(Status::Fail > Status::Inconclusive && Status::Inconclusive > Status::Pass);
}

/// The run that survived, with a node that ends at a moment of the run.
fn with_an_end(ms: u64, how: &str, expected: bool) -> super::testing::Scene {
    survived().change(|scene| {
        let at = scene
            .events
            .partition_point(|event| event.at <= Offset(ms * 1000));
        let kind = EventKind::NodeExited {
            node: "gateway-1".to_owned(),
            how: how.to_owned(),
            expected,
            log: vec!["opening the cache".to_owned(), "out of memory".to_owned()],
        };
        scene.events.insert(at, event(ms, kind));
    })
}

#[test]
fn a_node_that_ends_unasked_fails_the_run_whenever_and_however() {
    // Before the first fault, during it, after load; with an error, a signal, and without.
    for (ms, how) in [
        (LOAD_AT + 2_000, "exit code 3"),
        (LOAD_AT + 16_000, "exited by signal 11"),
        (64_700, "exit code 0"),
    ] {
        let verdict = judge(&with_an_end(ms, how, false).record());
        assert_eq!(
            (verdict.conclusion, verdict.exit()),
            (Conclusion::Fail, Exit::Failed)
        );
        let row = verdict.rows.last().unwrap();
        assert_eq!(row.id.as_str(), "exits/gateway-1");
        assert_eq!(row.outcome, RowOutcome::Fail);
        assert_eq!(
            row.finding,
            Finding::Nothing(Gap::NodeEnded {
                how: how.to_owned(),
                times: 1
            })
        );
        let at = Offset(ms * 1000);
        let said = |line: &str| Evidence::LogLine {
            at,
            node: "gateway-1".to_owned(),
            line: line.to_owned(),
        };
        let ended = Evidence::Exit {
            at,
            node: "gateway-1".to_owned(),
            how: how.to_owned(),
        };
        assert_eq!(
            row.evidence,
            [ended, said("opening the cache"), said("out of memory")]
        );
    }
}

#[test]
fn a_node_may_end_when_it_was_asked_to_or_is_allowed_to() {
    let asked = judge(&with_an_end(LOAD_AT + 2_000, "exit code 0", true).record());
    assert_eq!(asked.conclusion, Conclusion::Pass);
    let allowed = with_an_end(LOAD_AT + 2_000, "exit code 1", false).change(|scene| {
        for node in &mut scene.plan.system.nodes {
            node.exits = crate::plan::ExitRule::Allowed;
        }
    });
    assert_eq!(judge(&allowed.record()).conclusion, Conclusion::Pass);
}

#[test]
fn an_end_that_kept_a_fault_from_being_injected_is_a_failure_and_not_an_invalid_run() {
    let reason = "crash could not be injected: gateway-1: no SIGKILL".to_owned();
    let broken = with_an_end(LOAD_AT + 2_000, "exit code 1", false).ended(RunOutcome::Broken {
        reason: reason.clone(),
    });
    let verdict = judge(&broken.record());
    assert_eq!(
        (verdict.conclusion, verdict.reason),
        (Conclusion::Fail, Some(Reason::Told(reason)))
    );
}

#[test]
fn a_run_that_never_began_is_skipped_with_the_reason_and_without_rows() {
    let reason = "this machine lacks own child processes".to_owned();
    let skipped = survived().ended(RunOutcome::Skipped {
        reason: reason.clone(),
    });
    let verdict = judge(&skipped.record());
    assert_eq!(
        (verdict.conclusion, verdict.exit(), verdict.reason),
        (
            Conclusion::Skipped,
            Exit::Skipped,
            Some(Reason::Told(reason))
        )
    );
    assert!(verdict.rows.is_empty() && verdict.faults.is_empty());
}
