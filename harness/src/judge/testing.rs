//! Hand-made runs for tests of what reads records. Deterministic; shaped like the real thing.

use std::time::Duration;

use clip_service::observe::{Subject, Transition};
use clip_service::units::HumanDuration;
use indexmap::IndexMap;

use crate::event::{
    Accepted, Event, EventKind, Fate, LedgerEntry, Offset, Outcome, RunOutcome, Sample, Sink as _,
};
use crate::plan::{
    EndPlan, ExitRule, ExpectPlan, FaultPlan, Format, HttpStep, Injection, LedgerCheck, LinkPlan,
    LoadModel, LoadPlan, NodePlan, NodeStart, Plan, RateStage, ReadyPlan, RuntimeKind, Shape,
    StartPlan, SteadyPlan, StepAction, StepPlan, SystemPlan, TargetPlan,
};
use crate::record::{Environment, Record, Recorder};
use crate::scenario::expr::{Cmp, Expectation, Expr, Limit, Measure, Metric};
use crate::scenario::fault::{Kill, Latency};
use crate::scenario::model::Direction;
use crate::scenario::value::Percent;
use crate::sut::SutKind;

/// Load begins here; fault times count from it.
pub(crate) const LOAD_AT: u64 = 1_400;
/// Milliseconds over which work arrives.
const LOAD_MS: u64 = 45_000;

/// A run that can still be changed.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) events: Vec<Event>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) ledger: Option<Vec<LedgerEntry>>,
}

impl Scene {
    pub(crate) fn record(&self) -> Record {
        let environment = Environment {
            host: "builder-7".to_owned(),
            os: "Debian GNU/Linux 13 (trixie)".to_owned(),
            kernel: "6.12.48".to_owned(),
            cpu: Some("AMD EPYC 9R14".to_owned()),
            cores: 2,
            memory: 24 << 30,
            version: "0.1.0".to_owned(),
            rustc: Some("rustc 1.95.0".to_owned()),
            profile: "release".to_owned(),
            commit: Some("4f2c1ab09d3e5f6a7b8c9d0e1f2a3b4c5d6e7f80".to_owned()),
        };
        let mut recorder = Recorder::new(self.plan.clone(), environment);
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.at);
        events.iter().for_each(|event| recorder.event(event));
        self.samples
            .iter()
            .for_each(|sample| recorder.sample(sample));
        if let Some(entries) = &self.ledger {
            recorder.ledger(entries, &self.plan.expect.end.ledger);
        }
        recorder.finish()
    }

    pub(crate) fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Replaces how the run ended.
    pub(crate) fn ended(self, outcome: RunOutcome) -> Self {
        self.change(|scene| {
            scene
                .events
                .retain(|e| !matches!(e.kind, EventKind::RunEnded { .. }));
            scene
                .events
                .push(event(64_800, EventKind::RunEnded { outcome }));
        })
    }

    /// Takes events out.
    pub(crate) fn without(self, unwanted: impl Fn(&EventKind) -> bool) -> Self {
        self.change(|scene| scene.events.retain(|event| !unwanted(&event.kind)))
    }

    /// Lets the requests of a load that are due in a stretch (milliseconds of load) end like this.
    pub(crate) fn spoil(self, load: usize, from_ms: u64, to_ms: u64, outcome: &Outcome) -> Self {
        self.change(|scene| {
            for sample in &mut scene.samples {
                let due = sample.due.0 / 1000 - LOAD_AT;
                if sample.load == load && (from_ms..to_ms).contains(&due) {
                    sample.outcome = outcome.clone();
                    sample.status = Some(503);
                    if *outcome == Outcome::Unsent {
                        sample.sent = None;
                        sample.status = None;
                    }
                }
            }
        })
    }
}

pub(crate) fn event(ms: u64, kind: EventKind) -> Event {
    Event {
        at: Offset(ms * 1000),
        kind,
    }
}

pub(crate) fn transition(
    source: &str,
    subject: Subject,
    name: &str,
    from: &str,
    to: &str,
    reason: &str,
) -> EventKind {
    EventKind::Transition(Transition {
        at_ms: 0,
        source: source.to_owned(),
        subject,
        name: name.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        reason: reason.to_owned(),
    })
}

pub(crate) fn measure(
    text: &str,
    load: &str,
    metric: Metric,
    cmp: Cmp,
    limit: Limit,
    over: Option<u64>,
) -> Expectation {
    Expectation {
        text: text.to_owned(),
        expr: Expr::Measure(Measure {
            load: load.to_owned(),
            metric,
            cmp,
            limit,
            over: over.map(HumanDuration::secs),
        }),
    }
}

pub(crate) fn breaker(instance: &str, change: &str, within_s: u64) -> Expectation {
    let text = format!("breaker({instance}) {change} within {within_s}s");
    Expectation::parse(&text).expect("an expectation")
}

