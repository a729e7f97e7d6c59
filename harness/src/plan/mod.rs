//! What will happen, decided before anything starts: names resolved, random choices drawn, defaults filled in.
//!
//! Pure data and pure functions. A plan is stored with every record, so that a run can be judged and repeated later.

mod build;
mod descriptors;
mod expected;
mod faults;
mod layout;
mod load;
mod machine;
mod names;
mod needs;
mod overlaps;
mod prepare;
mod probes;
mod programs;
mod stages;
mod steps;
mod system;
mod target;
pub mod timeline;
mod times;

use clip_service::units::HumanDuration;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::scenario::JsonPath;
use crate::scenario::expr::Expectation;
use crate::sut::{Sut, SutKind, Vocabulary};

pub use expected::{ExpectPlan, ExpectationId, Expected};
pub use load::{LoadModel, LoadPlan, RateStage};
pub use needs::Need;
pub use prepare::{PlanOptions, Prepared};
pub use stages::NamedStage;
pub use steps::{HttpStep, StepAction, StepExpect, StepPlan};

pub use crate::scenario::model::{ExitRule, Format, LedgerCheck, Moment, RuntimeKind, Shape};

pub use crate::scenario::fault::Injection;

/// A resolved scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the scenario.
    pub name: String,
    /// One sentence on what it shows.
    pub about: Option<String>,
    /// For choosing scenarios.
    pub tags: Vec<String>,
    /// The scenario file as it was given on the command line; empty when the plan was built in code.
    pub file: String,
    /// Seed of everything random in the run.
    pub seed: u64,
    /// Bound on the whole run, start-up and drain included.
    pub limit: HumanDuration,
    /// What is started.
    pub system: SystemPlan,
    /// What is asked of it, in the order written.
    pub load: Vec<LoadPlan>,
    /// What must hold before the first fault; the baseline; what "recovered" means.
    pub steady: Option<SteadyPlan>,
    /// What goes wrong, in order of start as far as that is known.
    pub faults: Vec<FaultPlan>,
    /// What must hold.
    pub expect: ExpectPlan,
    /// When any of these turns true the run stops, undoes everything and ends as aborted.
    pub abort: Vec<Expectation>,
    /// Files to write.
    pub formats: Vec<Format>,
    /// Expected length of the run: load, faults as far as known, without start-up and drain.
    pub estimate: HumanDuration,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SystemPlan {
    /// Where the service runs; each node says for itself.
    pub runtime: RuntimeKind,
    /// In order of start; a node is started when all before it are ready, equal `wave`s together.
    pub nodes: Vec<NodePlan>,
    /// Every edge between nodes, and from the client in.
    pub links: Vec<LinkPlan>,
    /// Name of the link that load enters through; the first, where there are several.
    pub entry: String,
    /// All of them, where there are several, which take turns; empty where there is one.
    #[serde(default)]
    pub entries: Vec<String>,
    /// Names of media fixtures that are made and uploaded before load starts (`talk`).
    pub fixtures: Vec<String>,
}

impl SystemPlan {
    /// What is known of it: the system that one of its nodes has a role of, if there is one.
    #[must_use]
    pub fn sut(&self) -> &'static dyn Sut {
        let known = self.nodes.iter().find_map(|node| match &node.start {
            NodeStart::Service { system, .. } => Some(*system),
            NodeStart::Run { .. } => None,
        });
        known.unwrap_or(SutKind::Programs).sut()
    }

    /// What its work is called.
    #[must_use]
    pub fn vocabulary(&self) -> &'static Vocabulary {
        self.sut().vocabulary()
    }
}

