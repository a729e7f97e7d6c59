//! The configuration: one [`Config`] for every role, from a file, the environment and the command line.
//!
//! Every key has a default that runs. Keys that nothing reads are refused, and every problem is reported at once.
//! Later sources win: defaults, then the file (`--config`, TOML or JSON), then `CLIP_…` variables, then flags.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admission::{AdmissionConfig, BulkheadsConfig, RateLimitConfig, ShedConfig};
use crate::config_error::ConfigError;
use crate::http::{Pace, Patience};
use crate::media::MediaConfig;
use crate::registry::{CheckConfig, RegistryConfig, USUAL_WEIGHT, labels};
use crate::scale::ScaleConfig;
use crate::units::HumanDuration;
use crate::upstream::{
    Balance, Balancing, BreakerConfig, HedgeConfig, RetryConfig, ThrottleConfig, Timeouts,
    UpstreamConfig,
};

mod values;

pub use crate::config_error::ConfigErrors;

use values::{Values, read};

/// Prefix of the variables that override keys: `CLIP_LISTEN`, `CLIP_JOBS__LEASE`.
pub const ENV_PREFIX: &str = "CLIP_";

/// Variables with the prefix that are not keys: the command line and the made fixtures read them.
const OTHER_VARIABLES: [&str; 5] = [
    "CLIP_CONFIG",
    "CLIP_FIXTURES",
    "CLIP_LOG",
    "CLIP_LOG_FORMAT",
    "CLIP_NOTICES",
];

/// Variables that mark processes a test harness started; they mean nothing here.
const HARNESS_PREFIX: &str = "CLIP_HARNESS_";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of this node, unique in the system. Default: the role's name.
    pub node: Option<String>,
    /// Address to listen on (`ip:port`; port 0 takes a free one). Default: loopback, 8080 for `serve` and `gateway`,
    /// 7500 for `processor`, 7400 for `registry`.
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// `host:port` under which others reach this node. Default: the address it listens on.
    pub advertise: Option<String>,
    /// Folder for jobs, sources and clips. Gateways and processors share it.
    pub data: PathBuf,
    /// Failure domain of this node (`rack-3`). Gateways prefer processors of their own.
    pub zone: Option<String>,
    /// Labels under which this node's processor can be found in the registry.
    pub tags: BTreeSet<String>,
    /// Anything else the registry shall show of this node's processor.
    pub meta: BTreeMap<String, String>,
    /// Share of work of this node's processor relative to the others, 1 to 1000.
    pub weight: u32,
    /// Where the registry is: `host:port`, with or without `http://`.
    pub registry_url: String,
    /// Addresses to dial for peers by name, whatever their port: puts a proxy on an edge.
    #[schemars(with = "BTreeMap<String, String>")]
    pub routes: BTreeMap<String, SocketAddr>,
    /// Processors that `serve` runs inside its process; with `scale`, those it begins with.
    pub processors: usize,
    /// How many processors there should be, and when that changes.
    pub scale: ScaleConfig,
    /// How a gateway chooses among processors.
    pub balance: Balance,
    /// What else that choice goes by.
    pub balancing: Balancing,
    /// When a gateway leaves a processor out.
    pub breaker: BreakerConfig,
    /// When a gateway asks again.
    pub retry: RetryConfig,
    /// When a gateway asks a second processor beside the first.
    pub hedge: HedgeConfig,
    /// When a gateway asks nobody, because processors shed most of what they are asked.
    pub throttle: ThrottleConfig,
    /// How long calls to processors may take.
    pub timeouts: Timeouts,
    /// The registry.
    pub registry: RegistryConfig,
    /// Worker processes and what they may use up.
    pub media: MediaConfig,
    /// Jobs and their tasks.
    pub jobs: JobsConfig,
    /// What clients may ask for.
    pub limits: LimitsConfig,
    /// How many requests one tenant may send.
    pub rate_limit: RateLimitConfig,
    /// When a node with too much to do refuses requests.
    pub shed: ShedConfig,
    /// How much of one kind of work a node does at a time.
    pub bulkheads: BulkheadsConfig,
    /// How a node goes away.
    pub drain: DrainConfig,
}

