//! The conductor on a fake system under a fake load, in virtual time: what it does, in which order, and that every way out
//! undoes everything.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Options, run};
use crate::event::{EventKind, RunOutcome};
use crate::plan::{Plan, PlanOptions};
use crate::runtime::Runtimes;
use fake::{Behaviour, FakeLoad, FakeRuntime, Tape};

/// What came of a run.
struct Ran {
    outcome: RunOutcome,
    /// What was done to nodes, in order.
    deeds: Vec<String>,
    tape: Tape,
}

/// A run that can be varied.
struct Stage {
    faults: &'static str,
    more: &'static str,
    limit: &'static str,
    behaviour: Behaviour,
    load: FakeLoad,
    /// Cancelled this long after its beginning.
    cancel_after: Option<Duration>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            faults: "[]",
            more: "",
            limit: "100s",
            behaviour: Behaviour::default(),
            load: FakeLoad {
                length: Duration::from_secs(30),
                bad: Duration::ZERO..Duration::ZERO,
                panics: false,
            },
            cancel_after: None,
        }
    }
}

impl Stage {
    fn plan(&self) -> Plan {
        let text = format!(
            "version: 1\n\
             name: fake\n\
             seed: 1\n\
             limit: {limit}\n\
             system:\n  \
               entry: web-1\n  \
               nodes:\n    \
                 db: {{ run: [ db ] }}\n    \
                 web: {{ run: [ web ], replicas: 2, after: [ db ] }}\n\
             load: {{ l: {{ arrivals: {{ rate: 20/s, for: 30s }}, steps: [ {{ get: / }} ] }} }}\n\
             steady: {{ window: 2s, hold: [ l.success >= 99% ] }}\n\
             faults: {faults}\n\
             {more}\n\
             expect: {{ always: [ l.success >= 1% ] }}\n",
            limit = self.limit,
            faults = self.faults,
            more = self.more,
        );
        match Plan::prepare_text("fake.yaml", &text, &PlanOptions::default()) {
            Ok(prepared) => prepared.plan,
            Err(problems) => panic!("{problems}"),
        }
    }

    async fn run(self) -> Ran {
        let plan = self.plan();
        let folder = tempfile::tempdir().expect("a folder");
        let deeds = Arc::new(Mutex::new(Vec::new()));
        let runtime = FakeRuntime {
            behaviour: self.behaviour,
            deeds: deeds.clone(),
        };
        // The folder's random name: also the run's scratch folder is named by it.
        let unique = folder.path().file_name().expect("a name");
        let run_id = format!("fake-{}", unique.to_string_lossy().trim_start_matches('.'));
        let mut options = Options::new(run_id, folder.path().join("logs"));
        options.journal = folder.path().join("journal");
        options.runtimes = Runtimes::of([Arc::new(runtime) as _]);
        options.load = Arc::new(self.load);
        let cancel = CancellationToken::new();
        if let Some(after) = self.cancel_after {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                cancel.cancel();
            });
        }
        let mut tape = Tape::default();
        let outcome = run(&plan, &mut tape, options, cancel).await;
        let left = std::fs::read_dir(folder.path().join("journal"));
        assert_eq!(
            left.map(Iterator::count).unwrap_or_default(),
            0,
            "nothing stays in the journal"
        );
        let deeds = deeds.lock().clone();
        Ran {
            outcome,
            deeds,
            tape,
        }
    }
}

impl Ran {
    /// Tenths of seconds since load began, and what happened then, of what is about order.
    fn story(&self) -> Vec<String> {
        let events = &self.tape.0;
        let mut origin = None;
        let told = events.iter().filter_map(move |event| {
            if event.kind == EventKind::LoadStarted {
                origin = Some(event.at);
            }
            let what = match &event.kind {
                EventKind::NodeReady { node, .. } => format!("ready {node}"),
                EventKind::SystemReady => "system ready".to_owned(),
                EventKind::LoadStarted => "load".to_owned(),
                EventKind::SteadyReached { .. } => "steady".to_owned(),
                EventKind::FaultInjected { fault, target, .. } => format!("{fault} on {target}"),
                EventKind::FaultReverted { fault, target, .. } => format!("{fault} off {target}"),
                EventKind::FaultFailed { fault, undo, .. } => match undo {
                    true => format!("{fault} not undone"),
                    false => format!("{fault} failed"),
                },
                EventKind::FaultRecovered { fault, .. } => format!("{fault} recovered"),
                EventKind::LoadEnded => "load over".to_owned(),
                EventKind::RunEnded { .. } => "end".to_owned(),
                _ => return None,
            };
            Some(match origin {
                Some(origin) => {
                    let tenths = event.at.since(origin).as_millis() / 100;
                    format!("{}.{} {what}", tenths / 10, tenths % 10)
                }
                None => what,
            })
        });
        told.collect()
    }