fn success(text: &str, limit: f64, over: Option<u64>) -> Expectation {
    measure(
        text,
        "frames",
        Metric::Success,
        Cmp::AtLeast,
        Limit::Ratio(limit),
        over,
    )
}

fn load(name: &str, rate: f64, timeout_s: u64, method: &str, path: &str, ledger: bool) -> LoadPlan {
    let stage = |from, to, ms| RateStage {
        from,
        to,
        length: HumanDuration::millis(ms),
        name: None,
    };
    LoadPlan {
        name: name.to_owned(),
        model: LoadModel::Arrivals {
            shape: Shape::Poisson,
            stages: vec![stage(0.0, rate, 5_000), stage(rate, rate, 40_000)],
            max_in_flight: 512,
        },
        entries: Vec::new(),
        timeout: HumanDuration::secs(timeout_s),
        steps: vec![StepPlan {
            action: StepAction::Http(HttpStep::bare(method, path)),
            capture: IndexMap::new(),
            ledger,
        }],
    }
}

fn p99(text: &str, limit: Limit) -> Expectation {
    let metric = Metric::Quantile(0.99);
    measure(text, "frames", metric, Cmp::AtMost, limit, None)
}

fn expect() -> ExpectPlan {
    let mut expect = ExpectPlan {
        recover: Some(HumanDuration::secs(2)),
        end: EndPlan {
            settle: HumanDuration::secs(60),
            ledger: vec![
                LedgerCheck::NoLost,
                LedgerCheck::NoDuplicate,
                LedgerCheck::AllTerminal,
                LedgerCheck::AllPlayable,
            ],
            read: None,
        },
        ..ExpectPlan::default()
    };
    expect.set_always([
        success("frames.success >= 99.9%", 0.999, None),
        success("frames.success >= 99% over 5s", 0.99, Some(5)),
    ]);
    expect.set_during(
        "crash",
        [
            p99("frames.p99 <= 2x steady", Limit::TimesSteady(2.0)),
            breaker("processor-2", "opened", 2),
        ],
    );
    expect
}

