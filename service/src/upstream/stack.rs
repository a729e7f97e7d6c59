//! The order of the layers around a call. [`Upstream::call`] is the one place where it is written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::attempt::Plan;
use super::brake::{Active, Brake, Retrying};
use super::budget::Budget;
use super::call::{Call, InstanceName, Reply, UpstreamError};
use super::config::UpstreamConfig;
use super::hedge::Hedging;
use super::patience::Patience;
use super::picked::Picked;
use super::pool::Pool;
use super::race::{Leg, Race};
use super::retry::{Facts, Failure, decide, retry_after};
use super::route::{Ending, Route, RouteView, Routes};
use super::tried::Tried;
use super::view::InstanceView;
use crate::breaker::Breaker;
use crate::env::{Env, SharedRng};
use crate::registry::client::Discovery;
use crate::telemetry::Latencies;

/// Calls any instance of one kind. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

pub(super) struct Inner {
    pub(super) pool: Pool,
    config: UpstreamConfig,
    pub(super) budget: Budget,
    brake: Brake,
    pub(super) hedging: Hedging,
    pub(super) patience: Patience,
    routes: Routes,
    rng: SharedRng,
    pub(super) counts: Counts,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) tries: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) hedges_won: AtomicU64,
    pub(super) hedges_refused: AtomicU64,
    retries: AtomicU64,
    retries_refused: AtomicU64,
    last_resorts: AtomicU64,
}

/// Counts since the start, and gauges. A call is what its caller sees, however many tries it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamMetrics {
    /// Calls made, those under way apart.
    pub calls: u64,
    /// Calls that got no answer: out of time, nobody to ask, every try failed, throttled.
    pub failed: u64,
    /// Tries made, first ones included.
    pub tries: u64,
    /// Tries after the first, hedges apart.
    pub retries: u64,
    /// Retries that would have been right but were not covered by the budget.
    pub retries_refused: u64,
    /// Second legs of hedged tries.
    pub hedges: u64,
    /// Second legs whose answer was the one that counted.
    pub hedges_won: u64,
    /// Hedges that would have been right but were not covered by a budget.
    pub hedges_refused: u64,
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
    /// Calls that the throttle refused.
    pub throttled: u64,
    /// Calls under way, streamed answers up to their head.
    pub active: u32,
    /// Retries under way.
    pub active_retries: u32,
    /// Retries that the budget covers now.
    pub budget_left: u64,
    /// Hedges that their own budget covers now.
    pub hedge_budget_left: u64,
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
        let now = Instant::now();
        let retry = &config.retry;
        Self(Arc::new(Inner {
            pool: Pool::new(env, discovery, config.clone()),
            budget: Budget::new(retry.budget_ratio, retry.min_per_second, now),
            brake: Brake::new(retry.budget_ratio),
            hedging: Hedging::new(&config.hedge, now),
            patience: Patience::new(&config.timeouts),
            routes: Routes::new(&config.throttle),
            config,
            rng: env.rng.fork("retry"),
            counts: Counts::default(),
        }))
    }

    /// Makes a call, through every layer, from the outermost in:
    ///
    /// 1. **Counts** of calls: one call, however many tries, is what the caller sees.
    /// 2. **Total deadline**: outside of retries, or each retry would begin a new one. Every wait further in ends by
    ///    it, so that no timer of its own is needed.
    /// 3. **Throttle**: outside of retries, which are what it saves first.
    /// 4. **Retry** with its budget and brake: outside of the choice, so that it moves to another instance; it remembers
    ///    whom it has tried.
    /// 5. **Hedge** with its budget: inside the retry, so that a retry is never hedged twice; it shares the memory.
    /// 6. **Fail fast**: inside the retry, which must not spend its tries on a pool that is empty, and outside of the
    ///    choice, which then always has somebody.
    /// 7. **Choice** of an instance. A breaker that is open, or has no permit left, is a reason to choose another; it
    ///    never fails the call and spends no retry.
    /// 8. Per instance, in `attempt`: breaker **permit** (taken with the choice, so that no two calls share it), then
    ///    the **in-flight** count and the **recorder** of outcome and load: outside of the timeout, because a timeout
    ///    is the most important failure to record.
    /// 9. **Timeout of the try**: around the HTTP exchange and nothing else.
    ///
    /// # Errors
    /// When there is nobody to ask, the deadline passed, the throttle refused, or every try failed without an answer. An
    /// answer with an error status is a [`Reply`].
    pub async fn call(&self, call: Call) -> Result<Reply, UpstreamError> {
        let inner = &*self.0;
        let now = Instant::now();
        let route = inner.routes.of(call.route, now);
        let mut logical = Logical {
            route: &route,
            began: now,
            ending: Ending::Cancelled,
            _active: inner.brake.call(),
        };
        let outcome = if call.deadline <= now {
            Err(UpstreamError::DeadlineExceeded {
                attempts: 0,
                last: None,
            })
        } else if route.throttle.admits(&inner.rng, now) {
            inner.tries(&call, &route, now).await
        } else {
            Err(UpstreamError::Throttled)
        };
        logical.end(&outcome);
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
        self.0.pool.pick(&Tried::new(tried), key, now)
    }

    /// Every kind of call that was made, as it went lately.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteView> {
        let now = Instant::now();
        let mut views: Vec<RouteView> = self
            .0
            .routes
            .all()
            .iter()
            .map(|route| {
                let usual = route.latency.usual(now);
                let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
                RouteView {
                    route: route.name,
                    endings: route.endings().collect(),
                    samples: usual.samples,
                    p50_ms: ms(usual.p50),
                    p95_ms: ms(usual.p95),
                    p999_ms: ms(usual.p999),
                    hedge_after_ms: self.0.hedging.delay(usual, now).map(ms),
                    throttled: route.throttle.probability(now),
                }
            })
            .collect();
        views.sort_by_key(|view| view.route);
        views
    }

    /// Hands each kind of call with the times of its answered calls, and of its answered tries, to `show`.
    pub fn latencies(&self, mut show: impl FnMut(&'static str, &Latencies, &Latencies)) {
        for route in self.0.routes.all().iter() {
            show(route.name, &route.calls, &route.tries);
        }
    }

    /// Counts.
    #[must_use]
    pub fn metrics(&self) -> UpstreamMetrics {
        let (now, inner) = (Instant::now(), &self.0);
        let (counts, pool) = (&inner.counts, inner.pool.counts());
        let stale = inner.pool.discovery().stale_for(now).as_millis();
        let routes = inner.routes.all();
        let ended = |ending| routes.iter().map(|route| route.ended(ending)).sum::<u64>();
        let (empty, expired, throttled) = (
            ended(Ending::Empty),
            ended(Ending::Expired),
            ended(Ending::Throttled),
        );
        let all = routes.iter().flat_map(|route| route.endings());
        UpstreamMetrics {
            calls: all.map(|(_, count)| count).sum(),
            failed: empty + expired + throttled + ended(Ending::Failed),
            tries: counts.tries.load(Relaxed),
            retries: counts.retries.load(Relaxed),
            retries_refused: counts.retries_refused.load(Relaxed),
            hedges: counts.hedges.load(Relaxed),
            hedges_won: counts.hedges_won.load(Relaxed),
            hedges_refused: counts.hedges_refused.load(Relaxed),
            last_resorts: counts.last_resorts.load(Relaxed),
            panic_picks: pool.panic_picks,
            ejections: pool.ejections,
            ejections_overflow: pool.ejections_overflow,
            empty,
            expired,
            throttled,
            active: inner.brake.active(),
            active_retries: inner.brake.retrying(),
            budget_left: inner.budget.left(now),
            hedge_budget_left: inner.hedging.budget.left(now),
            registry_stale_ms: u64::try_from(stale).unwrap_or(u64::MAX),
        }
    }
}

