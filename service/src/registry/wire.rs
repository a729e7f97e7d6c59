//! What the registry and its clients say to each other.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http::FieldError;
use crate::units::HumanDuration;

/// State of an instance, as the registry sees it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How the registry asks it whether it works. Without one, heartbeats are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// What the registry last said was ordered of it. A registry that has just started takes it over, any other knows
    /// better.
    #[serde(default, skip_serializing_if = "Orders::is_none")]
    pub orders: Orders,
}

/// How the registry asks an instance whether it works: `GET` of a path, where 2xx is yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Check {
    /// Path and query.
    pub path: String,
    /// Between two checks, give or take a tenth.
    pub interval: HumanDuration,
    /// How long an answer may take.
    pub timeout: HumanDuration,
    /// Good answers in a row that bring it back.
    pub rise: u32,
    /// Bad answers in a row that take it out.
    pub fall: u32,
    /// Between two checks while it is undecided.
    pub fastinter: HumanDuration,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            path: "/ready".to_owned(),
            interval: HumanDuration::millis(500),
            timeout: HumanDuration::millis(300),
            rise: 2,
            fall: 2,
            fastinter: HumanDuration::millis(100),
        }
    }
}

impl Check {
    /// The usual check of `path`.
    pub fn http(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// Everything that is wrong with it, each with its place below the check.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let sound = self.path.starts_with('/')
            && self.path.len() <= 1024
            && self.path.bytes().all(|b| b.is_ascii_graphic());
        if !sound {
            let detail = format!("`{}` is not a path, like /ready", self.path);
            problems.push(at("/path", detail));
        }
        for (pointer, value, least) in [
            ("/interval", self.interval, 50),
            ("/timeout", self.timeout, 10),
            ("/fastinter", self.fastinter, 20),
        ] {
            if value < HumanDuration::millis(least) || value > HumanDuration::secs(3600) {
                let detail = format!("{value} is not within {least}ms to 1h");
                problems.push(at(pointer, detail));
            }
        }
        for (pointer, value) in [("/rise", self.rise), ("/fall", self.fall)] {
            if !(1..=100).contains(&value) {
                problems.push(at(pointer, format!("{value} is not within 1 to 100")));
            }
        }
        problems
    }
}

/// What an operator has ordered of one instance. Orders last: heartbeats do not undo them, nor does registering again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Weight instead of the registered one, until the instance starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// It is in maintenance, and why; until the order is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<String>,
    /// It shall finish what it has and take nothing new, until it starts anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
}

impl Orders {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

fn at(pointer: &str, detail: impl Into<String>) -> FieldError {
    FieldError {
        pointer: pointer.to_owned(),
        detail: detail.into(),
    }
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
            check: None,
            orders: Orders::default(),
        }
    }

    /// Takes work from the start.
    #[must_use]
    pub fn ready(mut self) -> Self {
        self.ready = true;
        self
    }

    /// With one more tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// In this failure domain.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// With this share of work; 100 is the usual one.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Asked by the registry whether it works.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Everything that is wrong with it, each with its JSON pointer.
    #[must_use]
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        for (pointer, value) in [("/name", &self.name), ("/kind", &self.kind)] {
            if !is_name(value) {
                let detail = format!("`{value}` is not 1 to 128 letters, digits, `.`, `-` or `_`");
                problems.push(at(pointer, detail));
            }
        }
        let port = self.address.rsplit_once(':').and_then(|(host, port)| {
            port.parse::<u16>()
                .ok()
                .filter(|port| *port > 0 && !host.is_empty())
        });
        if port.is_none() || self.address.contains(['/', '@', ' ']) {
            let detail = format!("`{}` is not host:port", self.address);
            problems.push(at("/address", detail));
        }
        problems.extend(labels(
            &self.tags,
            &self.meta,
            self.zone.as_deref(),
            self.weight,
        ));
        if let Some(check) = &self.check {
            problems.extend(check.problems().into_iter().map(|problem| FieldError {
                pointer: format!("/check{}", problem.pointer),
                ..problem
            }));
        }
        problems
    }
}

