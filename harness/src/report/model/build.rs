//! From a record and its verdict to a report.

use std::time::Duration;

use super::chart::chart;
use super::context::{Context, recovery, request};
use super::expectations::expectation;
use super::operations::operations;
use super::{
    Environment, ErrorCount, Fault, Generator, Headline, Ledger, Repeat, Report, Slowed, System,
    Trouble, TroubledWork, Validity, Warning, Work,
};
use crate::event::{Accepted, EventKind, Fate, LedgerEntry, Offset};
use crate::judge::{self, FaultRow, Verdict};
use crate::plan::{Format, NodeStart, Plan};
use crate::printable::Text;
use crate::record::format::{EVENTS_FILE, RECORD_FILE};
use crate::record::{self, Exemplar, Record, Timeline};
use crate::report::file_name;
use crate::series::Window;

/// Pieces of work listed that something is wrong with.
const MOST_TROUBLED: usize = 50;

impl Report {
    /// Works out everything.
    #[must_use]
    pub fn new(record: &Record, verdict: &Verdict) -> Self {
        let timeline = Timeline::of(record);
        let origin = timeline.load.map(|load| load.from).unwrap_or_default();
        let context = Context {
            record,
            timeline: &timeline,
            origin,
        };
        let cx = &context;
        let plan = &record.plan;
        let requests = |kept: &[Exemplar]| kept.iter().map(|one| request(cx, one)).collect();
        Self {
            name: Text::from(&plan.name),
            about: plan.about.as_ref().map(Text::from),
            conclusion: verdict.conclusion,
            reason: verdict.reason.clone(),
            exit: verdict.exit(),
            validity: Validity {
                problems: verdict.validity.problems.clone(),
                lag_p99: verdict.validity.lag_p99,
                lag_limit: verdict.validity.lag_limit,
            },
            started: record
                .wall_ms()
                .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()),
            took: timeline.end.duration(),
            origin,
            seed: plan.seed,
            system: System::of(plan),
            words: plan.system.vocabulary(),
            terms: plan
                .system
                .sut()
                .probes()
                .iter()
                .filter_map(|probe| probe.term)
                .collect(),
            headline: headline(cx, &verdict.headline),
            expectations: verdict
                .rows
                .iter()
                .map(|row| expectation(cx, row))
                .collect(),
            faults: verdict.faults.iter().map(|row| fault(cx, row)).collect(),
            operations: operations(record, &timeline, verdict),
            errors: errors(record),
            slowest: requests(&record.exemplars.slowest),
            failed: requests(&record.exemplars.failed),
            ledger: ledger(cx),
            environment: environment(&record.environment),
            generator: generator(record),
            warnings: warnings(cx),
            events: record.events.clone(),
            repeat: match plan.file.is_empty() {
                true => Repeat::InCode,
                false => Repeat::File(Text::from(&plan.file)),
            },
            files: [RECORD_FILE, EVENTS_FILE]
                .into_iter()
                .chain(plan.formats.iter().copied().map(file_name))
                .filter(|file| *file != file_name(Format::Html))
                .collect(),
            chart: chart(record, &timeline, origin),
        }
    }
}

impl System {
    /// Of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let nodes = || plan.system.nodes.iter();
        let roles = plan.system.sut().roles().iter();
        let counted = roles.filter(|role| role.counted).map(|role| {
            let of_it = nodes().filter(|node| node.role() == Some(role.name));
            (role.name, of_it.count() as u64)
        });
        let programs = nodes().filter(|node| matches!(node.start, NodeStart::Run { .. }));
        Self {
            runtime: plan.system.runtime,
            roles: counted.filter(|(_, n)| *n > 0).collect(),
            programs: programs.count() as u64,
        }
    }
}

pub(super) fn texts(each: &[String]) -> Vec<Text> {
    each.iter().map(Text::from).collect()
}

fn headline(cx: &Context<'_>, found: &judge::Headline) -> Headline {
    let availability = &found.availability;
    Headline {
        counts: availability.counts,
        objective: availability.objective,
        good_seconds: availability.good_seconds,
        seconds: availability.seconds,
        longest_outage: availability.longest_outage,
        outage: availability.outage.map(|outage| cx.stretch(outage)),
        load: found.load.as_ref().map(Text::from),
        steady_p99: found.steady_p99,
        worst_p99: found
            .worst_p99
            .as_ref()
            .map(|(p99, fault)| (*p99, Text::from(fault))),
        slowest_recovery: found
            .slowest_recovery
            .as_ref()
            .map(|(recovered, fault)| (recovery(recovered), Text::from(fault))),
        work: found.accepted.map(|accepted| Work {
            accepted,
            lost: found.lost.unwrap_or(0),
            unknown: found.unknown.unwrap_or(0),
            decoded: found.decoded,
        }),
    }
}