pub(crate) fn plan() -> Plan {
    let node = |name: &str, role: &str| NodePlan {
        name: name.to_owned(),
        wave: 0,
        start: NodeStart::Service {
            system: SutKind::ClipService,
            role: role.to_owned(),
            config: serde_json::Map::new(),
        },
        ready: ReadyPlan {
            path: "/ready".to_owned(),
            status: 200,
            within: HumanDuration::secs(10),
        },
        runtime: RuntimeKind::Process,
        exits: ExitRule::Fail,
        standby: false,
    };
    let link = |from: &str, to: &str| LinkPlan {
        name: format!("{from}->{to}"),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    Plan {
        name: "processor-killed".to_owned(),
        about: Some("One of three processors dies under load; no request fails and no accepted job is lost.".to_owned()),
        tags: vec!["smoke".to_owned()],
        file: "scenarios/processor-killed.yaml".to_owned(),
        seed: 42,
        limit: HumanDuration::secs(180),
        system: SystemPlan {
            runtime: RuntimeKind::Process,
            nodes: vec![
                node("registry-1", "registry"),
                node("gateway-1", "gateway"),
                node("processor-1", "processor"),
                node("processor-2", "processor"),
                node("processor-3", "processor"),
            ],
            links: vec![
                link("client", "gateway-1"),
                link("gateway-1", "processor-1"),
                link("gateway-1", "processor-2"),
                link("gateway-1", "processor-3"),
            ],
            entry: "client->gateway-1".to_owned(),
            entries: Vec::new(),
            fixtures: vec!["talk".to_owned()],
        },
        load: vec![
            load("frames", 100.0, 2, "GET", "/api/v1/videos/$(fixture.talk)/frame", false),
            load("clips", 1.0, 30, "POST", "/api/v1/process-video", true),
        ],
        steady: Some(SteadyPlan {
            window: HumanDuration::secs(4),
            hold: vec![
                success("frames.success >= 99.9%", 0.999, None),
                p99("frames.p99 <= 250ms", Limit::Time(Duration::from_millis(250))),
            ],
        }),
        faults: vec![
            FaultPlan {
                name: "crash".to_owned(),
                start: StartPlan::At(HumanDuration::secs(15)),
                length: HumanDuration::secs(8),
                targets: vec![TargetPlan::Node("processor-2".to_owned())],
                inject: Injection::new(Kill),
            },
            FaultPlan {
                name: "slow-link".to_owned(),
                start: StartPlan::At(HumanDuration::secs(30)),
                length: HumanDuration::secs(6),
                targets: vec![TargetPlan::Link("gateway-1->processor-1".to_owned())],
                inject: Injection::new(Latency {
                    add: HumanDuration::millis(400),
                    jitter: HumanDuration::millis(100),
                    share: Percent(1.0),
                    direction: Direction::Downstream,
                }),
            },
        ],
        expect: expect(),
        abort: vec![],
        formats: vec![Format::Html, Format::Json, Format::Junit, Format::Markdown],
        estimate: HumanDuration::secs(45),
    }
}

/// A small generator of numbers, so that hand-made latency looks like latency.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The run of the README: a processor dies, a link grows slow, and no request fails.
pub(crate) fn survived() -> Scene {
    let mut noise = Noise(42);
    let mut samples = Vec::new();
    let mut due_us = 0.0;
    while due_us < LOAD_MS as f64 * 1e3 {
        let rate = (due_us / 5e6).clamp(0.02, 1.0) * 100.0;
        due_us += -(1.0 - noise.next()).ln() / rate * 1e6;
        let at = due_us as u64;
        let slow = match at / 1000 {
            15_000..15_060 => 8.0,
            15_060..23_600 => 1.12,
            30_020..36_000 => 1.35,
            _ => 1.0,
        };
        let tail = if noise.next() > 0.985 { 2.4 } else { 1.0 };
        let took = (4_200.0 + 4_000.0 * noise.next()) * slow * tail;
        let due = Offset(LOAD_AT * 1000 + at);
        samples.push(Sample {
            load: 0,
            due,
            sent: Some(due.plus(Duration::from_micros((noise.next() * 900.0) as u64))),
            done: due.plus(Duration::from_micros(1_000 + took as u64)),
            outcome: Outcome::Ok,
            status: Some(200),
            request_id: Some(format!("{:08x}", samples.len() * 2_654_435 % 0xffff_ffff)),
            step: 0,
        });
    }
    let mut entries = Vec::new();
    for job in 0..40_u64 {
        let due = Offset((LOAD_AT + 5_000 + job * 1_000) * 1000);
        samples.push(Sample {
            load: 1,
            due,
            sent: Some(due.plus(Duration::from_micros(300))),
            done: due.plus(Duration::from_micros(
                9_000 + (noise.next() * 9_000.0) as u64,
            )),
            outcome: Outcome::Ok,
            status: Some(202),
            request_id: Some(format!("job-request-{job}")),
            step: 0,
        });
        entries.push(LedgerEntry {
            load: 1,
            id: Some(format!("job-{job:02}")),
            due,
            accepted: Accepted::Ok,
            fate: Some(Fate::Done {
                results: 3,
                decoded: Some(3),
                duplicates: 0,
                trouble: None,
            }),
        });
    }
    samples.sort_by_key(|sample| sample.done);
    Scene {
        plan: plan(),
        events: events(&mut noise),
        samples,
        ledger: Some(entries),
    }
}

fn events(noise: &mut Noise) -> Vec<Event> {
    use Subject::{Breaker, Instance};
    let on = |load_ms: u64| LOAD_AT + load_ms;
    let mut events = vec![event(
        0,
        EventKind::RunStarted {
            wall_ms: 1_795_449_731_000,
            run_id: "run-7f3a".to_owned(),
        },
    )];
    for (index, node) in plan().system.nodes.iter().enumerate() {
        let at = 20 + index as u64 * 150;
        events.push(event(
            at,
            EventKind::NodeStarted {
                node: node.name.clone(),
                incarnation: 1,
                pid: Some(4_710 + index as u32),
            },
        ));
        let ready = EventKind::NodeReady {
            node: node.name.clone(),
            took_us: 310_000,
        };
        events.push(event(at + 310, ready));
        if node.name.starts_with("processor") {
            let starting = transition(
                "registry-1",
                Instance,
                &node.name,
                "absent",
                "starting",
                "registered",
            );
            events.push(event(at + 200, starting));
            let passing = transition(
                "registry-1",
                Instance,
                &node.name,
                "starting",
                "passing",
                "first heartbeat",
            );
            events.push(event(at + 305, passing));
        }
    }
    let fault = |name: &str, target: &str, detail: &str| EventKind::FaultInjected {
        fault: name.to_owned(),
        target: target.to_owned(),
        detail: detail.to_owned(),
        began: None,
    };
    let undone = |name: &str, target: &str, proof: &str, undo: &str| EventKind::FaultReverted {
        fault: name.to_owned(),
        target: target.to_owned(),
        proof: Some(proof.to_owned()),
        undo: undo.to_owned(),
        began: None,
    };
    let breaker2 =
        |from, to, reason| transition("gateway-1", Breaker, "processor-2", from, to, reason);
    let instance2 =
        |from, to, reason| transition("registry-1", Instance, "processor-2", from, to, reason);
    let link = "gateway-1->processor-1";
    events.extend([
        event(1_390, EventKind::SystemReady),
        event(LOAD_AT, EventKind::LoadStarted),
        event(
            on(14_000),
            EventKind::SteadyReached {
                from: Offset(on(10_000) * 1000),
            },
        ),
        event(
            on(15_000),
            fault(
                "crash",
                "processor-2",
                "SIGKILL processor-2 (pid 4713): exited by signal 9",
            ),
        ),
        event(
            on(15_001),
            EventKind::NodeExited {
                node: "processor-2".to_owned(),
                how: "exited by signal 9".to_owned(),
                expected: true,
                log: Vec::new(),
            },
        ),
        event(
            on(15_112),
            breaker2("closed", "open", "5 transport failures in 38 ms"),
        ),
        event(
            on(15_140),
            EventKind::NodeLog {
                node: "gateway-1".to_owned(),
                line: "WARN upstream processor-2: connection refused, trying processor-1"
                    .to_owned(),
            },
        ),
        event(on(15_310), instance2("passing", "critical", "lease missed")),
        event(
            on(23_000),
            undone(
                "crash",
                "processor-2",
                "exited by signal 9",
                "restarted, ready after 1.2 s",
            ),
        ),
        event(
            on(22_800),
            instance2("critical", "starting", "registered again"),
        ),
        event(
            on(23_020),
            instance2("starting", "passing", "first heartbeat"),
        ),
        event(on(23_100), breaker2("open", "half-open", "1 s is over")),
        event(
            on(23_350),
            breaker2("half-open", "closed", "3 trials succeeded"),
        ),
        event(
            on(23_400),
            EventKind::FaultRecovered {
                fault: "crash".to_owned(),
                from: Offset(on(23_400) * 1000),
            },
        ),
        event(
            on(30_000),
            fault("slow-link", link, "+400 ms ±100 on gateway-1->processor-1"),
        ),
        event(
            on(36_000),
            undone(
                "slow-link",
                link,
                "214 chunks held 300-500 ms",
                "passes in 0.2 ms again",
            ),
        ),
        event(on(45_000), EventKind::LoadEnded),
        event(
            on(45_100),
            EventKind::Settling {
                open: 6,
                accepted: 40,
            },
        ),
        event(on(51_300), EventKind::Settled { took_us: 6_200_000 }),
        event(
            on(51_400),
            EventKind::Generator {
                lag_p99_us: 2_100,
                lag_max_us: 9_000,
                unsent: 0,
            },
        ),
        event(
            64_800,
            EventKind::RunEnded {
                outcome: RunOutcome::Completed,
            },
        ),
    ]);
    events.extend((0..53).map(|second| {
        let busier = if (15..17).contains(&second) {
            25.0
        } else {
            0.0
        };
        let host = EventKind::Host {
            cpu: (35.0 + 20.0 * noise.next() + busier).round() / 100.0,
            memory_available: (18 << 30) + (noise.next() * 1e8) as u64,
        };
        event(on(second * 1_000 + 17), host)
    }));
    events.sort_by_key(|event| event.at);
    events
}

/// The same with retries and breakers switched off: a third of the requests fails while the processor is down, some
/// jobs get lost.
pub(crate) fn unprotected() -> Scene {
    let mut scene = survived().change(|scene| {
        scene.plan.name = "unprotected".to_owned();
        scene.plan.file = "scenarios/controls/unprotected.yaml".to_owned();
        scene.plan.about =
            Some("The same kill with retries and breakers switched off. It must fail.".to_owned());
        let mut noise = Noise(7);
        for sample in &mut scene.samples {
            let due = sample.due.0 / 1000 - LOAD_AT;
            if (15_000..23_400).contains(&due) && noise.next() < 0.34 {
                let class = match noise.next() {
                    x if x < 0.7 => "status 502",
                    x if x < 0.9 => "connection reset",
                    _ => "timeout",
                };
                sample.outcome = Outcome::Failed(class.to_owned());
                sample.status = (class == "status 502").then_some(502);
                if class == "timeout" {
                    sample.done = sample.due.plus(Duration::from_secs(2));
                }
            }
        }
        for (index, entry) in scene.ledger.iter_mut().flatten().enumerate() {
            match index {
                9 | 14 => entry.fate = Some(Fate::Lost),
                11 => {
                    entry.fate = Some(Fate::Open {
                        state: "running".to_owned(),
                    })
                }
                12 => (entry.accepted, entry.id, entry.fate) = (Accepted::Unknown, None, None),
                _ => {}
            }
        }
    });
    scene = scene
        .without(|kind| matches!(kind, EventKind::Transition(t) if t.subject == Subject::Breaker));
    scene.events.push(event(
        LOAD_AT + 15_090,
        EventKind::NodeLog {
            node: "gateway-1".to_owned(),
            line: "ERROR request 2f3a failed: processor-2: connection refused (os error 111)"
                .to_owned(),
        },
    ));
    scene
}