impl Default for Config {
    fn default() -> Self {
        let upstream = UpstreamConfig::default();
        Self {
            node: None,
            listen: None,
            advertise: None,
            data: PathBuf::from("clip-data"),
            zone: None,
            tags: BTreeSet::new(),
            meta: BTreeMap::new(),
            weight: USUAL_WEIGHT,
            registry_url: "127.0.0.1:7400".to_owned(),
            routes: BTreeMap::new(),
            processors: 1,
            scale: ScaleConfig::default(),
            balance: upstream.balance,
            balancing: upstream.balancing,
            breaker: upstream.breaker,
            retry: upstream.retry,
            hedge: upstream.hedge,
            throttle: upstream.throttle,
            timeouts: upstream.timeouts,
            registry: RegistryConfig::default(),
            media: MediaConfig::default(),
            jobs: JobsConfig::default(),
            limits: LimitsConfig::default(),
            rate_limit: RateLimitConfig::default(),
            shed: ShedConfig::default(),
            bulkheads: BulkheadsConfig::default(),
            drain: DrainConfig::default(),
        }
    }
}

/// Jobs and their tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// How long a task stays with a gateway that is not heard of. Renewed five times in it.
    pub lease: HumanDuration,
    /// How often a gateway looks for tasks that others left.
    pub poll: HumanDuration,
    /// Tasks a gateway hands out per processor at a time.
    pub per_processor: usize,
    /// Tasks a processor works on at a time; one more is refused and goes elsewhere.
    pub at_once: usize,
    /// Attempts after which a task that takes down whatever works on it fails its job.
    pub max_attempts: u32,
    /// Longest that one attempt may take.
    pub task_limit: HumanDuration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            lease: HumanDuration::secs(5),
            poll: HumanDuration::millis(250),
            per_processor: 1,
            at_once: 2,
            max_attempts: 6,
            task_limit: HumanDuration::secs(2 * 3600),
        }
    }
}

/// What clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest uploaded file, bytes.
    pub upload_bytes: u64,
    /// Longest upload.
    pub upload_time: HumanDuration,
    /// Largest other request body, bytes.
    pub body_bytes: usize,
    /// Least that a client sends of a request's body within `send_within`, and reads of an answer within `read_within`, while
    /// it is waited for, bytes.
    pub progress_bytes: u64,
    /// A client that sends less than `progress_bytes` in this time is answered with 408.
    pub send_within: HumanDuration,
    /// A client that reads less than `progress_bytes` in this time loses its connection.
    pub read_within: HumanDuration,
    /// Jobs that may wait or run; one more is refused with 429.
    pub jobs_open: u64,
    /// Longest request that is no upload. A client's `x-timeout-ms` can only shorten it.
    pub request: HumanDuration,
    /// Longest look into an uploaded file.
    pub probe: HumanDuration,
}

impl LimitsConfig {
    /// What is asked of a client so that it may keep its connection.
    #[must_use]
    pub fn patience(&self) -> Patience {
        let pace = |within: HumanDuration| Pace {
            bytes: self.progress_bytes,
            within: within.get(),
        };
        Patience {
            sending: pace(self.send_within),
            reading: pace(self.read_within),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let patience = Patience::default();
        Self {
            upload_bytes: 4 << 30,
            upload_time: HumanDuration::secs(1800),
            body_bytes: 1 << 20,
            progress_bytes: patience.sending.bytes,
            send_within: HumanDuration::from(patience.sending.within),
            read_within: HumanDuration::from(patience.reading.within),
            jobs_open: 10_000,
            request: HumanDuration::secs(30),
            probe: HumanDuration::secs(15),
        }
    }
}

/// How a node goes away on SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// How long it still takes requests after it has said that it goes, so that others can learn of it.
    pub notice: HumanDuration,
    /// How long what is in flight may take; the rest is given back.
    pub limit: HumanDuration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            notice: HumanDuration::millis(300),
            limit: HumanDuration::secs(10),
        }
    }
}

/// Settings of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` of the registry.
    pub registry: String,
    /// The way to processors.
    pub upstream: UpstreamConfig,
    /// Jobs.
    pub jobs: JobsConfig,
    /// How many processors there should be.
    pub scale: ScaleConfig,
    /// What clients may ask for.
    pub limits: LimitsConfig,
    /// Which requests it takes.
    pub admission: AdmissionConfig,
    /// How it goes away.
    pub drain: DrainConfig,
}

