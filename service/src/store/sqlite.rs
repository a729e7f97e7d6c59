//! Jobs in one SQLite file: WAL, `synchronous=FULL`, and group commit.
//!
//! One thread owns the writing connection. It takes every call that waits, runs each in its own savepoint of one
//! transaction and answers after the commit: calls that arrive together share one fsync, and no answer is given before
//! the disk has it. A second thread reads, so that a listing never waits for an fsync. Several processes may open the
//! same file; the epochs keep their work apart.

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::identity::Identity;
use super::tables::{self, Tables, TaskRow, TaskState};
use super::{
    Finished, Held, IdempotencyKey, JobFilter, JobStore, Listed, QueueStats, StoreError,
    StoreResult, Submitted, TaskLease,
};
use crate::media::MediaError;
use crate::model::{Clip, ClipId, Job, JobId, Task, TaskId, TaskKind, TaskResult, Video, VideoId};

mod rows;

use rows::{Damaged, TASK_COLUMNS};

/// Each entry takes the schema one version up; `PRAGMA user_version` counts those applied. Never edit one that was
/// released: append.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE videos (id TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX jobs_by_status ON jobs (status, id);
    CREATE TABLE tasks (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        job TEXT NOT NULL,
        doc TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'leased', 'done')),
        at_ms INTEGER NOT NULL,
        progress REAL NOT NULL,
        strikes INTEGER NOT NULL,
        owner TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX tasks_by_job ON tasks (job, seq);
    CREATE INDEX tasks_open ON tasks (job, seq) WHERE state <> 'done';
    CREATE TABLE clips (id TEXT PRIMARY KEY, job TEXT NOT NULL, rank INTEGER NOT NULL, doc TEXT NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX clips_by_job ON clips (job, rank);
    CREATE TABLE idempotency (key TEXT PRIMARY KEY, request_hash TEXT NOT NULL, job TEXT NOT NULL) WITHOUT ROWID;
",
    "
    CREATE INDEX videos_by_blob ON videos (doc ->> '$.blob');
    CREATE INDEX clips_by_clip_blob ON clips (doc ->> '$.clip_blob');
    CREATE INDEX clips_by_poster_blob ON clips (doc ->> '$.poster_blob');
",
];

/// One look-up in an index for each key and place; tasks that are open are few.
const UNNAMED: &str = "
    SELECT k.value FROM json_each(?1) AS k
    WHERE NOT EXISTS (SELECT 1 FROM videos WHERE doc ->> '$.blob' = k.value)
      AND NOT EXISTS (SELECT 1 FROM clips WHERE doc ->> '$.clip_blob' = k.value)
      AND NOT EXISTS (SELECT 1 FROM clips WHERE doc ->> '$.poster_blob' = k.value)
      AND NOT EXISTS (SELECT 1 FROM tasks WHERE state <> 'done'
                      AND CASE WHEN json_valid(doc) THEN doc ->> '$.source' END = k.value)
    ORDER BY k.key";

/// Calls that may wait for one connection; more are refused rather than piled up.
const QUEUE: usize = 1024;
/// Calls in one transaction.
const BATCH: usize = 256;
/// How long a call may take, the queue included.
const CALL_BOUND: Duration = Duration::from_secs(15);
/// How long SQLite waits for another process's lock.
const LOCK_BOUND: Duration = Duration::from_secs(5);

/// A [`JobStore`] on one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Lane,
    reader: Lane,
}

impl SqliteStore {
    /// Opens or creates the file and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be opened or written, or was made by a newer version of this program.
    pub fn open(file: &Path) -> StoreResult<Self> {
        let mut writing = connect(file)?;
        migrate(&mut writing)?;
        let reading = connect(file)?;
        let files = Files::of(file)?;
        reading.pragma_update(None, "query_only", true)?;
        Ok(Self {
            writer: Lane::start("store-writer", writing, Some(files))?,
            reader: Lane::start("store-reader", reading, None)?,
        })
    }
}

/// The files that a committed transaction is in.
struct Files([Identity; 2]);

impl Files {
    fn of(database: &Path) -> StoreResult<Self> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self([
            Identity::of(database)?,
            // There as long as anybody has the database open.
            Identity::of(Path::new(&log))?,
        ]))
    }

    fn check(&self) -> StoreResult<()> {
        self.0.iter().try_for_each(Identity::check)
    }
}

fn connect(file: &Path) -> StoreResult<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(LOCK_BOUND)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> StoreResult<()> {
    // The lock comes before the look: two processes may open a new file at once.
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(StoreError::Failed(format!(
            "the database has schema {version}, this program knows {}: use a newer program",
            MIGRATIONS.len()
        )));
    }
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()?;
    Ok(())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A call on its way through a [`Lane`]: run inside the transaction, answered after it.
