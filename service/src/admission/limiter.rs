//! Turns for work: a concurrency limit, shares of it by priority, and a short queue per priority in front.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::gradient::Gradient;
use super::priority::Priority;
use super::queue::{AgedQueue, Patience};
use super::{Reason, Refused};
use crate::env::SharedRng;

/// How many may be worked on at a time.
#[derive(Debug, Clone)]
pub enum Limit {
    /// Always as many: there are so many workers.
    Fixed(usize),
    /// As latency tells. The generator gives jitter.
    Adaptive(Box<Gradient>, SharedRng),
}

/// How turns are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// Waiting places per priority.
    pub places: usize,
    /// Longest wait; `None`: as long as the caller likes.
    pub longest: Option<Duration>,
    /// Age of the oldest that is always allowed, raised to what the work itself takes: with less even a healthy queue
    /// in front of slow work would be cut.
    pub target: Duration,
    /// How long the oldest may be older than that before the queue counts as standing.
    pub interval: Duration,
    /// In a standing queue, waits longer than this are ended; never sooner than the target.
    pub give_up: Duration,
}

impl Waiting {
    /// First come, first served, however long it takes.
    #[must_use]
    pub const fn patient(places: usize) -> Self {
        Self {
            places,
            longest: None,
            target: Duration::MAX,
            interval: Duration::MAX,
            give_up: Duration::MAX,
        }
    }
}

/// Numbers for whoever watches.
#[derive(Debug, Clone, PartialEq)]
pub struct LimiterState {
    /// The limit at this moment.
    pub limit: f64,
    /// Turns being used.
    pub in_flight: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Age of the oldest of them.
    pub oldest: Duration,
    /// Turns given since the start, by [`Priority::index`].
    pub admitted: [u64; Priority::COUNT],
    /// Requests refused since the start, by [`Priority::index`] and [`Reason::index`].
    pub refused: [[u64; Reason::COUNT]; Priority::COUNT],
}

type Waiter = oneshot::Sender<Result<Permit, Refused>>;

struct State {
    limit: Limit,
    in_flight: usize,
    waiting: usize,
    queues: [AgedQueue<Waiter>; Priority::COUNT],
    /// What a turn of a fixed limit takes, seconds.
    usual: f64,
    admitted: [u64; Priority::COUNT],
    refused: [[u64; Reason::COUNT]; Priority::COUNT],
}

struct Inner {
    waiting: Waiting,
    state: Mutex<State>,
}

/// Gives turns. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limiter").field(&self.state()).finish()
    }
}

/// What is told to those who wait, after the lock is released.
type News = Vec<(Waiter, Result<(), Refused>)>;

impl State {
    fn limit(&self) -> f64 {
        match &self.limit {
            Limit::Fixed(count) => *count as f64,
            Limit::Adaptive(gradient, _) => gradient.limit(),
        }
    }

    fn has_room(&self, priority: Priority) -> bool {
        self.in_flight < priority.allowance(self.limit())
    }

    fn enter(&mut self, priority: Priority) {
        self.in_flight += 1;
        self.admitted[priority.index()] += 1;
        if let Limit::Adaptive(gradient, _) = &mut self.limit {
            gradient.in_flight(self.in_flight);
        }
    }

    fn refuse(&mut self, priority: Priority, reason: Reason) -> Refused {
        self.refused[priority.index()][reason.index()] += 1;
        Refused(reason)
    }

    fn patience(&self, waiting: &Waiting) -> Patience {
        let work = match &self.limit {
            Limit::Fixed(_) => Duration::from_secs_f64(self.usual),
            Limit::Adaptive(gradient, _) => gradient.least(),
        };
        let target = waiting.target.max(work);
        Patience {
            target,
            interval: waiting.interval.max(target.saturating_mul(2)),
            give_up: waiting.give_up.max(target),
        }
    }

    /// Gives free turns to those who wait, the most important first.
    fn dispatch(&mut self, waiting: &Waiting, now: Instant, news: &mut News) {
        if self.waiting == 0 {
            return;
        }
        let patience = self.patience(waiting);
        let mut dropped = Vec::new();
        for priority in Priority::DESCENDING {
            let queue = priority.index();
            while !self.queues[queue].is_empty() && self.has_room(priority) {
                let popped = self.queues[queue].pop(now, patience, &mut dropped);
                for (waiter, reason) in dropped.drain(..) {
                    if !waiter.is_closed() {
                        let refused = self.refuse(priority, reason);
                        news.push((waiter, Err(refused)));
                    }
                }
                let Some(waiter) = popped else { break };
                if !waiter.is_closed() {
                    self.enter(priority);
                    news.push((waiter, Ok(())));
                }
            }
        }
        self.waiting = self.queues.iter().map(AgedQueue::len).sum();
    }
}

impl Limiter {
    /// Turns by `limit`, waited for as `waiting` says.
    #[must_use]
    pub fn new(limit: Limit, waiting: Waiting) -> Self {
        let queues = [(); Priority::COUNT].map(|()| AgedQueue::new(waiting.places));
        Self(Arc::new(Inner {
            waiting,
            state: Mutex::new(State {
                limit,
                in_flight: 0,
                waiting: 0,
                queues,
                usual: 0.0,
                admitted: [0; Priority::COUNT],
                refused: [[0; Reason::COUNT]; Priority::COUNT],
            }),
        }))
    }

