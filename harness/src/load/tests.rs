use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clip_service::units::HumanDuration;
use indexmap::IndexMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::event::{Accepted, Outcome, Sample};
use crate::plan::{
    ExitRule, ExpectPlan, HttpStep, LinkPlan, NodePlan, NodeStart, Plan, RateStage, ReadyPlan,
    RuntimeKind, Shape, StepAction, StepPlan, SystemPlan,
};
use crate::runtime::emit::Message;

fn plan(load: Vec<LoadPlan>) -> Plan {
    Plan {
        name: "test".to_owned(),
        about: None,
        tags: Vec::new(),
        file: String::new(),
        seed: 42,
        limit: HumanDuration::secs(60),
        system: SystemPlan {
            runtime: RuntimeKind::Process,
            nodes: Vec::new(),
            links: Vec::new(),
            entry: String::new(),
            entries: Vec::new(),
            fixtures: Vec::new(),
        },
        load,
        steady: None,
        faults: Vec::new(),
        expect: ExpectPlan::default(),
        abort: Vec::new(),
        formats: Vec::new(),
        estimate: HumanDuration::secs(1),
    }
}

/// The link of a plan that names none.
fn through(entry: SocketAddr) -> BTreeMap<String, SocketAddr> {
    BTreeMap::from([(String::new(), entry)])
}

fn step(method: &str, path: &str) -> StepPlan {
    http(HttpStep::bare(method, path))
}

fn http(step: HttpStep) -> StepPlan {
    StepPlan {
        action: StepAction::Http(step),
        capture: IndexMap::new(),
        ledger: false,
    }
}

fn open(rate: f64, ms: u64, max_in_flight: usize, timeout_ms: u64, path: &str) -> LoadPlan {
    LoadPlan {
        name: "frames".to_owned(),
        model: LoadModel::Arrivals {
            shape: Shape::Even,
            stages: vec![RateStage {
                from: rate,
                to: rate,
                length: HumanDuration::millis(ms),
                name: None,
            }],
            max_in_flight,
        },
        entries: Vec::new(),
        timeout: HumanDuration::millis(timeout_ms),
        steps: vec![step("GET", path)],
    }
}

