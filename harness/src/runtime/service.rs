//! Everything the harness knows about the clip service: how its roles are configured and started, how a fixture is
//! uploaded, how a result is checked. The rest of the harness would run any other system.

use std::path::PathBuf;

use clip_service::media::NoMedia;
use serde_json::{Map, Value, json};

use super::embedded::Body;
use super::process::{Listens, Program};
use super::{RuntimeError, Surroundings};
use crate::plan::ServiceRole;

/// Port in host names; links ignore it, because a route replaces the whole address.
const NOMINAL_PORT: u16 = 80;

impl ServiceRole {
    /// The verb that starts it.
    fn verb(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Gateway => "gateway",
            Self::Processor => "processor",
        }
    }
}

/// The configuration of one node: what the scenario says, and what only the harness can know.
fn config(
    node: &str,
    role: ServiceRole,
    own: &Map<String, Value>,
    around: &Surroundings,
) -> Map<String, Value> {
    let mut config = own.clone();
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    set("node", json!(node));
    set("listen", json!("127.0.0.1:0"));
    set("data", json!(around.data));
    if role == ServiceRole::Processor {
        set("advertise", json!(format!("{node}:{NOMINAL_PORT}")));
    }
    let routes = around.routes.get(node);
    if let Some(routes) = routes {
        if let Some(registry) = routes.keys().find(|peer| peer.starts_with("registry")) {
            set(
                "registry_url",
                json!(format!("http://{registry}:{NOMINAL_PORT}")),
            );
        }
        set("routes", json!(routes));
    }
    config
}

/// The child process that runs one role.
pub(super) fn command(
    node: &str,
    role: ServiceRole,
    own: &Map<String, Value>,
    around: &Surroundings,
) -> Result<Program, RuntimeError> {
    let failed = |reason: String| RuntimeError::Start {
        node: node.to_owned(),
        reason,
    };
    let program = binary().map_err(failed)?;
    let file = around.data.join(format!("{node}.json"));
    let text = Value::Object(config(node, role, own, around)).to_string();
    std::fs::write(&file, text)
        .map_err(|error| failed(format!("cannot write {}: {error}", file.display())))?;
    Ok(Program {
        program,
        arguments: vec![
            role.verb().to_owned(),
            "--config".to_owned(),
            file.display().to_string(),
            "--notices".to_owned(),
        ],
        env: std::collections::BTreeMap::new(),
        listens: Listens::ByNotice,
    })
}

/// The service's binary: beside this program, or one directory up when this is a test in `deps/`.
fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("clip-service{}", std::env::consts::EXE_SUFFIX);
    let directories = own.ancestors().skip(1).take(2);
    directories
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            format!(
                "{name} is not beside {}; build it with `cargo build -p clip-service`",
                own.display()
            )
        })
}

/// The tasks that run one role in this process.
pub(super) fn body(
    node: &str,
    role: ServiceRole,
    own: &Map<String, Value>,
    around: &Surroundings,
) -> Result<Body, RuntimeError> {
    let _ = (role, own, around, NoMedia);
    Err(RuntimeError::Start {
        node: node.to_owned(),
        reason: "roles are not linked in yet".to_owned(),
    })
}

/// Makes the media fixtures of these names and uploads them; their ids by name.
pub(crate) async fn prepare_fixtures(
    names: &[String],
    entry: std::net::SocketAddr,
) -> Result<std::collections::BTreeMap<String, String>, String> {
    if let Some(name) = names.first() {
        return Err(format!("fixture {name} cannot be uploaded to {entry} yet"));
    }
    Ok(std::collections::BTreeMap::new())
}

/// Decodes a result to its end.
pub(crate) async fn decodes(file: &std::path::Path) -> Result<(), String> {
    Err(format!("{} cannot be decoded yet", file.display()))
}
