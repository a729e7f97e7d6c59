//! The service's own configuration as it may stand under `system.service.config`. The service judges it.

use clip_service::config::{Config, ConfigErrors};
use clip_service::config_error::ConfigError;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::{ClipService, topology};
use crate::sut::{ConfigProblem, Preset, Topology, Wanted};

/// Sections a scenario may set. Addresses, folders and names of nodes are the harness's to give.
const SECTIONS: &[&str] = &[
    "balance",
    "balancing",
    "breaker",
    "retry",
    "hedge",
    "throttle",
    "timeouts",
    "registry",
    "media",
    "jobs",
    "limits",
    "rate_limit",
    "shed",
    "bulkheads",
    "scale",
    "drain",
];

impl Preset for ClipService {
    fn sections(&self) -> &'static [&'static str] {
        SECTIONS
    }

    fn config_schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let service = generator.subschema_for::<Config>();
        json_schema!({
            "type": "object",
            "allOf": [service],
            "propertyNames": { "enum": SECTIONS },
        })
    }

    fn config_tree(&self) -> Json {
        schemars::schema_for!(Config).to_value()
    }

    fn config_problems(&self, values: Vec<(String, Json)>) -> Vec<ConfigProblem> {
        let problem = |ConfigError { key, message, .. }| ConfigProblem { key, message };
        match Config::load(None, [], values) {
            Ok(_) => Vec::new(),
            Err(ConfigErrors(errors)) => errors.into_iter().map(problem).collect(),
        }
    }

    fn expand(&self, wanted: &Wanted<'_>) -> Topology {
        topology::expand(wanted)
    }
}