trait Call: Send {
    fn run(&mut self, connection: &mut Connection, damaged: &Damaged);
    fn answer(self: Box<Self>, committed: Result<(), String>);
}

struct Pending<T, F> {
    act: Option<F>,
    result: Option<StoreResult<T>>,
    reply: oneshot::Sender<StoreResult<T>>,
}

impl<T, F> Call for Pending<T, F>
where
    T: Send,
    F: FnOnce(&mut Sql<'_>) -> StoreResult<T> + Send,
{
    fn run(&mut self, connection: &mut Connection, damaged: &Damaged) {
        let Some(act) = self.act.take() else { return };
        // A savepoint each, so that a failing call takes back its own writes and no one else's.
        self.result = Some((|| {
            let savepoint = connection.savepoint()?;
            let value = act(&mut Sql(&savepoint, damaged))?;
            savepoint.commit()?;
            Ok(value)
        })());
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let unrun = || Err(StoreError::Failed("the call was not run".to_owned()));
        let answer = match committed {
            Ok(()) => self.result.unwrap_or_else(unrun),
            Err(error) => Err(StoreError::Failed(error)),
        };
        self.reply.send(answer).ok(); // the caller may have gone
    }
}

/// A connection and the thread that owns it. The thread ends when the lane is dropped.
#[derive(Debug)]
struct Lane(mpsc::Sender<Box<dyn Call>>);

impl Lane {
    /// A lane that writes has the `files` that must still be there when a transaction is committed.
    fn start(name: &str, mut connection: Connection, files: Option<Files>) -> StoreResult<Self> {
        let (sender, mut queue) = mpsc::channel::<Box<dyn Call>>(QUEUE);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut batch = Vec::new();
                let damaged = Damaged::default();
                while let Some(first) = queue.blocking_recv() {
                    batch.push(first);
                    while batch.len() < BATCH
                        && let Ok(more) = queue.try_recv()
                    {
                        batch.push(more);
                    }
                    let committed =
                        run_batch(&mut connection, &damaged, &mut batch, files.as_ref());
                    for call in batch.drain(..) {
                        call.answer(committed.clone());
                    }
                }
            })
            .map_err(|e| StoreError::Failed(format!("cannot start a thread: {e}")))?;
        Ok(Self(sender))
    }

    fn call<T, F>(&self, act: F) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Sql<'_>) -> StoreResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queued = self.0.try_send(Box::new(Pending {
            act: Some(act),
            result: None,
            reply,
        }));
        async move {
            queued.map_err(|_| StoreError::Failed("the storage queue is full".to_owned()))?;
            match tokio::time::timeout(CALL_BOUND, answer).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(StoreError::Failed("the storage thread stopped".to_owned())),
                Err(_) => Err(StoreError::Unanswered),
            }
        }
        .boxed()
    }
}

fn run_batch(
    connection: &mut Connection,
    damaged: &Damaged,
    batch: &mut [Box<dyn Call>],
    files: Option<&Files>,
) -> Result<(), String> {
    let begin = if files.is_some() {
        "BEGIN IMMEDIATE"
    } else {
        "BEGIN"
    };
    let outcome = connection.execute_batch(begin).and_then(|()| {
        for call in batch.iter_mut() {
            call.run(connection, damaged);
        }
        connection.execute_batch("COMMIT")
    });
    outcome.map_err(|error| {
        if !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK").ok(); // the first error says more
        }
        error.to_string()
    })?;
    // Looked at after the commit: what went into a file that nobody will find again is not stored.
    files.map_or(Ok(()), |files| files.check().map_err(|e| e.to_string()))
}

/// The tables inside the current transaction, and what of them could not be read.
struct Sql<'c>(&'c Connection, &'c Damaged);

fn encode<T: Serialize>(value: &T) -> StoreResult<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Failed(e.to_string()))
}

