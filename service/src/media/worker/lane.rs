//! A lane: a few workers for one kind of work, and the bounded queue in front of them.
//!
//! Whoever waits for a frame stops waiting when their time is up, and their place goes with them, so nothing is begun
//! whose deadline has passed. Under standing load the newest are served first: they have the most of their time left.

use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::process::{Spawner, Worker};
use super::wire::{Job, Reply, Request, SourceKey};
use crate::admission::{Limit, Limiter, Permit, Priority, Reason, Refused, Waiting};
use crate::media::{MediaConfig, MediaError, MediaErrorCode, Progress};

/// Age of the oldest waiting request that is no sign of overload, besides what the work itself takes.
const TARGET: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_millis(100);

/// How probes and frames wait. Only age ends a wait: a burst (a page full of thumbnails) is no overload.
pub(super) fn light(config: &MediaConfig) -> Waiting {
    let longest = config.frame_wait.get();
    Waiting {
        places: config.frame_queue,
        longest: Some(longest),
        target: TARGET,
        interval: INTERVAL,
        give_up: longest,
    }
}

/// Workers for one kind of work.
pub(super) struct Lane {
    turns: Limiter,
    waiting: Waiting,
    idle: Mutex<Vec<Worker>>,
    workers: usize,
    /// Probes that have left their turn to others and are still under way.
    late: AtomicUsize,
    recycle_after: u32,
    stall: Duration,
    frame_stall: Duration,
    spawner: Spawner,
}

impl Lane {
    /// Process ids of the workers that wait for work.
    pub(super) fn idle(&self) -> Vec<u32> {
        self.idle.lock().iter().filter_map(Worker::id).collect()
    }

    pub(super) fn new(
        workers: usize,
        waiting: Waiting,
        config: &MediaConfig,
        spawner: Spawner,
    ) -> Self {
        let workers = workers.clamp(1, 256);
        Self {
            turns: Limiter::new(Limit::Fixed(workers), waiting),
            waiting,
            idle: Mutex::new(Vec::new()),
            recycle_after: config.recycle_after.max(1),
            workers,
            late: AtomicUsize::new(0),
            stall: config.stall.get(),
            frame_stall: config.frame_stall.get(),
            spawner,
        }
    }

    /// A worker for one job, best one that has `source` open.
    pub(super) async fn checkout(
        self: &Arc<Self>,
        source: Option<SourceKey>,
    ) -> Result<Lease, MediaError> {
        // Within a lane all work is alike; what matters more has been told apart before it comes here.
        let turn = self.turns.acquire(Priority::High, 0, None).await;
        let permit = turn.map_err(|refused| no_turn(refused, &self.waiting))?;
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
            permit: Some(permit),
        })
    }
}

fn no_turn(Refused(reason): Refused, waiting: &Waiting) -> MediaError {
    let detail = match reason {
        Reason::QueueAge | Reason::Deadline => {
            "the request waited too long for a media worker".to_owned()
        }
        Reason::Limit | Reason::QueueFull | Reason::Bulkhead => format!(
            "every media worker is busy and {} requests are waiting",
            waiting.places
        ),
    };
    MediaError::new(MediaErrorCode::Busy, detail)
}

/// A worker in use. Dropped without having been given back, it is killed: nobody knows what it is in the middle of.
pub(super) struct Lease {
    lane: Arc<Lane>,
    worker: Option<Worker>,
    permit: Option<Permit>,
}

/// A probe that goes on without a turn.
struct Late<'l>(&'l Lane);

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.0.late.fetch_sub(1, Ordering::Relaxed);
    }
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
        let lane = Arc::clone(&self.lane);
        let stall = match request.job {
            Job::Frame { .. } => lane.frame_stall,
            Job::Probe | Job::Analyse { .. } | Job::Render { .. } => lane.stall,
        };
        let result = {
            let mut exchange = pin!(worker.exchange(request, files, progress, stall));
            let patient = request.job != Job::Probe;
            match timeout(
                if patient {
                    Duration::MAX
                } else {
                    lane.frame_stall
                },
                &mut exchange,
            )
            .await
            {
                Ok(result) => result,
                Err(_) => {
                    let _late = self.step_aside(&lane);
                    exchange.await
                }
            }
        };
        // After damaged data or a lack of memory a fresh process is the safer one.
        let usable = match &result {
            Ok(_) => true,
            Err(error) => !matches!(
                error.code,
                MediaErrorCode::WorkerCrashed
                    | MediaErrorCode::Stalled
                    | MediaErrorCode::CorruptMedia
                    | MediaErrorCode::EncodeFailed
                    | MediaErrorCode::Shortage
            ),
        };
        if usable {
            worker.remember(request.source);
            self.worker = Some(worker);
            self.put_back();
        }
        result
    }

    /// Lets somebody else have the turn while this goes on: a file on which a probe hangs must not keep frames of others
    /// waiting. As many may do so as there are workers, so that at most twice as many run.
    fn step_aside<'l>(&mut self, lane: &'l Lane) -> Option<Late<'l>> {
        let late = lane.late.fetch_add(1, Ordering::Relaxed);
        let counted = Late(lane);
        if late < lane.workers {
            self.permit = None;
            return Some(counted);
        }
        None
    }

    pub(super) fn give_back(mut self) {
        self.put_back();
    }

    fn put_back(&mut self) {
        if let Some(worker) = self.worker.take()
            && worker.jobs() < self.lane.recycle_after
        {
            let mut idle = self.lane.idle.lock();
            if idle.len() < self.lane.workers {
                idle.push(worker);
            }
        }
    }
}
