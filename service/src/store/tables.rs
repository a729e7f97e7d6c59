//! The rules of jobs and tasks, written once over [`Tables`], which every store provides.
//!
//! Nothing here knows SQL or locks: a store gives each function the tables inside one atomic step, and a function
//! that returns an error has written nothing that the store may keep.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Finished, Held, IdempotencyKey, StoreError, StoreResult, Submitted, TaskLease};
use crate::media::MediaError;
use crate::model::{Clip, Job, JobId, JobStatus, Task, TaskId, TaskKind, TaskResult, Video};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TaskState {
    /// Can be leased from `ready` on.
    Waiting { ready: Timestamp },
    /// Held by `task.epoch` until then.
    Leased { until: Timestamp },
    /// Has a result, or failed its job.
    Done,
}

/// A task with what only the store knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TaskRow {
    pub(super) task: Task,
    pub(super) state: TaskState,
    pub(super) progress: f64,
    pub(super) strikes: u32,
}

impl TaskRow {
    fn waiting(task: Task, ready: Timestamp) -> Self {
        Self {
            task,
            state: TaskState::Waiting { ready },
            progress: 0.0,
            strikes: 0,
        }
    }

    /// Whether `lease` may hand it out.
    pub(super) fn due(&self, now: Timestamp) -> bool {
        match self.state {
            TaskState::Waiting { ready } => ready <= now,
            TaskState::Leased { until } => until <= now,
            TaskState::Done => false,
        }
    }

    /// Until when it is to be left alone, if it is open.
    pub(super) fn held(&self) -> Option<Held> {
        let (TaskState::Waiting { ready: until } | TaskState::Leased { until }) = self.state else {
            return None;
        };
        Some(Held {
            task: self.task.id.clone(),
            epoch: self.task.epoch,
            until,
        })
    }

    fn held_by(&self, epoch: u32) -> bool {
        self.task.epoch == epoch && matches!(self.state, TaskState::Leased { .. })
    }
}

/// What a store can look up and write inside one atomic step.
pub(super) trait Tables {
    fn put_video(&mut self, video: &Video) -> StoreResult<()>;
    fn job(&self, id: &JobId) -> StoreResult<Option<Job>>;
    fn put_job(&mut self, job: &Job) -> StoreResult<()>;
    fn task(&self, id: &TaskId) -> StoreResult<Option<TaskRow>>;
    /// Inserts or replaces; an inserted task is the youngest of its job.
    fn put_task(&mut self, row: &TaskRow) -> StoreResult<()>;
    /// By age.
    fn tasks_of(&self, job: &JobId) -> StoreResult<Vec<TaskRow>>;
    fn drop_tasks_of(&mut self, job: &JobId, except: &TaskId) -> StoreResult<()>;
    /// The oldest task that is due, by age of its job and then its own: started jobs end before new ones begin. Comes with
    /// its job. A task that cannot be read, or whose job cannot, is passed over.
    fn oldest_due(&self, now: Timestamp) -> StoreResult<Option<(TaskRow, Job)>>;
    fn put_clip(&mut self, clip: &Clip) -> StoreResult<()>;
    fn idempotency(&self, key: &str) -> StoreResult<Option<(String, JobId)>>;
    fn put_idempotency(&mut self, key: &IdempotencyKey, job: &JobId) -> StoreResult<()>;
}

/// Share of a job's progress that its analysing task stands for.
const ANALYSIS_SHARE: f64 = 0.4;

fn share(rows: &[TaskRow], wanted: impl Fn(&TaskKind) -> bool) -> Option<f64> {
    let done: Vec<f64> = rows
        .iter()
        .filter(|row| wanted(&row.task.kind))
        .map(|row| {
            if row.state == TaskState::Done {
                1.0
            } else {
                row.progress
            }
        })
        .collect();
    (!done.is_empty()).then(|| done.iter().sum::<f64>() / done.len() as f64)
}

fn progress_of(rows: &[TaskRow]) -> f64 {
    let analysis = share(rows, |kind| matches!(kind, TaskKind::Analyse { .. })).unwrap_or(1.0);
    let renders = share(rows, |kind| matches!(kind, TaskKind::Render { .. })).unwrap_or(0.0);
    ANALYSIS_SHARE * analysis + (1.0 - ANALYSIS_SHARE) * renders
}

fn job_of(tables: &impl Tables, task: &Task) -> StoreResult<Job> {
    tables
        .job(&task.job)?
        .ok_or_else(|| StoreError::Failed(format!("{} belongs to no job", task.id)))
}

fn raise_progress(job: &mut Job, rows: &[TaskRow]) {
    job.progress = job.progress.max(progress_of(rows));
}

pub(super) fn submit(
    tables: &mut impl Tables,
    job: &Job,
    first: Task,
    key: Option<&IdempotencyKey>,
    source: Option<&Video>,
) -> StoreResult<Submitted> {
    if let Some(key) = key
        && let Some((request_hash, earlier)) = tables.idempotency(&key.key)?
    {
        if request_hash != key.request_hash {
            return Err(StoreError::IdempotencyMismatch);
        }
        let earlier = tables.job(&earlier)?.ok_or(StoreError::NotFound)?;
        return Ok(Submitted::Replayed(earlier));
    }
    if tables.job(&job.id)?.is_some() {
        return Err(StoreError::Failed(format!("{} exists already", job.id)));
    }
    if let Some(source) = source {
        tables.put_video(source)?;
    }
    tables.put_job(job)?;
    tables.put_task(&TaskRow::waiting(first, job.created_at))?;
    if let Some(key) = key {
        tables.put_idempotency(key, &job.id)?;
    }
    Ok(Submitted::New(job.clone()))
}

