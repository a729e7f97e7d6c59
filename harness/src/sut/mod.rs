//! The system under test: what the harness has to know of it beyond what a scenario says.
//!
//! A [`Sut`] describes one system as data: its words, the fixtures it takes, how accepted work is read back, the probes
//! that expectations may name, and, where the system expands from a few numbers by itself, its [`Preset`]. There are two:
//! the clip service (`system: { service: … }`) and programs that the author names one by one (`system: { nodes: … }`),
//! which bring nothing of the kind.
//!
//! The description comes before [`crate::scenario`] in the order of imports: it knows no file, no plan and no process, so
//! every stage may ask it. What is *done* to a system (start a role, upload a fixture, look at a result, ask for counts) is
//! [`acting`], which only the modules that run something may import.
//!
//! Everything the harness knows of clips is in `clip_service/`; a test reads the sources and refuses such words elsewhere.
//! This module is no place for what all systems have in common: that is the stages' own business.

pub mod acting;
pub mod clip_service;
pub mod probe;
pub mod programs;

use std::fmt;
use std::time::Duration;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use probe::Probe;

/// A description of one system.
pub trait Sut: Sync {
    /// Its name in plans and records.
    fn kind(&self) -> SutKind;
    /// As prose names it: `the clip service`.
    fn title(&self) -> &'static str;
    /// What its work is called.
    fn vocabulary(&self) -> &'static Vocabulary;
    /// The roles its nodes have, as far as it has roles.
    fn roles(&self) -> &'static [Role] {
        &[]
    }
    /// Files that can be made and handed to it before load starts; `$(fixture.NAME)` is the id it gave.
    fn fixtures(&self) -> &'static [Fixture] {
        &[]
    }
    /// How accepted work is read back when a scenario does not say.
    fn read_back(&self) -> Option<&'static ReadBack> {
        None
    }
    /// What expectations may name of what it tells of itself.
    fn probes(&self) -> &'static [Probe] {
        &[]
    }
    /// How it expands by itself, where it does.
    fn preset(&self) -> Option<&dyn Preset> {
        None
    }
}

/// A system that expands to nodes and links by itself, and has a configuration of its own.
pub trait Preset: Sync {
    /// Sections of the configuration that a scenario may set. What else there is, is the harness's to give.
    fn sections(&self) -> &'static [&'static str];
    /// The JSON Schema of the configuration, for editors.
    fn config_schema(&self, generator: &mut SchemaGenerator) -> Schema;
    /// The same with everything in it, for walking down.
    fn config_tree(&self) -> Json;
    /// What is wrong with these values (`breaker.open`), all at once.
    fn config_problems(&self, values: Vec<(String, Json)>) -> Vec<ConfigProblem>;
    /// The nodes and links. Of a role that grows and shrinks with the work there are as many nodes as there may be.
    fn expand(&self, wanted: &Wanted<'_>) -> Topology;
}

/// Which system a plan is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SutKind {
    /// [`clip_service`].
    ClipService,
    /// [`programs`].
    Programs,
}

impl SutKind {
    /// Its description.
    #[must_use]
    pub fn sut(self) -> &'static dyn Sut {
        match self {
            Self::ClipService => &clip_service::ClipService,
            Self::Programs => &programs::Programs,
        }
    }
}

impl Default for SutKind {
    /// Plans that do not say which system brings a role were written when one did.
    fn default() -> Self {
        Self::ClipService
    }
}

impl fmt::Debug for dyn Sut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

/// All systems.
pub const SYSTEMS: &[SutKind] = &[SutKind::ClipService, SutKind::Programs];

/// The system that the key `service` of a scenario stands for.
pub const SERVICE: SutKind = SutKind::ClipService;

/// A scenario of that system that runs as it is, with a word on each part, for authors to begin with. `NAME` stands for
/// its name.
pub const FIRST_SCENARIO: &str = clip_service::FIRST_SCENARIO;

/// The fixtures of all systems, each with its system.
pub fn fixtures() -> impl Iterator<Item = (&'static dyn Sut, &'static Fixture)> {
    SYSTEMS.iter().flat_map(|kind| {
        let sut = kind.sut();
        sut.fixtures().iter().map(move |fixture| (sut, fixture))
    })
}

/// What a system's work is called, for headlines, tiles, tables and rows. The plural takes an `s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// A piece of work that it accepts: `job`.
    pub work: &'static str,
    /// Several of them: `jobs`.
    pub works: &'static str,
    /// What comes of one: `clip`.
    pub result: &'static str,
    /// What of it reports the state of its instances: `registry`.
    pub instances: &'static str,
}

/// A role of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Its name in plans.
    pub name: &'static str,
    /// Whether a summary of the system counts its nodes.
    pub counted: bool,
}

/// A file that can be made and handed to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixture {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub about: &'static str,
}

/// How the state of accepted work is read back. Paths of requests hold `{id}`, fields are names of the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBack {
    /// Path of one piece of work.
    pub get: &'static str,
    /// Field of its state.
    pub state: &'static str,
    /// States of success.
    pub done: &'static [&'static str],
    /// States of failure.
    pub failed: &'static [&'static str],
    /// Path of the list of its results.
    pub results: &'static str,
    /// Field of that list.
    pub items: &'static str,
    /// Field, within a result, of the path to download it from.
    pub url: &'static str,
    /// Field, within a result, of what tells it from its siblings.
    pub rank: &'static str,
}

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The key whose value it is about.
    pub key: Option<String>,
    /// What is wrong with it.
    pub message: String,
}

/// What a scenario says of a system that expands by itself.
pub struct Wanted<'a> {
    /// How many nodes of a role.
    pub count: &'a dyn Fn(&str) -> usize,
    /// The configuration of a node, by its name.
    pub config: &'a dyn Fn(&str) -> Map<String, Json>,
    /// No role has more nodes than this.
    pub most: usize,
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// What a system expands to.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// In the order they are started.
    pub nodes: Vec<RoleNode>,
    /// Every edge, from one node to another; [`CLIENT`] is the load generator.
    pub links: Vec<(String, String)>,
    /// The node that load enters through.
    pub entry: String,
}

/// Name that the load generator has on links.
pub const CLIENT: &str = "client";

/// A node with a role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleNode {
    /// Unique name.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// Its configuration.
    pub config: Map<String, Json>,
    /// Nodes of a lower wave are ready before it is started.
    pub wave: u32,
    /// It is ready when this path answers 200 …
    pub ready: &'static str,
    /// … within this time.
    pub within: Duration,
    /// Not started with the others, but when the system asks for more of its role.
    pub standby: bool,
}

/// The probes of all systems, each with its system.
pub fn probes() -> impl Iterator<Item = (&'static dyn Sut, &'static Probe)> {
    SYSTEMS.iter().flat_map(|kind| {
        let sut = kind.sut();
        sut.probes().iter().map(move |probe| (sut, probe))
    })
}

/// The probe of this name, with its system.
#[must_use]
pub fn find_probe(name: &str) -> Option<(&'static dyn Sut, &'static Probe)> {
    probes().find(|(_, probe)| probe.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_examples_begin_with_them() {
        let names: Vec<_> = probes().map(|(_, probe)| probe.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} is there twice");
        }
        for (sut, probe) in probes() {
            assert!(
                probe.example.starts_with(&format!("{}(", probe.name)),
                "{}",
                probe.example
            );
            if let Some(role) = probe.argument.role {
                assert!(sut.roles().iter().any(|known| known.name == role), "{role}");
            }
        }
    }
}
