//! The clip service: all that the harness knows of it. `topology.rs` says which nodes it has and how they are linked,
//! `config.rs` which of its configuration a scenario may set, `probes.rs` what
//! expectations may name, `acting/` how its roles are started and what else is done
//! to it.

pub mod acting;
mod config;
mod first_scenario;
mod probes;
mod topology;

pub(super) use first_scenario::FIRST_SCENARIO;

use super::probe::Probe;
use super::{Fixture, Preset, ReadBack, Role, Sut, SutKind, Vocabulary};

/// Roles, by their names in plans; they are the verbs of the service's binary as well.
pub(crate) const REGISTRY: &str = "registry";
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const PROCESSOR: &str = "processor";

/// The clip service.
#[derive(Debug)]
pub struct ClipService;

impl Sut for ClipService {
    fn kind(&self) -> SutKind {
        SutKind::ClipService
    }

    fn title(&self) -> &'static str {
        "the clip service"
    }

    fn vocabulary(&self) -> &'static Vocabulary {
        &Vocabulary {
            work: "job",
            works: "jobs",
            result: "clip",
            instances: REGISTRY,
        }
    }

    fn roles(&self) -> &'static [Role] {
        &[
            Role {
                name: GATEWAY,
                counted: true,
            },
            Role {
                name: PROCESSOR,
                counted: true,
            },
            Role {
                name: REGISTRY,
                counted: false,
            },
        ]
    }

    fn fixtures(&self) -> &'static [Fixture] {
        &[
            Fixture {
                name: "talk",
                about: "60 s, 1280x720, a keyframe every second; two planted highlights",
            },
            Fixture {
                name: "short",
                about: "6 s, 320x180; one planted highlight: for quick runs",
            },
        ]
    }

    fn read_back(&self) -> Option<&'static ReadBack> {
        Some(&ReadBack {
            get: "/api/v1/jobs/{id}",
            state: "status",
            done: &["completed", "completed_with_warnings"],
            failed: &["failed", "cancelled"],
            results: "/api/v1/jobs/{id}/clips",
            items: "clips",
            url: "download_url",
            rank: "rank",
        })
    }

    fn probes(&self) -> &'static [Probe] {
        probes::PROBES
    }

    fn preset(&self) -> Option<&dyn Preset> {
        Some(self)
    }
}
