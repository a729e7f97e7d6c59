//! Stages, tries per call, steady for good, and controls.

use super::*;
use crate::judge::testing::Scene;
use crate::plan::LoadModel;
use crate::scenario::expr::Expectation;

fn expect(text: &str) -> Expectation {
    Expectation::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The run that survived, with these expectations over the whole load and no others.
fn always(texts: &[&str]) -> Scene {
    survived().change(|scene| {
        scene.plan.expect.during.clear();
        scene.plan.expect.recover = None;
        scene.plan.expect.end.ledger.clear();
        scene
            .plan
            .expect
            .set_always(texts.iter().map(|text| expect(text)));
    })
}

fn row<'v>(verdict: &'v Verdict, text: &str) -> &'v Row {
    let found = verdict.rows.iter().find(|row| row.text == text);
    found.unwrap_or_else(|| panic!("no row `{text}` in {:#?}", verdict.rows))
}

/// Calls the stage of `frames` that begins at 5 s of load "full", and cuts its last 10 s off as "late".
fn with_stages(scene: Scene) -> Scene {
    scene.change(|scene| {
        let LoadModel::Arrivals { stages, .. } = &mut scene.plan.load[0].model else {
            panic!("arrivals");
        };
        let mut late = stages[1].clone();
        late.length = HumanDuration::secs(10);
        late.name = Some("late".to_owned());
        stages[1].length = HumanDuration::secs(30);
        stages[1].name = Some("full".to_owned());
        stages.push(late);
    })
}

#[test]
fn what_is_expected_during_a_stage_is_about_what_was_due_in_it() {
    let judged = |spoiled: bool| {
        let scene = with_stages(always(&[])).change(|scene| {
            let late = ["frames.success >= 99%", "frames.goodput >= 0.9x full"];
            let late = late.iter().map(|text| expect(text));
            scene.plan.expect.set_during("late", late);
        });
        // 35 s of load on.
        let scene = match spoiled {
            true => scene.spoil(0, 35_000, 37_000, &failed("status 503")),
            false => scene.spoil(0, 30_000, 32_000, &failed("status 503")),
        };
        judge(&scene.record())
    };
    let before = judged(false);
    let success = row(&before, "frames.success >= 99%");
    assert_eq!(
        (success.scope.clone(), success.outcome),
        (Scope::Stage("late".to_owned()), RowOutcome::Pass)
    );
    let goodput = row(&before, "frames.goodput >= 0.9x full");
    assert_eq!(goodput.outcome, RowOutcome::Pass);
    let Finding::Measure(found) = &goodput.finding else {
        panic!("{goodput:#?}");
    };
    assert_eq!(found.window.length(), Duration::from_secs(10));
    assert_eq!(found.base.as_ref().unwrap().name, "full");
    let inside = judged(true);
    assert_eq!(
        row(&inside, "frames.success >= 99%").outcome,
        RowOutcome::Fail
    );
    // A fifth of what was due in the stage did not end ok.
    assert_eq!(
        row(&inside, "frames.goodput >= 0.9x full").outcome,
        RowOutcome::Fail
    );
}

#[test]
fn a_stage_that_load_did_not_reach_the_end_of_says_nothing() {
    let scene = with_stages(always(&["frames.success >= 50%"])).change(|scene| {
        let late = [expect("frames.success >= 99%")];
        scene.plan.expect.set_during("late", late);
        let until = Offset((LOAD_AT + 38_000) * 1000);
        scene.samples.retain(|sample| sample.due < until);
        scene
            .events
            .retain(|event| event.at < until || !matches!(event.kind, EventKind::LoadEnded));
        scene.events.retain(|event| event.at < until);
        scene
            .events
            .push(event(LOAD_AT + 38_000, EventKind::LoadEnded));
    });
    let verdict = judge(&scene.record());
    assert_eq!(
        row(&verdict, "frames.success >= 99%").outcome,
        RowOutcome::Inconclusive
    );
}

/// Counts of gateway-1 at moments of load, in milliseconds.
fn counted(scene: Scene, counts: &[(u64, u64, u64)]) -> Scene {
    scene.change(|scene| {
        for (at, calls, tries) in counts {
            let counts = EventKind::ProbeCounts {
                probe: "amplification".to_owned(),
                node: "gateway-1".to_owned(),
                counted: *tries,
                per: *calls,
            };
            scene.events.push(event(LOAD_AT + at, counts));
        }
        scene.events.sort_by_key(|event| event.at);
    })
}

const TRIES: &str = "amplification(gateway-1) <= 1.2";

