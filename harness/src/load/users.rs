//! The users that carry out a load: those who take the arrivals of an open one, and those of a closed one, who think
//! between rounds. When they come and go is said by goose's turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_channel::Receiver;
use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::goose::UserLogic;
use super::outstanding::Outstanding;
use super::pacer::Arrival;
use super::session::Shared;

/// Longest turn without work: goose tells its users to go only between turns. Turns end early where they have to; this
/// is a bound, not a beat.
const IDLE_POLL: Duration = Duration::from_secs(2);

/// Which part of the load a user carries out.
pub(super) enum Worker {
    /// Takes arrivals of an open load.
    Arrivals {
        load: usize,
        arrivals: Receiver<Arrival>,
    },
    /// User `number` of a closed load.
    User(User),
}

pub(super) struct User {
    pub(super) load: usize,
    pub(super) number: usize,
    pub(super) starts: Duration,
    pub(super) stay: Duration,
    pub(super) think: (Duration, Duration),
    pub(super) rounds: AtomicU64,
}

/// All users, and what they share.
pub(super) struct WorkerPool {
    pub(super) workers: Vec<Worker>,
    pub(super) loads: Vec<Arc<Shared>>,
    pub(super) origin: watch::Receiver<Option<Instant>>,
    /// Cancelled when there will be no more work.
    pub(super) over: CancellationToken,
    pub(super) outstanding: Arc<Outstanding>,
    pub(super) cancel: CancellationToken,
    pub(super) lag: Arc<Mutex<Lag>>,
}

/// Health of the generator.
pub(super) struct Lag {
    pub(super) micros: Histogram<u64>,
    pub(super) unsent: u64,
}

impl Lag {
    fn record(&mut self, lag: Duration) {
        self.micros
            .saturating_record(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX).max(1));
    }
}

impl UserLogic for WorkerPool {
    fn turn(&self, slot: usize) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match &self.workers[slot] {
                Worker::Arrivals { load, arrivals } => {
                    let free_since = Instant::now();
                    match tokio::time::timeout(IDLE_POLL, arrivals.recv()).await {
                        Ok(Ok(arrival)) => {
                            self.work(&self.loads[*load], arrival, free_since).await;
                            true
                        }
                        // Nothing came.
                        Err(_) => true,
                        Ok(Err(_)) => self.rest(Instant::now() + IDLE_POLL).await,
                    }
                }
                Worker::User(user) => self.round(&self.loads[user.load], user).await,
            }
        })
    }
}

impl WorkerPool {
    /// Waits until there will be no more work, but no longer than this; false once there is none.
    async fn rest(&self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.over.cancelled() => false,
            () = tokio::time::sleep_until(until) => true,
        }
    }

    async fn work(&self, load: &Shared, arrival: Arrival, free_since: Instant) {
        let Arrival { number, due } = arrival;
        let waited = due.elapsed();
        if self.cancel.is_cancelled() || waited > load.plan.timeout.get() {
            load.unsent(due, due + load.plan.timeout.get());
            self.lag.lock().unsent += 1;
        } else {
            let sent = load.run(number, due).await;
            // Waiting for a free place is the system's doing; what comes after it is the generator's.
            let lag = sent.saturating_duration_since(due.max(free_since));
            self.lag.lock().record(lag);
        }
        self.outstanding.end(due, load.index, number);
    }

    /// One round of a closed user and the pause after it; false when there is no round to do.
    async fn round(&self, load: &Shared, user: &User) -> bool {
        let mut origin = self.origin.clone();
        let origin = tokio::select! {
            biased;
            () = self.over.cancelled() => return false,
            origin = origin.wait_for(Option::is_some) => origin.ok().and_then(|origin| *origin),
        };
        let Some(origin) = origin else {
            return false;
        };
        let (begin, end) = (origin + user.starts, origin + user.stay);
        let now = Instant::now();
        if now >= end || self.cancel.is_cancelled() {
            return self.rest(now + IDLE_POLL).await;
        }
        if now < begin {
            return self.rest(begin.min(now + IDLE_POLL)).await;
        }
        let round = user.rounds.fetch_add(1, Ordering::SeqCst);
        let number = ((user.number as u64) << 32) | round;
        self.outstanding.begin(now, load.index, number);
        load.run(number, now).await;
        self.outstanding.end(now, load.index, number);
        let (least, most) = user.think;
        let share = load.rng.fork(&format!("think/{number}")).unit();
        let pause = least + most.saturating_sub(least).mul_f64(share);
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            () = tokio::time::sleep_until(end.min(Instant::now() + pause)) => {}
        }
        true
    }
}
