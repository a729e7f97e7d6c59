//! A try, and for a read that takes unusually long a second one beside it. The first good answer wins and the other leg is
//! dropped at once; an error of one leg does not end the race.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::Response;
use tokio::time::Instant;

use super::attempt::{Plan, attempt};
use super::body::UpstreamBody;
use super::call::{Call, TryError};
use super::instance::Instance;
use super::latency::Usual;
use super::picked::Picked;
use super::retry::Failure;
use super::route::Route;
use super::stack::{Counts, Inner};
use super::tried::Tried;

/// How one leg ended.
pub(super) struct Leg {
    pub(super) outcome: Result<Response<UpstreamBody>, TryError>,
    pub(super) instance: Arc<Instance>,
}

impl Leg {
    pub(super) fn failure(&self) -> Option<Failure> {
        match &self.outcome {
            Ok(response) => Failure::of_answer(response.status(), response.headers()),
            Err(error) => Some(Failure::of_error(error)),
        }
    }

    /// The better of two that failed: an answer, even a bad one, says more than none.
    fn or(self, later: Self) -> Self {
        if later.outcome.is_err() && self.outcome.is_ok() {
            self
        } else {
            later
        }
    }
}

/// What a race is about.
pub(super) struct Race<'a> {
    pub(super) call: &'a Call,
    pub(super) route: &'a Arc<Route>,
    pub(super) usual: Usual,
    /// Of the first leg.
    pub(super) plan: Plan,
}

impl Inner {
    pub(super) async fn race(
        &self,
        race: Race<'_>,
        picked: Picked,
        tried: &mut Tried<'_>,
        attempts: &mut u32,
        began: Instant,
    ) -> Leg {
        let Race {
            call,
            route,
            usual,
            mut plan,
        } = race;
        let delay = self
            .hedging
            .delay(usual, began)
            .filter(|delay| call.may_be_hedged() && !picked.last_resort && *delay < plan.bound);
        if delay.is_some() {
            plan.silence = Some(self.patience.of_silence(&self.pool, began));
        }
        let instance = Arc::clone(&picked.instance);
        // The hedge comes first, so until then its timer is the only one.
        let armed = AtomicBool::new(delay.is_none());
        let first = async {
            let ended = attempt(call, picked, Arc::clone(route), plan, &armed).await;
            self.leg(ended, Arc::clone(&instance))
        };
        let mut first = std::pin::pin!(first);
        let Some(delay) = delay else {
            return first.await;
        };
        tokio::select! {
            biased;
            leg = &mut first => return leg,
            () = tokio::time::sleep_until(began + delay) => armed.store(true, Relaxed),
        }
        let Some(picked) = self.second(call, &instance, tried, began) else {
            return first.await;
        };
        let now = Instant::now();
        let Some(bound) = self.patience.of_try(call, usual, &self.pool, now) else {
            drop(picked);
            return first.await;
        };
        let second = Arc::clone(&picked.instance);
        tried.add(&second);
        *attempts += 1;
        let plan = Plan {
            number: *attempts,
            bound,
            hedge: true,
            ..plan
        };
        Counts::add(&self.counts.tries);
        Counts::add(&self.counts.hedges);
        let second = async {
            let ended = attempt(call, picked, Arc::clone(route), plan, &armed).await;
            self.leg(ended, second)
        };
        let mut second = std::pin::pin!(second);
        tokio::select! {
            biased;
            leg = &mut first => match leg.failure() {
                None => leg,
                Some(_) => {
                    let other = second.await;
                    self.won(other.failure().is_none());
                    leg.or(other)
                }
            },
            leg = &mut second => match leg.failure() {
                None => {
                    self.won(true);
                    leg
                }
                Some(_) => leg.or(first.await),
            },
        }
    }

    fn leg(
        &self,
        (outcome, at): (Result<Response<UpstreamBody>, TryError>, Instant),
        instance: Arc<Instance>,
    ) -> Leg {
        let leg = Leg { outcome, instance };
        if leg.outcome.is_ok() {
            let shed = leg.failure() == Some(Failure::Shed);
            self.hedging.heard(shed, at);
        }
        leg
    }

    fn won(&self, by_hedge: bool) {
        if by_hedge {
            Counts::add(&self.counts.hedges_won);
        }
    }

    /// Whom to ask beside `first`, if there is somebody and a budget covers it.
    fn second(
        &self,
        call: &Call,
        first: &Instance,
        tried: &Tried<'_>,
        began: Instant,
    ) -> Option<Picked> {
        let now = Instant::now();
        if !self.pool.has_other(tried, now) {
            return None;
        }
        let silent = || {
            let waited = now.saturating_duration_since(began);
            first.silence.lasts(now) >= waited && self.hedging.answered_since(began)
        };
        let budget = if self.hedging.budget.withdraw(now) {
            &self.hedging.budget
        } else if silent() && self.budget.withdraw(now) {
            &self.budget
        } else {
            Counts::add(&self.counts.hedges_refused);
            return None;
        };
        let picked = self.pool.pick(tried, call.hash_key, now);
        match picked {
            Some(picked) if !picked.last_resort && !tried.contains(&picked.instance.name) => {
                Some(picked)
            }
            _ => {
                budget.refund(now);
                None
            }
        }
    }
}
