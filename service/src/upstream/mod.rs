//! How a gateway reaches processors: the client side of the system.
//!
//! Mechanism only. Nothing here knows of clips; what may be repeated, how long a try may take and where the bytes go is
//! said by each [`Call`]. The order of the layers is written once, in `stack.rs`. Not for talking to the
//! registry, which is one peer without alternatives ([`crate::http::Client`] does).

mod attempt;
mod body;
mod brake;
mod budget;
mod call;
mod config;
mod draw;
mod hash;
mod hedge;
mod instance;
mod latency;
mod load;
mod patience;
mod pick;
mod picked;
mod plan;
mod pool;
mod probes;
mod race;
mod retry;
mod ring;
mod roster;
mod route;
mod silence;
mod slow_start;
mod stack;
mod throttle;
mod tick;
mod tried;
mod usual;
mod view;

pub use crate::breaker::BreakerConfig;
pub use body::{BodyError, UpstreamBody};
pub use budget::Budget;
pub use call::{Call, Delivery, InstanceName, Reply, TryError, UpstreamError};
pub use config::{
    Balance, Balancing, HedgeConfig, RetryConfig, ThrottleConfig, Timeouts, UpstreamConfig,
};
pub use hash::hash_key;
pub use picked::Picked;
pub use route::RouteView;
pub use stack::{Upstream, UpstreamMetrics};
pub use view::InstanceView;

#[cfg(test)]
mod tests;
