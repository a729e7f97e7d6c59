//! A circuit breaker: notices that a dependency is ill, spares it and its callers, and finds out when it is well.
//!
//! Mechanism only: nothing here knows of HTTP, pools or roles. It is used in two ways. The pool of a gateway keeps one
//! per instance, made with [`BreakerBuilder::probe`]: an open breaker takes its instance out of the choice, no call
//! fails by it, and a probe must pass before a caller is sent there again. A dependency that has no alternative (a
//! database, a source host, a webhook) is wrapped: [`Breaker::call`], [`BreakerLayer`], or by name with [`Breakers`];
//! here a call that is not admitted is an error.
//!
//! # Wrap a call
//!
//! ```
//! use clip_service::breaker::{Breaker, BreakerConfig, BreakerError};
//! use clip_service::env::SharedRng;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! let database = Breaker::new("database", BreakerConfig::default(), SharedRng::seeded(1));
//!
//! let answer = database.call(async { Ok::<_, String>(42) }).await;
//! assert_eq!(answer, Ok(42));
//!
//! // Five failures in a row open it. Then calls fail at once, without being made.
//! for _ in 0..5 {
//!     let failed = database.call(async { Err::<u32, _>("refused") }).await;
//!     assert_eq!(failed, Err(BreakerError::Inner("refused")));
//! }
//! match database.call(async { Ok::<_, String>(42) }).await {
//!     Err(BreakerError::Rejected(rejected)) => assert!(rejected.retry_after.is_some()),
//!     other => panic!("{other:?}"),
//! }
//! # });
//! ```
//!
//! # Hear of transitions
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use clip_service::breaker::{Breaker, BreakerConfig, Event, State};
//! use clip_service::env::SharedRng;
//!
//! let webhook = Breaker::new("webhook", BreakerConfig::default(), SharedRng::seeded(1));
//!
//! // A callback runs where the breaker moved, with no lock held: it may use the breaker, and should be short.
//! let openings = Arc::new(AtomicU32::new(0));
//! let counted = Arc::clone(&openings);
//! webhook.on_transition(move |moved| {
//!     if matches!(moved.to, State::Open | State::ForcedOpen) {
//!         counted.fetch_add(1, Ordering::Relaxed);
//!     }
//! });
//! // A channel is read elsewhere. Who reads too slowly misses the oldest events; calls never wait for readers.
//! let mut events = webhook.events();
//!
//! webhook.force_open();
//! assert_eq!(openings.load(Ordering::Relaxed), 1);
//! match events.try_recv() {
//!     Ok(Event::Moved(moved)) => assert_eq!(moved.reason.to_string(), "by hand"),
//!     other => panic!("{other:?}"),
//! }
//! ```

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::env::SharedRng;

mod call;
mod config;
mod event;
mod layer;
mod machine;
mod manager;
mod permit;
mod window;
mod word;

pub use call::{BreakerError, Classify, ErrorsFail};
pub use config::{BreakerConfig, BreakerMode};
pub use event::{Event, Reason, Transition};
pub use layer::{BreakerFuture, BreakerLayer, BreakerService};
pub use manager::Breakers;
pub use permit::{Permit, Ticket};
pub use window::Counts;
pub use word::State;

use event::Listeners;
use machine::{Machine, Verdict};

/// A caller that gives up has waited unusually long if it waited this long, unless settings say otherwise.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a call ended, as far as its dependency is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered.
    Success,
    /// Refused, reset or timed out.
    TransportFailure,
    /// Answered with an error (5xx): counts into the share of failures, not into the row. Who sheds load or drains is
    /// alive.
    ErrorStatus,
    /// Says nothing about the dependency: the caller went away early, asked for something impossible, or was held back
    /// by a limit of ours. Gives a trial's permit back.
    Ignored,
    /// The caller went away after it had waited unusually long. A failure: a dependency that hangs would otherwise never
    /// be found out by callers who give up first, or by hedges whose losing leg is cancelled.
    Abandoned,
}

/// A call was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("breaker `{breaker}` is {state}{}", .retry_after.map(|wait| format!(", try again in {wait:?}")).unwrap_or_default())]
pub struct Rejected {
    /// Name of the breaker.
    pub breaker: Arc<str>,
    /// What it was.
    pub state: State,
    /// When it may admit again at the earliest; unknown while it is held open by hand.
    pub retry_after: Option<Duration>,
}

/// One breaker. A handle: clones are the same breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    machine: Arc<Machine>,
}

/// What a breaker is made from.
#[derive(Debug)]
pub struct BreakerBuilder {
    name: Arc<str>,
    config: BreakerConfig,
    rng: SharedRng,
    probe: bool,
    patience: Option<Duration>,
    manager: Option<Arc<Listeners>>,
}

impl BreakerBuilder {
    /// Somebody probes the dependency ([`Breaker::probe_at`], [`Breaker::probed`]): an open breaker waits for a probe
    /// that passes. Without, it admits trial calls as soon as its wait is over.
    #[must_use]
    pub fn probe(mut self, probe: bool) -> Self {
        self.probe = probe;
        self
    }

