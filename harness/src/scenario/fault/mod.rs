//! What can go wrong: one file per kind of fault, with its settings, their defaults and checks, what it needs, and how
//! reports speak of it. The closed table [`KINDS`] is read by the parser, the JSON Schema, `list faults`, the planner and
//! the docs alike.
//!
//! Nothing here acts. What a kind does to a system is in `link::toxics` (faults that a link can do by itself) and in
//! `crate::fault` (all others), one file per kind as well; a test holds the tables together.
//!
//! Adding a kind: a file here and its row in [`KINDS`]; a file and a row there.

mod bandwidth;
mod byte_rate;
mod down;
mod injection;
mod kill;
mod latency;
mod pause;
mod phrase;
mod read;
mod restart;
mod rolling_restart;
pub(crate) mod settings;
mod slow;
mod status;

use std::fmt;
use std::time::Duration;

use schemars::SchemaGenerator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::capability::Capability;
use super::read::Reader;
use super::schema::merge;
use super::text::node::Node;

pub use bandwidth::Bandwidth;
pub use down::Down;
pub use injection::Injection;
pub use kill::Kill;
pub use latency::Latency;
pub use pause::Pause;
use phrase::percent;
pub use phrase::{Aimed, Phrase, length};
pub use restart::Restart;
pub use rolling_restart::RollingRestart;
use settings::{Places, Settings, settings};
pub use slow::Slow;
pub use status::StatusAnswer;

/// All kinds.
pub static KINDS: &[FaultKind] = &[
    FaultKind::of::<Kill>(),
    FaultKind::of::<Pause>(),
    FaultKind::of::<Latency>(),
    FaultKind::of::<Bandwidth>(),
    FaultKind::of::<Down>(),
    FaultKind::of::<StatusAnswer>(),
    FaultKind::of::<Slow>(),
    FaultKind::of::<Restart>(),
    FaultKind::of::<RollingRestart>(),
];

/// A kind of fault: its settings are the type itself.
#[expect(
    private_bounds,
    reason = "how settings are read is this module's own business"
)]
pub trait Kind:
    Settings + fmt::Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its word in a scenario.
    const NAME: &'static str;
    /// What it does.
    const SUMMARY: &'static str;
    /// How it is undone.
    const UNDO: &'static str;
    /// What it hits.
    const TARGET: TargetKind;
    /// What `for` means to it.
    const DURATION: DurationRule = DurationRule::Needed;
    /// What a node that it hits must be able to do.
    const NEEDS: &'static [Capability] = &[];
    /// Whether it hits a node by the links into it, of which there must be one.
    const THROUGH_LINKS: bool = false;
    /// Whether it acts on the processes of a node, which cannot be in two states at a time.
    const HOLDS_PROCESS: bool = false;

    /// Reports what its settings cannot mean together.
    fn check(&self, _places: &Places, _cx: &mut Reader) {}

    /// The same for the JSON Schema, as far as it can say so: what is added to the schema of its settings.
    #[must_use]
    fn schema_rules() -> Json {
        Json::Null
    }

    /// The pause between targets, where they are hit one after the other; `None` where they are hit together.
    fn in_turn(&self) -> Option<Duration> {
        None
    }

    /// Longest time that a target takes to end, where the fault ends by itself.
    fn ends_within(&self) -> Option<Duration> {
        None
    }

    /// How reports speak of it.
    fn phrase(&self, aimed: Aimed<'_>) -> Phrase;
}

/// What a kind of fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A node.
    Node,
    /// A link.
    Link,
}

impl TargetKind {
    /// For messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Link => "link",
        }
    }
}

/// What `for` means to a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationRule {
    /// It lasts so long.
    Needed,
    /// It ends by itself, and not before.
    Least,
    /// It ends by itself.
    None,
}

/// A row of the table of kinds.
pub struct FaultKind {
    /// Its word.
    pub name: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// How it is undone.
    pub undo: &'static str,
    /// What it hits.
    pub target: TargetKind,
    /// What a node that it hits must be able to do.
    pub needs: &'static [Capability],
    /// What `for` means to it.
    pub duration: DurationRule,
    /// Whether it hits a node by the links into it.
    pub through_links: bool,
    /// Whether it acts on the processes of a node.
    pub holds_process: bool,
    /// Names of its settings; none for a bare word.
    pub settings: &'static [&'static str],
    bare: fn() -> Option<Injection>,
    read: fn(&Node, &mut Reader) -> Option<Injection>,
    schema: fn(&mut SchemaGenerator) -> Json,
    restore: fn(Json) -> serde_json::Result<Injection>,
}

impl FaultKind {
    /// The row of a kind.
    #[must_use]
    pub const fn of<K: Kind>() -> Self {
        Self {
            name: K::NAME,
            summary: K::SUMMARY,
            undo: K::UNDO,
            target: K::TARGET,
            needs: K::NEEDS,
            duration: K::DURATION,
            through_links: K::THROUGH_LINKS,
            holds_process: K::HOLDS_PROCESS,
            settings: K::KEYS,
            bare: || K::bare().map(Injection::new),
            read: |node, cx| {
                let (settings, places) = K::read(node, cx)?;
                settings.check(&places, cx);
                Some(Injection::new(settings))
            },
            schema: |generator| {
                let mut schema = K::schema(generator).to_value();
                merge(&mut schema, K::schema_rules());
                schema
            },
            restore: |json| serde_json::from_value::<K>(json).map(Injection::new),
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

impl fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultKind").field(&self.name).finish()
    }
}

impl PartialEq for FaultKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