/// Everything that is wrong with what describes an instance to whoever chooses among several.
pub(crate) fn labels(
    tags: &BTreeSet<String>,
    meta: &BTreeMap<String, String>,
    zone: Option<&str>,
    weight: u32,
) -> Vec<FieldError> {
    let mut problems: Vec<FieldError> = weight_problem(weight).into_iter().collect();
    if tags.len() > MOST_LABELS {
        problems.push(at(
            "/tags",
            format!("at most {MOST_LABELS}, not {}", tags.len()),
        ));
    }
    for tag in tags.iter().filter(|tag| !is_tag(tag)) {
        let detail = format!("`{tag}` is not 1 to 128 letters, digits, `.`, `-`, `_`, `:` or `=`");
        problems.push(at("/tags", detail));
    }
    if meta.len() > MOST_LABELS {
        problems.push(at(
            "/meta",
            format!("at most {MOST_LABELS}, not {}", meta.len()),
        ));
    }
    for (key, value) in meta {
        if !is_name(key) || value.len() > 1024 {
            let detail = format!(
                "`{key}`: a key is 1 to 128 letters, digits, `.`, `-` or `_`, a value at most 1024 bytes"
            );
            problems.push(at("/meta", detail));
        }
    }
    if let Some(zone) = zone.filter(|zone| !is_name(zone)) {
        let detail = format!("`{zone}` is not 1 to 128 letters, digits, `.`, `-` or `_`");
        problems.push(at("/zone", detail));
    }
    problems
}

/// What is wrong with a weight.
pub(crate) fn weight_problem(weight: u32) -> Option<FieldError> {
    let sound = (1..=1000).contains(&weight);
    (!sound).then(|| at("/weight", format!("{weight} is not within 1 to 1000")))
}

/// Most tags, and most entries of meta, of one instance.
const MOST_LABELS: usize = 64;

/// Whether `text` can be a tag. Tags need no escaping in a query.
pub(crate) fn is_tag(text: &str) -> bool {
    text.split([':', '='])
        .all(|part| part.is_empty() || is_name(part))
        && (1..=128).contains(&text.len())
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Of the life that sends it.
    pub epoch: u64,
    /// Whether it takes work.
    #[serde(default)]
    pub ready: bool,
}

/// Body of `PUT /v1/instances/{name}/weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// Share of work, 1 to 1000; 100 is the usual one.
    pub weight: u32,
}

/// Body of `POST /v1/instances/{name}/maintenance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Whether it shall be in maintenance.
    pub on: bool,
    /// Why, for whoever reads the list.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Body of `POST /v1/instances/{name}/drain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Goodbye {
    /// Of the life that says it; without one it is an operator's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Answer to everything that is said about an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// Its status now.
    pub status: Status,
    /// How long the lease lasts without another heartbeat.
    pub ttl_ms: u64,
    /// What an operator has ordered of it.
    #[serde(default, skip_serializing_if = "Orders::is_none")]
    pub orders: Orders,
}

/// What the active check of an instance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Nothing yet.
    Unknown,
    /// It works.
    Passing,
    /// It does not.
    Failing,
    /// It says that it is going away.
    Draining,
}

impl CheckState {
    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Passing => "passing",
            Self::Failing => "failing",
            Self::Draining => "draining",
        }
    }
}

/// One instance in a [`Listing`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Why it is in that state, in a few words.
    #[serde(default)]
    pub reason: String,
    /// What its active check says, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckState>,
    /// Since when it has not been heard of, as of this answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_ms: Option<u64>,
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

impl Instance {
    /// A registration as it is listed, in `status`.
    #[must_use]
    pub fn new(registration: &Registration, status: Status) -> Self {
        let registration = registration.clone();
        Self {
            name: registration.name,
            kind: registration.kind,
            address: registration.address,
            epoch: registration.epoch,
            weight: registration.weight,
            status,
            reason: String::new(),
            check: None,
            heartbeat_age_ms: None,
            suspect: false,
            revision: 0,
            tags: registration.tags,
            meta: registration.meta,
            zone: registration.zone,
            version: registration.version,
        }
    }
}

/// Answer of `GET /v1/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