    /// From when on a call that is dropped without a verdict is [`Outcome::Abandoned`]. Default: `slow_after`, or 1 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    fn manager(mut self, manager: Arc<Listeners>) -> Self {
        self.manager = Some(manager);
        self
    }

    /// The breaker. Settings should have no [`BreakerConfig::problems`].
    #[must_use]
    pub fn build(self, now: Instant) -> Breaker {
        Breaker {
            machine: Arc::new(Machine::new(self, now)),
        }
    }
}

impl Breaker {
    /// A breaker that nobody probes for.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, config: BreakerConfig, rng: SharedRng) -> Self {
        Self::builder(name, config, rng).build(Instant::now())
    }

    /// A breaker with more to say about it. `rng` spreads waits; nothing else is random.
    #[must_use]
    pub fn builder(
        name: impl Into<Arc<str>>,
        config: BreakerConfig,
        rng: SharedRng,
    ) -> BreakerBuilder {
        BreakerBuilder {
            name: name.into(),
            config,
            rng,
            probe: false,
            patience: None,
            manager: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &BreakerConfig {
        &self.machine.config
    }

    /// What it lets through now.
    #[must_use]
    pub fn state(&self) -> State {
        self.machine.word().state()
    }

    /// Whether [`Breaker::try_permit`] would admit, by one atomic load. An open breaker that nobody probes for says no
    /// until a caller who asks after its wait makes it half-open.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.machine.admits()
    }

    /// Takes the right to one call.
    ///
    /// # Errors
    ///
    /// It is open, forced open, or half-open with all trials out.
    pub fn try_permit(&self, now: Instant) -> Result<Permit<&Self>, Rejected> {
        let ticket = self.admit(now)?;
        Ok(Permit::new(self, ticket))
    }

    /// As [`Breaker::try_permit`]; the permit may outlive this handle.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_permit_owned(&self, now: Instant) -> Result<Permit, Rejected> {
        let ticket = self.admit(now)?;
        Ok(Permit::new(self.clone(), ticket))
    }

    fn admit(&self, now: Instant) -> Result<Ticket, Rejected> {
        match self.machine.admit(now) {
            Ok(epoch) => Ok(Ticket { epoch, began: now }),
            Err(refusal) => Err(Rejected {
                breaker: Arc::clone(&self.machine.name),
                state: refusal.state,
                retry_after: refusal.retry_after,
            }),
        }
    }

    /// As [`Breaker::try_permit`], for who keeps the breaker at hand and sees to it that each ticket is settled or given
    /// back.
    pub(crate) fn try_ticket(&self, now: Instant) -> Option<Ticket> {
        let epoch = self.machine.admit(now).ok()?;
        Some(Ticket { epoch, began: now })
    }

    /// No call was made with it.
    pub(crate) fn give_back(&self, ticket: Ticket) {
        self.machine.give_back(ticket.epoch);
    }

    /// A permit for a call that is made whatever the breaker says, because nobody else is left: counted, never decisive.
    pub fn last_resort(&self, now: Instant) -> Permit<&Self> {
        Permit::new(self, Ticket::last_resort(now))
    }

    /// Takes news of a call whose permit has been recorded already: a streamed answer broke after its head had counted as
    /// a success. Counts as one more call.
    pub fn report(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Arc<Transition>> {
        self.settle(ticket, outcome, None, now)
    }

    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<Arc<Transition>> {
        let verdict = Verdict {
            epoch: ticket.epoch,
            outcome,
            took: now.saturating_duration_since(ticket.began),
            retry_after,
        };
        self.machine.record(verdict, now)
    }

    /// Whether calls pass, but the last one failed on the way: worth a probe without waiting for further callers.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.machine.in_doubt()
    }

    /// A probe failed as the last call did, which is one more failure in the row. Nothing, unless it is in doubt. A probe
    /// that passes is no success and is not reported: it must not hide that calls fail.
    pub fn doubt(&self, now: Instant) -> Option<Arc<Transition>> {
        if self.machine.in_doubt() {
            self.machine.missed(now)
        } else {
            None
        }
    }

    /// A probe of a dependency that nobody had reason to doubt failed: one failure in the row.
    pub fn missed(&self, now: Instant) -> Option<Arc<Transition>> {
        self.machine.missed(now)
    }

    /// When an open breaker wants to be probed; `None` in every other state.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        self.machine.until()
    }

    /// Takes the outcome of an active probe, made not before [`Breaker::probe_at`]. One that passes makes an open breaker
    /// half-open. One that fails costs nobody anything, so the next comes after the shortest wait however often it
    /// failed: a dependency that was down for long is not kept out for longer.
    pub fn probed(&self, passed: bool, now: Instant) -> Option<Arc<Transition>> {
        self.machine.probed(passed, now)
    }

    /// Opens a half-open breaker whose trials are overdue; by one or two atomic loads if there is nothing to do. For who
    /// asks [`Breaker::admits`] and so never meets that case in [`Breaker::try_permit`].
    pub fn tick(&self, now: Instant) -> Option<Arc<Transition>> {
        self.machine.tick(now)
    }

    /// Admits nothing until [`Breaker::release`], [`Breaker::force_close`] or [`Breaker::reset`].
    pub fn force_open(&self) -> Option<Arc<Transition>> {
        self.machine
            .force(State::ForcedOpen, Instant::now(), |_| true)
    }

    /// Closes it now. It judges calls as ever, and opens again if they fail.
    pub fn force_close(&self) -> Option<Arc<Transition>> {
        self.machine.force(State::Closed, Instant::now(), |_| true)
    }

    /// Admits everything and only says when it would open, until [`Breaker::release`], [`Breaker::force_close`] or
    /// [`Breaker::reset`].
    pub fn observe(&self) -> Option<Arc<Transition>> {
        self.machine.force(State::Observe, Instant::now(), |_| true)
    }

    /// Takes an order back (forced open, observe): calls are admitted again, as the settings say. Nothing in any state
    /// that the breaker found by itself.
    pub fn release(&self) -> Option<Arc<Transition>> {
        let ordered = |state| matches!(state, State::ForcedOpen | State::Observe);
        self.machine
            .force(self.machine.start(), Instant::now(), ordered)
    }

    /// As it was when it was made, but for its totals, which only rise.
    pub fn reset(&self) -> Option<Arc<Transition>> {
        let moved = self
            .machine
            .force(self.machine.start(), Instant::now(), |_| true);
        self.machine.forget();
        moved
    }

    /// Calls `callback` after each transition, where it happened and with no lock held. Keep it short.
    pub fn on_transition(&self, callback: impl Fn(&Transition) + Send + Sync + 'static) {
        self.machine.listeners.on_transition(callback);
    }

    /// Like [`Breaker::on_transition`], and told of what a breaker that only observes would do.
    pub fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) {
        self.machine.listeners.on_event(callback);
    }

    /// Events from now on, the last 256 at most: a slow reader misses the oldest and is told how many
    /// ([`broadcast::error::RecvError::Lagged`]), a call never waits.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.machine.listeners.subscribe()
    }

    /// All that is known of it.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let machine = &self.machine;
        let word = machine.word();
        let read = |total: &AtomicU64| total.load(Relaxed);
        let counts = machine.counts(now);
        let until = machine.until();
        let tally = &machine.tally;
        let (succeeded, failed) = (machine.succeeded(), read(&tally.failed));
        let (abandoned, ignored) = (read(&tally.abandoned), read(&tally.ignored));
        Snapshot {
            name: machine.name.to_string(),
            state: word.state(),
            in_a_row: if word.judges() { word.row() } else { 0 },
            counts,
            failure_rate: counts.failure_rate(),
            slow_rate: counts.slow_rate(),
            attempt: machine.attempt(),
            until,
            retry_in_ms: until.map(|until| nanos(until.saturating_duration_since(now)) / 1_000_000),
            totals: Totals {
                calls: succeeded + failed + abandoned + ignored,
                succeeded,
                failed,
                abandoned,
                ignored,
                slow: read(&tally.slow),
                stale: read(&tally.stale),
                rejected: read(&tally.rejected),
                opened: read(&tally.opened),
                would_open: read(&tally.would_open),
            },
        }
    }

    /// Makes a call if the breaker admits it. An error is a failure; a call that is dropped is ignored, or a failure if
    /// it had waited unusually long ([`BreakerBuilder::patience`]).
    ///
    /// # Errors
    ///
    /// The call's own, or that it was not admitted.
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BreakerError<E>> {
        self.call_with(ErrorsFail, call).await
    }
}

