//! How many tries a gateway made for each call, from the counts it told while the run went on.
//!
//! The counts only grow, so a stretch of time is the difference between the readings nearest to its borders. A gateway that
//! is started again counts from nothing: what it counted between its last reading and its end is lost, calls and tries
//! alike. No reading near a border, or no call between them, is no answer.

use std::time::Duration;

use super::{Amplification, Finding, RowOutcome};
use crate::event::{EventKind, Offset};
use crate::record::Record;
use crate::scenario::expr::Cmp;
use crate::series::Window;

/// Readings farther than this from a border say nothing of it. They come once a second, and at borders of faults.
const NEAR: Duration = Duration::from_millis(1500);

/// What a gateway had counted at a moment.
#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Offset,
    calls: u64,
    tries: u64,
}

pub(super) fn amplification(
    record: &Record,
    gateway: &str,
    cmp: Cmp,
    limit: f64,
    stretch: Window,
) -> (RowOutcome, Finding) {
    let readings: Vec<Counted> = record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::UpstreamCounts { node, calls, tries } if node == gateway => Some(Counted {
                at: event.at,
                calls: *calls,
                tries: *tries,
            }),
            _ => None,
        })
        .collect();
    let mut found = Amplification {
        observed: None,
        limit,
        calls: 0,
        tries: 0,
        window: stretch,
        missing: None,
    };
    let (first, last) = (near(&readings, stretch.from), near(&readings, stretch.to));
    let outcome = match (first, last) {
        (Some(first), Some(last)) if first < last => {
            found.window = Window::new(readings[first].at, readings[last].at);
            for pair in readings[first..=last].windows(2) {
                let [before, after] = [pair[0], pair[1]];
                let again = started_again(record, gateway, before.at, after.at);
                let (calls, tries) = if again {
                    (0, 0)
                } else {
                    (before.calls, before.tries)
                };
                found.calls += after.calls.saturating_sub(calls);
                found.tries += after.tries.saturating_sub(tries);
            }
            match found.calls {
                0 => {
                    found.missing = Some(format!("{gateway} made no calls"));
                    RowOutcome::NotEnoughSamples
                }
                calls => {
                    let observed = found.tries as f64 / calls as f64;
                    found.observed = Some(observed);
                    match cmp.holds(observed, limit) {
                        true => RowOutcome::Pass,
                        false => RowOutcome::Fail,
                    }
                }
            }
        }
        _ => {
            found.missing = Some(format!("{gateway} did not tell its counts at both ends"));
            RowOutcome::Inconclusive
        }
    };
    (outcome, Finding::Amplification(found))
}

fn started_again(record: &Record, gateway: &str, from: Offset, to: Offset) -> bool {
    record.events.iter().any(|event| {
        let started = matches!(&event.kind, EventKind::NodeStarted { node, .. } if node == gateway);
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
