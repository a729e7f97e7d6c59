//! Which stretch of time a fault answers for, and what it did to latency in it.

use super::super::testing::{LOAD_AT, Scene, event, survived};
use super::*;

/// Events of a fault injected from `began_ms` on and in place at `at_ms`, undone from `undo_ms` on and gone at `gone_ms`.
fn fault_on(
    scene: Scene,
    name: &str,
    (began_ms, at_ms): (u64, u64),
    (undo_ms, gone_ms): (u64, u64),
) -> Scene {
    let of = |kind: &EventKind| matches!(kind, EventKind::FaultInjected { fault, .. } | EventKind::FaultReverted { fault, .. } | EventKind::FaultRecovered { fault, .. } if fault == name);
    let moment = |ms: u64| Offset((LOAD_AT + ms) * 1000);
    scene.without(of).change(|scene| {
        let planned = scene.plan.faults.iter().find(|fault| fault.name == name);
        let target = planned.unwrap().targets[0].name().to_owned();
        scene.events.push(event(
            LOAD_AT + at_ms,
            EventKind::FaultInjected {
                fault: name.to_owned(),
                target: target.clone(),
                detail: "in place".to_owned(),
                began: Some(moment(began_ms)),
            },
        ));
        scene.events.push(event(
            LOAD_AT + gone_ms,
            EventKind::FaultReverted {
                fault: name.to_owned(),
                target,
                proof: Some("it bit".to_owned()),
                undo: "gone".to_owned(),
                began: Some(moment(undo_ms)),
            },
        ));
    })
}

#[test]
fn a_fault_counts_from_the_beginning_of_its_injection_whatever_its_kind() {
    // Each fault takes 300 ms to be known to be in place; requests fail in these 300 ms and at no other time.
    for (index, (name, from, to)) in [("crash", 15_000, 23_000), ("slow-link", 30_000, 36_000)]
        .into_iter()
        .enumerate()
    {
        let scene = fault_on(survived(), name, (from, from + 300), (to - 300, to));
        let scene = scene.spoil(0, from, from + 300, &failed("connection reset"));
        let verdict = judge(&scene.record());
        let fault = &verdict.faults[index];
        assert_eq!(fault.injected, Some(Offset((LOAD_AT + from) * 1000)));
        assert_eq!(fault.undo_began, Some(Offset((LOAD_AT + to - 300) * 1000)));
        assert_eq!(fault.reverted, Some(Offset((LOAD_AT + to) * 1000)));
        assert!(fault.hurt > 0, "{fault:#?}");
        assert!(
            fault.first_impact.unwrap() < Duration::from_millis(300),
            "{fault:#?}"
        );
        assert_eq!(fault.counts.failed, fault.hurt, "during sees them as well");
    }
}

#[test]
fn what_was_under_way_when_the_injection_began_is_its_first_impact_too() {
    let struck = LOAD_AT + 15_000;
    let scene = survived().change(|scene| {
        let last = scene
            .samples
            .iter_mut()
            .filter(|sample| sample.load == 0 && sample.due.0 / 1000 < struck)
            .max_by_key(|sample| sample.due)
            .unwrap();
        last.outcome = failed("connection reset");
        last.done = Offset((struck + 1) * 1000);
    });
    let fault = &judge(&scene.record()).faults[0];
    assert_eq!((fault.hurt, fault.carried_in), (0, 1));
    assert!(fault.first_impact.unwrap() <= Duration::from_millis(2));
}

fn recovery_of(verdict: &Verdict, fault: &str) -> Row {
    let scope = Scope::Recover(fault.to_owned());
    let mut rows = verdict.rows.iter().filter(|row| row.scope == scope);
    rows.next().unwrap().clone()
}

#[test]
fn a_fault_is_not_blamed_for_the_failures_of_the_next() {
    // Steady takes 4 s. The crash ends 2 s before the link is cut, and everything fails from then on.
    let short = |from: u64, to: u64| {
        let scene = fault_on(survived(), "slow-link", (25_000, 25_001), (36_000, 36_001));
        judge(&scene.spoil(0, from, to, &failed("timeout")).record())
    };
    let verdict = short(25_000, 36_000);
    let row = recovery_of(&verdict, "crash");
    assert_eq!(row.outcome, RowOutcome::Inconclusive, "{row:#?}");
    let Recovered::Unknown(why) = &verdict.faults[0].recovered else {
        panic!("{row:#?}");
    };
    let Gap::WindowCutShort { by, .. } = why else {
        panic!("{why:?}");
    };
    let began = Interference {
        fault: "slow-link".to_owned(),
        already: false,
        after: by.after,
    };
    assert_eq!((*by).clone(), began);
    assert!(by.after.abs_diff(Duration::from_secs(2)) < Duration::from_millis(50));
    assert_eq!(verdict.faults[0].hurt, 0, "they are the link's");
    assert_eq!(recovery_of(&verdict, "slow-link").outcome, RowOutcome::Pass);
    // Neither is it a pass, though nothing failed at all.
    let verdict = short(0, 0);
    assert_eq!(
        recovery_of(&verdict, "crash").outcome,
        RowOutcome::Inconclusive
    );
}

#[test]
fn a_request_that_the_next_fault_killed_does_not_count_against_the_one_before() {
    // One steady window fits between the two, but a request of it was under way when the link was cut.
    let scene = fault_on(survived(), "slow-link", (27_100, 27_101), (36_000, 36_001));
    let scene = scene.change(|scene| {
        for sample in &mut scene.samples {
            let due = sample.due.0 / 1000 - LOAD_AT;
            if sample.load == 0 && (26_800..27_100).contains(&due) {
                sample.outcome = failed("connection reset");
                sample.done = Offset((LOAD_AT + 27_105) * 1000);
            }
        }
    });
    let verdict = judge(&scene.record());
    let row = recovery_of(&verdict, "crash");
    assert_eq!(row.outcome, RowOutcome::Inconclusive, "{row:#?}");
    assert_eq!(verdict.faults[0].hurt, 0);
    assert_eq!(verdict.faults[0].first_impact, None);
    assert!(verdict.faults[1].carried_in > 10);
}

