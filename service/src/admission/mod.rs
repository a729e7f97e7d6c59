//! Which requests a node takes when it cannot take all: limits per tenant, per node and per kind of work.
//!
//! In this order: a tenant's rate ([`RateLimit`]), the node's concurrency limit, which follows latency ([`Gradient`]) and
//! lets the least important wait or go ([`Limiter`], [`Priority`]), and places for one kind of work ([`Bulkhead`]). The
//! point of the order is cost: what is refused is refused before it has taken anything.
//!
//! Mechanism only. Which route is which [`Work`] is said where the routes are; nothing here knows of clips, and nothing
//! decides on the caller's side (that is `upstream`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::env::SharedRng;
use crate::http::Problem;
use crate::telemetry::{Metric, Metrics};

mod bulkhead;
mod config;
mod gradient;
mod limiter;
mod priority;
mod queue;
mod rate;

pub use bulkhead::Bulkhead;
pub use config::{AdmissionConfig, BulkheadsConfig, RateLimitConfig, ShedConfig};
pub use gradient::{Bounds, Gradient, KINDS};
pub use limiter::{Limit, Limiter, LimiterState, Permit, Waiting};
pub use priority::{Priority, X_ATTEMPT, X_HEDGE, X_PRIORITY};
pub use queue::{AgedQueue, Patience};
pub use rate::{Allowed, RateLimit, RateLimited, Tenant, X_API_KEY, X_TENANT};

