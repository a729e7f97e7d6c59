//! How a gateway reaches processors: the client side of the system.
//!
//! Mechanism only. Nothing here knows of clips; what may be repeated, how long a try may take and where the bytes go is
//! said by each [`Call`]. The order of the layers is written once, in `stack.rs`. Not for talking to the
//! registry, which is one peer without alternatives ([`crate::http::Client`] does).

mod attempt;
mod body;
mod brake;
mod breaker;
mod budget;
mod call;
mod config;
pub mod deadline;
mod hedge;
mod instance;
mod latency;
mod load;
mod patience;
mod pick;
mod pool;
mod race;
mod retry;
mod ring;
mod route;
mod silence;
mod stack;
mod throttle;
mod tried;

pub use crate::breaker::BreakerConfig;
pub use body::{BodyError, UpstreamBody};
pub use budget::Budget;
pub use call::{Call, Delivery, InstanceName, Reply, TryError, UpstreamError};
pub use config::{Balance, HedgeConfig, RetryConfig, ThrottleConfig, Timeouts, UpstreamConfig};
pub use instance::InstanceView;
pub use route::RouteView;
pub use stack::{Upstream, UpstreamMetrics};

#[cfg(test)]
mod tests;
