//! One arrival on its way through its steps: values that steps hand on, samples, the ledger. What a step does is in
//! `steps`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use parking_lot::Mutex;
use reqwest::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry_balancer::EntryBalancer;
use super::steps::{self, Exchange, StepCall};
use crate::event::{LedgerEntry, Outcome, Sample};
use crate::plan::{LoadPlan, StepPlan};
use crate::runtime::emit::Emitter;
use crate::scenario::template::Resolver;

/// What every request of a run can refer to.
#[derive(Debug, Clone, Default)]
pub struct StepContext {
    /// Ids of uploaded fixtures by name.
    pub fixtures: BTreeMap<String, String>,
    /// Addresses of links by name.
    pub links: BTreeMap<String, String>,
}

/// What all sessions of a load share.
pub(super) struct Shared {
    pub(super) index: usize,
    pub(super) plan: LoadPlan,
    pub(super) balancer: Arc<EntryBalancer>,
    pub(super) client: Client,
    pub(super) context: Arc<StepContext>,
    pub(super) rng: SharedRng,
    pub(super) emitter: Emitter,
    pub(super) ledger: Arc<Mutex<Vec<LedgerEntry>>>,
    pub(super) cancel: CancellationToken,
    /// Distinguishes request ids of this run from any other's.
    pub(super) tag: String,
}

struct Values<'a> {
    context: &'a StepContext,
    rng: SharedRng,
    captured: BTreeMap<String, String>,
}

impl Resolver for Values<'_> {
    fn uuid(&mut self) -> String {
        let bits = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    fn draw(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).saturating_add(1);
        let drawn = self.rng.below(usize::try_from(span).unwrap_or(1));
        low.saturating_add(i64::try_from(drawn).unwrap_or(0))
    }

    fn fixture(&self, name: &str) -> Option<String> {
        self.context.fixtures.get(name).cloned()
    }

    fn link(&self, name: &str) -> Option<String> {
        self.context.links.get(name).cloned()
    }

    fn capture(&self, name: &str) -> Option<String> {
        self.captured.get(name).cloned()
    }
}

impl Shared {
    /// Goes through every step of arrival (or round) `number`, the first of which was due at `due`; ends with the first
    /// step that fails. When the first request was sent.
    pub(super) async fn run(&self, number: u64, due: Instant) -> Instant {
        let first_sent = Instant::now();
        let mut values = Values {
            context: &self.context,
            rng: self.rng.fork(&format!("arrival/{number}")),
            captured: BTreeMap::new(),
        };
        let mut due = due;
        for (index, step) in self.plan.steps.iter().enumerate() {
            let sent = if index == 0 {
                first_sent
            } else {
                Instant::now()
            };
            let id = format!("{}-{}-{number}-{index}", self.tag, self.plan.name);
            let call = StepCall {
                client: &self.client,
                balancer: &self.balancer,
                capture: &step.capture,
                id: &id,
                timeout: self.plan.timeout.get(),
                cancel: &self.cancel,
            };
            let exchange = steps::perform(&step.action, &mut values, &call).await;
            let done = Instant::now();
            if step.ledger {
                self.enter(step, &exchange, due);
            }
            let ok = exchange.outcome == Outcome::Ok;
            self.emitter.sample(Sample {
                load: self.index,
                due: self.emitter.at(due),
                sent: Some(self.emitter.at(sent)),
                done: self.emitter.at(done),
                outcome: exchange.outcome,
                status: exchange.status,
                request_id: Some(exchange.request_id.unwrap_or(id)),
                step: index,
            });
            if !ok {
                break;
            }
            values.captured.extend(exchange.captured);
            due = done;
        }
        first_sent
    }

    /// An arrival that was never sent counts once, as its first step.
    pub(super) fn unsent(&self, due: Instant, given_up: Instant) {
        self.emitter.sample(Sample {
            load: self.index,
            due: self.emitter.at(due),
            sent: None,
            done: self.emitter.at(given_up),
            outcome: Outcome::Unsent,
            status: None,
            request_id: None,
            step: 0,
        });
    }

    /// Longest time one arrival may take.
    pub(super) fn bound(&self) -> Duration {
        let steps = u32::try_from(self.plan.steps.len()).unwrap_or(u32::MAX);
        self.plan.timeout.get().saturating_mul(steps)
    }

    fn enter(&self, step: &StepPlan, exchange: &Exchange, due: Instant) {
        let id = step
            .capture
            .keys()
            .next()
            .and_then(|name| exchange.captured.get(name))
            .cloned();
        self.ledger.lock().push(LedgerEntry {
            load: self.index,
            id,
            due: self.emitter.at(due),
            accepted: exchange.accepted,
            fate: None,
        });
    }
}
