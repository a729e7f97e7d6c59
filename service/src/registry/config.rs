//! Settings of the registry role.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::Check;
use crate::config_error::ConfigError;
use crate::units::HumanDuration;

/// Settings of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// Address to listen on.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// How long an instance counts as alive after its last heartbeat. Instances send one every third of it.
    pub ttl: HumanDuration,
    /// How long an instance stays listed as critical before it is forgotten.
    pub deregister_after: HumanDuration,
    /// Most instances it keeps.
    pub max_instances: usize,
    /// How long requests in flight may take once it shuts down.
    pub drain: HumanDuration,
    /// Whether and how it asks processors if they work, beside their heartbeats. Processors read it when they register.
    pub check: CheckConfig,
    /// How long it keeps out instances that are well and unwell in turns.
    pub hold_down: HoldDown,
}

/// Whether and how the registry asks processors if they work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckConfig {
    /// Whether processors ask for it.
    pub enabled: bool,
    /// Between two checks, give or take a tenth.
    pub interval: HumanDuration,
    /// How long an answer may take.
    pub timeout: HumanDuration,
    /// Good answers in a row that bring a processor back.
    pub rise: u32,
    /// Bad answers in a row that take it out.
    pub fall: u32,
    /// Between two checks while it is undecided.
    pub fastinter: HumanDuration,
}

impl Default for CheckConfig {
    fn default() -> Self {
        let usual = Check::default();
        Self {
            enabled: false,
            interval: usual.interval,
            timeout: usual.timeout,
            rise: usual.rise,
            fall: usual.fall,
            fastinter: usual.fastinter,
        }
    }
}

impl CheckConfig {
    /// The check of `path` to register; `None` while it is off.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<Check> {
        self.enabled.then(|| self.rules(path))
    }

    fn rules(&self, path: &str) -> Check {
        Check {
            path: path.to_owned(),
            interval: self.interval,
            timeout: self.timeout,
            rise: self.rise,
            fall: self.fall,
            fastinter: self.fastinter,
        }
    }
}

/// How long instances are kept out that are well and unwell in turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldDown {
    /// Whether they are.
    pub enabled: bool,
    /// Changes between well and unwell that are too many.
    pub changes: u32,
    /// Time within which they are.
    pub within: HumanDuration,
    /// The first hold. Each further one is twice as long; each healthy minute takes one doubling back.
    pub first: HumanDuration,
    /// The longest hold.
    pub longest: HumanDuration,
}

impl Default for HoldDown {
    fn default() -> Self {
        Self {
            enabled: true,
            changes: 3,
            within: HumanDuration::secs(60),
            first: HumanDuration::secs(10),
            longest: HumanDuration::secs(300),
        }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400),
            ttl: HumanDuration::secs(3),
            deregister_after: HumanDuration::secs(60),
            max_instances: 10_000,
            drain: HumanDuration::secs(2),
            check: CheckConfig::default(),
            hold_down: HoldDown::default(),
        }
    }
}

impl RegistryConfig {
    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if self.ttl.get() < Duration::from_millis(100) {
            problems.push(ConfigError::at(
                "ttl",
                format!("{} is shorter than 100ms", self.ttl),
            ));
        }
        if self.deregister_after < self.ttl {
            problems.push(ConfigError::at(
                "deregister_after",
                format!(
                    "{} is shorter than ttl ({})",
                    self.deregister_after, self.ttl
                ),
            ));
        }
        if self.max_instances == 0 {
            problems.push(ConfigError::at("max_instances", "0 would refuse everybody"));
        }
        let check = self.check.rules("/").problems().into_iter();
        problems.extend(check.map(|problem| {
            let key = problem.pointer.trim_start_matches('/');
            ConfigError::at(format!("check.{key}"), problem.detail)
        }));
        if self.hold_down.changes < 2 {
            problems.push(ConfigError::at(
                "hold_down.changes",
                format!(
                    "{} would hold whoever fails once; at least 2",
                    self.hold_down.changes
                ),
            ));
        }
        if self.hold_down.longest < self.hold_down.first {
            problems.push(ConfigError::at(
                "hold_down.longest",
                format!(
                    "{} is shorter than hold_down.first ({})",
                    self.hold_down.longest, self.hold_down.first
                ),
            ));
        }
        problems
    }
}
