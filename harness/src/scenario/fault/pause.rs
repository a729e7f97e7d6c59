//! `pause`: a node keeps its connections and answers nothing.

use super::{Aimed, Capability, Kind, Phrase, TargetKind, settings};

settings! {
    /// SIGSTOP to everything a node runs; undone by SIGCONT.
    Pause
}

impl Kind for Pause {
    const NAME: &'static str = "pause";
    const SUMMARY: &'static str =
        "SIGSTOP to all processes of a node: it keeps its connections and answers nothing";
    const UNDO: &'static str = "SIGCONT";
    const TARGET: TargetKind = TargetKind::Node;
    const HOLDS_PROCESS: bool = true;
    const NEEDS: &'static [Capability] = &[Capability::Pause];

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        Phrase::plain(Self::NAME, "paused", aimed)
    }
}
