//! What the registry and its clients say to each other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// State of an instance, as the registry sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Registered, not ready for work yet.
    Starting,
    /// Ready, heartbeats arrive.
    Passing,
    /// Ready when last heard of, but heartbeats are missing.
    Warning,
    /// Its lease ended, or it says itself that it cannot work.
    Critical,
    /// Finishes what it has, wants nothing new.
    Draining,
    /// Taken out by an operator, whatever its health.
    Maintenance,
    /// Not known, or no longer.
    Removed,
}

impl Status {
    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Removed => "removed",
        }
    }
}

/// What an instance says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Unique name of the instance (`processor-2`). Registering a name again replaces the older registration.
    pub name: String,
    /// What it is one of (`processor`).
    pub kind: String,
    /// Where it answers, `host:port`.
    pub address: String,
    /// Rises with each start of the instance, so that a late message of an earlier life changes nothing.
    pub epoch: u64,
    /// Whether it takes work already.
    #[serde(default)]
    pub ready: bool,
    /// Whether it is on its way out.
    #[serde(default)]
    pub draining: bool,
    /// Share of work relative to the others; 100 is the usual one.
    #[serde(default = "usual_weight")]
    pub weight: u32,
    /// Labels to filter by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Anything else worth showing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Failure domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

fn usual_weight() -> u32 {
    USUAL_WEIGHT
}

/// The weight of an instance that asks for no other.
pub const USUAL_WEIGHT: u32 = 100;

impl Registration {
    /// A registration with the usual weight and nothing optional.
    pub fn new(
        name: impl Into<String>,
        kind: impl Into<String>,
        address: impl Into<String>,
        epoch: u64,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            address: address.into(),
            epoch,
            ready: false,
            draining: false,
            weight: USUAL_WEIGHT,
            tags: BTreeSet::new(),
            meta: BTreeMap::new(),
            zone: None,
            version: None,
        }
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [("name", &self.name), ("kind", &self.kind)] {
            if !is_name(value) {
                problems.push(format!(
                    "{key}: `{value}` is not 1 to 128 letters, digits, `.`, `-` or `_`"
                ));
            }
        }
        let port = self.address.rsplit_once(':').and_then(|(host, port)| {
            port.parse::<u16>()
                .ok()
                .filter(|port| *port > 0 && !host.is_empty())
        });
        if port.is_none() || self.address.contains(['/', '@', ' ']) {
            problems.push(format!("address: `{}` is not host:port", self.address));
        }
        if !(1..=1000).contains(&self.weight) {
            problems.push(format!("weight: {} is not within 1 to 1000", self.weight));
        }
        if self.tags.len() > 64 || self.meta.len() > 64 {
            problems.push("tags, meta: at most 64 of each".to_owned());
        }
        problems
    }
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// A sign of life. Also what `drain` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Of the life that sends it.
    pub epoch: u64,
    /// Whether it takes work.
    #[serde(default)]
    pub ready: bool,
}

/// Answer to everything an instance says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its status now.
    pub status: Status,
    /// How long the lease lasts without another heartbeat.
    pub ttl_ms: u64,
}

/// One instance in a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique name.
    pub name: String,
    /// What it is one of.
    pub kind: String,
    /// `host:port`.
    pub address: String,
    /// Which life of it.
    pub epoch: u64,
    /// Share of work.
    pub weight: u32,
    /// State.
    pub status: Status,
    /// Silent together with many others, which is more likely the network's fault: use it last.
    #[serde(default)]
    pub suspect: bool,
    /// Revision of its last change.
    pub revision: u64,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Failure domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Answer of `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Changes with every start of the registry; revisions of different incarnations do not compare.
    pub incarnation: String,
    /// Of the last change to what is listed. Send it as `since` to wait for the next.
    pub revision: u64,
    /// The registry started less than a lease ago, so instances may be missing that have not been heard yet.
    pub settling: bool,
    /// How long leases last.
    pub ttl_ms: u64,
    /// By name.
    pub instances: Vec<Instance>,
}
