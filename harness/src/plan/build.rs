//! From a scenario to a plan. Pure but for the one seed that is drawn when none is given.
//!
//! A scenario with mistakes has no plan. What could be understood of it is resolved all the same, so that problems between
//! its parts are told together with those within them.

use clip_service::env::SharedRng;
use clip_service::units::HumanDuration;

use super::faults::FaultDraft;
use super::layout::Layout;
use super::timeline::{Course, Timeline};
use super::{
    EndPlan, ExpectPlan, Format, LedgerRead, LoadPlan, Plan, PlanOptions, ResultsRead, RuntimeKind,
    SteadyPlan, load, overlaps, probes, system, times,
};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::expr::Expectation;
use crate::scenario::model::{Document, ReadBack, ReadResults, Steady, Vocabulary as _};
use crate::scenario::{JsonPath, OptionalKey as _, Scenario, Written};
use crate::sut;

const DEFAULT_SETTLE: HumanDuration = HumanDuration::secs(30);

/// Builds a plan, with every problem found on the way; `None` where something could not be understood.
pub(super) fn build(scenario: &Scenario, options: &PlanOptions) -> (Option<Plan>, Vec<Diagnostic>) {
    let document = &scenario.document;
    let mut problems = Vec::new();
    let runtime = match options.runtime {
        Some(runtime) => Some(runtime),
        None => document.system.runtime.given_or(RuntimeKind::Process),
    };
    let seed = match (options.seed, &document.seed) {
        (Some(seed), _) => Some(seed),
        (None, Some(given)) => given.value,
        (None, None) => Some(draw_seed()),
    };
    let fixtures = load::fixtures(&document.load);
    problems.extend(untaken_fixture(document, &fixtures));
    let layout = Layout::of(&document.system, &document.load, runtime, &mut problems);
    let system = system::fill_in(&document.system, &layout, runtime, fixtures, &mut problems);
    let loads = load::resolve(&document.load, options.rate_scale.unwrap_or(1.0));
    // Without a seed there is no plan; whether names can be hit does not depend on it.
    let rng = SharedRng::seeded(seed.unwrap_or_default());
    let faults: Vec<_> = document
        .faults
        .iter()
        .map(|fault| FaultDraft::of(fault, &layout, &rng, &mut problems))
        .collect();
    probes::check(document, &layout, &mut problems);
    let end = plan_end(document, &mut problems);
    if let Some(course) = course(document, &loads, &faults) {
        times::check(document, &course, &mut problems);
        let planned: Vec<_> = faults.iter().map(FaultDraft::plan).collect();
        overlaps::check(document, &planned, &course.times, &mut problems);
    }
    let whole = || {
        Some(Plan {
            name: document.name.known()?.0.clone(),
            about: document.about.if_given()?.cloned(),
            tags: document
                .tags
                .iter()
                .map(|tag| Some(tag.known()?.0.clone()))
                .collect::<Option<_>>()?,
            file: match scenario.from_file {
                true => scenario.source.name.clone(),
                false => String::new(),
            },
            seed: seed?,
            limit: HumanDuration::default(),
            system: system?,
            load: loads
                .iter()
                .zip(layout.own_entries)
                .map(|(load, entries)| {
                    Some(LoadPlan {
                        entries,
                        ..load.plan.clone()?
                    })
                })
                .collect::<Option<_>>()?,
            steady: match &document.steady {
                Some(steady) => Some(plan_steady(steady)?),
                None => None,
            },
            faults: faults.iter().map(FaultDraft::plan).collect::<Option<_>>()?,
            expect: plan_expect(document, end?)?,
            abort: expectations(&document.abort)?,
            formats: formats(document)?,
            estimate: HumanDuration::default(),
        })
    };
    let plan = whole().and_then(|mut plan| {
        plan.estimate = HumanDuration(Timeline::estimate(&plan).end());
        plan.limit = document.limit.given_or(times::default_limit(&plan))?;
        times::check_limit(document, &plan, &mut problems);
        Some(plan)
    });
    (plan, problems)
}

/// Short enough to be typed again.
fn draw_seed() -> u64 {
    SharedRng::entropy().next_u64() % 1_000_000
}