pub(super) fn lease(
    tables: &mut impl Tables,
    now: Timestamp,
    length: Duration,
) -> StoreResult<Option<TaskLease>> {
    let Some((mut row, mut job)) = tables.oldest_due(now)? else {
        return Ok(None);
    };
    if matches!(row.state, TaskState::Leased { .. }) {
        row.strikes += 1; // whoever held it vanished without a word
    }
    let until = after(now, length)?;
    row.task.epoch += 1;
    row.state = TaskState::Leased { until };
    if job.status == JobStatus::Queued {
        job.status = JobStatus::Running;
        job.started_at = Some(now);
        tables.put_job(&job)?;
    }
    tables.put_task(&row)?;
    Ok(Some(TaskLease {
        task: row.task,
        until,
        strikes: row.strikes,
    }))
}

pub(super) fn free(tables: &mut impl Tables, held: &[Held], now: Timestamp) -> StoreResult<usize> {
    let mut freed = 0;
    for held in held {
        let found = tables.task(&held.task)?;
        let Some(mut row) = found.filter(|row| row.held().as_ref() == Some(held)) else {
            continue;
        };
        match &mut row.state {
            TaskState::Waiting { ready: until } | TaskState::Leased { until } => *until = now,
            TaskState::Done => continue,
        }
        tables.put_task(&row)?;
        freed += 1;
    }
    Ok(freed)
}

fn after(now: Timestamp, length: Duration) -> StoreResult<Timestamp> {
    now.checked_add(length)
        .map_err(|e| StoreError::Failed(format!("lease length: {e}")))
}

pub(super) fn renew(
    tables: &mut impl Tables,
    task: &TaskId,
    epoch: u32,
    until: Timestamp,
    progress: f64,
) -> StoreResult<bool> {
    let Some(mut row) = tables.task(task)?.filter(|row| row.held_by(epoch)) else {
        return Ok(false);
    };
    let progress = if progress.is_finite() {
        progress.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let moved = progress > row.progress;
    row.progress = row.progress.max(progress);
    row.state = TaskState::Leased { until };
    tables.put_task(&row)?;
    if moved {
        let mut job = job_of(tables, &row.task)?;
        let before = job.progress;
        raise_progress(&mut job, &tables.tasks_of(&row.task.job)?);
        if job.progress > before {
            tables.put_job(&job)?;
        }
    }
    Ok(true)
}

pub(super) fn release(
    tables: &mut impl Tables,
    task: &TaskId,
    epoch: u32,
    retry_at: Timestamp,
    strike: bool,
) -> StoreResult<bool> {
    let Some(mut row) = tables.task(task)?.filter(|row| row.held_by(epoch)) else {
        return Ok(false);
    };
    row.state = TaskState::Waiting { ready: retry_at };
    row.strikes += u32::from(strike);
    tables.put_task(&row)?;
    Ok(true)
}

pub(super) fn finish(
    tables: &mut impl Tables,
    task: &TaskId,
    epoch: u32,
    result: TaskResult,
    next: Vec<(TaskId, TaskKind)>,
    now: Timestamp,
) -> StoreResult<Finished> {
    let Some(mut row) = tables.task(task)?.filter(|row| row.held_by(epoch)) else {
        return Ok(Finished::Fenced);
    };
    let mut job = job_of(tables, &row.task)?;
    match (&row.task.kind, result) {
        (TaskKind::Analyse { .. }, TaskResult::Analysed(analysis)) => {
            job.warnings.extend(analysis.warnings);
        }
        (
            TaskKind::Render {
                clip,
                rank,
                highlight,
                ..
            },
            TaskResult::Rendered {
                rendered,
                clip_blob,
                poster_blob,
                sha256,
            },
        ) => tables.put_clip(&Clip {
            id: clip.clone(),
            job: job.id.clone(),
            rank: *rank,
            highlight: highlight.clone(),
            rendered,
            clip_blob,
            poster_blob,
            sha256,
            created_at: now,
        })?,
        (TaskKind::Analyse { .. }, TaskResult::Rendered { .. })
        | (TaskKind::Render { .. }, TaskResult::Analysed(_)) => {
            return Err(StoreError::Failed(format!(
                "{task} got the result of another kind"
            )));
        }
    }
    row.state = TaskState::Done;
    tables.put_task(&row)?;
    for (id, kind) in next {
        let task = Task {
            id,
            job: job.id.clone(),
            source: row.task.source.clone(),
            kind,
            epoch: 0,
        };
        tables.put_task(&TaskRow::waiting(task, now))?;
    }
    let rows = tables.tasks_of(&job.id)?;
    raise_progress(&mut job, &rows);
    if rows.iter().all(|row| row.state == TaskState::Done) {
        job.status = JobStatus::Completed;
        job.progress = 1.0;
        job.finished_at = Some(now);
    }
    tables.put_job(&job)?;
    Ok(Finished::Recorded(Box::new(job)))
}

pub(super) fn fail(
    tables: &mut impl Tables,
    task: &TaskId,
    epoch: u32,
    error: MediaError,
    now: Timestamp,
) -> StoreResult<Finished> {
    let Some(mut row) = tables.task(task)?.filter(|row| row.held_by(epoch)) else {
        return Ok(Finished::Fenced);
    };
    let mut job = job_of(tables, &row.task)?;
    row.state = TaskState::Done;
    tables.put_task(&row)?;
    tables.drop_tasks_of(&job.id, task)?;
    job.status = JobStatus::Failed;
    job.error = Some(error);
    job.finished_at = Some(now);
    tables.put_job(&job)?;
    Ok(Finished::Recorded(Box::new(job)))
}
