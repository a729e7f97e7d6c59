//! What survives a crash: jobs and tasks behind [`JobStore`], files behind [`Blobs`].
//!
//! One conformance suite runs on every implementation. Times come in by a parameter; the stores ask no clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::media::MediaError;
use crate::model::{
    Clip, ClipId, Job, JobId, JobStatus, Task, TaskId, TaskKind, TaskResult, Video, VideoId,
};

mod blobs;
#[cfg(test)]
mod conformance;
mod identity;
mod memory;
mod problem;
mod sqlite;
mod tables;

pub use blobs::{LocalBlobs, MemoryBlobs, valid_key};
pub use memory::MemoryStore;
pub use problem::UNANSWERED;
pub use sqlite::SqliteStore;

/// Why storage failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing under that id or key.
    #[error("not found")]
    NotFound,
    /// An idempotency key was used before with another body.
    #[error("idempotency key was used with a different request")]
    IdempotencyMismatch,
    /// The machine has run out of something for now.
    #[error("storage is short of something: {0}")]
    Shortage(String),
    /// What is stored under this id cannot be read; everything else can.
    #[error("what is stored as {0} cannot be read")]
    Unreadable(String),
    /// Nothing was heard in time. A writing call may yet take effect.
    #[error("storage gave no answer in time")]
    Unanswered,
    /// The medium failed, and nothing was written.
    #[error("storage failed: {0}")]
    Failed(String),
}

/// Result of a storage call.
pub type StoreResult<T> = Result<T, StoreError>;

/// A row of a listing that cannot be read. It stands for itself and keeps nobody from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Its id, as far as that is text.
    pub id: String,
}

/// A listing: every row in its order, read or named.
pub type Listed<T> = Vec<Result<T, UnreadableRow>>;

/// What a client's `Idempotency-Key` stands for: the key and a hash of the request it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As sent.
    pub key: String,
    /// SHA-256 of the canonical request, lower-case hex.
    pub request_hash: String,
}

/// Outcome of [`JobStore::submit`].
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A new durable job.
    New(Job),
    /// The job that the same key and request made before.
    Replayed(Job),
}

/// A leased task: whoever holds it works on it until `until`, under `task.epoch`.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskLease {
    /// The task, with the epoch of this lease.
    pub task: Task,
    /// When the lease ends unless renewed.
    pub until: Timestamp,
    /// Earlier leases that ended without a verdict on the task: ran out, or were given back with a strike. A task
    /// with many of these takes down whatever touches it.
    pub strikes: u32,
}

/// A task that is to be left alone until a time by the wall clock: leased, or waiting to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The task.
    pub task: TaskId,
    /// Its lease, or the last one it had.
    pub epoch: u32,
    /// When it is free again.
    pub until: Timestamp,
}

/// What finishing a task did.
#[derive(Debug, Clone, PartialEq)]
pub enum Finished {
    /// Recorded. The job as it is now.
    Recorded(Box<Job>),
    /// The epoch was not the current one, or the task was done already; nothing changed.
    Fenced,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only of this status.
    pub status: Option<JobStatus>,
    /// Only those older than this one (for paging; newest first).
    pub before: Option<JobId>,
    /// At most this many.
    pub limit: usize,
}

/// Counts for health, metrics and shedding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Jobs that are not terminal.
    pub jobs_open: u64,
    /// Tasks waiting to be leased.
    pub tasks_waiting: u64,
    /// Tasks under a live lease.
    pub tasks_leased: u64,
    /// How long the task that has waited longest could have been worked on already.
    pub queue_age: Duration,
}

