//! What the conductor needs of a load. The seam between the two: the order of a run can be tested in virtual time, without
//! goose, sockets or a pacer thread.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::goose::AttackError;
use super::session::StepContext;
use crate::event::LedgerEntry;
use crate::plan::Plan;
use crate::runtime::emit::Emitter;

/// What a load is started with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// What is asked, and how often.
    pub plan: &'a Plan,
    /// Identifies the run.
    pub run_id: &'a str,
    /// Addresses of links, by name.
    pub addresses: &'a BTreeMap<String, SocketAddr>,
    /// What every request can refer to.
    pub context: StepContext,
    /// Where events and samples go.
    pub emitter: &'a Emitter,
    /// Ends the load early.
    pub cancel: &'a CancellationToken,
}

/// Starts the load of a plan.
pub trait Driver: Send + Sync + fmt::Debug {
    /// Begins to ask. Returns when the first intended start has come and `LoadStarted` was told.
    fn start<'a>(&'a self, setup: Setup<'a>)
    -> BoxFuture<'a, Result<Box<dyn Driven>, AttackError>>;
}

/// A load that is being asked.
pub trait Driven: Send {
    /// Origin of intended starts.
    fn origin(&self) -> Instant;
    /// How far its records are complete.
    fn horizon(&self) -> Arc<dyn Horizon>;
    /// Waits for the end of the load and for every answer, or stops at once when cancelled. What was submitted.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Vec<LedgerEntry>, AttackError>>;
}

/// How far the records of a load are complete.
pub trait Horizon: Send + Sync {
    /// Nothing that was due before this is missing from what has been sent to the watchers.
    fn reached(&self) -> Instant;
    /// When no more work arrives.
    fn end(&self) -> Instant;
    /// Whether everything there will ever be has been recorded.
    fn complete(&self) -> bool;
}
