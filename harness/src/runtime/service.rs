//! Everything the harness knows about the clip service: how its roles are configured and started, how a fixture is
//! uploaded, how a result is checked. The rest of the harness would run any other system.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clip_service::config::Config;
use clip_service::error::RoleError;
use clip_service::media::worker::WorkerPool;
use clip_service::media::{MediaConfig, MediaEngine as _, Progress, SelectOptions, synth};
use clip_service::observe::Notices;
use clip_service::world::{self, Needs};
use clip_service::{gateway, processor, registry};
use reqwest::multipart;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::embedded::Body;
use super::process::{Listens, Program};
use super::{NodeContext, RuntimeError, ready};

use crate::plan::ServiceRole;
use crate::scenario::json_path::scalar_text;

/// Port in host names; links ignore it, because a route replaces the whole address.
const NOMINAL_PORT: u16 = 80;
/// Making a fixture takes some seconds the first time, longer on a busy machine.
const FIXTURE_BOUND: Duration = Duration::from_secs(120);
/// A gateway that is ready may still be learning of its processors.
const UPLOAD_WITHIN: Duration = Duration::from_secs(30);
const UPLOAD_PAUSE: Duration = Duration::from_millis(250);

impl ServiceRole {
    /// The verb that starts it.
    fn verb(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Gateway => "gateway",
            Self::Processor => "processor",
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

/// Writes the configuration of one node: what the scenario says, and what only the harness can know.
fn write_config(
    node: &str,
    role: ServiceRole,
    own: &Map<String, Value>,
    context: &NodeContext,
) -> Result<PathBuf, RuntimeError> {
    let mut config = own.clone();
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    set("node", json!(node));
    set("listen", json!("127.0.0.1:0"));
    set("data", json!(context.data));
    if role == ServiceRole::Processor {
        set("advertise", json!(format!("{node}:{NOMINAL_PORT}")));
    }
    if let Some(routes) = context.routes.get(node) {
        if let Some(registry) = routes.keys().find(|peer| peer.starts_with("registry")) {
            set("registry_url", json!(format!("{registry}:{NOMINAL_PORT}")));
        }
        set("routes", json!(routes));
    }
    let file = context.data.join(format!("{node}.json"));
    std::fs::write(&file, Value::Object(config).to_string()).map_err(|error| {
        RuntimeError::Start {
            node: node.to_owned(),
            reason: format!("cannot write {}: {error}", file.display()),
        }
    })?;
    Ok(file)
}

/// The child process that runs one role.
pub(super) fn command(
    node: &str,
    role: ServiceRole,
    own: &Map<String, Value>,
    context: &NodeContext,
) -> Result<Program, RuntimeError> {
    let program = binary().map_err(|reason| RuntimeError::Start {
        node: node.to_owned(),
        reason,
    })?;
    let file = write_config(node, role, own, context)?;
    let words = ["--notices", "--log-format", "json"];
    let mut arguments = vec![
        role.verb().to_owned(),
        "--config".to_owned(),
        file.display().to_string(),
    ];
    arguments.extend(words.map(str::to_owned));
    Ok(Program {
        program,
        arguments,
        env: BTreeMap::new(),
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
    context: &NodeContext,
) -> Result<Body, RuntimeError> {
    let file = write_config(node, role, own, context)?;
    // The environment is left out: what a test runs must not depend on it.
    let config = Config::load(Some(&file), [], []).map_err(|error| RuntimeError::Start {
        node: node.to_owned(),
        reason: error.to_string(),
    })?;
    let config = Arc::new(config);
    Ok(Arc::new(move |notices, shutdown| {
        let config = config.clone();
        Box::pin(async move {
            run_role(role, &config, notices, shutdown)
                .await
                .map_err(|error| error.to_string())
        })
    }))
}

async fn run_role(
    role: ServiceRole,
    config: &Config,
    notices: Notices,
    shutdown: CancellationToken,
) -> Result<(), RoleError> {
    let env = world::open(config, role.verb(), role.needs(), notices, shutdown).await?;
    match role {
        ServiceRole::Registry => registry::registry(env, config.registry())
            .await
            .map_err(|error| RoleError::Failed(error.to_string())),
        ServiceRole::Gateway => gateway::gateway(env, config.gateway()).await,
        ServiceRole::Processor => processor::processor(env, config.processor()).await,
    }
}

/// Longest wait for a gateway's counts.
const COUNTS_WITHIN: Duration = Duration::from_secs(1);

/// Calls a gateway has made since it was started, and the tries it made for them; `None` when it does not say.
pub(crate) async fn upstream_counts(
    client: &reqwest::Client,
    gateway: SocketAddr,
) -> Option<(u64, u64)> {
    let asked = client
        .get(format!("http://{gateway}/internal/upstreams"))
        .timeout(COUNTS_WITHIN)
        .send()
        .await
        .ok()?;
    let answer: Value = serde_json::from_slice(&asked.bytes().await.ok()?).ok()?;
    let count = |what| answer["totals"][what].as_u64();
    Some((count("calls")?, count("tries")?))
}

/// Makes the media fixtures of these names and uploads them; their ids by name.
pub(crate) async fn prepare_fixtures(
    names: &[String],
    entry: SocketAddr,
) -> Result<BTreeMap<String, String>, String> {
    let mut ids = BTreeMap::new();
    for name in names {
        let wanted = name.clone();
        let made = tokio::task::spawn_blocking(move || synth::fixture(&wanted));
        let file = tokio::time::timeout(FIXTURE_BOUND, made)
            .await
            .map_err(|_| format!("fixture {name} was not made within {FIXTURE_BOUND:?}"))?
            .map_err(|error| format!("fixture {name}: {error}"))?
            .map_err(|error| error.to_string())?;
        let id = upload(&file, entry)
            .await
            .map_err(|error| format!("fixture {name} cannot be uploaded: {error}"))?;
        ids.insert(name.clone(), id);
    }
    Ok(ids)
}

/// Uploads a file without having it processed; its id. Tries again for a while.
async fn upload(file: &Path, entry: SocketAddr) -> Result<String, String> {
    let bytes = tokio::fs::read(file)
        .await
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let bytes = bytes::Bytes::from(bytes);
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let client = ready::client();
    let until = Instant::now() + UPLOAD_WITHIN;
    loop {
        let length = bytes.len() as u64;
        let part =
            multipart::Part::stream_with_length(bytes.clone(), length).file_name(name.clone());
        let sent = client
            .post(format!("http://{entry}/api/v1/upload?process=false"))
            .multipart(multipart::Form::new().part("file", part))
            .timeout(UPLOAD_WITHIN)
            .send()
            .await;
        let seen = match sent {
            Ok(answer) => {
                let status = answer.status();
                let body = answer.bytes().await.unwrap_or_default();
                let id = serde_json::from_slice::<Value>(&body)
                    .ok()
                    .and_then(|value| scalar_text(&value["video_id"]));
                match id {
                    Some(id) if status.is_success() => return Ok(id),
                    Some(_) | None => {
                        format!("status {status}: {}", String::from_utf8_lossy(&body))
                    }
                }
            }
            Err(error) => ready::describe(&error),
        };
        if Instant::now() + UPLOAD_PAUSE >= until {
            return Err(seen);
        }
        tokio::time::sleep(UPLOAD_PAUSE).await;
    }
}

/// Decodes results to their end, in worker processes of the service.
pub(crate) struct Decoder(WorkerPool);

impl Decoder {
    pub(crate) fn new() -> Result<Self, String> {
        // The service's binary where there is one: not every program that embeds the harness answers to a worker's verb.
        let worker = binary()
            .ok()
            .map(|path| vec![path.display().to_string(), WORKER_VERB.to_owned()]);
        let config = MediaConfig {
            worker_command: worker,
            ..MediaConfig::default()
        };
        WorkerPool::new(config)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Whether a file can be decoded to its end.
    pub(crate) async fn decodes(&self, file: &Path) -> Result<(), String> {
        let options = SelectOptions {
            min_length: 1.0,
            max_length: 60.0,
            max_clips: 1,
        };
        self.0
            .analyse(file, &options, Progress::ignored())
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// The verb that worker processes of the service answer to.
const WORKER_VERB: &str = "__media-worker";
