//! The brake on retries: of the calls that are under way at one moment only a share may be retries. The budget bounds how
//! many there are over time; this bounds how many arrive at once, which is what brings a recovering instance down again.
//!
//! It delays and does not refuse. An instance of three that is killed breaks a third of all calls in one moment, and
//! every one of them has a right to its retry.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::sync::Notify;
use tokio::time::Instant;

/// So many retries may always run: a share of few calls would be none.
const ALWAYS: u32 = 3;

#[derive(Debug)]
pub(super) struct Brake {
    ratio: f64,
    active: AtomicU32,
    retrying: AtomicU32,
    freed: Notify,
}

impl Brake {
    /// Retries may be `ratio` of the calls under way.
    pub(super) fn new(ratio: f64) -> Self {
        Self {
            ratio,
            active: AtomicU32::new(0),
            retrying: AtomicU32::new(0),
            freed: Notify::new(),
        }
    }

    /// A call is under way until the guard goes.
    pub(super) fn call(&self) -> Active<'_> {
        self.active.fetch_add(1, SeqCst);
        Active(self)
    }

    /// Waits until one more retry may run, at most until `until`; it runs until the guard goes.
    pub(super) async fn retry(&self, until: Instant) -> Option<Retrying<'_>> {
        let mut freed = std::pin::pin!(self.freed.notified());
        loop {
            // Listens before it looks, or what is freed in between would wake nobody.
            freed.as_mut().enable();
            if self.enter() {
                return Some(Retrying(self));
            }
            tokio::time::timeout_at(until, freed.as_mut()).await.ok()?;
            freed.set(self.freed.notified());
        }
    }

    fn enter(&self) -> bool {
        let share = f64::from(self.active.load(SeqCst)) * self.ratio;
        let most = (share as u32).max(ALWAYS);
        self.retrying
            .fetch_update(SeqCst, SeqCst, |now| (now < most).then_some(now + 1))
            .is_ok()
    }

    pub(super) fn active(&self) -> u32 {
        self.active.load(SeqCst)
    }

    pub(super) fn retrying(&self) -> u32 {
        self.retrying.load(SeqCst)
    }
}

#[derive(Debug)]
pub(super) struct Active<'a>(&'a Brake);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, SeqCst);
    }
}

#[derive(Debug)]
pub(super) struct Retrying<'a>(&'a Brake);

impl Drop for Retrying<'_> {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, SeqCst);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fifth_at_a_time_and_three_always() {
        for (calls, expected) in [(0, 3), (10, 3), (50, 10)] {
            let brake = Brake::new(0.2);
            let active: Vec<_> = (0..calls).map(|_| brake.call()).collect();
            let soon = Instant::now() + Duration::from_secs(1);
            let mut held = Vec::new();
            while let Some(entered) = brake.retry(soon).now_or_never() {
                held.extend(entered);
            }
            assert_eq!(held.len(), expected);
            drop((held, active));
            assert_eq!((brake.active(), brake.retrying()), (0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_to_wait_comes_next_or_gives_up_in_time() {
        let brake = Brake::new(0.2);
        let now = Instant::now();
        let soon = now + Duration::from_millis(20);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(brake.retry(soon).await.expect("room"));
        }
        assert!(brake.retry(soon).await.is_none());
        assert_eq!(Instant::now(), soon);
        let later = soon + Duration::from_secs(1);
        let waiting = brake.retry(later);
        let freeing = async {
            tokio::time::sleep(Duration::from_millis(7)).await;
            held.pop();
        };
        let (entered, ()) = futures_util::join!(waiting, freeing);
        assert!(entered.is_some());
        assert_eq!(soon.elapsed(), Duration::from_millis(7));
    }
}
