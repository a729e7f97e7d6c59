//! The registry: who is there, on which address, and whether it can take work.
//!
//! A registry only says what it last heard. It is never on the path of a request: gateways keep their last good list
//! ([`client::Discovery`]) and find failed instances faster by themselves ([`crate::upstream`]). State is soft: after a
//! restart, instances register again within a lease, and the registry says so (`settling`) instead of naming an empty
//! system.

pub mod client;
mod config;
mod machine;
mod role;
mod routes;
mod wire;

pub use config::RegistryConfig;
pub use role::{RegistryError, registry};
pub use wire::{Heartbeat, Instance, Lease, Listing, Registration, Status, USUAL_WEIGHT};

#[cfg(test)]
mod tests;