impl NodePlan {
    /// Its role, where it is one of a system that the harness knows.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        match &self.start {
            NodeStart::Service { role, .. } => Some(role),
            NodeStart::Run { .. } => None,
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Unique name, also its host name (`processor-2`).
    pub name: String,
    /// Nodes of a lower wave are ready before it is started.
    pub wave: u32,
    /// How to start it.
    pub start: NodeStart,
    /// When it counts as ready.
    pub ready: ReadyPlan,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime: RuntimeKind,
    /// What it means that it ends although nothing ended it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exits: ExitRule,
    /// Not started with the others, but when the system asks for more of its role.
    #[serde(default, skip_serializing_if = "is_false")]
    pub standby: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How a node is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeStart {
    /// A role of a system that the harness knows.
    Service {
        /// Which system.
        #[serde(default)]
        system: SutKind,
        /// Which role.
        role: String,
        /// Keys of its configuration that differ from the defaults.
        config: serde_json::Map<String, serde_json::Value>,
    },
    /// Any other program (process runtime only). It must listen on the port in the environment variable `PORT`.
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// Additional environment; values may name links as `$(link.NAME)`.
        env: IndexMap<String, String>,
    },
}

/// When a node counts as ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadyPlan {
    /// `GET` this path ...
    pub path: String,
    /// ... until it answers this status ...
    pub status: u16,
    /// ... within this time.
    pub within: HumanDuration,
}

/// One edge. Every edge runs through a TCP proxy with a stable address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlan {
    /// `gateway-1->processor-2`, `client->gateway-1`.
    pub name: String,
    /// Node it comes from; `client` for the load generator.
    pub from: String,
    /// Node it leads to.
    pub to: String,
}

impl LinkPlan {
    pub(crate) fn between(from: &str, to: &str) -> Self {
        Self {
            name: link_name(from, to),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }
}

/// What must hold before the first fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SteadyPlan {
    /// For so long.
    pub window: HumanDuration,
    /// All of these.
    pub hold: Vec<Expectation>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// Name.
    pub name: String,
    /// When it begins.
    pub start: StartPlan,
    /// How long it lasts; at least so long, where its end is that something is ready again.
    pub length: HumanDuration,
    /// What it hits, selectors resolved, in the order written.
    pub targets: Vec<TargetPlan>,
    /// What it does.
    pub inject: Injection,
}

/// When a fault begins. Offsets count from the start of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartPlan {
    /// At this time; later if steady state is not reached by then.
    At(HumanDuration),
    /// Counted from a moment of another fault.
    After {
        /// That fault.
        fault: String,
        /// Which moment.
        moment: Moment,
        /// How long after it.
        offset: HumanDuration,
    },
}

/// What a fault hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetPlan {
    /// A node by name.
    Node(String),
    /// A link by name.
    Link(String),
}

impl TargetPlan {
    /// The node's or link's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Node(name) | Self::Link(name) => name,
        }
    }
}

/// What must hold when load has ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndPlan {
    /// Accepted work has this long to finish.
    pub settle: HumanDuration,
    /// What must be true of the accepted work then.
    pub ledger: Vec<LedgerCheck>,
    /// How the state of accepted work is read; a system that the harness knows fills it in.
    pub read: Option<LedgerRead>,
}

/// How the state of accepted work is read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRead {
    /// Path with `{id}`; answers 404 for what is unknown.
    pub get: String,
    /// JSON path of the state.
    pub state: JsonPath,
    /// States of success.
    pub done: Vec<String>,
    /// States of failure.
    pub failed: Vec<String>,
    /// Where results are listed (`{id}`), as an array at `items` with the download path at `url` and the rank at `rank`.
    pub results: Option<ResultsRead>,
}

/// How results of accepted work are read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsRead {
    /// Path with `{id}`.
    pub get: String,
    /// JSON path of the array.
    pub items: JsonPath,
    /// JSON path, within an item, of the path to download it from.
    pub url: JsonPath,
    /// JSON path, within an item, of what tells it from its siblings.
    pub rank: JsonPath,
}

/// The name of an edge.
#[must_use]
pub fn link_name(from: &str, to: &str) -> String {
    format!("{from}->{to}")
}
