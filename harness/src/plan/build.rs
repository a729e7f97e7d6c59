//! From a scenario to a plan. Pure but for the one seed that is drawn when none is given.

use clip_service::env::SharedRng;
use clip_service::units::HumanDuration;

use super::timeline::Timeline;
use super::{
    EndPlan, ExpectPlan, FaultPlan, Format, LedgerRead, LoadPlan, Plan, PlanOptions, ResultsRead,
    RuntimeKind, StartPlan, SteadyPlan, SystemPlan, TargetPlan, load, overlaps, probes, system,
    target, times,
};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::expr::Expectation;
use crate::scenario::fault::FaultKind;
use crate::scenario::model::Vocabulary as _;
use crate::scenario::model::{Document, Fault, ReadBack};
use crate::scenario::read::Spanned;
use crate::scenario::{JsonPath, Scenario};
use crate::sut;

const DEFAULT_SETTLE: HumanDuration = HumanDuration::secs(30);

/// Builds a plan as well as the scenario allows, with every problem found on the way.
pub(super) fn build(scenario: &Scenario, options: &PlanOptions) -> (Plan, Vec<Diagnostic>) {
    let document = &scenario.document;
    let mut problems = Vec::new();
    let runtime = options.runtime.unwrap_or_else(|| {
        let given = document.system.runtime.as_ref();
        given.map_or(RuntimeKind::Process, |runtime| runtime.value)
    });
    let seed = options
        .seed
        .or(document.seed.as_ref().map(|seed| seed.value))
        .unwrap_or_else(draw_seed);
    let scale = options.rate_scale.unwrap_or(1.0);
    let fixtures = load::fixtures(&document.load);
    let taker = |fixture: &String| sut::fixtures().find(|(_, known)| known.name == *fixture);
    if let Some(fixture) = fixtures.first()
        && let Some((taker, _)) = taker(fixture)
        && document.system.service.is_none()
    {
        problems.push(
            Diagnostic::general(format!(
                "`$(fixture.{fixture})` needs {} to upload it to",
                taker.title()
            ))
            .help("add `service: {}` under `system:`, or leave the fixture out"),
        );
    }
    let (system, entries) = system::expand(
        &document.system,
        &document.load,
        runtime,
        fixtures,
        &mut problems,
    );
    let load = load::resolve(&document.load, scale)
        .into_iter()
        .zip(entries)
        .map(|(load, entries)| LoadPlan { entries, ..load })
        .collect();
    let rng = SharedRng::seeded(seed);
    let faults = document
        .faults
        .iter()
        .map(|fault| plan_fault(fault, &system, &rng, &mut problems))
        .collect();
    probes::check(document, &system, &mut problems);
    let end = plan_end(document, &mut problems);
    let mut plan = Plan {
        name: document.name.value.0.clone(),
        about: document.about.as_ref().map(|about| about.value.clone()),
        tags: document
            .tags
            .iter()
            .map(|tag| tag.value.0.clone())
            .collect(),
        file: match scenario.from_file {
            true => scenario.source.name.clone(),
            false => String::new(),
        },
        seed,
        limit: HumanDuration::default(),
        system,
        load,
        steady: document.steady.as_ref().map(|steady| SteadyPlan {
            window: steady.window.value,
            hold: expectations(&steady.hold),
        }),
        faults,
        expect: plan_expect(document, end),
        abort: expectations(&document.abort),
        formats: formats(document),
        estimate: HumanDuration::default(),
    };
    let timeline = Timeline::estimate(&plan);
    plan.estimate = HumanDuration(timeline.end());
    plan.limit = document
        .limit
        .as_ref()
        .map_or_else(|| times::default_limit(&plan), |limit| limit.value);
    times::check(document, &plan, &timeline, &mut problems);
    overlaps::check(document, &plan, &timeline, &mut problems);
    (plan, problems)
}

/// Short enough to be typed again.
fn draw_seed() -> u64 {
    SharedRng::entropy().next_u64() % 1_000_000
}

fn expectations(each: &[Spanned<Expectation>]) -> Vec<Expectation> {
    each.iter().map(|placed| placed.value.clone()).collect()
}

fn plan_expect(document: &Document, end: EndPlan) -> ExpectPlan {
    let mut plan = ExpectPlan {
        end,
        ..ExpectPlan::default()
    };
    let Some(expect) = &document.expect else {
        return plan;
    };
    plan.set_always(expectations(&expect.always));
    for (name, each) in expect.during.iter() {
        plan.set_during(&name.value, expectations(each));
    }
    plan.set_control(&expectations(&document.control));
    plan.recover = expect.recover.as_ref().map(|recover| recover.within.value);
    let stays = expect
        .recover
        .as_ref()
        .and_then(|recover| recover.stays.as_ref());
    plan.stays = stays.is_some_and(|stays| stays.value);
    plan
}

fn formats(document: &Document) -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for format in document.report.iter().flat_map(|report| &report.formats) {
        if !formats.contains(&format.value) {
            formats.push(format.value);
        }
    }
    if formats.is_empty() {
        formats.extend(Format::ALL.iter().map(|(.., format)| *format));
    }
    formats
}

