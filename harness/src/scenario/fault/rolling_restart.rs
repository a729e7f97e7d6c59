//! `rolling-restart`: `restart` of one target after the other.

use std::time::Duration;

use clip_service::units::HumanDuration;
use serde_json::Value as Json;

use super::restart::{DEFAULT_DRAIN, check_drain, drain_rules};
use super::settings::Places;
use super::{Aimed, DurationRule, Kind, Phrase, TargetKind, length, settings};
use crate::scenario::read::Reader;

settings! {
    /// A restart of one node after the other, each when the one before is ready.
    RollingRestart {
        /// Time between one node being ready and the next one being asked to end. Default: none.
        pause ("pause"): HumanDuration [HumanDuration::default()],
        /// Time each node has to end by itself; then it is killed. Default 15s.
        drain ("drain"): HumanDuration [DEFAULT_DRAIN],
    }
}

impl Kind for RollingRestart {
    const NAME: &'static str = "rolling-restart";
    const SUMMARY: &'static str =
        "restart of one node after the other, each when the one before is ready";
    const UNDO: &'static str = "each started again, ready";
    const TARGET: TargetKind = TargetKind::Node;
    const HOLDS_PROCESS: bool = true;
    const DURATION: DurationRule = DurationRule::None;

    fn check(&self, places: &Places, cx: &mut Reader) {
        check_drain(self.drain, places, cx);
    }

    fn schema_rules() -> Json {
        drain_rules()
    }

    fn in_turn(&self) -> Option<Duration> {
        Some(self.pause.get())
    }

    fn ends_within(&self) -> Option<Duration> {
        Some(self.drain.get())
    }

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        let mut note = format!("{} {}", Self::NAME, aimed.names);
        if !self.pause.get().is_zero() {
            note.push_str(&format!(", {} apart", length(self.pause.get())));
        }
        let clause = format!("{} {} restarted", aimed.names, aimed.were());
        Phrase {
            note,
            clause: match aimed.several {
                true => format!("{clause} one after the other"),
                false => clause,
            },
        }
    }
}
