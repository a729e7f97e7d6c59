//! The order of the layers around a call. [`Upstream::call`] is the one place where it is written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::attempt::attempt;
use super::budget::Budget;
use super::call::{Call, Reply, TryError, UpstreamError};
use super::config::UpstreamConfig;
use super::deadline;
use super::pool::{Picked, Pool};
use super::retry::{Facts, Failure, decide};
use super::view::InstanceView;
use crate::breaker::Breaker;
use crate::env::{Env, SharedRng};
use crate::registry::client::Discovery;

/// A try of a read may take this many times what is usual in the pool, if that is longer than its configured bound.
const STRETCH: f64 = 3.0;

/// Calls any instance of one kind. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    pool: Pool,
    config: UpstreamConfig,
    budget: Mutex<Budget>,
    rng: SharedRng,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    failed: AtomicU64,
    tries: AtomicU64,
    retries: AtomicU64,
    retries_refused: AtomicU64,
    last_resorts: AtomicU64,
    empty: AtomicU64,
    expired: AtomicU64,
}

/// Counts since the start, and two gauges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamMetrics {
    /// Calls made.
    pub calls: u64,
    /// Calls that got no answer.
    pub failed: u64,
    /// Tries made, first ones included.
    pub tries: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Retries that would have been right but were not covered by the budget.
    pub retries_refused: u64,
    /// Choices of an instance that should not be used, because there was no other.
    pub last_resorts: u64,
    /// Choices made while so few instances were available that those that breakers had taken out were chosen as well.
    pub panic_picks: u64,
    /// Times that a breaker took an instance out of the choice.
    pub ejections: u64,
    /// Times that one would have, but too many were out already.
    pub ejections_overflow: u64,
    /// Calls that found nobody to ask.
    pub empty: u64,
    /// Calls whose deadline passed.
    pub expired: u64,
    /// Retries that the budget covers now.
    pub budget_left: u64,
    /// How long the registry has not answered, milliseconds.
    pub registry_stale_ms: u64,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.metrics()).finish()
    }
}

impl Upstream {
    /// A stack over the peers that `discovery` knows.
    #[must_use]
    pub fn new(env: &Env, discovery: Discovery, config: UpstreamConfig) -> Self {
        Self(Arc::new(Inner {
            pool: Pool::new(env, discovery, config.clone()),
            budget: Mutex::new(Budget::new(&config.retry, Instant::now())),
            config,
            rng: env.rng.fork("retry"),
            counts: Counts::default(),
        }))
    }

    /// Makes a call, through every layer, from the outermost in:
    ///
    /// 1. **Counts**: one call, however many tries, is what the caller sees.
    /// 2. **Total deadline**: outside of retries, or each retry would begin a new one.
    /// 3. **Retry** with its budget: outside of the choice, so that it moves to another instance; it remembers whom it
    ///    has tried.
    /// 4. **Fail fast**: inside the retry, which must not spend its tries on a pool that is empty, and outside of the
    ///    choice, which then always has somebody.
    /// 5. **Choice** of an instance. A breaker that is open, or has no permit left, is a reason to choose another; it
    ///    never fails the call and spends no retry.
    /// 6. Per instance, in `attempt`: breaker **permit** (taken with the choice, so that no two calls share it), then
    ///    the **in-flight** count and the **recorder** of outcome and load: outside of the timeout, because a timeout
    ///    is the most important failure to record.
    /// 7. **Timeout of the try**: around the HTTP exchange and nothing else.
    ///
    /// # Errors
    /// When there is nobody to ask, the deadline passed, or every try failed without an answer. An answer with an error
    /// status is a [`Reply`].
    pub async fn call(&self, call: Call) -> Result<Reply, UpstreamError> {
        let inner = &*self.0;
        Counts::add(&inner.counts.calls);
        let mut attempts = 0;
        let mut last = None;
        let outcome = if call.deadline <= Instant::now() {
            None
        } else {
            let tries = inner.tries(&call, &mut attempts, &mut last);
            tokio::time::timeout_at(call.deadline, tries).await.ok()
        };
        let outcome = outcome.unwrap_or_else(|| {
            Err(UpstreamError::DeadlineExceeded {
                attempts,
                last: last.map(|(_, error)| error),
            })
        });
        if let Err(error) = &outcome {
            Counts::add(&inner.counts.failed);
            match error {
                UpstreamError::DeadlineExceeded { .. } => Counts::add(&inner.counts.expired),
                UpstreamError::NoInstance => Counts::add(&inner.counts.empty),
                UpstreamError::Exhausted { .. } => {}
            }
        }
        outcome
    }

    /// The instances as this stack knows them.
    #[must_use]
    pub fn snapshot(&self) -> Vec<InstanceView> {
        self.0.pool.view(Instant::now())
    }

    /// The breaker of the instance called `name`, to hold it open, close it or have it only observe.
    #[must_use]
    pub fn breaker(&self, name: &str) -> Option<Breaker> {
        self.0.pool.breaker(name)
    }

