//! Settings of the registry role.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400),
            ttl: HumanDuration::secs(3),
            deregister_after: HumanDuration::secs(60),
            max_instances: 10_000,
            drain: HumanDuration::secs(2),
        }
    }
}

impl RegistryConfig {
    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.ttl.get() < Duration::from_millis(100) {
            problems.push(format!("ttl: {} is shorter than 100ms", self.ttl));
        }
        if self.deregister_after < self.ttl {
            problems.push(format!(
                "deregister_after: {} is shorter than ttl ({})",
                self.deregister_after, self.ttl
            ));
        }
        if self.max_instances == 0 {
            problems.push("max_instances: 0 would refuse everybody".to_owned());
        }
        problems
    }
}