fn plan_fault(
    fault: &Fault,
    system: &SystemPlan,
    rng: &SharedRng,
    problems: &mut Vec<Diagnostic>,
) -> FaultPlan {
    let kind = fault.inject.value.kind();
    let name = &fault.name.value.0;
    let mut targets: Vec<TargetPlan> = Vec::new();
    if fault.target.sound && !system.nodes.is_empty() {
        let rng = rng.fork(&format!("fault/{name}"));
        for selector in &fault.target.value.0 {
            let found = match fault.inject.sound {
                true => target::resolve(selector, kind, system, &rng),
                // What it would do is not known; a name that is nowhere is wrong all the same.
                false => target::resolve_either(selector, system, &rng),
            };
            match found {
                Ok(found) => {
                    for target in found {
                        if !targets.contains(&target) {
                            targets.push(target);
                        }
                    }
                }
                Err(why) => {
                    problems.push(Diagnostic::error(fault.target.span, why.message).help(why.help));
                }
            }
        }
    }
    if fault.inject.sound && kind.through_links {
        let deaf = |target: &&TargetPlan| system.links.iter().all(|link| link.to != target.name());
        if let Some(target) = targets.iter().find(deaf) {
            problems.push(
                Diagnostic::error(
                    fault.target.span,
                    format!(
                        "no link leads to `{}`, so its answers cannot be held",
                        target.name()
                    ),
                )
                .help(format!(
                    "add one under `links:`, NODE->{}: {{}}",
                    target.name()
                )),
            );
        }
    }
    if fault.inject.sound {
        problems.extend(incapable(kind, fault, &targets, system));
    }
    let inject = fault.inject.value.clone();
    FaultPlan {
        name: name.clone(),
        start: match (&fault.at, &fault.after) {
            (_, Some(after)) => StartPlan::After {
                fault: after.value.fault.clone(),
                moment: after.value.moment,
                offset: after.value.offset,
            },
            (at, None) => StartPlan::At(at.as_ref().map(|at| at.value).unwrap_or_default()),
        },
        length: match inject.in_turn() {
            Some(pause) => {
                let pauses = u32::try_from(targets.len().saturating_sub(1)).unwrap_or(u32::MAX);
                HumanDuration(pause.saturating_mul(pauses))
            }
            None => or(fault.r#for.as_ref(), HumanDuration::default()),
        },
        targets,
        inject,
    }
}

fn or<T: Copy>(given: Option<&Spanned<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

/// The first target whose runtime cannot do what the kind needs.
fn incapable(
    kind: &FaultKind,
    fault: &Fault,
    targets: &[TargetPlan],
    system: &SystemPlan,
) -> Option<Diagnostic> {
    let missing = |runtime: RuntimeKind| {
        let can = runtime.capabilities();
        kind.needs.iter().copied().find(|need| !can.contains(need))
    };
    let (node, need) = system
        .nodes
        .iter()
        .filter(|node| targets.contains(&TargetPlan::Node(node.name.clone())))
        .find_map(|node| Some((node, missing(node.runtime)?)))?;
    let able: Vec<_> = RuntimeKind::ALL
        .iter()
        .filter(|(.., runtime)| missing(*runtime).is_none())
        .map(|(word, ..)| format!("`{word}`"))
        .collect();
    Some(
        Diagnostic::error(
            fault.inject.span,
            format!(
                "`{}` needs a node that can {}; {} runs in the {} runtime, where nodes cannot",
                kind.name,
                need.word(),
                node.name,
                node.runtime.word()
            ),
        )
        .help(format!("use runtime {}", able.join(" or "))),
    )
}

fn plan_end(document: &Document, problems: &mut Vec<Diagnostic>) -> EndPlan {
    let end = document
        .expect
        .as_ref()
        .and_then(|expect| expect.end.as_ref());
    let submits = document
        .load
        .iter()
        .any(|(_, load)| load.steps.iter().any(|step| step.ledger.is_some()));
    let read = match end.and_then(|end| end.read.as_ref()) {
        Some(read) => Some(read_back(read)),
        None if document.system.service.is_some() => {
            sut::SERVICE.sut().read_back().map(known_read_back)
        }
        None => None,
    };
    if let Some(end) = end
        && !end.ledger.is_empty()
        && read.is_none()
    {
        problems.push(
            Diagnostic::error(
                end.span,
                "`ledger` needs `read`: how the state of accepted work is read back",
            )
            .help(
                "add `read: { get: /orders/{id}, state: $.state, done: [done], failed: [failed] }`",
            ),
        );
    }
    EndPlan {
        settle: match end.and_then(|end| end.settle.as_ref()) {
            Some(settle) => settle.value,
            None if submits => DEFAULT_SETTLE,
            None => HumanDuration::default(),
        },
        ledger: end
            .map(|end| end.ledger.iter().map(|check| check.value).collect())
            .unwrap_or_default(),
        read,
    }
}

/// What the system itself says of its work.
fn known_read_back(read: &sut::ReadBack) -> LedgerRead {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    LedgerRead {
        get: read.get.to_owned(),
        state: JsonPath::field(read.state),
        done: words(read.done),
        failed: words(read.failed),
        results: Some(ResultsRead {
            get: read.results.to_owned(),
            items: JsonPath::field(read.items),
            url: JsonPath::field(read.url),
            rank: JsonPath::field(read.rank),
        }),
    }
}

fn read_back(read: &ReadBack) -> LedgerRead {
    let words = |words: &[Spanned<String>]| words.iter().map(|word| word.value.clone()).collect();
    LedgerRead {
        get: read.get.value.clone(),
        state: read.state.value.clone(),
        done: words(&read.done),
        failed: words(&read.failed),
        results: read.results.as_ref().map(|results| ResultsRead {
            get: results.get.value.clone(),
            items: results.items.value.clone(),
            url: results.url.value.clone(),
            rank: results.rank.value.clone(),
        }),
    }
}
