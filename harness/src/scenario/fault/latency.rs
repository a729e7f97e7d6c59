//! `latency`: bytes on a link arrive late.

use clip_service::units::HumanDuration;

use super::settings::Places;
use super::{Aimed, Kind, Phrase, TargetKind, length, percent, settings};
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::value::Percent;
use crate::scenario::vocabulary::Direction;

settings! {
    /// Bytes on a link are held back.
    Latency {
        /// Added to each chunk of bytes.
        add ("add"): HumanDuration [required],
        /// Varied by up to this much, either way. Default: not varied.
        jitter ("jitter"): HumanDuration [HumanDuration::default()],
        /// Share of connections hit, drawn once for each. Default 100%.
        share ("share"): Percent [Percent(1.0)],
        /// Which way the held bytes flow, seen from the caller. Default: downstream.
        direction ("way"): Direction [Direction::Downstream],
    }
}

impl Kind for Latency {
    const NAME: &'static str = "latency";
    const SUMMARY: &'static str = "bytes on a link are held back";
    const UNDO: &'static str = "the link is as before";
    const TARGET: TargetKind = TargetKind::Link;

    fn check(&self, places: &Places, cx: &mut Reader) {
        if self.jitter > self.add {
            cx.report(
                Diagnostic::error(
                    places.of("jitter"),
                    "`jitter` must not be greater than `add`",
                )
                .help(format!("write at most {}", self.add)),
            );
        }
    }

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        let mut note = format!("+{}", length(self.add.get()));
        if !self.jitter.get().is_zero() {
            note.push_str(&format!(" ±{}", length(self.jitter.get())));
        }
        if self.share.0 < 1.0 {
            note.push_str(&format!(" for {} of connections", percent(self.share.0)));
        }
        note.push_str(self.direction.note());
        Phrase {
            note: format!("{note} on {}", aimed.names),
            clause: format!("{} became slow", aimed.links()),
        }
    }
}