/// How long the oldest may have waited too long before a queue is cut: CoDel's interval.
const INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Why a request was not taken. Sent as `x-shed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// As much as may be is being worked on.
    Limit,
    /// The queue is full.
    QueueFull,
    /// It waited too long.
    QueueAge,
    /// Its time was up while it waited.
    Deadline,
    /// Every place for this kind of work is taken.
    Bulkhead,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 5;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Limit,
        Self::QueueFull,
        Self::QueueAge,
        Self::Deadline,
        Self::Bulkhead,
    ];

    /// Reads what another node wrote.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Place in arrays by reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As the header and metrics write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::QueueFull => "queue-full",
            Self::QueueAge => "queue-age",
            Self::Deadline => "deadline",
            Self::Bulkhead => "bulkhead",
        }
    }
}

/// A request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("overloaded ({})", .0.name())]
pub struct Refused(pub Reason);

impl From<Refused> for Problem {
    fn from(Refused(reason): Refused) -> Self {
        let detail = match reason {
            Reason::Limit | Reason::QueueFull => "this instance has more to do than it can",
            Reason::QueueAge => "the request waited too long for its turn",
            Reason::Deadline => "the request's time was up before its turn came",
            Reason::Bulkhead => "this instance does as much of this kind of work as it may",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
            .retry_after(1)
            .shed(reason.name())
    }
}

impl From<RateLimited> for Problem {
    fn from(limited: RateLimited) -> Self {
        let detail = format!(
            "more requests than this tenant may send; the next is taken in {} ms",
            limited.wait.as_millis()
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
            .retry_after(limited.retry_after())
    }
}

/// How a request meets the concurrency limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It needs a turn until the head of its answer is there.
    Needed,
    /// Its handler asks for the turn, when it knows that it needs one.
    Later,
    /// It is let in only while there are turns, and takes none: a file that a client sends at its own speed is in
    /// flight for long without being much work.
    Gate,
    /// It has a limit of its own.
    None,
}

/// What admission has to know of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Requests whose latencies are comparable have the same number, below [`KINDS`].
    pub kind: usize,
    /// How much it matters.
    pub priority: Priority,
    /// How it meets the concurrency limit.
    pub turn: Turn,
    /// Place of its bulkhead in the list given to [`Admission::new`].
    pub bulkhead: Option<usize>,
}

#[derive(Debug)]
struct Inner {
    rate: Option<RateLimit>,
    rate_limited: AtomicU64,
    limiter: Option<Limiter>,
    bulkheads: Vec<Bulkhead>,
}

/// All limits of a node. Cheap to clone; clones share the limits.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

impl Admission {
    /// The limits of `config`. The concurrency limit begins at `initial` unless the configuration says otherwise;
    /// `bulkheads` are those that [`Work::bulkhead`] points into.
    #[must_use]
    pub fn new(
        config: &AdmissionConfig,
        initial: u32,
        rng: &SharedRng,
        bulkheads: Vec<Bulkhead>,
    ) -> Self {
        let shed = &config.shed;
        let limiter = shed.enabled.then(|| {
            let gradient = Gradient::new(shed.bounds(initial), Instant::now());
            Limiter::new(
                Limit::Adaptive(Box::new(gradient), rng.fork("admission")),
                Waiting {
                    places: shed.queue,
                    longest: Some(shed.wait.get()),
                    target: shed.target.get(),
                    interval: INTERVAL,
                    give_up: shed.target.get(),
                },
            )
        });
        Self(Arc::new(Inner {
            rate: RateLimit::new(&config.rate_limit),
            rate_limited: AtomicU64::new(0),
            limiter,
            bulkheads,
        }))
    }

    /// Takes a request into account that carries `headers`; `None` when there is no limit.
    ///
    /// # Errors
    /// Its tenant has sent too much.
    pub fn rate(&self, headers: &HeaderMap) -> Result<Option<Allowed>, RateLimited> {
        let Some(rate) = &self.0.rate else {
            return Ok(None);
        };
        match rate.check(Tenant::of(headers)) {
            Ok(allowed) => Ok(Some(allowed)),
            Err(limited) => {
                self.0.rate_limited.fetch_add(1, Ordering::Relaxed);
                Err(limited)
            }
        }
    }

    /// A turn for requests of `kind`, of use until `until`; `None` when turns are not limited.
    ///
    /// # Errors
    /// There is none.
    pub async fn turn(
        &self,
        priority: Priority,
        kind: usize,
        until: Instant,
    ) -> Result<Option<Permit>, Refused> {
        match &self.0.limiter {
            None => Ok(None),
            Some(limiter) => limiter.acquire(priority, kind, Some(until)).await.map(Some),
        }
    }

    /// Whether there would be a turn.
    ///
    /// # Errors
    /// There is none.
    pub fn gate(&self, priority: Priority) -> Result<(), Refused> {
        match &self.0.limiter {
            None => Ok(()),
            Some(limiter) => limiter.pass(priority),
        }
    }

    /// Place of the bulkhead of this name, for [`Work::bulkhead`].
    #[must_use]
    pub fn bulkhead(&self, name: &str) -> Option<usize> {
        self.0.bulkheads.iter().position(|one| one.name() == name)
    }

    /// A place in the bulkhead of `work`; `None` when it has none.
    ///
    /// # Errors
    /// Every place is taken.
    pub fn enter(&self, work: &Work) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        let bulkhead = work.bulkhead.and_then(|at| self.0.bulkheads.get(at));
        bulkhead.map(Bulkhead::enter).transpose()
    }

    /// Writes the numbers into `metrics`. Counted here and not there, because every request passes.
    pub fn publish(&self, metrics: &Metrics) {
        if let Some(limiter) = &self.0.limiter {
            let state = limiter.state();
            metrics.set(Metric::AdmissionLimit, &[], state.limit);
            metrics.set(Metric::AdmissionInFlight, &[], state.in_flight as f64);
            metrics.set(Metric::AdmissionWaiting, &[], state.waiting as f64);
            metrics.set(Metric::AdmissionQueueAge, &[], state.oldest.as_secs_f64());
            for priority in Priority::DESCENDING {
                let labels = [("priority", priority.name())];
                let admitted = state.admitted[priority.index()];
                metrics.set(Metric::Admitted, &labels, admitted as f64);
                for reason in Reason::ALL {
                    let refused = state.refused[priority.index()][reason.index()];
                    if refused > 0 {
                        let labels = [("priority", priority.name()), ("reason", reason.name())];
                        metrics.set(Metric::Shed, &labels, refused as f64);
                    }
                }
            }
        }
        if let Some(rate) = &self.0.rate {
            let limited = self.0.rate_limited.load(Ordering::Relaxed);
            metrics.set(Metric::RateLimited, &[], limited as f64);
            metrics.set(Metric::RateLimitTenants, &[], rate.tenants() as f64);
        }
        for bulkhead in &self.0.bulkheads {
            let labels = [("work", bulkhead.name())];
            metrics.set(Metric::BulkheadTaken, &labels, bulkhead.taken() as f64);
            metrics.set(Metric::BulkheadRefused, &labels, bulkhead.refused() as f64);
        }
    }
}