/// A server whose `/gate` answers only while its gate is open.
async fn server(gate: watch::Receiver<bool>) -> SocketAddr {
    async fn gated(State(mut gate): State<watch::Receiver<bool>>) -> &'static str {
        gate.wait_for(|open| *open).await.expect("gate");
        "ok"
    }
    let app = Router::new()
        .route("/gate", get(gated))
        .route("/fast", get(|| async { "ok" }))
        .route("/busy", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
        .route(
            "/jobs",
            post(|| async { (StatusCode::ACCEPTED, r#"{"job_id":"job_7"}"#) }),
        )
        .route("/jobs/job_7", get(|| async { "there" }))
        .with_state(gate);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

struct Ran {
    samples: Vec<Sample>,
    events: Vec<EventKind>,
    ledger: Vec<LedgerEntry>,
}

async fn ran(plan: &Plan, entry: SocketAddr, cancel: CancellationToken) -> Ran {
    let (emitter, mut rx) = Emitter::new();
    let load = Load::new(Setup {
        plan,
        run_id: "r",
        addresses: &through(entry),
        context: StepContext::default(),
        emitter: &emitter,
        cancel: &cancel,
    });
    let running = load.start().await.expect("start");
    let ledger = running.finish().await.expect("finish");
    collect(&mut rx, ledger)
}

fn collect(rx: &mut mpsc::UnboundedReceiver<Message>, ledger: Vec<LedgerEntry>) -> Ran {
    let (mut samples, mut events) = (Vec::new(), Vec::new());
    while let Ok(message) = rx.try_recv() {
        match message {
            Message::Sample(sample) => samples.push(sample),
            Message::Event(event) => events.push(event.kind),
            Message::Ledger(..) | Message::Flush(_) => {}
        }
    }
    samples.sort_by_key(|sample| sample.due);
    Ran {
        samples,
        events,
        ledger,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_makes_every_arrival_of_the_freeze_slow_and_evenly_less_so() {
    let (gate, gated) = watch::channel(true);
    let entry = server(gated).await;
    let plan = plan(vec![open(100.0, 4000, 400, 10_000, "/gate")]);
    let (emitter, mut rx) = Emitter::new();
    let cancel = CancellationToken::new();
    let load = Load::new(Setup {
        plan: &plan,
        run_id: "r",
        addresses: &through(entry),
        context: StepContext::default(),
        emitter: &emitter,
        cancel: &cancel,
    });
    let running = load.start().await.expect("start");
    let origin = running.origin();
    let gatekeeper = tokio::spawn({
        let emitter = emitter.clone();
        async move {
            tokio::time::sleep_until(origin + Duration::from_secs(1)).await;
            let frozen = emitter.now();
            gate.send_replace(false);
            tokio::time::sleep_until(origin + Duration::from_secs(3)).await;
            // Before the gate opens: an answer may be quicker than the next line.
            let thawed = emitter.now();
            gate.send_replace(true);
            (frozen, thawed, gate)
        }
    });
    let ledger = running.finish().await.expect("finish");
    let (frozen, thawed, _gate) = gatekeeper.await.expect("gatekeeper");
    let ran = collect(&mut rx, ledger);
    assert_eq!(ran.samples.len(), 400);
    assert!(
        ran.samples
            .iter()
            .all(|sample| sample.outcome == Outcome::Ok)
    );
    let during: Vec<&Sample> = ran
        .samples
        .iter()
        .filter(|sample| sample.due >= frozen && sample.due < thawed)
        .collect();
    assert!((195..=205).contains(&during.len()), "{}", during.len());
    for sample in during {
        let (response, left) = (sample.done.since(sample.due), thawed.since(sample.due));
        let off = response.abs_diff(left);
        assert!(
            off < Duration::from_millis(400),
            "due {:?}: {response:?}, not {left:?}",
            sample.due
        );
        assert!(response >= left);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_without_a_free_place_in_time_are_counted_as_unsent() {
    let (_gate, gated) = watch::channel(false);
    let entry = server(gated).await;
    let plan = plan(vec![open(50.0, 1000, 2, 300, "/gate")]);
    let ran = ran(&plan, entry, CancellationToken::new()).await;
    assert_eq!(ran.samples.len(), 50);
    let unsent = ran.samples.iter().filter(|s| s.outcome == Outcome::Unsent);
    let unsent = unsent.count() as u64;
    let timeouts = ran
        .samples
        .iter()
        .filter(|s| s.outcome == Outcome::Failed("timeout".into()));
    // Two places, 300 ms each, for somewhat more than a second.
    assert!((2..=16).contains(&timeouts.count()));
    assert!(unsent >= 34, "{unsent}");
    for sample in &ran.samples {
        assert!(sample.done.since(sample.due) >= Duration::from_millis(300));
        assert_eq!(sample.sent.is_none(), sample.outcome == Outcome::Unsent);
    }
    let reported = ran.events.iter().find_map(|event| match event {
        EventKind::Generator { unsent, .. } => Some(*unsent),
        _ => None,
    });
    assert_eq!(reported, Some(unsent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_ends_requests_at_once_and_counts_what_was_due() {
    let (_gate, gated) = watch::channel(false);
    let entry = server(gated).await;
    let plan = plan(vec![open(20.0, 30_000, 50, 60_000, "/gate")]);
    let (emitter, mut rx) = Emitter::new();
    let cancel = CancellationToken::new();
    let load = Load::new(Setup {
        plan: &plan,
        run_id: "r",
        addresses: &through(entry),
        context: StepContext::default(),
        emitter: &emitter,
        cancel: &cancel,
    });
    let running = load.start().await.expect("start");
    let begun = Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancel.cancel();
    };
    let (ledger, ()) = tokio::join!(running.finish(), later);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let ran = collect(&mut rx, ledger.expect("finish"));
    // 20/s for half a second; the 590 that were not due yet were never offered.
    assert!(
        (5..=20).contains(&ran.samples.len()),
        "{}",
        ran.samples.len()
    );
    let stopped = ran
        .samples
        .iter()
        .filter(|s| s.outcome == Outcome::Failed("run stopped".into()));
    assert!((3..=15).contains(&stopped.count()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_users_think_and_leave_in_time_beside_an_open_load() {
    let (_gate, gated) = watch::channel(true);
    let entry = server(gated).await;
    let visitors = LoadPlan {
        name: "visitors".to_owned(),
        model: LoadModel::Users {
            count: 4,
            think: (HumanDuration::millis(20), HumanDuration::millis(40)),
            ramp_up: HumanDuration::millis(400),
            stay: HumanDuration::millis(1000),
        },
        entries: Vec::new(),
        timeout: HumanDuration::secs(2),
        steps: vec![step("GET", "/fast")],
    };
    let plan = plan(vec![open(50.0, 1000, 10, 2000, "/fast"), visitors]);
    let ran = ran(&plan, entry, CancellationToken::new()).await;
    let of = |load| ran.samples.iter().filter(move |sample| sample.load == load);
    assert_eq!(of(0).count(), 50);
    let rounds = of(1).count();
    // Four users, there for 0.85 s on average, some 32 ms a round.
    assert!((30..=180).contains(&rounds), "{rounds}");
    let first = ran.samples[0].due;
    assert!(of(1).all(|sample| sample.due.since(first) < Duration::from_millis(1050)));
    assert!(
        ran.samples
            .iter()
            .all(|sample| sample.outcome == Outcome::Ok)
    );
    assert!(matches!(ran.events.first(), Some(EventKind::LoadStarted)));
    assert!(ran.events.contains(&EventKind::LoadEnded));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_hand_on_what_they_capture_and_the_ledger_knows_what_was_said() {
    let (_gate, gated) = watch::channel(true);
    let entry = server(gated).await;
    let mut request = HttpStep::bare("POST", "/jobs");
    request
        .headers
        .insert("Idempotency-Key".to_owned(), "$(uuid)".to_owned());
    request.json = Some(serde_json::json!({"at": "$(random 0..60)"}));
    request.expect.status = vec![202];
    let mut submit = http(request.clone());
    submit
        .capture
        .insert("job".to_owned(), "$.job_id".parse().expect("a path"));
    submit.ledger = true;
    let mut clips = open(20.0, 500, 10, 2000, "/fast");
    clips.steps = vec![submit.clone(), step("GET", "/jobs/$(job)")];
    let mut refused = open(20.0, 500, 10, 2000, "/fast");
    request.path = "/busy".to_owned();
    request.method = "GET".to_owned();
    submit.action = StepAction::Http(request);
    refused.steps = vec![submit, step("GET", "/never")];
    let ran = ran(&plan(vec![clips, refused]), entry, CancellationToken::new()).await;
    let count = |load, step| {
        let of = ran
            .samples
            .iter()
            .filter(|s| s.load == load && s.step == step);
        of.count()
    };
    assert_eq!(
        (count(0, 0), count(0, 1), count(1, 0), count(1, 1)),
        (10, 10, 10, 0)
    );
    assert!(
        ran.samples
            .iter()
            .filter(|s| s.load == 0)
            .all(|s| s.outcome == Outcome::Ok)
    );
    let busy = Outcome::Failed("status 503".to_owned());
    assert!(
        ran.samples
            .iter()
            .filter(|s| s.load == 1)
            .all(|s| s.outcome == busy)
    );
    let accepted: Vec<_> = ran
        .ledger
        .iter()
        .filter(|e| e.accepted == Accepted::Ok)
        .collect();
    assert_eq!(accepted.len(), 10);
    assert!(
        accepted
            .iter()
            .all(|entry| entry.id.as_deref() == Some("job_7"))
    );
    assert_eq!(
        ran.ledger
            .iter()
            .filter(|e| e.accepted == Accepted::Refused)
            .count(),
        10
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listening_is_a_refused_connection_and_a_refusal() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let entry = listener.local_addr().expect("address");
    drop(listener);
    let mut load = open(20.0, 300, 5, 1000, "/x");
    load.steps[0].ledger = true;
    let ran = ran(&plan(vec![load]), entry, CancellationToken::new()).await;
    let refused = Outcome::Failed("connection refused".to_owned());
    assert_eq!(ran.samples.len(), 6);
    assert!(
        ran.samples.iter().all(|sample| sample.outcome == refused),
        "{:?}",
        ran.samples[0]
    );
    assert!(
        ran.ledger
            .iter()
            .all(|entry| entry.accepted == Accepted::Refused)
    );
}

/// What the system under test really receives, as a mock that keeps every request saw it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_what_was_written() {
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    let mock = MockServer::start().await;
    let accepted = ResponseTemplate::new(202).set_body_json(serde_json::json!({"id": "a"}));
    Mock::given(method("POST"))
        .and(path("/things"))
        .respond_with(accepted)
        .expect(10)
        .mount(&mock)
        .await;
    let mut submit = HttpStep::bare("POST", "/things?n=$(random 3..3)");
    submit
        .headers
        .insert("Idempotency-Key".to_owned(), "$(uuid)".to_owned());
    submit.json = Some(serde_json::json!({"at": "$(random 5..5)", "deep": [{"text": "as it is"}]}));
    let mut load = open(20.0, 500, 10, 2000, "/");
    load.steps = vec![http(submit)];
    let ran = ran(&plan(vec![load]), *mock.address(), CancellationToken::new()).await;
    assert!(ran.samples.iter().all(|s| s.outcome == Outcome::Ok));

    let received = mock.received_requests().await.expect("requests are kept");
    let mut keys: Vec<&str> = Vec::new();
    for request in &received {
        let header = |name: &str| {
            let value = request.headers.get(name).expect(name);
            value.to_str().expect("text")
        };
        assert_eq!(request.url.query(), Some("n=3"));
        assert_eq!(header("content-type"), "application/json");
        assert!(!header("x-request-id").is_empty());
        let body: serde_json::Value = request.body_json().expect("JSON");
        assert_eq!(body["deep"], serde_json::json!([{"text": "as it is"}]));
        keys.push(header("idempotency-key"));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 10, "one key per arrival");
}

/// A plan whose load enters through these nodes in turn.
fn behind(names: &[&str], load: Vec<LoadPlan>) -> Plan {
    let link = |name: &str| format!("client->{name}");
    let mut plan = plan(load);
    plan.system.nodes = names
        .iter()
        .map(|name| NodePlan {
            name: (*name).to_owned(),
            wave: 0,
            start: NodeStart::Run {
                command: Vec::new(),
                env: IndexMap::new(),
            },
            ready: ReadyPlan {
                path: "/up".to_owned(),
                status: 204,
                within: HumanDuration::secs(1),
            },
            runtime: RuntimeKind::Process,
            exits: ExitRule::Fail,
            standby: false,
        })
        .collect();
    plan.system.links = names
        .iter()
        .map(|name| LinkPlan {
            name: link(name),
            from: "client".to_owned(),
            to: (*name).to_owned(),
        })
        .collect();
    plan.system.entries = names.iter().map(|name| link(name)).collect();
    plan
}

/// A server that says this when asked whether it is ready, and how many requests it has served.
async fn counting(ready: StatusCode) -> (SocketAddr, Arc<AtomicU64>) {
    let served = Arc::new(AtomicU64::new(0));
    let count = served.clone();
    let app = Router::new()
        .route("/up", get(move || async move { ready }))
        .route(
            "/fast",
            get(move || {
                count.fetch_add(1, Ordering::SeqCst);
                async { "ok" }
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_entries_take_turns_pass_over_the_unready_and_lead_on_from_a_refusal() {
    let (a, by_a) = counting(StatusCode::NO_CONTENT).await;
    let (b, by_b) = counting(StatusCode::NO_CONTENT).await;
    let (away, by_away) = counting(StatusCode::SERVICE_UNAVAILABLE).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let refusing = closed.local_addr().expect("address");
    drop(closed);
    let plan = behind(
        &["a", "refusing", "b", "away"],
        vec![open(200.0, 1500, 100, 2_000, "/fast")],
    );
    let (emitter, mut rx) = Emitter::new();
    let addresses = [("a", a), ("refusing", refusing), ("b", b), ("away", away)];
    let addresses = addresses.map(|(name, address)| (format!("client->{name}"), address));
    let load = Load::new(Setup {
        plan: &plan,
        run_id: "r",
        addresses: &BTreeMap::from(addresses),
        context: StepContext::default(),
        emitter: &emitter,
        cancel: &CancellationToken::new(),
    });
    let running = load.start().await.expect("start");
    let ledger = running.finish().await.expect("finish");
    let ran = collect(&mut rx, ledger);
    assert_eq!(ran.samples.len(), 300);
    // Nothing is lost to the one that refuses, though it is among the first asked.
    assert!(
        ran.samples
            .iter()
            .all(|sample| sample.outcome == Outcome::Ok)
    );
    let [a, b, away] = [by_a, by_b, by_away].map(|served| served.load(Ordering::SeqCst));
    assert_eq!(a + b + away, 300);
    // Its first answer comes within a check or two; the load of a third of a second is far more than that.
    assert!(away <= 70, "{away}");
    assert!(a.abs_diff(b) <= 100, "{a} and {b}");
}
