//! A lane: a few workers for one kind of work, and the bounded queue in front of them.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::process::{Spawner, Worker};
use super::wire::{Reply, Request, SourceKey};
use crate::media::{MediaConfig, MediaError, MediaErrorCode, Progress};

/// Workers for one kind of work.
pub(super) struct Lane {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    idle: Mutex<Vec<Worker>>,
    recycle_after: u32,
    stall: Duration,
    spawner: Spawner,
}

impl Lane {
    /// Process ids of the workers that wait for work.
    pub(super) fn idle(&self) -> Vec<u32> {
        self.idle.lock().iter().filter_map(Worker::id).collect()
    }

    pub(super) fn new(
        workers: usize,
        queue: usize,
        config: &MediaConfig,
        spawner: Spawner,
    ) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(workers.clamp(1, 256))),
            waiting: AtomicUsize::new(0),
            queue,
            idle: Mutex::new(Vec::new()),
            recycle_after: config.recycle_after.max(1),
            stall: config.stall.get(),
            spawner,
        }
    }

    /// A worker for one job, best one that has `source` open.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        source: Option<SourceKey>,
    ) -> Result<Lease, MediaError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, self.queue)?;
                Arc::clone(&self.permits)
                    .acquire_owned()
                    .await
                    .map_err(|_| {
                        MediaError::new(
                            MediaErrorCode::Cancelled,
                            "the media engine is shutting down",
                        )
                    })?
            }
        };
        let worker = loop {
            let idle = {
                let mut idle = self.idle.lock();
                let at = source
                    .and_then(|key| idle.iter().position(|w| w.knows(key)))
                    .or(idle.len().checked_sub(1));
                at.map(|at| idle.remove(at))
            };
            let Some(mut worker) = idle else {
                break Worker::start(&self.spawner).await?;
            };
            // One that died while it was idle is simply not there any more.
            if worker.is_alive() {
                break worker;
            }
        };
        Ok(Lease {
            lane: Arc::clone(self),
            worker: Some(worker),
            _permit: permit,
        })
    }
}

/// A place in a queue that has an end.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Result<Self, MediaError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::AcqRel) >= queue {
            return Err(MediaError::new(
                MediaErrorCode::Busy,
                format!("every media worker is busy and {queue} requests are waiting"),
            ));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A worker in use. Dropped without having been given back, it is killed: nobody knows what it is in the middle of.
pub(super) struct Lease {
    lane: Arc<Lane>,
    worker: Option<Worker>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Has one request done. The worker goes back to its lane when it can be used again.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        files: &[RawFd],
        progress: &Progress,
    ) -> Result<(Reply, Bytes), MediaError> {
        let Some(mut worker) = self.worker.take() else {
            return Err(MediaError::new(
                MediaErrorCode::WorkerCrashed,
                "the worker was used up",
            ));
        };
        let result = worker
            .exchange(request, files, progress, self.lane.stall)
            .await;
        // After damaged data or a lack of memory a fresh process is the safer one.
        let usable = match &result {
            Ok(_) => true,
            Err(error) => !matches!(
                error.code,
                MediaErrorCode::WorkerCrashed
                    | MediaErrorCode::Stalled
                    | MediaErrorCode::CorruptMedia
                    | MediaErrorCode::EncodeFailed
            ),
        };
        if usable {
            worker.remember(request.source);
            self.worker = Some(worker);
            self.put_back();
        }
        result
    }

    pub(super) fn give_back(mut self) {
        self.put_back();
    }

    fn put_back(&mut self) {
        if let Some(worker) = self.worker.take()
            && worker.jobs() < self.lane.recycle_after
        {
            self.lane.idle.lock().push(worker);
        }
    }
}
