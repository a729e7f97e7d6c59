//! Expectations of the plan held against the record, one row per expectation and scope.

use std::time::Duration;

use super::{Finding, Gap, Row, RowOutcome, Scope, ledger, probes, recovery};
use crate::event::{Offset, RunOutcome};
use crate::plan::{ExpectationId, Expected};
use crate::record::timeline::FaultSpan;
use crate::record::{Record, Timeline};
use crate::scenario::expr::Expr;
use crate::series::Window;

/// How far the stamps of events may lie from the moments they are about.
const STAMP: Duration = Duration::from_millis(100);

pub(super) fn rows(record: &Record, timeline: &Timeline) -> Vec<Row> {
    let expect = &record.plan.expect;
    let mut rows = Vec::new();
    rows.extend(steady(record, timeline));
    for expectation in &expect.always {
        rows.push(over_load(record, timeline, expectation));
    }
    for fault in &timeline.faults {
        rows.extend(trouble(fault));
        for expectation in expect.during.get(&fault.name).into_iter().flatten() {
            rows.push(during(record, timeline, fault, expectation));
        }
    }
    for (name, window) in &timeline.stages {
        for expectation in expect.during.get(name).into_iter().flatten() {
            rows.push(stage(record, timeline, name, *window, expectation));
        }
    }
    if let Some(within) = expect.recover {
        for fault in &timeline.faults {
            rows.push(recovery::row(record, timeline, fault, within.get()));
            if expect.stays {
                rows.extend(recovery::stays(record, timeline, fault));
            }
        }
    }
    rows.extend(ledger::rows(record));
    rows
}

/// The steady state is the ground that the rest stands on: a row appears when it gave way.
fn steady(record: &Record, timeline: &Timeline) -> Option<Row> {
    let plan = record.plan.steady.as_ref()?;
    let texts: Vec<_> = plan.hold.iter().map(|hold| hold.text.as_str()).collect();
    let row = |outcome, gap: Gap| {
        let text = format!("steady for {}: {}", plan.window, texts.join(", "));
        let found = (outcome, Finding::Nothing(gap));
        Row::new(ExpectationId::steady(), Scope::Steady, text, found)
    };
    let Some(window) = timeline.steady else {
        let completed = record.outcome == RunOutcome::Completed;
        let outcome = if completed {
            RowOutcome::Fail
        } else {
            RowOutcome::Inconclusive
        };
        return Some(row(outcome, Gap::SteadyNotReached));
    };
    // Looked at again now that the answers to its last requests are in as well.
    let broken = record.series.holds(&plan.hold, window, None) != Some(true);
    broken.then(|| row(RowOutcome::Inconclusive, Gap::SteadyBroken))
}

/// A fault that was not in place, touched nothing or is still there gets a row of its own.
fn trouble(fault: &FaultSpan) -> Option<Row> {
    let row = |outcome, gap: Gap| {
        let (id, scope) = (
            ExpectationId::fault(&fault.name),
            Scope::During(fault.name.clone()),
        );
        let text = format!("{} takes effect and is undone", fault.name);
        Some(Row::new(id, scope, text, (outcome, Finding::Nothing(gap))))
    };
    let error = fault.targets.iter().find_map(|target| {
        Some(Gap::InjectFailed {
            target: target.target.clone(),
            error: target.inject_error.clone()?,
        })
    });
    if fault.injected().is_none() {
        return row(
            RowOutcome::NotExercised,
            error.unwrap_or(Gap::NeverInjected),
        );
    }
    if fault.reverted().is_none() {
        let mut targets = fault.targets.iter();
        let error = targets.find_map(|target| target.undo_error.clone());
        return row(RowOutcome::Fail, Gap::UndoNotProved { error });
    }
    if !fault.exercised() {
        return row(RowOutcome::NotExercised, Gap::TouchedNothing);
    }
    error.and_then(|error| row(RowOutcome::NotExercised, error))
}

fn over_load(record: &Record, timeline: &Timeline, expectation: &Expected) -> Row {
    let found = match (&expectation.expr, timeline.load) {
        (Expr::Measure(measure), Some(load)) => {
            let found = record.series.evaluate(measure, load, timeline.marks());
            (RowOutcome::of(&found), Finding::Measure(found))
        }
        (Expr::Probe(probe), Some(load)) => probes::judge(record, probe, load, None),
        (_, None) => Finding::nothing(Gap::NoLoad),
    };
    Row::about(expectation, Scope::Always, found)
}

fn during(record: &Record, timeline: &Timeline, fault: &FaultSpan, expectation: &Expected) -> Row {
    let (outcome, finding) = match fault.window(timeline.end) {
        None => {
            let nothing = Finding::Nothing(Gap::NeverInjected);
            (RowOutcome::NotExercised, nothing)
        }
        Some(window) => match &expectation.expr {
            Expr::Measure(measure) => {
                let found = record.series.evaluate(measure, window, timeline.marks());
                (RowOutcome::of(&found), Finding::Measure(found))
            }
            Expr::Probe(probe) => probes::judge(record, probe, window, Some(fault)),
        },
    };
    // What held while nothing was broken shows nothing.
    let outcome = match outcome {
        RowOutcome::Fail => RowOutcome::Fail,
        _ if !fault.exercised() => RowOutcome::NotExercised,
        outcome => outcome,
    };
    let scope = Scope::During(fault.name.clone());
    Row::about(expectation, scope, (outcome, finding))
}

/// Over a named stage, if load went on until its end.
fn stage(
    record: &Record,
    timeline: &Timeline,
    name: &str,
    window: Window,
    expectation: &Expected,
) -> Row {
    let load_end = timeline.load.map_or(Offset(0), |load| load.to);
    let found = match &expectation.expr {
        // The end of load is an event of its own and may be stamped a moment before or after.
        _ if load_end.plus(STAMP) < window.to => Finding::nothing(Gap::StageCutShort),
        Expr::Measure(measure) => {
            let found = record.series.evaluate(measure, window, timeline.marks());
            (RowOutcome::of(&found), Finding::Measure(found))
        }
        Expr::Probe(probe) => probes::judge(record, probe, window, None),
    };
    Row::about(expectation, Scope::Stage(name.to_owned()), found)
}