fn fault(cx: &Context<'_>, row: &FaultRow) -> Fault {
    let mut planned = cx.record.plan.faults.iter();
    let planned = planned.find(|planned| planned.name == row.fault);
    Fault {
        name: Text::from(&row.fault),
        kind: Text::from(&row.kind),
        inject: planned.map(|planned| planned.inject.clone()),
        targets: texts(&row.targets),
        injected: row.injected.map(|at| cx.at(at)),
        undo_began: row.undo_began.map(|at| cx.at(at)),
        reverted: row.reverted.map(|at| cx.at(at)),
        exercised: row.exercised,
        proofs: texts(&row.proofs),
        undos: texts(&row.undos),
        errors: texts(&row.errors),
        first_impact: row.first_impact,
        slowed: row.slowed.as_ref().map(|slowed| Slowed {
            load: Text::from(&slowed.load),
            after: slowed.after,
            requests: slowed.requests,
            typical: slowed.typical,
            baseline: slowed.baseline,
            factor: slowed.factor(),
        }),
        detected: row.detected,
        detected_by: row.detected_by.as_ref().map(Text::from),
        recovery: recovery(&row.recovered),
        hurt: row.hurt,
        carried_in: row.carried_in,
    }
}

fn errors(record: &Record) -> Vec<ErrorCount> {
    let whole = Window::new(Offset(0), Offset(u64::MAX));
    let loads = record.plan.load.iter().enumerate();
    loads
        .flat_map(|(index, load)| {
            let errors = record.series.errors(index, whole);
            errors.into_iter().map(|(class, count)| ErrorCount {
                load: Text::from(&load.name),
                class: Text::from(class),
                count,
            })
        })
        .collect()
}

fn ledger(cx: &Context<'_>) -> Option<Ledger> {
    let entries = &cx.record.ledger.as_ref()?.entries;
    if entries.is_empty() {
        return None;
    }
    let number = |wanted: &dyn Fn(&LedgerEntry) -> bool| {
        entries.iter().filter(|entry| wanted(entry)).count() as u64
    };
    let of = |accepted: Accepted| number(&|entry| entry.accepted == accepted);
    let became = |fate: fn(&Fate) -> bool| {
        number(&|one| one.accepted == Accepted::Ok && one.fate.as_ref().is_some_and(fate))
    };
    let troubled = entries.iter().filter_map(|entry| {
        Some(TroubledWork {
            id: entry.id.as_ref().map(Text::from),
            due: cx.at(entry.due),
            trouble: trouble(entry)?,
        })
    });
    Some(Ledger {
        accepted: of(Accepted::Ok),
        finished: became(|fate| matches!(fate, Fate::Done { .. })),
        lost: became(|fate| *fate == Fate::Lost),
        failed: became(|fate| matches!(fate, Fate::Failed { .. })),
        open: became(|fate| matches!(fate, Fate::Open { .. })),
        refused: of(Accepted::Refused),
        unknown: of(Accepted::Unknown),
        troubled: troubled.take(MOST_TROUBLED).collect(),
    })
}

fn trouble(entry: &LedgerEntry) -> Option<Trouble> {
    match (&entry.fate, entry.accepted) {
        (_, Accepted::Unknown) => Some(Trouble::NoAnswer),
        (Some(Fate::Lost), Accepted::Ok) => Some(Trouble::Lost),
        (Some(Fate::Failed { reason }), _) => Some(Trouble::Failed(Text::from(reason))),
        (Some(Fate::Open { state }), _) => Some(Trouble::Open(Text::from(state))),
        (Some(Fate::Unreadable { reason }), _) => Some(Trouble::Unreadable(Text::from(reason))),
        (Some(Fate::Done { trouble, .. }), _) => {
            let trouble = trouble.as_ref()?;
            Some(Trouble::Result(Text::from(trouble)))
        }
        _ => None,
    }
}

fn environment(here: &record::Environment) -> Environment {
    let some = |text: &Option<String>| text.as_ref().map(Text::from);
    Environment {
        host: Text::from(&here.host),
        os: Text::from(&here.os),
        kernel: Text::from(&here.kernel),
        cpu: some(&here.cpu),
        cores: here.cores as u64,
        memory: here.memory,
        version: Text::from(&here.version),
        rustc: some(&here.rustc),
        profile: Text::from(&here.profile),
        commit: some(&here.commit),
    }
}

fn generator(record: &Record) -> Option<Generator> {
    record.events.iter().find_map(|event| match event.kind {
        EventKind::Generator {
            lag_p99_us,
            lag_max_us,
            unsent,
        } => Some(Generator {
            lag_p99: Duration::from_micros(lag_p99_us),
            lag_max: Duration::from_micros(lag_max_us),
            unsent,
        }),
        _ => None,
    })
}

fn warnings(cx: &Context<'_>) -> Vec<Warning> {
    let events = cx.record.events.iter();
    events
        .filter_map(|event| match &event.kind {
            EventKind::Warning { message } => Some(Warning::Message(Text::from(message))),
            EventKind::NodeExited {
                node,
                how,
                expected: false,
                ..
            } => Some(Warning::Exit {
                node: Text::from(node),
                at: cx.at(event.at),
                how: Text::from(how),
            }),
            _ => None,
        })
        .collect()
}
