//! `bandwidth`: a link carries so many bytes a second and no more.

use super::byte_rate::ByteRate;
use super::{Aimed, Kind, Phrase, TargetKind, settings};
use crate::scenario::model::Direction;

settings! {
    /// A link carries so many bytes a second and no more.
    Bandwidth {
        /// Bytes a second, in each direction that is limited: 64kB/s, 1MB/s, 8Mbit/s.
        rate ("rate"): ByteRate [required],
        /// Which way the limited bytes flow, seen from the caller. Default: downstream.
        direction ("way"): Direction [Direction::Downstream],
        /// Whether all connections of the link share the rate. Default: false, each connection has it for itself.
        shared ("shared"): bool [false],
    }
}

impl Kind for Bandwidth {
    const NAME: &'static str = "bandwidth";
    const SUMMARY: &'static str = "a link carries so many bytes a second and no more";
    const UNDO: &'static str = "the link is as before";
    const TARGET: TargetKind = TargetKind::Link;

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        let share = match self.shared {
            true => "in all",
            false => "per connection",
        };
        let direction = self.direction.note();
        Phrase {
            note: format!("{} {share}{direction} on {}", self.rate, aimed.names),
            clause: format!(
                "{} {} limited to {}",
                aimed.links(),
                aimed.were(),
                self.rate
            ),
        }
    }
}