#[test]
fn what_never_recovers_before_the_next_fault_fails_where_there_was_time_for_it() {
    // Within 2 s and a window of 4 s: 7 s without another fault are enough to say that it did not.
    let scene = survived().spoil(0, 23_000, 29_900, &failed("status 503"));
    let verdict = judge(&scene.record());
    assert_eq!(verdict.faults[0].recovered, Recovered::Never);
    assert_eq!(recovery_of(&verdict, "crash").outcome, RowOutcome::Fail);
    // 5 s are not: it may have been steady from 1.5 s on.
    let scene = fault_on(survived(), "slow-link", (28_000, 28_001), (36_000, 36_001));
    let scene = scene.spoil(0, 23_000, 24_500, &failed("status 503"));
    let verdict = judge(&scene.record());
    let row = recovery_of(&verdict, "crash");
    assert_eq!(row.outcome, RowOutcome::Inconclusive, "{row:#?}");
}

#[test]
fn a_fault_that_ends_within_another_is_not_blamed_for_that_one() {
    // The link is slow from 20 s to 36 s; the crash ends at 23 s in the middle of it.
    let within = |from: u64, to: u64| {
        let scene = fault_on(survived(), "slow-link", (20_000, 20_001), (36_000, 36_001));
        let scene = scene.change(|scene| scene.plan.expect.stays = true);
        judge(&scene.spoil(0, from, to, &failed("timeout")).record())
    };
    let verdict = within(20_000, 36_000);
    let row = recovery_of(&verdict, "crash");
    assert_eq!(row.outcome, RowOutcome::Inconclusive, "{row:#?}");
    let Recovered::Unknown(why) = &verdict.faults[0].recovered else {
        panic!("{row:#?}");
    };
    let (Gap::NotYetBeside { by } | Gap::WindowCutShort { by, .. } | Gap::LateBeside { by, .. }) =
        why
    else {
        panic!("{why:?}");
    };
    assert!(by.already && by.fault == "slow-link", "{by:?}");
    assert!(by.after.abs_diff(Duration::from_secs(13)) < Duration::from_millis(50));
    // Steady beside another fault is steady; what goes wrong later is the other's.
    let verdict = within(30_000, 36_000);
    assert_eq!(recovery_of(&verdict, "crash").outcome, RowOutcome::Pass);
    let stays = verdict.rows.iter().find(|row| {
        row.scope == Scope::Recover("crash".to_owned())
            && row.text.starts_with("stays: frames.success")
    });
    assert_eq!(stays.unwrap().outcome, RowOutcome::Inconclusive);
}

/// Answers of 4 to 8 ms, whatever happens.
fn calm() -> Scene {
    survived().change(|scene| {
        for sample in &mut scene.samples {
            let took = Duration::from_micros(4_000 + sample.due.0 % 4_000);
            sample.done = sample.due.plus(took);
        }
    })
}

#[test]
fn a_fault_that_only_slows_says_when_and_how_much() {
    let slowed = |times: u64, every: usize| {
        let scene = calm().change(|scene| {
            let mut met = 0;
            for sample in &mut scene.samples {
                let due = sample.due.0 / 1000 - LOAD_AT;
                if sample.load == 0 && (30_500..36_000).contains(&due) {
                    met += 1;
                    if met % every == 0 {
                        let took = sample.done.since(sample.due);
                        sample.done = sample.due.plus(took * u32::try_from(times).unwrap());
                    }
                }
            }
        });
        judge(&scene.record()).faults[1].clone()
    };
    for every in [1, 10] {
        let fault = slowed(70, every);
        assert_eq!((fault.first_impact, fault.hurt), (None, 0));
        let slow = fault.slowed.unwrap();
        assert_eq!(slow.load, "frames");
        assert!((60.0..110.0).contains(&slow.factor()), "{slow:#?}");
        let after = Duration::from_millis(500)..Duration::from_millis(700);
        assert!(after.contains(&slow.after), "{slow:#?}");
    }
    // Differences that no baseline lacks are none.
    for fault in judge(&calm().record()).faults {
        assert_eq!(fault.slowed, None);
    }
}

#[test]
fn a_harness_that_stood_still_or_ran_out_of_files_says_nothing_about_the_system() {
    let stalled = EventKind::HarnessStalled { for_us: 3_200_000 };
    let still = survived().change(|scene| scene.events.push(event(LOAD_AT + 9_000, stalled)));
    let starved = survived().spoil(0, 9_000, 10_000, &failed(crate::event::OWN_LIMIT));
    let stood_still: fn(&Invalidity) -> bool =
        |why| matches!(why, Invalidity::Stalled { length, .. } if length.as_millis() == 3200);
    let ran_out: fn(&Invalidity) -> bool =
        |why| matches!(why, Invalidity::GeneratorExhausted { .. });
    for (scene, cause) in [(still, stood_still), (starved, ran_out)] {
        let verdict = judge(&scene.record());
        assert_eq!(verdict.conclusion, Conclusion::Invalid);
        assert_eq!(verdict.exit(), Exit::Inconclusive);
        assert_eq!(verdict.reason, Some(Reason::Invalid));
        let why = &verdict.validity.problems;
        assert!(why.iter().any(cause), "{why:?}");
    }
}