    /// Chooses an instance as a call does, and makes none: for who calls by other means. `tried` are chosen only when there
    /// is no other; `key` is [`Call::hash_key`].
    #[must_use]
    pub fn pick(&self, tried: &[String], key: Option<u64>, now: Instant) -> Option<Picked> {
        self.0.pool.pick(tried, key, now)
    }

    /// Counts.
    #[must_use]
    pub fn metrics(&self) -> UpstreamMetrics {
        let (now, counts) = (Instant::now(), &self.0.counts);
        let stale = self.0.pool.discovery().stale_for(now).as_millis();
        let pool = self.0.pool.counts();
        UpstreamMetrics {
            calls: counts.calls.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            tries: counts.tries.load(Relaxed),
            retries: counts.retries.load(Relaxed),
            retries_refused: counts.retries_refused.load(Relaxed),
            last_resorts: counts.last_resorts.load(Relaxed),
            panic_picks: pool.panic_picks,
            ejections: pool.ejections,
            ejections_overflow: pool.ejections_overflow,
            empty: counts.empty.load(Relaxed),
            expired: counts.expired.load(Relaxed),
            budget_left: self.0.budget.lock().left(now),
            registry_stale_ms: u64::try_from(stale).unwrap_or(u64::MAX),
        }
    }
}

impl Counts {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }
}

impl Inner {
    /// Layers 3 to 7.
    async fn tries(
        &self,
        call: &Call,
        attempts: &mut u32,
        last: &mut Option<(String, TryError)>,
    ) -> Result<Reply, UpstreamError> {
        self.budget.lock().deposit(Instant::now());
        let mut tried = call.prefer_not.clone();
        loop {
            let picked = self.pick_or_fail_fast(&tried, call).await?;
            let instance = picked.instance.name.clone();
            if !tried.contains(&instance) {
                tried.push(instance.clone());
            }
            let Some(bound) = self.bound_of_try(call) else {
                let last = last.take().map(|(_, error)| error);
                return Err(UpstreamError::DeadlineExceeded {
                    attempts: *attempts,
                    last,
                });
            };
            *attempts += 1;
            Counts::add(&self.counts.tries);
            let outcome = attempt(call, picked, *attempts, bound).await;
            let failure = match &outcome {
                Ok(response) => Failure::of_status(response.status()),
                Err(error) => Some(Failure::of_error(error)),
            };
            let wait =
                failure.and_then(|failure| self.retry_after(call, failure, *attempts, &tried));
            match (outcome, wait) {
                (Ok(response), None) => {
                    return Ok(Reply {
                        response,
                        instance,
                        attempts: *attempts,
                    });
                }
                (Err(error), None) => {
                    return Err(UpstreamError::Exhausted {
                        attempts: *attempts,
                        instance,
                        last: error,
                    });
                }
                (outcome, Some(wait)) => {
                    if let Err(error) = outcome {
                        tracing::debug!(instance, %error, attempt = *attempts, "retrying");
                        *last = Some((instance, error));
                    }
                    Counts::add(&self.counts.retries);
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    async fn pick_or_fail_fast(
        &self,
        tried: &[String],
        call: &Call,
    ) -> Result<Picked, UpstreamError> {
        let give_up = (Instant::now() + self.config.timeouts.empty_pool.get()).min(call.deadline);
        loop {
            if let Some(picked) = self.pool.pick(tried, call.hash_key, Instant::now()) {
                if picked.last_resort {
                    Counts::add(&self.counts.last_resorts);
                }
                return Ok(picked);
            }
            if tokio::time::timeout_at(give_up, self.pool.changed())
                .await
                .is_err()
            {
                return Err(UpstreamError::NoInstance);
            }
        }
    }

    /// Bound of the next try; `None` when there is no time for one.
    fn bound_of_try(&self, call: &Call) -> Option<Duration> {
        let now = Instant::now();
        let own = call.try_timeout.unwrap_or_else(|| {
            let stretched = self.usual(now).mul_f64(STRETCH);
            self.config.timeouts.read_try.get().max(stretched)
        });
        deadline::of_try(own, now, call.deadline)
    }

    fn usual(&self, now: Instant) -> Duration {
        let seconds = self.pool.usual_latency(now).unwrap_or(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    fn retry_after(
        &self,
        call: &Call,
        failure: Failure,
        attempts: u32,
        tried: &[String],
    ) -> Option<Duration> {
        let now = Instant::now();
        let facts = Facts {
            failure,
            idempotent: call.idempotent,
            attempts,
            other: self.pool.has_other(tried, now),
            left: call.deadline.saturating_duration_since(now),
            usual: self.usual(now),
            jitter: self.rng.unit(),
        };
        let wait = decide(&self.config.retry, facts)?;
        let covered = self.budget.lock().withdraw(now);
        if !covered {
            Counts::add(&self.counts.retries_refused);
        }
        covered.then_some(wait)
    }
}
