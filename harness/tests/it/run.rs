//! Whole runs on real processes that are not the clip service: this test binary, started again as a small server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clip_harness::event::{Event, EventKind, LedgerEntry, Outcome, RunOutcome, Sample, Sink};
use clip_harness::journal;
use clip_harness::plan::{LedgerCheck, Plan, PlanOptions};
use clip_harness::procfs::process;
use clip_harness::run::{self, Options};
use tokio_util::sync::CancellationToken;

/// Not a test: the program that nodes run. `BACKEND` makes it ask there; `HANG` makes it never ready.
#[test]
#[ignore = "the program that nodes of the other tests run"]
fn a_node() {
    let Ok(port) = std::env::var("PORT") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async move {
        let backend = std::env::var("BACKEND").ok();
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("client");
        let work = move || {
            let ask = backend
                .clone()
                .map(|backend| client.get(format!("http://{backend}/work")));
            async move {
                let Some(ask) = ask else {
                    return StatusCode::OK;
                };
                match ask.timeout(Duration::from_millis(400)).send().await {
                    Ok(answer) => answer.status(),
                    Err(_) => StatusCode::BAD_GATEWAY,
                }
            }
        };
        let health = if std::env::var("HANG").is_ok() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        };
        let app = Router::new()
            .route("/work", get(work))
            .route("/health", get(move || async move { health }));
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}"))
            .await
            .expect("bind");
        axum::serve(listener, app).await.expect("serve");
    });
}

#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    samples: Vec<Sample>,
    ledgers: usize,
}

impl Sink for Seen {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
    fn sample(&mut self, sample: &Sample) {
        self.samples.push(sample.clone());
    }
    fn ledger(&mut self, _: &[LedgerEntry], _: &[LedgerCheck]) {
        self.ledgers += 1;
    }
}

impl Seen {
    fn find<T>(&self, pick: impl Fn(&EventKind) -> Option<T>) -> Option<T> {
        self.events.iter().find_map(|event| pick(&event.kind))
    }

    fn reverted(&self, fault: &str) -> Option<(Option<String>, String)> {
        self.find(|kind| match kind {
            EventKind::FaultReverted {
                fault: name,
                proof,
                undo,
                ..
            } if name == fault => Some((proof.clone(), undo.clone())),
            _ => None,
        })
    }

