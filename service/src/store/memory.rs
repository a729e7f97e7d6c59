//! Jobs in memory, for tests and simulations: the rules of the durable stores without the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::tables::{self, Tables, TaskRow, TaskState};
use super::{
    Finished, Held, IdempotencyKey, JobFilter, JobStore, Listed, QueueStats, StoreError,
    StoreResult, Submitted, TaskLease,
};
use crate::media::MediaError;
use crate::model::{Clip, ClipId, Job, JobId, Task, TaskId, TaskKind, TaskResult, Video, VideoId};

/// A [`JobStore`] that forgets with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    videos: BTreeMap<VideoId, Video>,
    jobs: BTreeMap<JobId, Job>,
    /// By job and age.
    tasks: BTreeMap<(JobId, u64), TaskRow>,
    places: BTreeMap<TaskId, (JobId, u64)>,
    next_seq: u64,
    clips: BTreeMap<ClipId, Clip>,
    keys: BTreeMap<String, (String, JobId)>,
}

impl State {
    fn tasks_in<'a>(
        &'a self,
        job: &JobId,
    ) -> impl Iterator<Item = (&'a (JobId, u64), &'a TaskRow)> {
        self.tasks.range((job.clone(), 0)..=(job.clone(), u64::MAX))
    }
}

impl Tables for State {
    fn put_video(&mut self, video: &Video) -> StoreResult<()> {
        self.videos.insert(video.id.clone(), video.clone());
        Ok(())
    }

    fn job(&self, id: &JobId) -> StoreResult<Option<Job>> {
        Ok(self.jobs.get(id).cloned())
    }

    fn put_job(&mut self, job: &Job) -> StoreResult<()> {
        self.jobs.insert(job.id.clone(), job.clone());
        Ok(())
    }

    fn task(&self, id: &TaskId) -> StoreResult<Option<TaskRow>> {
        Ok(self
            .places
            .get(id)
            .and_then(|place| self.tasks.get(place))
            .cloned())
    }

    fn put_task(&mut self, row: &TaskRow) -> StoreResult<()> {
        let place = self.places.entry(row.task.id.clone()).or_insert_with(|| {
            self.next_seq += 1;
            (row.task.job.clone(), self.next_seq)
        });
        self.tasks.insert(place.clone(), row.clone());
        Ok(())
    }

    fn tasks_of(&self, job: &JobId) -> StoreResult<Vec<TaskRow>> {
        Ok(self.tasks_in(job).map(|(_, row)| row.clone()).collect())
    }

    fn drop_tasks_of(&mut self, job: &JobId, except: &TaskId) -> StoreResult<()> {
        let gone: Vec<_> = self
            .tasks_in(job)
            .filter(|(_, row)| row.task.id != *except)
            .map(|(place, row)| (place.clone(), row.task.id.clone()))
            .collect();
        for (place, id) in gone {
            self.tasks.remove(&place);
            self.places.remove(&id);
        }
        Ok(())
    }

    fn oldest_due(&self, now: Timestamp) -> StoreResult<Option<(TaskRow, Job)>> {
        let due = self.tasks.values().filter(|row| row.due(now));
        let mut whole = due.filter_map(|row| Some((row, self.jobs.get(&row.task.job)?)));
        Ok(whole.next().map(|(row, job)| (row.clone(), job.clone())))
    }

    fn put_clip(&mut self, clip: &Clip) -> StoreResult<()> {
        self.clips.insert(clip.id.clone(), clip.clone());
        Ok(())
    }

    fn idempotency(&self, key: &str) -> StoreResult<Option<(String, JobId)>> {
        Ok(self.keys.get(key).cloned())
    }

    fn put_idempotency(&mut self, key: &IdempotencyKey, job: &JobId) -> StoreResult<()> {
        self.keys
            .insert(key.key.clone(), (key.request_hash.clone(), job.clone()));
        Ok(())
    }
}

impl MemoryStore {
    fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> StoreResult<T>,
    ) -> BoxFuture<'static, StoreResult<T>> {
        future::ready(act(&mut self.0.lock())).boxed()
    }
}