    /// A turn for work that is of use until `until`. `kind` tells whose latencies its own is compared with. Dropping the
    /// future gives the place in the queue up.
    ///
    /// # Errors
    /// There is no turn, and no place to wait or it was waited too long.
    pub async fn acquire(
        &self,
        priority: Priority,
        kind: usize,
        until: Option<Instant>,
    ) -> Result<Permit, Refused> {
        let mut permit = self.wait(priority, until).await?;
        permit.kind = kind;
        Ok(permit)
    }

    async fn wait(&self, priority: Priority, until: Option<Instant>) -> Result<Permit, Refused> {
        let now = Instant::now();
        let mut news = News::new();
        let asked = self.ask(priority, until, now, &mut news);
        self.tell(news);
        let waiting = match asked? {
            Asked::Permit(permit) => return Ok(permit),
            Asked::Wait(waiting) => waiting,
        };
        let longest = self
            .0
            .waiting
            .longest
            .and_then(|longest| now.checked_add(longest));
        let last = [until, longest].into_iter().flatten().min();
        let told = match last {
            None => waiting.await,
            Some(last) => match tokio::time::timeout_at(last, waiting).await {
                Ok(told) => told,
                Err(_) => {
                    let reason = if until == Some(last) {
                        Reason::Deadline
                    } else {
                        Reason::QueueAge
                    };
                    return Err(self.0.state.lock().refuse(priority, reason));
                }
            },
        };
        // The sender is dropped without a word only together with the limiter.
        told.unwrap_or(Err(Refused(Reason::QueueFull)))
    }

    fn ask(
        &self,
        priority: Priority,
        until: Option<Instant>,
        now: Instant,
        news: &mut News,
    ) -> Result<Asked, Refused> {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        state.dispatch(&self.0.waiting, now, news);
        let first = state.waiting == 0
            || Priority::DESCENDING
                .iter()
                .take_while(|other| **other >= priority)
                .all(|other| state.queues[other.index()].is_empty());
        if first && state.has_room(priority) {
            state.enter(priority);
            return Ok(Asked::Permit(self.permit(now)));
        }
        let queue = &mut state.queues[priority.index()];
        if queue.len() >= self.0.waiting.places {
            queue.retain(|waiter| !waiter.is_closed());
        }
        let (tell, told) = oneshot::channel();
        let without = queue.push(now, until, tell);
        state.waiting = state.queues.iter().map(AgedQueue::len).sum();
        if let Some(waiter) = without {
            let refused = state.refuse(priority, Reason::QueueFull);
            news.push((waiter, Err(refused)));
        }
        Ok(Asked::Wait(told))
    }

    /// Whether work of this priority may begin now, without taking a turn: for work that must not hold one because
    /// somebody else decides how long it takes.
    ///
    /// # Errors
    /// There would be no turn.
    pub fn pass(&self, priority: Priority) -> Result<(), Refused> {
        let mut state = self.0.state.lock();
        if state.has_room(priority) {
            state.admitted[priority.index()] += 1;
            return Ok(());
        }
        Err(state.refuse(priority, Reason::Limit))
    }

    /// Numbers for whoever watches.
    #[must_use]
    pub fn state(&self) -> LimiterState {
        let now = Instant::now();
        let mut state = self.0.state.lock();
        for queue in &mut state.queues {
            queue.retain(|waiter| !waiter.is_closed());
        }
        state.waiting = state.queues.iter().map(AgedQueue::len).sum();
        LimiterState {
            limit: state.limit(),
            in_flight: state.in_flight,
            waiting: state.waiting,
            oldest: state
                .queues
                .iter()
                .map(|queue| queue.age(now))
                .max()
                .unwrap_or_default(),
            admitted: state.admitted,
            refused: state.refused,
        }
    }

    fn permit(&self, began: Instant) -> Permit {
        Permit {
            limiter: self.clone(),
            began,
            kind: 0,
            outcome: Outcome::GivenUp,
        }
    }

    fn tell(&self, news: News) {
        for (waiter, verdict) in news {
            // Whoever has gone away since drops what is sent, and with it the permit.
            waiter
                .send(verdict.map(|()| self.permit(Instant::now())))
                .ok();
        }
    }

    fn release(&self, began: Instant, kind: usize, outcome: Outcome) {
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        let mut news = News::new();
        {
            let mut state = self.0.state.lock();
            let state = &mut *state;
            state.in_flight -= 1;
            match &mut state.limit {
                Limit::Fixed(_) => state.usual += (took.as_secs_f64() - state.usual) / 8.0,
                Limit::Adaptive(gradient, rng) => {
                    match outcome {
                        Outcome::Done => gradient.sample(kind, took),
                        Outcome::GivenUp => gradient.censored(kind, took),
                        Outcome::Ignored => {}
                    }
                    gradient.tick(now, state.in_flight, || rng.unit());
                }
            }
            state.dispatch(&self.0.waiting, now, &mut news);
        }
        self.tell(news);
    }
}

enum Asked {
    Permit(Permit),
    Wait(oneshot::Receiver<Result<Permit, Refused>>),
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    GivenUp,
    Ignored,
}

/// A turn; it ends when this is dropped. Dropped without a word it counts as given up: what it took so far is a lower
/// bound of what it would have taken.
pub struct Permit {
    limiter: Limiter,
    began: Instant,
    kind: usize,
    outcome: Outcome,
}

impl Permit {
    /// Ends the turn: the work is done, and what it took says how loaded the node is.
    pub fn done(mut self) {
        self.outcome = Outcome::Done;
    }

    /// Ends the turn: what it took says nothing (failed at once, answered from a cache).
    pub fn ignored(mut self) {
        self.outcome = Outcome::Ignored;
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.release(self.began, self.kind, self.outcome);
    }
}

#[cfg(test)]
mod tests;