fn amplified(scene: Scene) -> (RowOutcome, Ratio) {
    let verdict = judge(&scene.record());
    let row = row(&verdict, TRIES);
    match &row.finding {
        Finding::Ratio(found) => (row.outcome, found.clone()),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn tries_per_call_are_the_difference_over_the_stretch() {
    let of = |counts: &[(u64, u64, u64)]| amplified(counted(always(&[TRIES]), counts));
    // What came before load does not count.
    let (outcome, found) = of(&[(0, 100, 300), (20_000, 600, 820), (45_000, 1_100, 1_350)]);
    assert_eq!(
        (outcome, found.per, found.counted),
        (RowOutcome::Pass, 1_000, 1_050)
    );
    assert_eq!(found.observed, Some(1.05));
    let (outcome, found) = of(&[(0, 100, 300), (45_000, 1_100, 1_501)]);
    assert_eq!((outcome, found.observed), (RowOutcome::Fail, Some(1.201)));
    for (counts, why) in [
        (&[][..], "did not tell its counts"),
        (&[(0, 1, 1)], "did not tell its counts"),
        (&[(0, 1, 1), (40_000, 9, 9)], "did not tell its counts"),
        (&[(0, 5, 5), (45_000, 5, 5)], "made no calls"),
    ] {
        let (outcome, found) = of(counts);
        assert_ne!(outcome.status(), Status::Pass, "{counts:?}");
        assert_eq!(
            (outcome.status(), found.observed),
            (Status::Inconclusive, None)
        );
        assert!(found.missing.unwrap().contains(why), "{counts:?}");
    }
}

#[test]
fn tries_during_a_fault_are_those_between_its_borders() {
    let scene = always(&[]).change(|scene| {
        scene.plan.expect.set_during("crash", [expect(TRIES)]);
    });
    // The crash lasts from 15 to 23 s.
    let counts = [
        (0, 0, 0),
        (14_900, 900, 900),
        (15_002, 1_000, 1_000),
        (22_500, 1_950, 2_100),
        (23_001, 2_000, 2_300),
        (45_000, 4_000, 4_300),
    ];
    let (outcome, found) = amplified(counted(scene, &counts));
    assert_eq!(
        (outcome, found.per, found.counted),
        (RowOutcome::Fail, 1_000, 1_300)
    );
}

#[test]
fn a_gateway_that_is_started_again_counts_from_nothing() {
    let started = EventKind::NodeStarted {
        node: "gateway-1".to_owned(),
        incarnation: 2,
        pid: None,
    };
    let scene = always(&[TRIES]).change(|scene| {
        scene.events.push(event(LOAD_AT + 20_500, started));
    });
    let counts = [
        (0, 1_000, 1_000),
        (20_000, 1_500, 1_600),
        (21_000, 40, 40),
        (45_000, 540, 640),
    ];
    let (_, found) = amplified(counted(scene, &counts));
    assert_eq!((found.per, found.counted), (500 + 540, 600 + 640));
}

/// Recovery within a second and for good, `frames` being bad in this stretch of load besides.
fn with_dip(dip: Option<(u64, u64)>) -> Verdict {
    let scene = always(&["frames.success >= 1%"]).change(|scene| {
        scene.plan.expect.recover = Some(HumanDuration::secs(1));
        scene.plan.expect.stays = true;
    });
    let scene = match dip {
        Some((from, to)) => scene.spoil(0, from, to, &failed("status 503")),
        None => scene,
    };
    judge(&scene.record())
}

#[test]
fn recovered_for_good_means_no_second_dip() {
    const STAYS: &str = "stays: frames.success >= 99.9% over 4s";
    let of = |verdict: &Verdict, fault: &str| {
        let scope = Scope::Recover(fault.to_owned());
        let mut rows = verdict.rows.iter();
        let row = rows.find(|row| row.scope == scope && row.text == STAYS);
        row.unwrap().clone()
    };
    let calm = with_dip(None);
    assert_eq!(of(&calm, "crash").outcome, RowOutcome::Pass);
    assert_eq!(calm.conclusion, Conclusion::Pass);
    // The slow link ends at 36 s. A dip at 44 s is after it, and long after the crash.
    let dip = with_dip(Some((44_400, 44_600)));
    let late = of(&dip, "slow-link");
    assert_eq!(late.outcome, RowOutcome::Fail);
    let Finding::Measure(found) = &late.finding else {
        panic!("{late:#?}");
    };
    assert!(found.window.contains(Offset((LOAD_AT + 44_500) * 1000)));
    assert!(found.ok < found.n);
    assert_eq!(
        of(&dip, "crash").outcome,
        RowOutcome::Pass,
        "the next fault is its end"
    );
    assert_eq!(dip.conclusion, Conclusion::Fail);
    let recovered = "steady again within 1s";
    assert_eq!(row(&dip, recovered).outcome, RowOutcome::Pass);
}

#[test]
fn a_control_passes_by_failing_in_what_it_names_and_in_nothing_else() {
    const NAMED: &str = "frames.success >= 99.9%";
    let control = |scene: Scene| {
        let scene = scene.change(|scene| {
            scene.plan.expect.set_control(&[expect(NAMED)]);
        });
        judge(&scene.record())
    };
    let bad = || always(&[NAMED]).spoil(0, 15_000, 20_000, &failed("status 503"));
    let failed_well = control(bad());
    assert_eq!(failed_well.conclusion, Conclusion::Pass);
    assert_eq!(failed_well.exit(), Exit::Pass);
    let named = row(&failed_well, NAMED);
    assert_eq!((named.outcome, named.must_fail), (RowOutcome::Pass, true));
    let named = vec![NAMED.to_owned()];
    assert_eq!(failed_well.reason, Some(Reason::Control { failed: named }));

    let held = control(always(&[NAMED]));
    assert_eq!(
        (held.conclusion, held.exit()),
        (Conclusion::Fail, Exit::Failed)
    );

    let also = always(&[NAMED, "frames.p50 <= 1us"]).spoil(0, 15_000, 20_000, &failed("timeout"));
    assert_eq!(control(also).conclusion, Conclusion::Fail);

    let empty = always(&[NAMED]).change(|scene| scene.samples.retain(|sample| sample.load == 1));
    assert_ne!(
        control(empty).status(),
        Status::Pass,
        "no data is never a pass"
    );

    let untouched = bad().change(|scene| {
        for event in &mut scene.events {
            if let EventKind::FaultReverted { proof, .. } = &mut event.kind {
                *proof = None;
            }
        }
    });
    assert_eq!(control(untouched).conclusion, Conclusion::NotExercised);
}
