//! How a gateway reaches processors: the client side of the system.
//!
//! Mechanism only. Nothing here knows of clips; what may be repeated, how long a try may take and where the bytes go is
//! said by each [`Call`]. The order of the layers is written once, in `stack.rs`. Not for talking to the
//! registry, which is one peer without alternatives ([`crate::http::Client`] does).

mod attempt;
mod body;
mod breaker;
mod budget;
mod call;
mod config;
pub mod deadline;
mod instance;
mod load;
mod pick;
mod pool;
mod retry;
mod stack;

pub use crate::breaker::BreakerConfig;
pub use body::{BodyError, UpstreamBody};
pub use call::{Call, Delivery, Reply, TryError, UpstreamError};
pub use config::{Balance, RetryConfig, Timeouts, UpstreamConfig};
pub use instance::InstanceView;
pub use stack::{Upstream, UpstreamMetrics};

#[cfg(test)]
mod tests;
