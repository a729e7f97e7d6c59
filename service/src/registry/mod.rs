//! The registry: who is there, on which address, and whether it can take work.
//!
//! A registry only says what it last heard. It is never on the path of a request: gateways keep their last good list
//! ([`client::Discovery`]) and find failed instances faster by themselves ([`crate::upstream`]). State is soft: after a
//! restart, instances register again within a lease, and the registry says so (`settling`) instead of naming an empty
//! system.
//!
//! Register a service, discover it, get a URL:
//!
//! ```
//! use clip_service::registry::client::Query;
//! use clip_service::registry::{Registration, RegistryConfig, ServiceClient, ServiceRegistry};
//! # use clip_service::{config::Config, observe::Notices, world};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # let shutdown = tokio_util::sync::CancellationToken::new();
//! # let bounded = |work| async { tokio::time::timeout(std::time::Duration::from_secs(20), work).await };
//! # runtime.block_on(bounded(Box::pin(async {
//! # let (config, needs) = (Config::default(), world::Needs::REGISTRY);
//! # let env = world::open(&config, "example", needs, Notices::silent(), shutdown.clone()).await?;
//! // A registry inside this process. Most talk to one elsewhere.
//! let listen = "127.0.0.1:0".parse()?;
//! let registry = ServiceRegistry::start(&env, RegistryConfig { listen, ..Default::default() }).await?;
//! let client = ServiceClient::new(&env, registry.address());
//!
//! // Register. From now on heartbeats are sent; dropping the membership stops them, `leave` says goodbye.
//! let epoch = 1; // rises with every start: Membership::epoch(&env) takes the clock
//! let membership = client.register(
//!     Registration::new("processor-1", "processor", "10.0.0.1:7500", epoch)
//!         .ready()
//!         .tag("gpu")
//!         .zone("rack-3"),
//! );
//! membership.registered().await;
//!
//! // Discover, by kind and by tags.
//! let all = client.discover("processor").await?;
//! let gpu = client.discover(Query::kind("processor").tag("gpu")).await?;
//! assert_eq!((all.len(), gpu[0].name.as_str()), (1, "processor-1"));
//!
//! // Get a URL.
//! let url = client.url("processor", "/health").await?;
//! assert_eq!(url, "http://10.0.0.1:7500/health");
//!
//! membership.leave().await;
//! # shutdown.cancel();
//! # registry.ended().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })))??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The table alone, without HTTP, time and network: [`Machine`] takes `now` and says what changed.
//!
//! ```
//! use std::time::Duration;
//! use clip_service::registry::{Filter, HoldDown, Machine, Registration, Status, Times};
//! use tokio::time::Instant;
//!
//! let now = Instant::now();
//! let (ttl, deregister_after) = (Duration::from_secs(3), Duration::from_secs(60));
//! let times = Times { ttl, deregister_after, hold_down: HoldDown::default() };
//! let mut machine = Machine::new(times, 100, "first".to_owned(), now);
//!
//! let (lease, _) = machine.register(Registration::new("a", "processor", "a:80", 1).ready(), now)?;
//! assert_eq!(lease.status, Status::Passing);
//!
//! // Nothing heard for a lease: given up. The table is swept twelve times in one.
//! for twelfth in 1..=12 {
//!     machine.sweep(now + ttl / 12 * twelfth);
//! }
//! assert_eq!(machine.find(&Filter::default())[0].status, Status::Critical);
//! # Ok::<(), clip_service::registry::Refused>(())
//! ```

mod checks;
pub mod client;
mod config;
mod machine;
mod request;
mod role;
mod routes;
mod wire;

pub use client::ServiceClient;
pub use config::{CheckConfig, HoldDown, RegistryConfig};
pub use machine::{
    Change, Due, Filter, Found, Machine, Outcome, Probe, Refused, Swept, Taken, Times,
};
pub use role::{RegistryError, ServiceRegistry, registry};
pub(crate) use wire::labels;
pub use wire::{
    Check, CheckState, Goodbye, Heartbeat, Instance, Lease, Listing, Maintenance, Orders,
    Registration, Status, USUAL_WEIGHT, Weight,
};

#[cfg(test)]
mod tests;
