//! One gateway's way to the store: can be stalled, and watches that each task is done once, by its holder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::Exec;
use clip_service::media::MediaError;
use clip_service::model::{
    Clip, ClipId, Job, JobId, Task, TaskId, TaskKind, TaskResult, Video, VideoId,
};
use clip_service::store::{
    Finished, Held, IdempotencyKey, JobFilter, JobStore, Listed, QueueStats, StoreResult,
    Submitted, TaskLease,
};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::active_faults::ActiveFaults;
use super::mutants::Flaw;
use super::world::Log;

/// How far [`Flaw::WriteBehind`] is behind.
const BEHIND: Duration = Duration::from_secs(2);

/// What became of each task, as all gateways together saw it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tasks: BTreeMap<TaskId, Entry>,
    /// What must not be, in words.
    pub(super) wrong: Vec<String>,
    /// Results that were refused because the task had another holder by then.
    pub(super) fenced: u64,
    /// Leases of a task that had been leased before.
    pub(super) leased_again: u64,
}

#[derive(Debug, Default)]
struct Entry {
    leased: u32,
    ended: Option<u32>,
}

impl Ledger {
    fn leased(&mut self, task: &Task) {
        let entry = self.tasks.entry(task.id.clone()).or_default();
        if task.epoch <= entry.leased {
            self.wrong.push(format!(
                "{} was leased under epoch {} after epoch {}",
                task.id, task.epoch, entry.leased
            ));
        }
        if let Some(ended) = entry.ended {
            self.wrong.push(format!(
                "{} was leased under epoch {} although it had ended under epoch {ended}",
                task.id, task.epoch
            ));
        }
        self.leased_again += u64::from(entry.leased > 0);
        entry.leased = task.epoch;
    }

    fn ended(&mut self, task: &TaskId, epoch: u32, how: &str) {
        let entry = self.tasks.entry(task.clone()).or_default();
        if epoch != entry.leased {
            self.wrong.push(format!(
                "{task} {how} under epoch {epoch}, which was over: epoch {} held it",
                entry.leased
            ));
        }
        if let Some(earlier) = entry.ended {
            self.wrong.push(format!(
                "{task} {how} under epoch {epoch}, although it had ended under epoch {earlier}"
            ));
        }
        entry.ended = Some(epoch);
    }

    fn current(&self, task: &TaskId) -> Option<u32> {
        self.tasks.get(task).map(|entry| entry.leased)
    }
}

/// A [`JobStore`] as one gateway reaches it.
pub(super) struct SimStore {
    pub(super) inner: Arc<dyn JobStore>,
    pub(super) host: &'static str,
    pub(super) active_faults: ActiveFaults,
    pub(super) log: Log,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) flaw: Option<Flaw>,
}

impl SimStore {
    fn reach<'a, T: 'a>(
        &'a self,
        call: BoxFuture<'a, StoreResult<T>>,
    ) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move {
            self.active_faults.until_stored(self.host).await;
            call.await
        })
    }

    /// The epoch under which the store shall take a call: the caller's, or with [`Flaw::NoFencing`] the current one.
    fn epoch(&self, task: &TaskId, claimed: u32) -> u32 {
        match self.flaw {
            Some(Flaw::NoFencing) => self.ledger.lock().current(task).unwrap_or(claimed),
            _ => claimed,
        }
    }

    fn note(&self, task: &TaskId, epoch: u32, how: &str, outcome: &StoreResult<Finished>) {
        let host = self.host;
        match outcome {
            Ok(Finished::Recorded(_)) => {
                self.log
                    .line(format!("{host} store: {task} {how} under epoch {epoch}"));
                self.ledger.lock().ended(task, epoch, how);
            }
            Ok(Finished::Fenced) => {
                self.log
                    .line(format!("{host} store: {task} fenced, epoch {epoch}"));
                self.ledger.lock().fenced += 1;
            }
            Err(error) => self.log.line(format!("{host} store: {task}: {error}")),
        }
    }
}