impl Tables for Sql<'_> {
    fn put_video(&mut self, video: &Video) -> StoreResult<()> {
        self.0
            .prepare_cached("INSERT OR REPLACE INTO videos (id, doc) VALUES (?1, ?2)")?
            .execute([video.id.as_str(), encode(video)?.as_str()])?;
        Ok(())
    }

    fn job(&self, id: &JobId) -> StoreResult<Option<Job>> {
        self.doc("SELECT doc FROM jobs WHERE id = ?1", id.as_str())
    }

    fn put_job(&mut self, job: &Job) -> StoreResult<()> {
        self.0
            .prepare_cached(
                "INSERT INTO jobs (id, status, doc) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET status = excluded.status, doc = excluded.doc",
            )?
            .execute(params![job.id.as_str(), job.status.as_str(), encode(job)?])?;
        Ok(())
    }

    fn task(&self, id: &TaskId) -> StoreResult<Option<TaskRow>> {
        let sql = format!("SELECT {TASK_COLUMNS} FROM tasks WHERE id = ?1");
        Ok(self.task_rows(&sql, [id.as_str()])?.pop())
    }

    fn put_task(&mut self, row: &TaskRow) -> StoreResult<()> {
        let (state, at) = match row.state {
            TaskState::Waiting { ready } => ("waiting", ready.as_millisecond()),
            TaskState::Leased { until } => ("leased", until.as_millisecond()),
            TaskState::Done => ("done", 0),
        };
        self.0
            .prepare_cached(
                "INSERT INTO tasks (id, job, doc, epoch, state, at_ms, progress, strikes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, state = excluded.state,
                 at_ms = excluded.at_ms, progress = excluded.progress, strikes = excluded.strikes",
            )?
            .execute(params![
                row.task.id.as_str(),
                row.task.job.as_str(),
                encode(&row.task)?,
                row.task.epoch,
                state,
                at,
                row.progress,
                row.strikes
            ])?;
        Ok(())
    }

    fn tasks_of(&self, job: &JobId) -> StoreResult<Vec<TaskRow>> {
        let sql = format!("SELECT {TASK_COLUMNS} FROM tasks WHERE job = ?1 ORDER BY seq");
        self.task_rows(&sql, [job.as_str()])
    }

    fn drop_tasks_of(&mut self, job: &JobId, except: &TaskId) -> StoreResult<()> {
        self.0
            .prepare_cached("DELETE FROM tasks WHERE job = ?1 AND id <> ?2")?
            .execute([job.as_str(), except.as_str()])?;
        Ok(())
    }

    fn oldest_due(&self, now: Timestamp) -> StoreResult<Option<(TaskRow, Job)>> {
        let sql = format!(
            "SELECT {TASK_COLUMNS} FROM tasks WHERE state <> 'done' AND at_ms <= ?1
             ORDER BY job, seq"
        );
        self.first_task(&sql, [now.as_millisecond()], |row| {
            let job = self.job(&row.task.job)?;
            let job = job.ok_or_else(|| self.dangling(row.task.id.as_str(), "it has no job"))?;
            Ok((row, job))
        })
    }

    fn put_clip(&mut self, clip: &Clip) -> StoreResult<()> {
        self.0
            .prepare_cached("INSERT INTO clips (id, job, rank, doc) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                clip.id.as_str(),
                clip.job.as_str(),
                clip.rank,
                encode(clip)?
            ])?;
        Ok(())
    }

    fn idempotency(&self, key: &str) -> StoreResult<Option<(String, JobId)>> {
        let found: Option<(String, String)> = self
            .0
            .prepare_cached("SELECT request_hash, job FROM idempotency WHERE key = ?1")?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        found
            .map(|(hash, job)| {
                let job = JobId::parse(&job).ok_or(StoreError::NotFound)?;
                Ok((hash, job))
            })
            .transpose()
    }

    fn put_idempotency(&mut self, key: &IdempotencyKey, job: &JobId) -> StoreResult<()> {
        self.0
            .prepare_cached("INSERT INTO idempotency (key, request_hash, job) VALUES (?1, ?2, ?3)")?
            .execute([key.key.as_str(), key.request_hash.as_str(), job.as_str()])?;
        Ok(())
    }
}

fn found<T>(value: Option<T>) -> StoreResult<T> {
    value.ok_or(StoreError::NotFound)
}