impl Counts {
    pub(super) fn add(count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
    }
}

/// Counts a call when it ends, however it ends.
struct Logical<'a> {
    route: &'a Route,
    began: Instant,
    ending: Ending,
    _active: Active<'a>,
}

impl Logical<'_> {
    fn end(&mut self, outcome: &Result<Reply, UpstreamError>) {
        let now = Instant::now();
        self.ending = match outcome {
            Ok(reply) => {
                let (status, headers) = (reply.response.status(), reply.response.headers());
                let shed = Failure::of_answer(status, headers) == Some(Failure::Shed);
                self.route.throttle.heard(!shed, now);
                self.route
                    .calls
                    .observe(now.saturating_duration_since(self.began));
                match status {
                    _ if shed => Ending::Shed,
                    status if status.is_server_error() => Ending::ErrorStatus,
                    _ => Ending::Answered,
                }
            }
            Err(UpstreamError::DeadlineExceeded { .. }) => Ending::Expired,
            Err(UpstreamError::NoInstance) => Ending::Empty,
            Err(UpstreamError::Throttled) => Ending::Throttled,
            Err(UpstreamError::Exhausted { .. }) => Ending::Failed,
        };
    }
}

impl Drop for Logical<'_> {
    fn drop(&mut self) {
        self.route.count(self.ending);
    }
}

/// What a call has been through.
#[derive(Default)]
struct Past {
    attempts: u32,
    retries: u32,
    shed: bool,
}

