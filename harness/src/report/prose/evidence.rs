//! Evidence in words.

use crate::report::humanize::{counted, moment, stretch, time};
use crate::report::model::Evidence;

/// A fact, in a line.
pub fn fact(fact: &Evidence) -> String {
    match fact {
        Evidence::WorstStretch { stretch: when, bad } => {
            format!(
                "worst: {}, {}",
                stretch(*when),
                counted(*bad, "bad request")
            )
        }
        Evidence::TopError { class, count } => {
            format!("most frequent error: {class}, {}", counted(*count, "time"))
        }
        Evidence::SlowestRequest(slowest) => format!(
            "slowest: {}, due {}, request {}",
            time(slowest.response),
            moment(slowest.due),
            slowest.id.as_deref().unwrap_or("without an id")
        ),
        Evidence::LogLine { at, node, line } => format!("{} {node}: {line}", moment(*at)),
        Evidence::Exit { at, node, how } => format!("{} {node} ended: {how}", moment(*at)),
        Evidence::Work { id, trouble } => format!("{id} {trouble}"),
    }
}
