//! What the API, the dispatcher and the watch over storage of one gateway tell each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::upstream::Upstream;

/// Wakes the dispatcher and knows roughly how long the queue is.
#[derive(Debug, Default)]
pub struct Queue {
    wake: Notify,
    jobs_open: AtomicU64,
    in_flight: AtomicUsize,
    seen_processors: AtomicBool,
    /// Why nothing that is accepted could be kept.
    storage_fault: Mutex<Option<String>>,
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

    /// Why nothing can be accepted at the moment, if that is so.
    #[must_use]
    pub fn storage_fault(&self) -> Option<String> {
        self.storage_fault.lock().clone()
    }

    /// Keeps what a look at storage has found; says whether there was a fault before.
    pub(super) fn storage_found(&self, fault: Option<String>) -> bool {
        std::mem::replace(&mut *self.storage_fault.lock(), fault).is_some()
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
