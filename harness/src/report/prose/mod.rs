//! A [`Report`](super::model::Report) in words: sentences, notes and cells that several formats share. Nothing is worked
//! out here, and nothing is laid out; numbers are written by [`super::humanize`].

mod events;
mod evidence;
mod expectations;
mod faults;
mod gap;
mod run;
mod sentence;
mod tiles;

pub use events::event_text;
pub use evidence::fact;
pub use expectations::{detail, observed, recovery, scope, what};
pub use faults::FaultWords;
pub use gap::{gap, invalidity, reason};
pub use run::{
    counts, environment, meta, operation, outcome, phase, repeat, request, started, system,
    trouble, warning,
};
pub use sentence::sentence;
pub use tiles::{Tile, tiles};