impl JobStore for SqliteStore {
    fn add_video(&self, video: Video) -> BoxFuture<'_, StoreResult<()>> {
        self.writer.call(move |sql| sql.put_video(&video))
    }

    fn video<'a>(&'a self, id: &'a VideoId) -> BoxFuture<'a, StoreResult<Video>> {
        let id = id.clone();
        self.reader
            .call(move |sql| found(sql.doc("SELECT doc FROM videos WHERE id = ?1", id.as_str())?))
    }

    fn submit(
        &self,
        job: Job,
        first: Task,
        key: Option<IdempotencyKey>,
        source: Option<Video>,
    ) -> BoxFuture<'_, StoreResult<Submitted>> {
        self.writer
            .call(move |sql| tables::submit(sql, &job, first, key.as_ref(), source.as_ref()))
    }

    fn job<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, StoreResult<Job>> {
        let id = id.clone();
        self.reader.call(move |sql| found(sql.job(&id)?))
    }

    fn jobs(&self, filter: JobFilter) -> BoxFuture<'_, StoreResult<Listed<Job>>> {
        self.reader.call(move |sql| {
            let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
            let before = filter.before.as_ref().map(JobId::as_str);
            let status = filter.status.map(super::JobStatus::as_str);
            sql.docs(
                "SELECT id, doc FROM jobs
                 WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR id < ?2)
                 ORDER BY id DESC LIMIT ?3",
                params![status, before, limit],
            )
        })
    }

    fn clips<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, StoreResult<Listed<Clip>>> {
        let job = job.clone();
        self.reader.call(move |sql| {
            let query = "SELECT id, doc FROM clips WHERE job = ?1 ORDER BY rank";
            sql.docs(query, [job.as_str()])
        })
    }

    fn clip<'a>(&'a self, id: &'a ClipId) -> BoxFuture<'a, StoreResult<Clip>> {
        let id = id.clone();
        self.reader
            .call(move |sql| found(sql.doc("SELECT doc FROM clips WHERE id = ?1", id.as_str())?))
    }

    fn lease(
        &self,
        owner: String,
        now: Timestamp,
        length: Duration,
    ) -> BoxFuture<'_, StoreResult<Option<TaskLease>>> {
        self.writer.call(move |sql| {
            let lease = tables::lease(sql, now, length)?;
            if let Some(lease) = &lease {
                // For people who look into the file; the rules need only the epoch.
                sql.0
                    .prepare_cached("UPDATE tasks SET owner = ?1 WHERE id = ?2")?
                    .execute([owner.as_str(), lease.task.id.as_str()])?;
            }
            Ok(lease)
        })
    }

    fn held(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, StoreResult<Vec<Held>>> {
        self.reader.call(move |sql| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            sql.held(params![now.as_millisecond(), limit])
        })
    }

    fn free(&self, held: Vec<Held>, now: Timestamp) -> BoxFuture<'_, StoreResult<usize>> {
        self.writer.call(move |sql| tables::free(sql, &held, now))
    }

    fn renew<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        until: Timestamp,
        progress: f64,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let task = task.clone();
        self.writer
            .call(move |sql| tables::renew(sql, &task, epoch, until, progress))
    }

    fn release<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        retry_at: Timestamp,
        strike: bool,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let task = task.clone();
        self.writer
            .call(move |sql| tables::release(sql, &task, epoch, retry_at, strike))
    }

    fn finish<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        result: TaskResult,
        next: Vec<(TaskId, TaskKind)>,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        let task = task.clone();
        self.writer
            .call(move |sql| tables::finish(sql, &task, epoch, result, next, now))
    }

    fn fail<'a>(
        &'a self,
        task: &'a TaskId,
        epoch: u32,
        error: MediaError,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Finished>> {
        let task = task.clone();
        self.writer
            .call(move |sql| tables::fail(sql, &task, epoch, error, now))
    }

    fn unnamed(&self, keys: Vec<String>) -> BoxFuture<'_, StoreResult<Vec<String>>> {
        self.reader.call(move |sql| {
            let mut statement = sql.0.prepare_cached(UNNAMED)?;
            let unnamed = statement.query_map([encode(&keys)?], |row| row.get(0))?;
            Ok(unnamed.collect::<Result<_, _>>()?)
        })
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.writer.call(|_| Ok(())) // an empty transaction takes the lock and looks at the files
    }

    fn stats(&self, now: Timestamp) -> BoxFuture<'_, StoreResult<QueueStats>> {
        self.reader.call(move |sql| {
            let count = |query: &str, params: &[i64]| -> StoreResult<u64> {
                let n: i64 = sql
                    .0
                    .prepare_cached(query)?
                    .query_row(rusqlite::params_from_iter(params), |row| row.get(0))?;
                Ok(u64::try_from(n).unwrap_or_default())
            };
            let open = count("SELECT count(*) FROM tasks WHERE state <> 'done'", &[])?;
            let leased = count(
                "SELECT count(*) FROM tasks WHERE state = 'leased' AND at_ms > ?1",
                &[now.as_millisecond()],
            )?;
            // A lease that ran out is as good as waiting since then.
            let due: Option<i64> = sql
                .0
                .prepare_cached(
                    "SELECT min(at_ms) FROM tasks WHERE state <> 'done' AND at_ms <= ?1",
                )?
                .query_row([now.as_millisecond()], |row| row.get(0))?;
            let queue_age = due.map_or(0, |due| now.as_millisecond().saturating_sub(due));
            Ok(QueueStats {
                jobs_open: count(
                    "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')",
                    &[],
                )?,
                tasks_waiting: open.saturating_sub(leased),
                tasks_leased: leased,
                queue_age: Duration::from_millis(u64::try_from(queue_age).unwrap_or_default()),
            })
        })
    }
}
