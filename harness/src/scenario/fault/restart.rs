//! `restart`: a node is asked to end, ends when it has drained, and is started again.

use std::time::Duration;

use clip_service::units::HumanDuration;
use serde_json::{Value as Json, json};

use super::settings::Places;
use super::{Aimed, DurationRule, Kind, Phrase, TargetKind, settings};
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::value::POSITIVE;

/// Longer than a service takes to drain by itself.
pub(super) const DEFAULT_DRAIN: HumanDuration = HumanDuration::secs(15);

settings! {
    /// A node is asked to end (SIGTERM), ends when it has drained, and is started again.
    Restart {
        /// Time the node has to end by itself; then it is killed. Default 15s.
        drain ("drain"): HumanDuration [DEFAULT_DRAIN],
    }
}

impl Kind for Restart {
    const NAME: &'static str = "restart";
    const SUMMARY: &'static str = "SIGTERM to a node, which ends when it has drained";
    const UNDO: &'static str = "started again, ready";
    const TARGET: TargetKind = TargetKind::Node;
    const HOLDS_PROCESS: bool = true;
    const DURATION: DurationRule = DurationRule::Least;

    fn check(&self, places: &Places, cx: &mut Reader) {
        check_drain(self.drain, places, cx);
    }

    fn schema_rules() -> Json {
        drain_rules()
    }

    fn ends_within(&self) -> Option<Duration> {
        Some(self.drain.get())
    }

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        Phrase::plain(Self::NAME, "restarted", aimed)
    }
}

pub(super) fn drain_rules() -> Json {
    json!({ "properties": { "drain": { "pattern": POSITIVE } } })
}

pub(super) fn check_drain(drain: HumanDuration, places: &Places, cx: &mut Reader) {
    if drain.get().is_zero() {
        cx.report(
            Diagnostic::error(places.of("drain"), "`drain` must be longer than zero")
                .help("write how long the node has to end, or use inject: kill"),
        );
    }
}
