//! Each fault as it turned out: what it did, when it was noticed, which requests it hurt, when it was over.

use std::time::Duration;

use clip_service::observe::Subject;

use super::recovery::recovered;
use super::{FaultRow, Recovered, slowdown};
use crate::event::{EventKind, Offset};
use crate::record::timeline::{FaultSpan, TargetSpan};
use crate::record::{Record, Timeline};
use crate::series::{Counts, Point, Window};

/// States that say that something is wrong with an instance.
const ALARMS: [&str; 5] = ["open", "warning", "critical", "draining", "removed"];

pub(super) fn faults(record: &Record, timeline: &Timeline) -> Vec<FaultRow> {
    timeline
        .faults
        .iter()
        .map(|span| fault(record, timeline, span))
        .collect()
}

fn fault(record: &Record, timeline: &Timeline, span: &FaultSpan) -> FaultRow {
    let planned = record
        .plan
        .faults
        .iter()
        .find(|fault| fault.name == span.name);
    let targets = match planned {
        Some(fault) => fault.targets.iter().map(|t| t.name().to_owned()).collect(),
        None => span.targets.iter().map(|t| t.target.clone()).collect(),
    };
    let recovered = recovered(record, timeline, span);
    let told = |pick: fn(&TargetSpan) -> &Option<String>| -> Vec<String> {
        span.targets
            .iter()
            .filter_map(|target| pick(target).clone())
            .collect()
    };
    let mut row = FaultRow {
        fault: span.name.clone(),
        kind: planned
            .map_or("unknown", |fault| fault.inject.kind().name)
            .to_owned(),
        targets,
        injected: span.injected(),
        undo_began: span.undo_began(),
        reverted: span.reverted(),
        details: told(|target| &target.detail),
        proofs: told(|target| &target.proof),
        undos: told(|target| &target.undo),
        errors: [told(|t| &t.inject_error), told(|t| &t.undo_error)].concat(),
        exercised: span.exercised(),
        first_impact: None,
        slowed: None,
        detected: None,
        detected_by: None,
        recovered,
        hurt: 0,
        carried_in: 0,
        counts: Counts::default(),
    };
    let Some(window) = span.window(timeline.end) else {
        return row;
    };
    let (reach, next) = reach(timeline, window, &row.recovered);
    // What was under way when the next fault struck is counted there.
    let own = |point: &&Point| !point.ok() && next.is_none_or(|next| point.ended() < next);
    let loads = 0..record.plan.load.len();
    let points = loads.flat_map(|load| record.series.points(load, reach));
    let first_due = points.filter(own).map(Point::due).min();
    // What was under way is hit where it ends, not where it was due.
    let struck = carried_in(record, window.from).map(Point::ended).min();
    let first = first_due.into_iter().chain(struck).min();
    row.first_impact = first.map(|first| first.since(window.from));
    row.carried_in = carried_in(record, window.from).count() as u64;
    for index in 0..record.plan.load.len() {
        row.counts = row.counts.and(record.series.counts(index, window));
        row.hurt += record.series.points(index, reach).filter(own).count() as u64;
    }
    row.slowed = slowdown::slowdown(record, timeline, reach);
    if let Some((at, by)) = detected(record, &row.targets, window) {
        row.detected = Some(at);
        row.detected_by = Some(by);
    }
    row
}

/// Requests that were due before a moment, still under way at it, and did not end as expected.
fn carried_in(record: &Record, at: Offset) -> impl Iterator<Item = &Point> {
    slowdown::under_way(record, at)
        .map(|(_, point)| point)
        .filter(|point| !point.ok())
}

/// From injection to recovery: as long as the fault may be the reason for what goes wrong. Ends where the next begins,
/// which is told.
fn reach(timeline: &Timeline, window: Window, recovered: &Recovered) -> (Window, Option<Offset>) {
    let load_end = timeline.load.map_or(timeline.end, |load| load.to);
    let over = match recovered {
        Recovered::After(after) => window.to.plus(*after),
        Recovered::Never | Recovered::Unknown(_) => load_end.max(window.to),
    };
    let next = timeline
        .faults
        .iter()
        .filter_map(FaultSpan::injected)
        .filter(|at| *at >= window.to && *at < over)
        .min();
    (Window::new(window.from, next.unwrap_or(over)), next)
}

fn detected(record: &Record, targets: &[String], window: Window) -> Option<(Duration, String)> {
    // A link is noticed at the node it leads to.
    let nodes: Vec<&str> = targets
        .iter()
        .map(|target| {
            let link = record
                .plan
                .system
                .links
                .iter()
                .find(|link| link.name == *target);
            link.map_or(target.as_str(), |link| link.to.as_str())
        })
        .collect();
    record.events.iter().find_map(|event| match &event.kind {
        EventKind::Transition(change)
            if window.contains(event.at)
                && matches!(change.subject, Subject::Breaker | Subject::Instance)
                && nodes.contains(&change.name.as_str())
                && ALARMS.contains(&change.to.as_str()) =>
        {
            let kind = match change.subject {
                Subject::Breaker => "breaker",
                _ => record.plan.system.vocabulary().instances,
            };
            let by = format!("{}: {kind} {} -> {}", change.source, change.name, change.to);
            Some((event.at.since(window.from), by))
        }
        _ => None,
    })
}