/// What a node says of itself to whoever chooses among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Failure domain.
    pub zone: Option<String>,
    /// Labels to filter by.
    pub tags: BTreeSet<String>,
    /// Anything else worth showing.
    pub meta: BTreeMap<String, String>,
    /// Share of work; 100 is the usual one.
    pub weight: u32,
}

/// Settings of a processor.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessorConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// `host:port` it registers; `None` takes the one it listens on.
    pub advertise: Option<String>,
    /// `host:port` of the registry.
    pub registry: String,
    /// What it registers beside its address.
    pub labels: Labels,
    /// Whether and how the registry shall ask it if it works.
    pub check: CheckConfig,
    /// Tasks at a time.
    pub at_once: usize,
    /// Longest read (frame or probe).
    pub request: HumanDuration,
    /// What it asks of its callers so that they may keep their connections.
    pub patience: Patience,
    /// Which requests it takes.
    pub admission: AdmissionConfig,
    /// How it goes away.
    pub drain: DrainConfig,
}

/// Ports the roles listen on unless told otherwise.
const GATEWAY_PORT: u16 = 8080;
const PROCESSOR_PORT: u16 = 7500;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Config {
    /// The gateway's part.
    #[must_use]
    pub fn gateway(&self) -> GatewayConfig {
        GatewayConfig {
            listen: self.listen.unwrap_or(loopback(GATEWAY_PORT)),
            registry: self.registry_address(),
            upstream: UpstreamConfig {
                balance: self.balance,
                balancing: self.balancing.clone(),
                zone: self.zone.clone(),
                breaker: self.breaker.clone(),
                retry: self.retry.clone(),
                hedge: self.hedge.clone(),
                throttle: self.throttle.clone(),
                timeouts: self.timeouts.clone(),
            },
            jobs: self.jobs.clone(),
            scale: self.scale.clone(),
            limits: self.limits.clone(),
            admission: self.admission(),
            drain: self.drain.clone(),
        }
    }

    /// A processor's part.
    #[must_use]
    pub fn processor(&self) -> ProcessorConfig {
        ProcessorConfig {
            listen: self.listen.unwrap_or(loopback(PROCESSOR_PORT)),
            advertise: self.advertise.clone(),
            registry: self.registry_address(),
            labels: Labels {
                zone: self.zone.clone(),
                tags: self.tags.clone(),
                meta: self.meta.clone(),
                weight: self.weight,
            },
            check: self.registry.check.clone(),
            at_once: self.jobs.at_once,
            request: self.limits.request,
            patience: self.limits.patience(),
            // Its callers are gateways, which have taken the tenant's request into account already.
            admission: AdmissionConfig {
                rate_limit: RateLimitConfig::default(),
                ..self.admission()
            },
            drain: self.drain.clone(),
        }
    }

    /// The registry's part.
    #[must_use]
    pub fn registry(&self) -> RegistryConfig {
        let listen = self.listen.unwrap_or(self.registry.listen);
        RegistryConfig {
            listen,
            ..self.registry.clone()
        }
    }

    /// Which requests a node takes.
    fn admission(&self) -> AdmissionConfig {
        AdmissionConfig {
            rate_limit: self.rate_limit.clone(),
            shed: self.shed.clone(),
            bulkheads: self.bulkheads.clone(),
        }
    }

    /// The registry as `host:port`.
    fn registry_address(&self) -> String {
        let address = self.registry_url.trim();
        address
            .strip_prefix("http://")
            .unwrap_or(address)
            .trim_end_matches('/')
            .to_owned()
    }

    /// What is wrong although every value has the right type.
    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = self.gateway().upstream.problems();
        let below = |section: &'static str| move |problem: ConfigError| problem.below(section);
        problems.extend(self.registry.problems().into_iter().map(below("registry")));
        problems.extend(self.scale.problems().into_iter().map(below("scale")));
        problems.extend(self.admission().problems());
        let labels = labels(&self.tags, &self.meta, self.zone.as_deref(), self.weight);
        problems.extend(labels.into_iter().map(|problem| {
            ConfigError::at(problem.pointer.trim_start_matches('/'), problem.detail)
        }));
        let mut check = |bad: bool, key: &str, message: &str| {
            if bad {
                problems.push(ConfigError::at(key, message));
            }
        };
        let address = self.registry_address();
        let port = address.rsplit_once(':').and_then(|(host, port)| {
            (!host.is_empty())
                .then(|| port.parse::<u16>().ok())
                .flatten()
        });
        check(
            port.is_none(),
            "registry_url",
            &format!(
                "`{}` is not host:port, like 127.0.0.1:7400",
                self.registry_url
            ),
        );
        check(
            self.node.as_deref() == Some(""),
            "node",
            "must not be empty",
        );
        check(
            self.data.as_os_str().is_empty(),
            "data",
            "must not be empty",
        );
        check(
            self.media.workers == 0,
            "media.workers",
            "must be at least 1",
        );
        check(
            self.media.frame_workers == 0,
            "media.frame_workers",
            "must be at least 1",
        );
        check(
            self.media.frame_stall.get().is_zero(),
            "media.frame_stall",
            "must be more than 0s",
        );
        check(
            self.media.frame_wait.get().is_zero(),
            "media.frame_wait",
            "must be above 0s",
        );
        check(
            self.processors == 0,
            "processors",
            "`serve` needs at least 1",
        );
        check(
            self.jobs.lease.get().as_millis() < 500,
            "jobs.lease",
            "must be at least 500ms",
        );
        check(
            self.jobs.poll.get().as_millis() < 10,
            "jobs.poll",
            "must be at least 10ms",
        );
        check(
            self.jobs.per_processor == 0,
            "jobs.per_processor",
            "must be at least 1",
        );
        check(self.jobs.at_once == 0, "jobs.at_once", "must be at least 1");
        check(
            self.jobs.max_attempts == 0,
            "jobs.max_attempts",
            "must be at least 1",
        );
        check(
            self.jobs.task_limit.get().is_zero(),
            "jobs.task_limit",
            "must be above 0s",
        );
        check(
            self.limits.upload_bytes == 0,
            "limits.upload_bytes",
            "must be above 0",
        );
        check(
            self.limits.upload_time.get().is_zero(),
            "limits.upload_time",
            "must be above 0s",
        );
        check(
            self.limits.body_bytes < 1024,
            "limits.body_bytes",
            "must be at least 1024",
        );
        check(
            self.limits.progress_bytes == 0,
            "limits.progress_bytes",
            "must be at least 1",
        );
        check(
            self.limits.send_within.get().is_zero(),
            "limits.send_within",
            "must be above 0s",
        );
        check(
            self.limits.read_within.get().is_zero(),
            "limits.read_within",
            "must be above 0s",
        );
        check(
            self.limits.jobs_open == 0,
            "limits.jobs_open",
            "must be at least 1",
        );
        check(
            self.limits.request.get().is_zero(),
            "limits.request",
            "must be above 0s",
        );
        check(
            self.limits.probe.get().is_zero(),
            "limits.probe",
            "must be above 0s",
        );
        problems
    }

    /// Builds the configuration out of its sources. `variables` are all of the environment; `flags` maps keys
    /// (`jobs.lease`) to values.
    ///
    /// # Errors
    /// Every problem of every source.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut values = Values::new();
        if let Some(file) = file {
            match read(file) {
                Ok(tree) => values.add_tree(&tree, &file.display().to_string(), &mut errors),
                Err(error) => errors.push(error),
            }
        }
        let sorted: BTreeMap<String, String> = variables.into_iter().collect();
        for (name, text) in sorted {
            if let Some(key) = name.strip_prefix(ENV_PREFIX)
                && !OTHER_VARIABLES.contains(&name.as_str())
                && !name.starts_with(HARNESS_PREFIX)
            {
                let key = key.to_ascii_lowercase().replace("__", ".");
                values.add_text(&key, &text, &name, &mut errors);
            }
        }
        for (key, value) in flags {
            values.add(&key, value, "the command line", &mut errors);
        }
        match serde_json::from_value::<Self>(Value::Object(values.tree)) {
            Ok(config) => {
                errors.extend(config.problems());
                if errors.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => errors.push(ConfigError::general(error.to_string())),
        }
        Err(ConfigErrors(errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Config::load(Some(&path), variables, Vec::new()).map_err(|errors| {
            let short = |text: String| text.replace(&path.display().to_string(), "c.toml");
            let shorter = |error: ConfigError| ConfigError {
                source: error.source.map(short),
                message: short(error.message),
                ..error
            };
            ConfigErrors(errors.0.into_iter().map(shorter).collect())
        })
    }

    #[test]
    fn the_defaults_run() {
        let config = Config::load(None, Vec::new(), Vec::new()).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.gateway().listen.port(), 8080);
        assert_eq!(config.processor().listen.port(), 7500);
        assert_eq!(config.registry().listen.port(), 7400);
    }

    #[test]
    fn later_sources_win() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let text = json!({
            "jobs": { "lease": "7s", "poll": "1s" },
            "breaker": { "consecutive_failures": 9 },
            "routes": { "processor-1": "127.0.0.1:9" },
            "registry_url": "http://registry:7400/"
        });
        std::fs::write(&path, text.to_string()).unwrap();
        let variables = [
            ("CLIP_JOBS__POLL", "2s"),
            ("CLIP_DATA", "/a"),
            ("CLIP_BREAKER__ENABLED", "false"),
            ("CLIP_BREAKER__SLOW_AFTER", "2s"),
            ("CLIP_BREAKER__WINDOW_CALLS", "100"),
            ("CLIP_NODE", "7"),
            ("HOME", "/x"),
        ];
        let variables = variables.map(|(n, v)| (n.to_owned(), v.to_owned()));
        let flags = vec![
            ("data".to_owned(), json!("/b")),
            ("listen".to_owned(), json!("127.0.0.1:0")),
        ];
        let config = Config::load(Some(&path), variables, flags).unwrap();
        assert_eq!(config.jobs.lease, HumanDuration::secs(7));
        assert_eq!(config.jobs.poll, HumanDuration::secs(2));
        assert_eq!(config.data, PathBuf::from("/b"));
        assert_eq!(config.listen.map(|a| a.port()), Some(0));
        assert_eq!(
            (config.breaker.consecutive_failures, config.breaker.enabled),
            (9, false)
        );
        assert_eq!(config.breaker.slow_after, Some(HumanDuration::secs(2)));
        assert_eq!(config.breaker.window_calls, Some(100));
        assert_eq!(config.node.as_deref(), Some("7"));
        assert_eq!(config.gateway().registry, "registry:7400");
        assert_eq!(config.routes.len(), 1);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let file = "
            balance = 'fastest'
            colour = 'red'
            registry_url = 'nowhere'
            processors = -1
            [jobs]
            lease = '1ms'
            pole = '1s'
            [timeouts]
            read_try = 5
        ";
        let errors = from(file, &[("CLIP_LISTEN", "here"), ("CLIP_JOBS__MAX", "1")]).unwrap_err();
        insta::assert_snapshot!(errors);
    }

    #[test]
    fn a_processor_is_labelled_by_its_configuration() {
        let file = "
            zone = 'rack-3'
            weight = 300
            [meta]
            owner = 'media'
            [registry.check]
            enabled = true
            fall = 5
        ";
        let processor = from(file, &[("CLIP_TAGS", "gpu, 4k")]).unwrap().processor();
        let labels = processor.labels;
        assert_eq!(
            (labels.zone.as_deref(), labels.weight),
            (Some("rack-3"), 300)
        );
        assert_eq!(labels.tags.iter().collect::<Vec<_>>(), ["4k", "gpu"]);
        assert_eq!(labels.meta["owner"], "media");
        let check = processor.check.of("/ready").unwrap();
        assert_eq!(
            (check.path.as_str(), check.fall, check.rise),
            ("/ready", 5, 2)
        );
        let wrong = "
            zone = 'a b'
            weight = 0
            tags = ['x y']
            [registry.check]
            timeout = '1ms'
            [registry.hold_down]
            changes = 1
        ";
        let errors = from(wrong, &[]).unwrap_err();
        let keys: Vec<_> = errors
            .0
            .iter()
            .filter_map(|error| error.key.as_deref())
            .collect();
        let expected = [
            "registry.check.timeout",
            "registry.hold_down.changes",
            "weight",
            "tags",
            "zone",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_line() {
        let errors = Config::load(
            Some(Path::new("/nonexistent/x.toml")),
            Vec::new(),
            Vec::new(),
        );
        assert!(
            errors
                .unwrap_err()
                .to_string()
                .starts_with("configuration: /nonexistent/x.toml: ")
        );
        let broken = from("jobs = [", &[]).unwrap_err();
        assert_eq!(broken.0.len(), 1);
    }
}
