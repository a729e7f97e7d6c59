//! What a system told of itself held against an expectation: a change of state in time, or a ratio of counts.
//!
//! Counts only grow, so a stretch of time is the difference between the readings nearest to its borders. A node that is
//! started again counts from nothing: what it counted between its last reading and its end is lost, both numbers alike.
//! No reading near a border, or nothing to divide by, is no answer.

use std::time::Duration;

use super::{Finding, Gap, Ratio, RowOutcome};
use crate::event::{EventKind, Offset};
use crate::record::Record;
use crate::record::timeline::FaultSpan;
use crate::scenario::expr::{Claim, Cmp, ProbeExpr};
use crate::series::Window;
use crate::sut::probe::{Change, FaultEdge, Form, Probe};

/// Readings farther than this from a border say nothing of it. They come once a second, and at borders of faults.
const NEAR: Duration = Duration::from_millis(1500);

/// Over a stretch of time, which is a fault's where `fault` is given.
pub(super) fn judge(
    record: &Record,
    expr: &ProbeExpr,
    stretch: Window,
    fault: Option<&FaultSpan>,
) -> (RowOutcome, Finding) {
    let Some(row) = expr.row() else {
        let name = expr.probe.clone();
        return Finding::nothing(Gap::NoProbe { name });
    };
    match (&row.form, &expr.claim) {
        (Form::Ratio(_), Claim::Ratio { cmp, limit }) => {
            ratio(record, row, &expr.node, *cmp, *limit, stretch)
        }
        (Form::Change { thing, changes, .. }, Claim::Change { word, within }) => {
            let change = changes.iter().find(|change| change.word == word);
            match (change, fault) {
                (Some(change), Some(fault)) => {
                    let wanted = Wanted {
                        row,
                        node: &expr.node,
                        change: *change,
                        within: within.get(),
                    };
                    changed(record, fault, stretch, &wanted)
                }
                (None, _) => Finding::nothing(Gap::NoChange {
                    word: word.clone(),
                    thing: (*thing).to_owned(),
                }),
                (_, None) => Finding::nothing(Gap::NoFault {
                    thing: (*thing).to_owned(),
                }),
            }
        }
        _ => Finding::nothing(Gap::OtherForm {
            name: expr.probe.clone(),
        }),
    }
}

/// A change that must come in time.
struct Wanted<'a> {
    row: &'a Probe,
    node: &'a str,
    change: Change,
    within: Duration,
}

/// From a fault's start: the first such change after it. From its end: the first after it, or one before it that still
/// held then.
fn changed(
    record: &Record,
    fault: &FaultSpan,
    window: Window,
    wanted: &Wanted<'_>,
) -> (RowOutcome, Finding) {
    let Wanted {
        row,
        node,
        change,
        within,
    } = wanted;
    let changes = record.events.iter().filter_map(|event| match &event.kind {
        EventKind::Transition(transition)
            if matches!(&row.form, Form::Change { subject, .. } if *subject == transition.subject)
                && transition.name == *node =>
        {
            Some((event.at, transition))
        }
        _ => None,
    });
    let (from, to) = match change.since {
        FaultEdge::Start => (window.from, change.state),
        FaultEdge::End => (window.to, change.state),
    };
    let later = changes
        .clone()
        .find(|(at, transition)| *at >= from && transition.to == to);
    let found = match change.since {
        FaultEdge::Start => later,
        FaultEdge::End => {
            let before = changes
                .take_while(|(at, _)| *at < window.to)
                .filter(|(at, _)| window.contains(*at))
                .last()
                .filter(|(_, transition)| transition.to == to);
            before.or(later)
        }
    };
    let after = found.map(|(at, _)| at.since(from));
    let outcome = match after {
        Some(after) if after <= *within => RowOutcome::Pass,
        // A fault that is still in place has no end to count from.
        None if change.since == FaultEdge::End && fault.reverted().is_none() => {
            RowOutcome::Inconclusive
        }
        _ => RowOutcome::Fail,
    };
    let finding = Finding::Change {
        word: change.word.to_owned(),
        within: *within,
        after,
        source: found.map(|(_, transition)| transition.source.clone()),
        reason: found.map(|(_, transition)| transition.reason.clone()),
    };
    (outcome, finding)
}

/// What a node had counted at a moment.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Offset,
    counted: u64,
    per: u64,
}

fn ratio(
    record: &Record,
    row: &Probe,
    node: &str,
    cmp: Cmp,
    limit: f64,
    stretch: Window,
) -> (RowOutcome, Finding) {
    let readings: Vec<Counted> = record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ProbeCounts {
                probe,
                node: source,
                counted,
                per,
            } if probe == row.name && source == node => Some(Counted {
                at: event.at,
                counted: *counted,
                per: *per,
            }),
            _ => None,
        })
        .collect();
    let mut found = Ratio {
        probe: row.name.to_owned(),
        observed: None,
        limit,
        counted: 0,
        per: 0,
        window: stretch,
        missing: None,
    };
    let (first, last) = (near(&readings, stretch.from), near(&readings, stretch.to));
    let outcome = match (first, last) {
        (Some(first), Some(last)) if first < last => {
            found.window = Window::new(readings[first].at, readings[last].at);
            for pair in readings[first..=last].windows(2) {
                let [before, after] = [pair[0], pair[1]];
                let again = started_again(record, node, before.at, after.at);
                let (counted, per) = match again {
                    true => (0, 0),
                    false => (before.counted, before.per),
                };
                found.counted += after.counted.saturating_sub(counted);
                found.per += after.per.saturating_sub(per);
            }
            match found.per {
                0 => {
                    found.missing = Some(format!("{node} made no {}", found.unit().per.many));
                    RowOutcome::NotEnoughSamples
                }
                per => {
                    let observed = found.counted as f64 / per as f64;
                    found.observed = Some(observed);
                    match cmp.holds(observed, limit) {
                        true => RowOutcome::Pass,
                        false => RowOutcome::Fail,
                    }
                }
            }
        }
        _ => {
            found.missing = Some(format!("{node} did not tell its counts at both ends"));
            RowOutcome::Inconclusive
        }
    };
    (outcome, Finding::Ratio(found))
}

fn started_again(record: &Record, name: &str, from: Offset, to: Offset) -> bool {
    record.events.iter().any(|event| {
        let started = matches!(&event.kind, EventKind::NodeStarted { node, .. } if node == name);
        started && from < event.at && event.at <= to
    })
}

/// The reading nearest to a moment.
fn near(readings: &[Counted], at: Offset) -> Option<usize> {
    let distance = |reading: &Counted| reading.at.since(at).max(at.since(reading.at));
    let nearest = readings
        .iter()
        .enumerate()
        .min_by_key(|(_, reading)| distance(reading))?;
    (distance(nearest.1) <= NEAR).then_some(nearest.0)
}
