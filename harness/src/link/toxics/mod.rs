//! What can be wrong with a link: one file per kind, put on it as a chain.
//!
//! A [`LinkToxic`] is set on a link. For each direction of each connection it makes a [`Toxic`], which sees the bytes and
//! requests that pass there, in the order in which the toxics were put. The pump knows this trait and no kind. Pure
//! arithmetic: time and randomness come in.
//!
//! Adding a kind of fault that a link can do by itself: a file here, and its row in [`TOXICS`].

mod bandwidth;
mod held;
mod latency;
mod slow;
mod status;

use std::fmt;
use std::sync::Arc;

use clip_service::env::SharedRng;
use tokio::time::Instant;

use super::http1::RequestHead;
use crate::scenario::fault::{Bandwidth, Injection, Kind, Latency, StatusAnswer};
use crate::scenario::model::Direction;

pub(crate) use held::{HeldCounter, Hold};
pub(crate) use slow::SlowToxic;

/// The kinds of fault that a link can do by itself.
pub(crate) static TOXICS: &[ToxicRow] = &[
    ToxicRow::of::<Latency>(),
    ToxicRow::of::<Bandwidth>(),
    ToxicRow::of::<StatusAnswer>(),
];

/// A kind of fault that is a toxic on a link and nothing else.
pub(crate) trait ToxicKind: Kind {
    /// Evidence that it is gone, once it has been taken from the link.
    const GONE: &'static str;

    /// The toxic. `rng` is the link's own for this fault.
    fn toxic(&self, rng: SharedRng) -> Arc<dyn LinkToxic>;
}

/// A row of the table of toxics.
pub(crate) struct ToxicRow {
    /// The kind's word in a scenario.
    pub(crate) name: &'static str,
    /// Evidence that it is gone.
    pub(crate) gone: &'static str,
    make: fn(&Injection, SharedRng) -> Option<Arc<dyn LinkToxic>>,
}

impl ToxicRow {
    const fn of<K: ToxicKind>() -> Self {
        Self {
            name: K::NAME,
            gone: K::GONE,
            make: |injection, rng| Some(injection.settings::<K>()?.toxic(rng)),
        }
    }

    /// The row of this kind of fault.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TOXICS.iter().find(|row| row.name == name)
    }

    /// The toxic of an injection; `None` when it is of another kind.
    pub(crate) fn toxic(
        &self,
        injection: &Injection,
        rng: SharedRng,
    ) -> Option<Arc<dyn LinkToxic>> {
        (self.make)(injection, rng)
    }
}

/// A toxic as it is set on a link (or on several that share it).
pub(crate) trait LinkToxic: Send + Sync + fmt::Debug {
    /// What acts on one direction of a connection; `None` when it spares that. `rng` is the connection's own for this
    /// toxic, the same for both directions.
    fn join(&self, direction: Direction, rng: &SharedRng) -> Option<Box<dyn Toxic>>;

    /// Evidence that it acted; `None` while it has touched nothing.
    fn proof(&self) -> Option<String>;
}

/// What a toxic does to one direction of one connection.
pub(crate) trait Toxic: Send {
    /// How long bytes are held that come to this toxic at `at`; `None` when they are not.
    fn hold(&mut self, _stretch: Stretch, _at: Instant) -> Option<Hold> {
        None
    }

    /// Whether it may answer requests itself. Only then are heads of requests kept back until they are complete.
    fn answers(&self) -> bool {
        false
    }

    /// The link's own answer to a request; `None` lets it pass.
    fn reply(&mut self, _head: &RequestHead) -> Option<Reply> {
        None
    }

    /// Most bytes that are held as one piece.
    fn piece(&self) -> usize {
        usize::MAX
    }

    /// Most bytes that wait in this direction before their sender feels it.
    fn room(&self) -> usize {
        usize::MAX
    }
}

/// Bytes that belong together: to one answer of the node, or to whatever the caller sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// How many; 0 for the end of the stream.
    pub(crate) length: usize,
    /// Where an answer of the node begins: when its request had been sent.
    pub(crate) begins: Option<Instant>,
}

/// An answer that the link gives itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// HTTP status, 200 to 599.
    pub(crate) status: u16,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
}