    fn told(&self, what: &str) -> bool {
        self.story().iter().any(|line| line.ends_with(what))
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_through_its_phases_in_order() {
    let ran = Stage {
        faults: "[ { name: crash, at: 5s, for: 4s, target: web-2, inject: kill } ]",
        ..Stage::default()
    }
    .run()
    .await;
    assert_eq!(ran.outcome, RunOutcome::Completed);
    let story = ran.story();
    let start = [
        "ready db",
        "ready web-1",
        "ready web-2",
        "system ready",
        "0.0 load",
    ];
    let mut first: Vec<_> = story[..5].to_vec();
    first[1..3].sort();
    assert_eq!(first, start, "{story:#?}");
    let rest = &story[5..];
    assert_eq!(
        rest[0].split_once(' ').map(|(_, what)| what),
        Some("steady")
    );
    assert_eq!(rest[1], "5.0 crash on web-2");
    // Started again, and ready after one question.
    assert_eq!(rest[2..4], ["9.1 ready web-2", "9.1 crash off web-2"]);
    assert!(rest[4].ends_with("crash recovered"), "{story:#?}");
    assert_eq!(rest[5], "30.0 load over");
    assert!(rest[6].ends_with(" end"), "{story:#?}");
    let (started, stopped): (Vec<_>, Vec<_>) = ran
        .deeds
        .iter()
        .map(String::as_str)
        .partition(|deed| !deed.starts_with("terminate"));
    assert_eq!(started[0], "start db");
    assert_eq!(started[3..], ["kill web-2", "start web-2"]);
    assert_eq!(
        stopped.last(),
        Some(&"terminate db"),
        "the later wave first"
    );
    assert_eq!(stopped.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_fault_begins_before_the_steady_state_and_one_after_another_waits_for_its_recovery() {
    let ran = Stage {
        // The first two seconds and a half are bad, so that the steady state is there at 4.5 s at the earliest.
        load: FakeLoad {
            bad: Duration::ZERO..Duration::from_millis(2500),
            ..Stage::default().load
        },
        faults: "[ { name: a, at: 1s, for: 2s, target: web-1, inject: pause }, \
                   { name: b, after: a.recovered + 3s, for: 1s, target: web-2, inject: pause } ]",
        ..Stage::default()
    }
    .run()
    .await;
    assert_eq!(ran.outcome, RunOutcome::Completed, "{:#?}", ran.story());
    let at = |what: &str| -> f64 {
        let story = ran.story();
        let line = story.iter().find(|line| line.ends_with(what));
        let (time, _) = line.expect(what).split_once(' ').expect("a time");
        time.parse().expect("a number")
    };
    assert!(at("steady") >= 4.5);
    assert!(at("a on web-1") >= at("steady"));
    assert!((at("a off web-1") - at("a on web-1") - 2.1).abs() < 0.2);
    assert!((at("b on web-2") - at("a recovered") - 3.0).abs() < 0.2);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_takes_one_node_after_the_other() {
    let ran = Stage {
        faults: "[ { name: roll, at: 5s, target: web-*, inject: { rolling-restart: { pause: 2s } } } ]",
        ..Stage::default()
    }
    .run()
    .await;
    assert_eq!(ran.outcome, RunOutcome::Completed);
    let story = ran.story();
    let roll: Vec<_> = story
        .iter()
        .filter(|line| line.contains("roll o"))
        .collect();
    // 400 ms to end, 100 ms to be ready, 2 s apart.
    assert_eq!(
        roll,
        [
            "5.0 roll on web-1",
            "5.5 roll off web-1",
            "7.5 roll on web-2",
            "8.0 roll off web-2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn every_way_out_undoes_what_is_in_place() {
    let faults = "[ { name: a, at: 5s, for: 20s, target: web-1, inject: pause }, \
                    { name: b, at: 6s, for: 20s, target: web-2, inject: pause } ]";
    let usual = || Stage {
        faults,
        ..Stage::default()
    };
    let seconds = Duration::from_secs;
    let cancelled = Stage {
        cancel_after: Some(seconds(10)),
        ..usual()
    };
    let aborted = Stage {
        load: FakeLoad {
            bad: seconds(8)..seconds(30),
            ..Stage::default().load
        },
        more: "abort: [ l.success < 50% over 2s ]",
        ..usual()
    };
    let panicked = Stage {
        load: FakeLoad {
            length: seconds(12),
            panics: true,
            ..Stage::default().load
        },
        ..usual()
    };
    let broken = Stage {
        faults: "[ { name: a, at: 5s, for: 20s, target: web-1, inject: pause }, \
                   { name: b, at: 6s, for: 20s, target: db, inject: kill } ]",
        behaviour: Behaviour {
            immortal: Some("db"),
            ..Behaviour::default()
        },
        ..Stage::default()
    };
    for (how, stage, both) in [
        ("Ctrl-C", cancelled, true),
        ("a stop condition", aborted, true),
        ("a panic", panicked, true),
        ("a fault that cannot be injected", broken, false),
    ] {
        let ran = stage.run().await;
        let story = ran.story();
        let as_expected = match how {
            "Ctrl-C" => ran.outcome == RunOutcome::Interrupted,
            "a stop condition" => {
                matches!(&ran.outcome, RunOutcome::Aborted { reason } if reason.contains("l.success < 50%"))
            }
            "a panic" => {
                matches!(&ran.outcome, RunOutcome::Broken { reason } if reason.contains("the load broke"))
            }
            _ => {
                matches!(&ran.outcome, RunOutcome::Broken { reason } if reason.contains("it lives on"))
            }
        };
        assert!(as_expected, "{how}: {:?}", ran.outcome);
        assert!(ran.told("a off web-1"), "{how}: {story:#?}");
        assert_eq!(ran.told("b off web-2"), both, "{how}: {story:#?}");
        assert!(ran.told("end"), "{how}: {story:#?}");
        let resumed = ran.deeds.iter().filter(|deed| deed.starts_with("resume"));
        assert_eq!(resumed.count(), 1 + usize::from(both), "{how}");
        for node in ["db", "web-1", "web-2"] {
            let stopped = format!("terminate {node}");
            assert!(ran.deeds.contains(&stopped), "{how}: {:#?}", ran.deeds);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_place_at_a_panic_is_undone_latest_first() {
    let ran = Stage {
        faults: "[ { name: a, at: 5s, for: 20s, target: web-1, inject: pause }, \
                   { name: b, at: 6s, for: 20s, target: web-2, inject: pause } ]",
        load: FakeLoad {
            length: Duration::from_secs(12),
            panics: true,
            ..Stage::default().load
        },
        ..Stage::default()
    }
    .run()
    .await;
    let resumed: Vec<_> = ran
        .deeds
        .iter()
        .filter(|deed| deed.starts_with("resume"))
        .collect();
    assert_eq!(resumed, ["resume web-2", "resume web-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_ended_with_everything_undone() {
    // The plan is made for a load of 30 s; the load that is driven goes on for an hour.
    let ran = Stage {
        limit: "100s",
        load: FakeLoad {
            length: Duration::from_secs(3600),
            ..Stage::default().load
        },
        faults: "[ { name: a, at: 5s, for: 20s, target: web-1, inject: pause } ]",
        ..Stage::default()
    }
    .run()
    .await;
    let RunOutcome::Broken { reason } = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert!(reason.contains("longer than its limit"), "{reason}");
    assert!(ran.told("a off web-1"));
    assert_eq!(ran.deeds.last().map(String::as_str), Some("terminate db"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_cannot_be_undone_is_told_and_the_rest_is_stopped_all_the_same() {
    let ran = Stage {
        faults: "[ { name: crash, at: 5s, for: 4s, target: web-2, inject: kill } ]",
        behaviour: Behaviour {
            once: Some("web-2"),
            ..Behaviour::default()
        },
        ..Stage::default()
    }
    .run()
    .await;
    let RunOutcome::UndoFailed { leftovers } = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert!(leftovers[0].contains("crash on web-2"), "{leftovers:?}");
    assert!(ran.told("crash not undone"));
    assert_eq!(ran.deeds.last().map(String::as_str), Some("terminate db"));
}

#[tokio::test(start_paused = true)]
async fn a_system_that_does_not_start_is_stopped_and_never_asked() {
    let ran = Stage {
        behaviour: Behaviour {
            never_ready: Some("web-1"),
            ..Behaviour::default()
        },
        ..Stage::default()
    }
    .run()
    .await;
    let RunOutcome::NotReady { reason } = &ran.outcome else {
        panic!("{:?}", ran.outcome);
    };
    assert!(reason.contains("web-1"), "{reason}");
    assert!(reason.contains("status 503"), "{reason}");
    assert!(!ran.told("load") && !ran.told("system ready"));
    assert!(ran.deeds.contains(&"terminate db".to_owned()));

    let ran = Stage {
        cancel_after: Some(Duration::from_millis(150)),
        ..Stage::default()
    }
    .run()
    .await;
    assert_eq!(ran.outcome, RunOutcome::Interrupted);
    assert!(!ran.told("system ready"), "{:#?}", ran.story());
    assert!(ran.deeds.contains(&"terminate db".to_owned()));
}