/// A breaker at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// What it lets through.
    pub state: State,
    /// Transport failures in a row while calls are judged.
    pub in_a_row: u32,
    /// Calls in its window.
    pub counts: Counts,
    /// Share of them that failed.
    pub failure_rate: f64,
    /// Share of them that was slow.
    pub slow_rate: f64,
    /// Openings since it was last healthy.
    pub attempt: u32,
    /// While open: when the wait is over.
    #[serde(skip)]
    pub until: Option<Instant>,
    /// While open: the rest of the wait, milliseconds.
    pub retry_in_ms: Option<u64>,
    /// Counts since it was made.
    pub totals: Totals,
}

/// Counts since a breaker was made. They only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Calls that ended, in whatever way.
    pub calls: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Transport failures and error statuses.
    pub failed: u64,
    /// Given up by callers who had waited unusually long.
    pub abandoned: u64,
    /// Said nothing about the dependency.
    pub ignored: u64,
    /// Longer than `slow_after`.
    pub slow: u64,
    /// Ended in a later state than the one that admitted them, or were a last resort: they decided nothing.
    pub stale: u64,
    /// Not admitted.
    pub rejected: u64,
    /// Times that it opened by itself.
    pub opened: u64,
    /// Times that it would have, while it only observed.
    pub would_open: u64,
}

/// Whole nanoseconds: a `u64` holds 584 years of them.
fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests;