impl JobStore for MemoryStore {
    fn add_video(&self, video: Video) -> BoxFuture<'_, StoreResult<()>> {
        self.with(|s| s.put_video(&video))
    }

    fn video<'a>(&'a self, id: &'a VideoId) -> BoxFuture<'a, StoreResult<Video>> {
        self.with(|s| s.videos.get(id).cloned().ok_or(StoreError::NotFound))
    }

    fn submit(
        &self,
        job: Job,
        first: Task,
        key: Option<IdempotencyKey>,
        source: Option<Video>,
    ) -> BoxFuture<'_, StoreResult<Submitted>> {
        self.with(|s| tables::submit(s, &job, first, key.as_ref(), source.as_ref()))
    }

    fn job<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Job>> {
        self.with(|s| s.jobs.get(id).cloned().ok_or(StoreError::NotFound))
    }

    fn jobs(&self, filter: JobFilter) -> BoxFuture<'_, StoreResult<Listed<Job>>> {
        self.with(|s| {
            Ok(s.jobs
                .values()
                .rev()
                .filter(|job| filter.before.as_ref().is_none_or(|before| job.id < *before))
                .filter(|job| filter.status.is_none_or(|status| job.status == status))
                .take(filter.limit)
                .cloned()
                .map(Ok)
                .collect())
        })
    }

    fn clips<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, StoreResult<Listed<Clip>>> {
        self.with(|s| {
            let mut clips: Vec<Clip> = s
                .clips
                .values()
                .filter(|clip| clip.job == *job)
                .cloned()
                .collect();
            clips.sort_by_key(|clip| clip.rank);
            Ok(clips.into_iter().map(Ok).collect())
        })
    }

    fn clip<'a>(&'a self, id: &'a ClipId) -> BoxFuture<'a, StoreResult<Clip>> {
        self.with(|s| s.clips.get(id).cloned().ok_or(StoreError::NotFound))
    }

    fn lease(
        &self,
        _owner: String,
        now: Timestamp,
        length: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<TaskLease>>> {
        self.with(|s| tables::lease(s, now, length))
    }

    fn held(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Held>>> {
        self.with(|s| {
            let held = s.tasks.values().filter_map(TaskRow::held);
            Ok(held.filter(|held| held.until > now).take(limit).collect())
        })
    }

    fn free(&self, held: Vec<Held>, now: Timestamp) -> BoxFuture<'_, StoreResult<usize>> {
        self.with(|s| tables::free(s, &held, now))
    }

    fn renew<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        until: Timestamp,
        progress: f64,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.with(|s| tables::renew(s, task, epoch, until, progress))
    }

    fn release<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        retry_at: Timestamp,
        strike: bool,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        self.with(|s| tables::release(s, task, epoch, retry_at, strike))
    }

    fn finish<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        result: TaskResult,
        next: Vec<(TaskId, TaskKind)>,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        self.with(|s| tables::finish(s, task, epoch, result, next, now))
    }

    fn fail<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        error: MediaError,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        self.with(|s| tables::fail(s, task, epoch, error, now))
    }

    fn unnamed(&self, keys: Vec<String>) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.with(|s| {
            let videos = s.videos.values().map(|video| &video.blob);
            let clips = s.clips.values();
            let clips = clips.flat_map(|clip| [&clip.clip_blob, &clip.poster_blob]);
            let open = s.tasks.values().filter(|row| row.state != TaskState::Done);
            let sources = open.map(|row| &row.task.source);
            let named: BTreeSet<&String> = videos.chain(clips).chain(sources).collect();
            Ok(keys
                .into_iter()
                .filter(|key| !named.contains(key))
                .collect())
        })
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.with(|_| Ok(()))
    }

    fn stats(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<QueueStats>> {
        self.with(|s| {
            let mut stats = QueueStats {
                jobs_open: s.jobs.values().filter(|j| !j.status.is_terminal()).count() as u64,
                ..QueueStats::default()
            };
            for row in s.tasks.values() {
                let due = match row.state {
                    TaskState::Leased { until } if until > now => {
                        stats.tasks_leased += 1;
                        continue;
                    }
                    TaskState::Leased { until: due } | TaskState::Waiting { ready: due } => due,
                    TaskState::Done => continue,
                };
                stats.tasks_waiting += 1;
                let age = Duration::try_from(now.duration_since(due)).unwrap_or_default();
                stats.queue_age = stats.queue_age.max(age);
            }
            Ok(stats)
        })
    }
}