    /// Proof and undo of each target, in order of undo.
    fn each_reverted(&self, fault: &str) -> Vec<(Option<String>, String)> {
        let of = |event: &Event| match &event.kind {
            EventKind::FaultReverted {
                fault: name,
                proof,
                undo,
                ..
            } if name == fault => Some((proof.clone(), undo.clone())),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn recovered(&self, fault: &str) -> bool {
        self.find(|kind| match kind {
            EventKind::FaultRecovered { fault: name, .. } if name == fault => Some(()),
            _ => None,
        })
        .is_some()
    }

    fn pids(&self) -> Vec<i32> {
        self.events
            .iter()
            .filter_map(|event| match event.kind {
                EventKind::NodeStarted { pid: Some(pid), .. } => i32::try_from(pid).ok(),
                _ => None,
            })
            .collect()
    }
}

/// A front and a back, with `rest` of a scenario.
fn plan(rest: &str) -> Plan {
    let own = std::env::current_exe().expect("own path");
    let command = format!(
        "[{:?}, --exact, \"run::a_node\", --ignored, --nocapture]",
        own.display().to_string()
    );
    let text = format!(
        "version: 1
name: two-nodes
about: A front that asks a back.
seed: 7
limit: 1m
system:
  runtime: process
  entry: front
  nodes:
    back: {{ run: {command}, ready: {{ get: /health, within: 20s }} }}
    front:
      run: {command}
      env: {{ BACKEND: $(link.front->back) }}
      ready: {{ get: /health, within: 20s }}
  links: {{ front->back: {{}} }}
expect: {{ always: [ work.success >= 1% ] }}
{rest}"
    );
    Plan::prepare_text("test", &text, &PlanOptions::default())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
        .plan
}

const LOAD: &str = "
load:
  work:
    arrivals: { rate: 50/s, for: LENGTH }
    timeout: 1s
    steps: [ { get: /work } ]
steady:
  window: 1s
  hold: [ work.success >= 99.9% ]
";

fn load(length: &str, rest: &str) -> String {
    format!("{}{rest}", LOAD.replace("LENGTH", length))
}

struct Place {
    home: tempfile::TempDir,
    run_id: String,
}

impl Place {
    fn new(name: &str) -> Self {
        Self {
            home: tempfile::tempdir().expect("home"),
            run_id: format!("{name}-{}", std::process::id()),
        }
    }

    fn journals(&self) -> PathBuf {
        self.home.path().join("journal")
    }

    fn options(&self) -> Options {
        Options {
            journal: self.journals(),
            ..Options::new(&self.run_id, self.home.path().join("logs"))
        }
    }

    fn assert_clean(&self, seen: &Seen) {
        assert!(process::marked(journal::MARKER, &self.run_id).is_empty());
        let start_marks = seen.pids();
        assert!(
            start_marks
                .iter()
                .all(|pid| process::group(*pid).is_empty())
        );
        assert!(empty(&self.journals()), "a journal is left");
        let data = std::env::temp_dir().join(format!("clip-harness-{}", self.run_id));
        assert!(!data.exists());
    }
}

fn empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

async fn ran(plan: &Plan, place: &Place, cancel: CancellationToken) -> (RunOutcome, Seen) {
    let mut seen = Seen::default();
    let outcome = run::run(plan, &mut seen, place.options(), cancel).await;
    let last = seen.events.last().map(|event| event.kind.clone());
    assert_eq!(
        last,
        Some(EventKind::RunEnded {
            outcome: outcome.clone()
        })
    );
    assert!(seen.events.is_sorted_by_key(|event| event.at));
    (outcome, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_fault_bites_is_undone_and_is_recovered_from() {
    let plan = plan(&load(
        "14s",
        "
faults:
  - { name: slow, at: 1s, for: 1s, target: front->back, inject: { latency: { add: 50ms } } }
  - { name: cut, after: slow.recovered, for: 500ms, target: front->back, inject: down }
  - { name: crash, after: cut.recovered + 100ms, for: 500ms, target: back, inject: kill }
  - { name: freeze, after: crash.recovered, for: 700ms, target: back, inject: pause }
",
    ));
    let place = Place::new("every-kind");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    assert_eq!(outcome, RunOutcome::Completed, "{:#?}", seen.events);
    for (fault, proof, undo) in [
        ("slow", "chunks held", "removed"),
        ("cut", "refused", "link up"),
        ("crash", "exited by signal 9", "restarted, ready after"),
        ("freeze", "state T", "SIGCONT"),
    ] {
        let (said, undone) = seen.reverted(fault).unwrap_or_else(|| panic!("{fault}"));
        let said = said.unwrap_or_else(|| panic!("{fault} has no proof"));
        assert!(said.contains(proof), "{fault}: {said}");
        assert!(undone.contains(undo), "{fault}: {undone}");
        assert!(seen.recovered(fault), "{fault}");
    }
    assert_eq!(seen.samples.len(), 700);
    let bad = seen.samples.iter().filter(|s| s.outcome != Outcome::Ok);
    let bad = bad.count();
    // 1.7 s of 14 s without a back.
    assert!((20..=200).contains(&bad), "{bad}");
    let slow = seen.samples.iter().filter(|sample| {
        sample.outcome == Outcome::Ok && sample.done.since(sample.due) >= Duration::from_millis(50)
    });
    assert!(slow.count() >= 40);
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_slowed_asked_to_end_and_killed_together() {
    let plan = plan(&load(
        "16s",
        "
faults:
  - { name: refusing, at: 1s, for: 500ms, target: \"*->back\", inject: { status: { code: 503, share: 50% } } }
  - { name: gray, after: refusing.end + 200ms, for: 500ms, target: back, inject: { slow: { factor: 3, least: 20ms } } }
  - { name: away, after: gray.end + 200ms, for: 300ms, target: back, inject: restart }
  - { name: rollout, after: away.end + 200ms, target: [front, back], inject: { rolling-restart: { pause: 100ms } } }
  - { name: all-down, after: rollout.end + 200ms, for: 500ms, target: \"*\", inject: kill }
",
    ));
    let place = Place::new("more-kinds");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    assert_eq!(outcome, RunOutcome::Completed, "{:#?}", seen.events);
    for (fault, targets, proof, undo) in [
        (
            "refusing",
            1,
            "requests answered 503",
            "every request passes",
        ),
        ("gray", 1, "answers held 2", "let go"),
        ("away", 1, "back ended within", "restarted, ready after"),
        ("rollout", 2, " ended ", "restarted, ready after"),
        (
            "all-down",
            2,
            "exited by signal 9",
            "restarted, ready after",
        ),
    ] {
        let undone = seen.each_reverted(fault);
        assert_eq!(undone.len(), targets, "{fault}");
        for (said, undone) in undone {
            let said = said.unwrap_or_else(|| panic!("{fault} has no proof"));
            assert!(said.contains(proof), "{fault}: {said}");
            assert!(undone.contains(undo), "{fault}: {undone}");
        }
    }
    assert!(seen.recovered("all-down"));
    // One after the other: front is back before back goes; all down together: both are gone before either is back.
    let order = |fault: &str| -> Vec<(bool, String)> {
        let of = |event: &Event| match &event.kind {
            EventKind::FaultInjected {
                fault: name,
                target,
                ..
            } if name == fault => Some((true, target.clone())),
            EventKind::FaultReverted {
                fault: name,
                target,
                ..
            } if name == fault => Some((false, target.clone())),
            _ => None,
        };
        seen.events.iter().filter_map(of).collect()
    };
    let step = |begins, target: &str| (begins, target.to_owned());
    assert_eq!(
        order("rollout"),
        [
            step(true, "front"),
            step(false, "front"),
            step(true, "back"),
            step(false, "back")
        ]
    );
    let begins: Vec<_> = order("all-down")
        .iter()
        .map(|(begins, _)| *begins)
        .collect();
    assert_eq!(begins, [true, true, false, false]);
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_in_mid_fault_undoes_it_and_leaves_nothing() {
    let plan = plan(&load(
        "30s",
        "
faults:
  - { name: freeze, at: 1s, for: 20s, target: back, inject: pause }
",
    ));
    let place = Place::new("interrupt");
    let cancel = CancellationToken::new();
    let mut seen = Seen::default();
    let interrupt = async {
        let pid = condition("a stopped process", || {
            let marked = process::marked(journal::MARKER, &place.run_id);
            marked.into_iter().find(|stat| stat.state == 'T')
        })
        .await;
        cancel.cancel();
        pid
    };
    let (outcome, stopped) = tokio::join!(
        run::run(&plan, &mut seen, place.options(), cancel.clone()),
        interrupt
    );
    assert_eq!(outcome, RunOutcome::Interrupted);
    assert!(seen.reverted("freeze").is_some());
    assert!(
        process::stat(stopped.pid).is_none_or(|now| now.start != stopped.start || !now.lives())
    );
    assert!(seen.events.last().expect("events").at.seconds() < 20.0);
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_condition_aborts_and_undoes() {
    let plan = plan(&load(
        "30s",
        "
faults:
  - { name: cut, at: 1s, for: 20s, target: front->back, inject: down }
abort: [ work.success < 50% over 1s ]
",
    ));
    let place = Place::new("abort");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    let RunOutcome::Aborted { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("work.success < 50%"), "{reason}");
    assert!(seen.reverted("cut").is_some());
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_steady_state_no_fault_is_injected() {
    let plan = plan(
        "
load:
  work:
    arrivals: { rate: 20/s, for: 2s }
    timeout: 1s
    steps: [ { get: /nowhere } ]
steady: { window: 1s, hold: [ work.success >= 99.9% ] }
faults:
  - { name: crash, at: 1s, for: 1s, target: back, inject: kill }
",
    );
    let place = Place::new("never-steady");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    let RunOutcome::Broken { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("steady state was not reached"), "{reason}");
    assert!(reason.contains("0.00 %"), "{reason}");
    assert!(seen.reverted("crash").is_none());
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_never_ready_is_named_with_what_was_seen() {
    let mut plan = plan(&load("1s", ""));
    for node in &mut plan.system.nodes {
        node.ready.within = clip_service::units::HumanDuration::millis(1500);
        if let clip_harness::plan::NodeStart::Run { env, .. } = &mut node.start
            && node.name == "back"
        {
            env.insert("HANG".to_owned(), "1".to_owned());
        }
    }
    let place = Place::new("never-ready");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    let RunOutcome::NotReady { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("back was not ready"), "{reason}");
    assert!(reason.contains("status 503"), "{reason}");
    place.assert_clean(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_exist_is_named() {
    let mut plan = plan(&load("1s", ""));
    for node in &mut plan.system.nodes {
        if let clip_harness::plan::NodeStart::Run { command, .. } = &mut node.start {
            *command = vec!["/nonexistent/program".to_owned()];
        }
    }
    let place = Place::new("no-program");
    let (outcome, seen) = ran(&plan, &place, CancellationToken::new()).await;
    let RunOutcome::NotReady { reason } = &outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("/nonexistent/program"), "{reason}");
    place.assert_clean(&seen);
}

/// Polls until there is an answer.
async fn condition<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(found) = answer() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), poll)
        .await
        .unwrap_or_else(|_| panic!("{what} never came"))
}