impl Inner {
    /// Layers 4 to 9.
    async fn tries(
        &self,
        call: &Call,
        route: &Arc<Route>,
        began: Instant,
    ) -> Result<Reply, UpstreamError> {
        self.budget.deposit(began);
        if call.may_be_hedged() {
            self.hedging.budget.deposit(began);
        }
        let usual = route.latency.usual(began);
        let mut tried = Tried::new(&call.prefer_not);
        let mut past = Past::default();
        let mut last = None;
        // Held while a retry runs.
        let mut _running: Option<Retrying<'_>> = None;
        let mut now = began;
        loop {
            let picked = self.pick_or_fail_fast(&tried, call, &mut now).await;
            let bound = self.patience.of_try(call, usual, &self.pool, now);
            let (picked, bound) = match (picked, bound) {
                (Ok(picked), Some(bound)) => (picked, bound),
                (_, None) => {
                    let attempts = past.attempts;
                    return Err(UpstreamError::DeadlineExceeded { attempts, last });
                }
                (Err(error), Some(_)) => return Err(error),
            };
            tried.add(&picked.instance);
            past.attempts += 1;
            Counts::add(&self.counts.tries);
            let last_resort = picked.last_resort;
            let race = Race {
                call,
                route,
                usual,
                plan: Plan {
                    number: past.attempts,
                    bound,
                    hedge: false,
                    silence: None,
                },
            };
            let leg = self
                .race(race, picked, &mut tried, &mut past.attempts, now)
                .await;
            _running = None;
            let failure = leg.failure().filter(|_| !last_resort);
            let retry = match failure {
                Some(failure) => self.may_retry(call, &leg, failure, &past, &tried).await,
                None => None,
            };
            past.shed |= failure == Some(Failure::Shed);
            let instance = InstanceName::of(leg.instance);
            match (leg.outcome, retry) {
                (Ok(response), None) => {
                    return Ok(Reply {
                        response,
                        instance,
                        attempts: past.attempts,
                    });
                }
                (Err(error), None) => {
                    return Err(UpstreamError::Exhausted {
                        attempts: past.attempts,
                        instance: instance.to_string(),
                        last: error,
                    });
                }
                (outcome, Some((wait, running))) => {
                    if let Err(error) = outcome {
                        let attempt = past.attempts;
                        tracing::debug!(%instance, %error, attempt, "retrying");
                        last = Some(error);
                    }
                    past.retries += 1;
                    Counts::add(&self.counts.retries);
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                    _running = Some(running);
                    now = Instant::now();
                }
            }
        }
    }

    async fn pick_or_fail_fast(
        &self,
        tried: &Tried<'_>,
        call: &Call,
        now: &mut Instant,
    ) -> Result<Picked, UpstreamError> {
        let mut give_up = None;
        loop {
            if let Some(picked) = self.pool.pick(tried, call.hash_key, *now) {
                if picked.last_resort {
                    Counts::add(&self.counts.last_resorts);
                }
                return Ok(picked);
            }
            let wait = self.config.timeouts.empty_pool.get();
            let give_up = *give_up.get_or_insert_with(|| (*now + wait).min(call.deadline));
            if tokio::time::timeout_at(give_up, self.pool.changed())
                .await
                .is_err()
            {
                return Err(UpstreamError::NoInstance);
            }
            *now = Instant::now();
        }
    }

    /// How long to wait before a try that failed is made again, and the leave to do so.
    ///
    /// A try that was a last resort is not: nobody is left of whom better can be expected, and a service that is down as a
    /// whole shall not meet more than the calls made to it.
    async fn may_retry(
        &self,
        call: &Call,
        leg: &Leg,
        failure: Failure,
        past: &Past,
        tried: &Tried<'_>,
    ) -> Option<(Duration, Retrying<'_>)> {
        let now = Instant::now();
        let left = call.deadline.saturating_duration_since(now);
        let usual = self.patience.usual(&self.pool, now);
        let headers = leg.outcome.as_ref().ok().map(|response| response.headers());
        let facts = Facts {
            failure,
            idempotent: call.idempotent,
            retries: past.retries,
            shed_before: past.shed,
            other: self.pool.has_other(tried, now),
            after: headers.and_then(retry_after),
            left,
            usual,
            jitter: self.rng.unit(),
        };
        let wait = decide(&self.config.retry, facts)?;
        if !self.budget.withdraw(now) {
            Counts::add(&self.counts.retries_refused);
            return None;
        }
        // Whoever has to wait for the brake must still be able to wait out `wait` and make a try.
        let latest = now + left.saturating_sub(wait + usual);
        let running = self.brake.retry(latest).await;
        if running.is_none() {
            self.budget.refund(Instant::now());
            Counts::add(&self.counts.retries_refused);
        }
        Some((wait, running?))
    }
}