/// Durable jobs and tasks. Every call that returns `Ok` from a writing method has reached the disk.
pub trait JobStore: Send + Sync + 'static {
    /// Records an uploaded source.
    fn add_video(&self, video: Video) -> BoxFuture<'_, StoreResult<()>>;
    /// Finds a source.
    fn video<'a>(&'a self, id: &'a VideoId) -> BoxFuture<'a, StoreResult<Video>>;
    /// Records a job with its first task, the idempotency key and the source that was uploaded for it, in one transaction:
    /// all of it, or nothing.
    fn submit(
        &self,
        job: Job,
        first: Task,
        key: Option<IdempotencyKey>,
        source: Option<Video>,
    ) -> BoxFuture<'_, StoreResult<Submitted>>;
    /// Finds a job.
    fn job<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Job>>;
    /// Lists jobs, newest first.
    fn jobs(&self, filter: JobFilter) -> BoxFuture<'_, StoreResult<Listed<Job>>>;
    /// Clips of a job by rank.
    fn clips<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, StoreResult<Listed<Clip>>>;
    /// Finds a clip.
    fn clip<'a>(&'a self, id: &'a ClipId) -> BoxFuture<'a, StoreResult<Clip>>;
    /// Leases the oldest task that waits or whose lease ran out before `now`; raises its epoch. Passes over what cannot be
    /// read.
    fn lease(
        &self,
        owner: String,
        now: Timestamp,
        length: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<TaskLease>>>;
    /// Tasks that are held until later than `now`, the oldest first, at most `limit`.
    fn held(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Held>>>;
    /// Frees tasks at `now`, those of them that are still held as they are given. Says how many.
    fn free(&self, held: Vec<Held>, now: Timestamp) -> BoxFuture<'_, StoreResult<usize>>;
    /// Prolongs a lease and stores the task's progress (0 to 1). `false` when the epoch is no longer current.
    fn renew<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        until: Timestamp,
        progress: f64,
    ) -> BoxFuture<'a, StoreResult<bool>>;
    /// Gives a lease back so that the task can be leased again after `retry_at`; fenced by epoch. `strike` says that
    /// the task was tried and may itself be the reason; a lease given back untried counts nothing.
    fn release<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        retry_at: Timestamp,
        strike: bool,
    ) -> BoxFuture<'a, StoreResult<bool>>;
    /// Records a result, adds `next` tasks and completes the job when none is left; one transaction, fenced by epoch.
    fn finish<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        result: TaskResult,
        next: Vec<(TaskId, TaskKind)>,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>>;
    /// Records that a task failed for good, which fails its job and drops its other tasks; fenced by epoch.
    fn fail<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        error: MediaError,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>>;
    /// Those of `keys` that nothing stored names: no source, no clip, no task that is still to be done.
    fn unnamed(&self, keys: Vec<String>) -> BoxFuture<'_, StoreResult<Vec<String>>>;
    /// Whether what is written now will be found later.
    fn check(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// Counts.
    fn stats(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<QueueStats>>;
}

/// A stored blob, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its key.
    pub key: String,
    /// Time since its bytes were written.
    pub age: Duration,
}

/// Files by key (`sources/video_….mp4`, `clips/clip_…/3/clip.mp4`). A key appears whole or not at all.
pub trait Blobs: Send + Sync + 'static {
    /// Stores bytes under a key, replacing what was there.
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, StoreResult<()>>;
    /// Moves a finished local file under a key.
    fn adopt<'a>(&'a self, key: &'a str, file: &'a Path) -> BoxFuture<'a, StoreResult<()>>;
    /// A local file that holds the blob, for decoders.
    fn local<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<PathBuf>>;
    /// Size in bytes.
    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>>;
    /// Reads `length` bytes from `offset` (fewer at the end).
    fn read<'a>(
        &'a self,
        key: &'a str,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'a, StoreResult<Bytes>>;
    /// A new temporary file path on the same medium, so that [`Self::adopt`] is a rename. Removed with the guard.
    fn scratch(&self) -> StoreResult<tempfile::TempDir>;
    /// The blobs that come after the key `after` (all for an empty one), in a fixed order, at most `limit`. `now` is what
    /// ages are counted to where the medium keeps the time of writing.
    fn list<'a>(
        &'a self,
        after: &'a str,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Vec<BlobEntry>>>;
    /// Whether what is written now will be found later: tries it with a few bytes.
    fn check(&self) -> BoxFuture<'_, StoreResult<()>>;
    /// Removes a blob; removing one that is not there is no error.
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>>;
}
