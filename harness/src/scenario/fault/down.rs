//! `down`: a link refuses connections and cuts those it has.

use super::{Aimed, Kind, Phrase, TargetKind, settings};

settings! {
    /// A link refuses connections and cuts those it has; undone by listening again.
    Down
}

impl Kind for Down {
    const NAME: &'static str = "down";
    const SUMMARY: &'static str = "a link refuses connections and cuts those it has";
    const UNDO: &'static str = "the link accepts again";
    const TARGET: TargetKind = TargetKind::Link;

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        Phrase {
            note: format!("{} down", aimed.names),
            clause: format!("{} {} cut", aimed.links(), aimed.were()),
        }
    }
}