impl JobStore for SimStore {
    fn add_video(&self, video: Video) -> BoxFuture<'_, StoreResult<()>> {
        self.reach(Box::pin(async move { self.inner.add_video(video).await }))
    }

    fn video<'a>(&'a self, id: &'a VideoId) -> BoxFuture<'a, StoreResult<Video>> {
        self.reach(Box::pin(async move { self.inner.video(id).await }))
    }

    fn submit(
        &self,
        job: Job,
        first: Task,
        key: Option<IdempotencyKey>,
        source: Option<Video>,
    ) -> BoxFuture<'_, StoreResult<Submitted>> {
        if self.flaw == Some(Flaw::WriteBehind) {
            let (inner, kept) = (Arc::clone(&self.inner), job.clone());
            let written = Exec::Local.spawn(async move {
                tokio::time::sleep(BEHIND).await;
                inner.submit(kept, first, key, source).await.is_ok()
            });
            drop(written);
            return Box::pin(std::future::ready(Ok(Submitted::New(job))));
        }
        self.reach(Box::pin(async move {
            self.inner.submit(job, first, key, source).await
        }))
    }

    fn job<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Job>> {
        self.reach(Box::pin(async move { self.inner.job(id).await }))
    }

    fn jobs(&self, filter: JobFilter) -> BoxFuture<'_, StoreResult<Listed<Job>>> {
        self.reach(Box::pin(async move { self.inner.jobs(filter).await }))
    }

    fn clips<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, StoreResult<Listed<Clip>>> {
        self.reach(Box::pin(async move { self.inner.clips(job).await }))
    }

    fn clip<'a>(&'a self, id: &'a ClipId) -> BoxFuture<'a, StoreResult<Clip>> {
        self.reach(Box::pin(async move { self.inner.clip(id).await }))
    }

    fn lease(
        &self,
        owner: String,
        now: Timestamp,
        length: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<TaskLease>>> {
        self.reach(Box::pin(async move {
            let leased = self.inner.lease(owner, now, length).await;
            if let Ok(Some(TaskLease { task, strikes, .. })) = &leased {
                self.log.line(format!(
                    "{} store: leases {} of {}, epoch {}, strikes {strikes}",
                    self.host, task.id, task.job, task.epoch
                ));
                self.ledger.lock().leased(task);
            }
            leased
        }))
    }

    fn held(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Held>>> {
        self.reach(Box::pin(async move { self.inner.held(now, limit).await }))
    }

    fn free(&self, held: Vec<Held>, now: Timestamp) -> BoxFuture<'_, StoreResult<usize>> {
        self.reach(Box::pin(async move { self.inner.free(held, now).await }))
    }

    fn renew<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        until: Timestamp,
        progress: f64,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.reach(Box::pin(async move {
            let epoch = self.epoch(task, epoch);
            self.inner.renew(task, epoch, until, progress).await
        }))
    }

    fn release<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        retry_at: Timestamp,
        strike: bool,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.reach(Box::pin(async move {
            let released = self.inner.release(task, epoch, retry_at, strike).await;
            let host = self.host;
            self.log.line(format!(
                "{host} store: {task} given back, epoch {epoch}, strike {strike}: {released:?}"
            ));
            released
        }))
    }

    fn finish<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        result: TaskResult,
        next: Vec<(TaskId, TaskKind)>,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        self.reach(Box::pin(async move {
            if let TaskResult::Rendered { clip_blob, .. } = &result
                && !clip_blob.contains(&format!("/{epoch}/"))
            {
                let text = format!("{task} has written {clip_blob} under epoch {epoch}");
                self.ledger.lock().wrong.push(text);
            }
            let taken = self.epoch(task, epoch);
            let outcome = self.inner.finish(task, taken, result, next, now).await;
            self.note(task, epoch, "was done", &outcome);
            outcome
        }))
    }

    fn fail<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        error: MediaError,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        self.reach(Box::pin(async move {
            let taken = self.epoch(task, epoch);
            let outcome = self.inner.fail(task, taken, error, now).await;
            self.note(task, epoch, "failed for good", &outcome);
            outcome
        }))
    }

    fn unnamed(&self, keys: Vec<String>) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.reach(Box::pin(async move { self.inner.unnamed(keys).await }))
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.reach(Box::pin(async move { self.inner.check().await }))
    }

    fn stats(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<QueueStats>> {
        self.reach(Box::pin(async move { self.inner.stats(now).await }))
    }
}
