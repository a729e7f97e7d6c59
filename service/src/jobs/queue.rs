//! What the API and the dispatcher of one gateway tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::upstream::Upstream;

/// Wakes the dispatcher and knows roughly how long the queue is.
#[derive(Debug, Default)]
pub struct Queue {
    wake: Notify,
    jobs_open: AtomicU64,
    in_flight: AtomicUsize,
    seen_processors: AtomicBool,
}

impl Queue {
    /// Has the dispatcher look for tasks now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A job was accepted.
    pub fn accepted(&self) {
        self.jobs_open.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Jobs not yet terminal, as of the last count and what was accepted since.
    #[must_use]
    pub fn jobs_open(&self) -> u64 {
        self.jobs_open.load(Ordering::Relaxed)
    }

    /// Tasks this gateway has handed to processors.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether any processor was known at any time: a gateway that never saw one has not finished starting, while one
    /// whose processors are all gone still answers what it can.
    pub fn has_seen_processors(&self, upstream: &Upstream) -> bool {
        if !self.seen_processors.load(Ordering::Relaxed) && !upstream.snapshot().is_empty() {
            self.seen_processors.store(true, Ordering::Relaxed);
        }
        self.seen_processors.load(Ordering::Relaxed)
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn counted(&self, jobs_open: u64) {
        self.jobs_open.store(jobs_open, Ordering::Relaxed);
    }

    pub(super) fn running(&self, tasks: usize) {
        self.in_flight.store(tasks, Ordering::Relaxed);
    }
}
