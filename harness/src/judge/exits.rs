//! Nodes that ended although neither a fault of the plan nor the harness ended them. Ending is ending: the exit code does
//! not matter, nor whether load was still running. A row appears for a node that did, unless the scenario allows it.

use super::{Evidence, Finding, Gap, Row, RowOutcome, Scope};
use crate::event::EventKind;
use crate::plan::{ExitRule, ExpectationId};
use crate::record::Record;

/// Facts for each row: how it ended the first times, and what it said last.
const MOST_ENDS: usize = 3;

pub(super) fn rows(record: &Record) -> Vec<Row> {
    let nodes = record.plan.system.nodes.iter();
    nodes
        .filter(|node| node.exits == ExitRule::Fail)
        .filter_map(|node| row(record, &node.name))
        .collect()
}

fn row(record: &Record, name: &str) -> Option<Row> {
    let ends: Vec<_> = record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::NodeExited {
                node,
                how,
                expected: false,
                log,
            } if node == name => Some((event.at, how, log)),
            _ => None,
        })
        .collect();
    let (_, how, log) = ends.first()?;
    let gap = Gap::NodeEnded {
        how: (*how).clone(),
        times: u64::try_from(ends.len()).unwrap_or(u64::MAX),
    };
    let ended = ends
        .iter()
        .take(MOST_ENDS)
        .map(|(at, how, _)| Evidence::Exit {
            at: *at,
            node: name.to_owned(),
            how: (*how).clone(),
        });
    let at = ends.first()?.0;
    let said = log.iter().map(|line| Evidence::LogLine {
        at,
        node: name.to_owned(),
        line: line.clone(),
    });
    Some(Row {
        evidence: ended.chain(said).collect(),
        ..Row::new(
            ExpectationId::exits(name),
            Scope::Always,
            format!("{name} does not end by itself"),
            (RowOutcome::Fail, Finding::Nothing(gap)),
        )
    })
}
