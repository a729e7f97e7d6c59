//! `kill`: a node ends without warning.

use super::{Aimed, Kind, Phrase, TargetKind, settings};

settings! {
    /// SIGKILL to everything a node runs (its tasks aborted in the embedded runtime); undone by starting it again.
    Kill
}

impl Kind for Kill {
    const NAME: &'static str = "kill";
    const SUMMARY: &'static str =
        "SIGKILL to all processes of a node; in the embedded runtime its tasks are aborted";
    const UNDO: &'static str = "started again, ready";
    const TARGET: TargetKind = TargetKind::Node;
    const HOLDS_PROCESS: bool = true;

    fn phrase(&self, aimed: Aimed<'_>) -> Phrase {
        Phrase::plain(Self::NAME, "killed", aimed)
    }
}
