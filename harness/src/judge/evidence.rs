//! Why something does not hold: the worst stretch, the most frequent error, the line of log that belongs to it. Data
//! only; reports put it into words.

use super::headline::seconds;
use super::{Evidence, Finding, Row, RowOutcome, Scope, SecondState};
use crate::event::EventKind;
use crate::record::{Record, Timeline};
use crate::scenario::expr::Expr;
use crate::series::Window;

/// Facts for each row.
const MOST: usize = 3;

/// Adds to every row that does not hold the facts that tell most about why.
pub(super) fn add(record: &Record, timeline: &Timeline, rows: &mut [Row]) {
    let seconds = seconds(record, timeline);
    for row in rows {
        if row.outcome != RowOutcome::Pass {
            row.evidence = evidence(record, timeline, &seconds, row);
        }
    }
}

fn evidence(
    record: &Record,
    timeline: &Timeline,
    seconds: &[(Window, SecondState)],
    row: &Row,
) -> Vec<Evidence> {
    if let Finding::Ledger(found) = &row.finding {
        let examples = found.examples.iter().take(MOST);
        let work = |(id, trouble): &(String, String)| Evidence::Work {
            id: id.clone(),
            trouble: trouble.clone(),
        };
        return examples.map(work).collect();
    }
    let Some(window) = stretch(timeline, row) else {
        return Vec::new();
    };
    let loads = loads(record, row);
    let mut facts = Vec::new();
    if let Some(worst) = worst_run(seconds, window) {
        let bad = loads
            .iter()
            .map(|load| record.series.counts(*load, worst).bad());
        facts.push(Evidence::WorstStretch {
            window: worst,
            bad: bad.sum(),
        });
    }
    let errors = loads
        .iter()
        .flat_map(|load| record.series.errors(*load, window));
    facts.extend(match errors.max_by_key(|(_, count)| *count) {
        Some((class, count)) => Some(Evidence::TopError { class, count }),
        None => slowest(record, &loads, window),
    });
    facts.extend(log_line(record, window));
    facts.truncate(MOST);
    facts
}

/// The stretch of time that a row is about.
fn stretch(timeline: &Timeline, row: &Row) -> Option<Window> {
    match (&row.finding, &row.scope) {
        (Finding::Measure(found), _) => Some(found.window),
        (Finding::Ratio(found), _) => Some(found.window),
        (Finding::Nothing(_), _) => None,
        (_, Scope::During(fault)) => timeline.fault(fault)?.window(timeline.end),
        (_, Scope::Recover(fault)) => {
            let end = timeline.fault(fault)?.reverted()?;
            Some(Window::new(end, timeline.end))
        }
        _ => None,
    }
}

/// The load that an expectation is about; all of them when it is about none in particular.
fn loads(record: &Record, row: &Row) -> Vec<usize> {
    let load = match &row.expr {
        Some(Expr::Measure(measure)) => record.series.load(&measure.load),
        _ => None,
    };
    match load {
        Some(load) => vec![load],
        None => (0..record.plan.load.len()).collect(),
    }
}

/// The slowest good request of these loads in a window, if it is among those kept.
fn slowest(record: &Record, loads: &[usize], window: Window) -> Option<Evidence> {
    let kept = record.exemplars.slowest.iter();
    let inside = kept.filter(|e| loads.contains(&e.load) && window.contains(e.due));
    let slowest = inside.max_by_key(|e| e.done.since(e.due))?;
    Some(Evidence::SlowestRequest(slowest.clone()))
}

/// The longest run of bad seconds within a window.
fn worst_run(seconds: &[(Window, SecondState)], window: Window) -> Option<Window> {
    let mut worst: Option<Window> = None;
    let mut current: Option<Window> = None;
    for (second, state) in seconds {
        if second.to <= window.from || second.from >= window.to {
            continue;
        }
        if *state != SecondState::Bad {
            current = None;
            continue;
        }
        let run = Window::new(current.map_or(second.from, |run| run.from), second.to);
        current = Some(run);
        if worst.is_none_or(|worst| run.length() > worst.length()) {
            worst = Some(run);
        }
    }
    worst
}

/// The first line of log that belongs to a window; errors before warnings.
fn log_line(record: &Record, window: Window) -> Option<Evidence> {
    let lines = record.events.iter().filter_map(|event| match &event.kind {
        EventKind::NodeLog { node, line } if window.contains(event.at) => {
            Some((!line.contains("ERROR"), event.at, node, line))
        }
        _ => None,
    });
    let (_, at, node, line) = lines.min_by_key(|(warning, at, ..)| (*warning, *at))?;
    Some(Evidence::LogLine {
        at,
        node: node.clone(),
        line: line.clone(),
    })
}
