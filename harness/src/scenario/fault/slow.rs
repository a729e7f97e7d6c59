//! `slow`: every answer of a node takes a multiple of its time.

use clip_service::units::HumanDuration;

use super::{Aimed, Kind, Phrase, TargetKind, length, settings};
use crate::scenario::value::Factor;

settings! {
    /// Every answer of a node takes a multiple of its time, on all links into it.
    Slow {
        /// Each answer takes so many times as long; more than 1.
        factor ("factor"): Factor [required],
        /// Each answer is held at least so long. Default: 0s.
        least ("least"): HumanDuration [HumanDuration::default()],
    }
}

impl Kind for Slow {
    const NAME: &'static str = "slow";
    const SUMMARY: &'static str =
        "every answer of a node takes a multiple of its time, held back on all links into it";
    const UNDO: &'static str = "the links are as before";
    const TARGET: TargetKind = TargetKind::Node;
    const THROUGH_LINKS: bool = true;

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        let factor = self.factor.0;
        let mut note = format!("{} {factor}x slow", aimed.names);
        if !self.least.get().is_zero() {
            note.push_str(&format!(", +{} at least", length(self.least.get())));
        }
        Phrase {
            note,
            clause: format!("{} {} slowed {factor} times", aimed.names, aimed.were()),
        }
    }
}
