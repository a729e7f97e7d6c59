//! Kinds of steps: what each does, one file per kind, and how it ended in terms that are the same for all of them. Not
//! here: in which order steps go, and what is written down about them (`session.rs`).

pub(super) mod http;

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::Client;
use tokio_util::sync::CancellationToken;

use super::entry_balancer::EntryBalancer;
use crate::event::{Accepted, Outcome};
use crate::plan::StepAction;
use crate::scenario::JsonPath;
use crate::scenario::template::Resolver;

/// What a step is performed with.
pub(super) struct StepCall<'a> {
    pub(super) client: &'a Client,
    pub(super) balancer: &'a EntryBalancer,
    /// What is wanted from the answer.
    pub(super) capture: &'a IndexMap<String, JsonPath>,
    /// The request's id.
    pub(super) id: &'a str,
    pub(super) timeout: Duration,
    pub(super) cancel: &'a CancellationToken,
}

/// How a step ended.
pub(super) struct Exchange {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) captured: BTreeMap<String, String>,
    /// Whether the system can have taken the work on.
    pub(super) accepted: Accepted,
}

impl Exchange {
    fn failed(class: impl Into<String>, accepted: Accepted) -> Self {
        Self {
            outcome: Outcome::Failed(class.into()),
            status: None,
            request_id: None,
            captured: BTreeMap::new(),
            accepted,
        }
    }
}

/// Performs a step until it ends, its time is over or the run is stopped.
pub(super) async fn perform(
    action: &StepAction,
    values: &mut (dyn Resolver + Send),
    call: &StepCall<'_>,
) -> Exchange {
    let exchange = async {
        match action {
            StepAction::Http(step) => http::exchange(step, values, call).await,
        }
    };
    tokio::select! {
        biased;
        () = call.cancel.cancelled() => Exchange::failed("run stopped", Accepted::Unknown),
        ended = tokio::time::timeout(call.timeout, exchange) => {
            ended.unwrap_or_else(|_| Exchange::failed("timeout", Accepted::Unknown))
        }
    }
}
