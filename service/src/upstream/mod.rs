//! How a gateway reaches processors: the client side of the system.
//!
//! Mechanism only. Nothing here knows of clips; what may be repeated, how long a try may take and where the bytes go is
//! said by each [`Call`]. The order of the layers is written once, in `stack.rs`. Not for talking to the
//! registry, which is one peer without alternatives ([`crate::http::Client`] does).

mod attempt;
mod body;
mod budget;
mod call;
mod config;
pub mod deadline;
mod draw;
mod hash;
mod instance;
mod load;
mod pick;
mod plan;
mod pool;
mod probes;
mod retry;
mod roster;
mod slow_start;
mod stack;
mod tick;
mod view;

pub use crate::breaker::BreakerConfig;
pub use body::{BodyError, UpstreamBody};
pub use call::{Call, Delivery, Reply, TryError, UpstreamError};
pub use config::{Balance, Balancing, RetryConfig, Timeouts, UpstreamConfig};
pub use hash::hash_key;
pub use pool::Picked;
pub use stack::{Upstream, UpstreamMetrics};
pub use view::InstanceView;

#[cfg(test)]
mod tests;
