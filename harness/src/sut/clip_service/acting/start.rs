//! How a role of the service is configured and started.

use std::path::PathBuf;
use std::sync::Arc;

use clip_service::config::Config;
use clip_service::error::RoleError;
use clip_service::observe::Notices;
use clip_service::world::{self, Needs};
use clip_service::{gateway, processor, registry};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{GATEWAY, PROCESSOR, REGISTRY};
use super::binary;
use crate::sut::acting::{Body, CommandLine, Place};

/// Port in host names; links ignore it, because a route replaces the whole address.
const NOMINAL_PORT: u16 = 80;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Registry,
    Gateway,
    Processor,
}

impl Role {
    fn of(name: &str) -> Result<Self, String> {
        match name {
            REGISTRY => Ok(Self::Registry),
            GATEWAY => Ok(Self::Gateway),
            PROCESSOR => Ok(Self::Processor),
            other => Err(format!("the clip service has no role `{other}`")),
        }
    }

    /// The verb that starts it.
    fn verb(self) -> &'static str {
        match self {
            Self::Registry => REGISTRY,
            Self::Gateway => GATEWAY,
            Self::Processor => PROCESSOR,
        }
    }

    fn needs(self) -> Needs {
        match self {
            Self::Registry => Needs::REGISTRY,
            Self::Gateway => Needs::GATEWAY,
            Self::Processor => Needs::PROCESSOR,
        }
    }
}

/// The child process that runs one role.
pub(super) fn command(place: &Place<'_>) -> Result<CommandLine, String> {
    let role = Role::of(place.role)?;
    let program = binary()?;
    let file = write_config(place, role)?;
    let words = ["--notices", "--log-format", "json"];
    let mut arguments = vec![
        role.verb().to_owned(),
        "--config".to_owned(),
        file.display().to_string(),
    ];
    arguments.extend(words.map(str::to_owned));
    Ok(CommandLine { program, arguments })
}

/// The tasks that run one role in this process.
pub(super) fn body(place: &Place<'_>) -> Result<Body, String> {
    let role = Role::of(place.role)?;
    let file = write_config(place, role)?;
    // The environment is left out: what a test runs must not depend on it.
    let config = Config::load(Some(&file), [], []).map_err(|error| error.to_string())?;
    let config = Arc::new(config);
    Ok(Arc::new(move |notices, shutdown| {
        let config = config.clone();
        Box::pin(async move {
            run(role, &config, notices, shutdown)
                .await
                .map_err(|error| error.to_string())
        })
    }))
}

/// Writes the configuration of one node: what the scenario says, and what only the harness can know.
fn write_config(place: &Place<'_>, role: Role) -> Result<PathBuf, String> {
    let mut config = place.config.clone();
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    set("node", json!(place.node));
    set("listen", json!("127.0.0.1:0"));
    set("data", json!(place.data));
    if role == Role::Processor {
        set("advertise", json!(format!("{}:{NOMINAL_PORT}", place.node)));
    }
    if let Some(routes) = place.routes {
        if let Some(registry) = routes.keys().find(|peer| peer.starts_with(REGISTRY)) {
            set("registry_url", json!(format!("{registry}:{NOMINAL_PORT}")));
        }
        set("routes", json!(routes));
    }
    let file = place.data.join(format!("{}.json", place.node));
    std::fs::write(&file, Value::Object(config).to_string())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(file)
}

async fn run(
    role: Role,
    config: &Config,
    notices: Notices,
    shutdown: CancellationToken,
) -> Result<(), RoleError> {
    let env = world::open(config, role.verb(), role.needs(), notices, shutdown).await?;
    match role {
        Role::Registry => registry::registry(env, config.registry())
            .await
            .map_err(|error| RoleError::Failed(error.to_string())),
        Role::Gateway => gateway::gateway(env, config.gateway()).await,
        Role::Processor => processor::processor(env, config.processor()).await,
    }
}