/// A fixture that nothing in the system takes.
fn untaken_fixture(document: &Document, fixtures: &[String]) -> Option<Diagnostic> {
    let fixture = fixtures.first()?;
    let (taker, _) = sut::fixtures().find(|(_, known)| known.name == *fixture)?;
    document.system.service.is_none().then(|| {
        Diagnostic::general(format!(
            "`$(fixture.{fixture})` needs {} to upload it to",
            taker.title()
        ))
        .help("add `service: {}` under `system:`, or leave the fixture out")
    })
}

/// When things happen, as far as that is known; `None` where the times of all depend on what could not be understood.
fn course<'p>(
    document: &Document,
    loads: &'p [load::LoadDraft],
    faults: &'p [FaultDraft<'_>],
) -> Option<Course<'p>> {
    let loads: Vec<_> = loads
        .iter()
        .map(|load| load.model.as_ref())
        .collect::<Option<_>>()?;
    let starts: Vec<_> = faults
        .iter()
        .map(|fault| fault.start.as_ref())
        .collect::<Option<_>>()?;
    let window = match &document.steady {
        Some(steady) => Some(steady.window.known()?.get()),
        None => None,
    };
    let faults = faults.iter().map(FaultDraft::timed).collect();
    Some(Course::of(&loads, faults, &starts, window))
}

fn expectations(each: &[Written<Expectation>]) -> Option<Vec<Expectation>> {
    each.iter().map(|one| one.value.clone()).collect()
}

fn plan_steady(steady: &Steady) -> Option<SteadyPlan> {
    Some(SteadyPlan {
        window: *steady.window.known()?,
        hold: expectations(&steady.hold)?,
    })
}

fn plan_expect(document: &Document, end: EndPlan) -> Option<ExpectPlan> {
    let mut plan = ExpectPlan {
        end,
        ..ExpectPlan::default()
    };
    let Some(expect) = &document.expect else {
        return Some(plan);
    };
    plan.set_always(expectations(&expect.always)?);
    for (name, each) in expect.during.iter() {
        plan.set_during(&name.value, expectations(each)?);
    }
    plan.set_control(&expectations(&document.control)?);
    if let Some(recover) = &expect.recover {
        plan.recover = Some(*recover.within.known()?);
        plan.stays = recover.stays.given_or(false)?;
    }
    Some(plan)
}

fn formats(document: &Document) -> Option<Vec<Format>> {
    let mut formats: Vec<Format> = Vec::new();
    for format in document.report.iter().flat_map(|report| &report.formats) {
        let format = format.value?;
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.extend(Format::ALL.iter().map(|(.., format)| *format));
    }
    Some(formats)
}

fn plan_end(document: &Document, problems: &mut Vec<Diagnostic>) -> Option<EndPlan> {
    let end = document
        .expect
        .as_ref()
        .and_then(|expect| expect.end.as_ref());
    let submits = document
        .load
        .iter()
        .any(|(_, load)| load.steps.iter().any(|step| step.ledger.is_some()));
    let given = end.and_then(|end| end.read.as_ref());
    let known = document.system.service.as_ref();
    let known = known.and_then(|_| sut::SERVICE.sut().read_back());
    if let Some(end) = end
        && !end.ledger.is_empty()
        && given.is_none()
        && known.is_none()
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
    let ledger = end.map(|end| end.ledger.as_slice()).unwrap_or_default();
    Some(EndPlan {
        settle: match end.and_then(|end| end.settle.as_ref()) {
            Some(settle) => settle.value?,
            None if submits => DEFAULT_SETTLE,
            None => HumanDuration::default(),
        },
        ledger: ledger
            .iter()
            .map(|check| check.value)
            .collect::<Option<_>>()?,
        read: match given {
            Some(read) => Some(read_back(read)?),
            None => known.map(known_read_back),
        },
    })
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

fn read_back(read: &ReadBack) -> Option<LedgerRead> {
    let words = |words: &[Written<String>]| -> Option<Vec<String>> {
        words.iter().map(|word| word.value.clone()).collect()
    };
    Some(LedgerRead {
        get: read.get.value.clone()?,
        state: read.state.value.clone()?,
        done: words(&read.done)?,
        failed: words(&read.failed)?,
        results: match &read.results {
            Some(results) => Some(read_results(results)?),
            None => None,
        },
    })
}

fn read_results(results: &ReadResults) -> Option<ResultsRead> {
    Some(ResultsRead {
        get: results.get.value.clone()?,
        items: results.items.value.clone()?,
        url: results.url.value.clone()?,
        rank: results.rank.value.clone()?,
    })
}
