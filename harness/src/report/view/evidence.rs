//! Evidence in words.

use super::context::Context;
use crate::judge::Evidence;
use crate::report::humanize::{counted, moment, time};

impl Context<'_> {
    pub(super) fn fact(&self, fact: &Evidence) -> String {
        match fact {
            Evidence::WorstStretch { window, bad } => format!(
                "worst: {}, {}",
                self.stretch(*window),
                counted(*bad, "bad request")
            ),
            Evidence::TopError { class, count } => {
                format!("most frequent error: {class}, {}", counted(*count, "time"))
            }
            Evidence::SlowestRequest(slowest) => format!(
                "slowest: {}, due {}, request {}",
                time(slowest.done.since(slowest.due)),
                moment(slowest.due, self.origin),
                slowest.request_id.as_deref().unwrap_or("without an id")
            ),
            Evidence::LogLine { at, node, line } => {
                format!("{} {node}: {line}", moment(*at, self.origin))
            }
            Evidence::Job { id, trouble } => format!("{id} {trouble}"),
        }
    }
}
