//! HTTP over [`crate::net`]: the accept loop of every role, and the client that roles talk to each other with.
//!
//! Not the API (that is [`crate::api`]) and not resilience (that is [`crate::upstream`]): one connection, one request.
//! Both sides take sockets, timers and spawns from [`crate::env::Env`], so they run unchanged on a simulated network.

mod arriving;
mod body;
mod client;
mod connection;
mod connector;
mod crowd;
mod pace;
mod problem;
mod server;
#[cfg(test)]
pub(crate) mod testing;
mod wire;

pub use arriving::unless_stalled;
pub use body::{Held, InFlight, InFlightGuard, count_in_flight};
pub use client::{Client, ClientError};
pub use connection::Crowded;
pub use pace::Pace;
pub use problem::{FieldError, Members, PROBLEM_JSON, Problem, SHORTAGE, X_SHED};
pub use server::{Drain, Patience, Served, serve};
