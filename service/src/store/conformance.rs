//! What every [`JobStore`] must do, run on each of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::*;
use crate::media::{
    Analysis, AspectRatio, Highlight, MediaErrorCode, Probe, RenderSpec, Rendered, SelectOptions,
};
use crate::model::ClipSpec;

const LEASE: Duration = Duration::from_secs(5);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn job(number: u32) -> (Job, Task) {
    let id = JobId::parse(&format!("job_{number:04}")).unwrap();
    let select = SelectOptions::default();
    let job = Job {
        id: id.clone(),
        spec: ClipSpec {
            video: VideoId::parse("video_1").unwrap(),
            select: select.clone(),
            aspect_ratio: AspectRatio::Portrait,
            max_height: Some(720),
            metadata: IndexMap::from([("k".to_owned(), "v".to_owned())]),
        },
        status: JobStatus::Queued,
        progress: 0.0,
        created_at: at(0),
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
    };
    let task = Task {
        id: TaskId::parse(&format!("task_{number:04}")).unwrap(),
        job: id,
        source: "sources/video_1".to_owned(),
        kind: TaskKind::Analyse { select },
        epoch: 0,
    };
    (job, task)
}

fn highlight() -> Highlight {
    Highlight {
        start: 1.0,
        end: 5.5,
        score: 80.0,
        components: Vec::new(),
        reasons: vec!["loud".to_owned()],
        start_boundary: "shot cut".to_owned(),
        end_boundary: "grid".to_owned(),
    }
}

fn analysed() -> TaskResult {
    TaskResult::Analysed(Box::new(Analysis {
        probe: Probe {
            duration: 60.0,
            width: 1280,
            height: 720,
            fps: 25.0,
            video_codec: "h264".to_owned(),
            audio_codec: None,
            container: "mp4".to_owned(),
            size: 9,
        },
        highlights: vec![highlight()],
        cuts: vec![1.0],
        algorithm: "test".to_owned(),
        warnings: vec!["no audio".to_owned()],
    }))
}

fn render(rank: u32) -> (TaskId, TaskKind) {
    let kind = TaskKind::Render {
        clip: ClipId::parse(&format!("clip_{rank}")).unwrap(),
        rank,
        highlight: highlight(),
        spec: RenderSpec {
            start: 1.0,
            end: 5.5,
            aspect_ratio: AspectRatio::Portrait,
            max_height: None,
        },
    };
    (TaskId::parse(&format!("task_render{rank}")).unwrap(), kind)
}

fn rendered() -> TaskResult {
    TaskResult::Rendered {
        rendered: Rendered {
            duration: 4.5,
            width: 404,
            height: 720,
            size: 1000,
        },
        clip_blob: "clips/a/1/clip.mp4".to_owned(),
        poster_blob: "clips/a/1/poster.jpg".to_owned(),
        sha256: "ab".to_owned(),
    }
}

fn key(name: &str, hash: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        key: name.to_owned(),
        request_hash: hash.to_owned(),
    })
}

async fn take(store: &dyn JobStore, second: i64) -> TaskLease {
    store
        .lease("me".to_owned(), at(second), LEASE)
        .await
        .unwrap()
        .expect("a task is due")
}

async fn none_due(store: &dyn JobStore, second: i64) {
    assert_eq!(
        store
            .lease("me".to_owned(), at(second), LEASE)
            .await
            .unwrap(),
        None
    );
}

async fn a_key_makes_one_job(store: Arc<dyn JobStore>) {
    let (first, task) = job(1);
    let made = store
        .submit(first.clone(), task, key("k", "h"), None)
        .await
        .unwrap();
    assert_eq!(made, Submitted::New(first.clone()));
    let (second, task) = job(2);
    let again = store
        .submit(second.clone(), task.clone(), key("k", "h"), None)
        .await
        .unwrap();
    assert_eq!(again, Submitted::Replayed(first));
    let other = store
        .submit(second.clone(), task.clone(), key("k", "other"), None)
        .await;
    assert!(
        matches!(other, Err(StoreError::IdempotencyMismatch)),
        "{other:?}"
    );
    assert!(matches!(
        store.job(&second.id).await,
        Err(StoreError::NotFound)
    ));
    // The source of what was refused or replayed has no row either.
    for (key, kept) in [
        (key("k", "h"), false),
        (key("k", "other"), false),
        (None, true),
    ] {
        let (third, task) = job(3);
        let source = video("video_3");
        store
            .submit(third, task, key, Some(source.clone()))
            .await
            .ok();
        assert_eq!(store.video(&source.id).await.is_ok(), kept);
    }
    // Without a key, or with another, it is a new one.
    assert!(matches!(
        store.submit(second, task, key("k2", "h"), None).await,
        Ok(Submitted::New(_))
    ));
    assert_eq!(store.stats(at(1)).await.unwrap().jobs_open, 3);
}

async fn a_job_runs_to_its_end(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it.clone(), task, None, None).await.unwrap();
    assert_eq!(
        store.stats(at(1)).await.unwrap(),
        QueueStats {
            jobs_open: 1,
            tasks_waiting: 1,
            tasks_leased: 0,
            queue_age: Duration::from_secs(1),
        }
    );
    let lease = take(&*store, 1).await;
    assert_eq!(
        (lease.task.epoch, lease.until, lease.strikes),
        (1, at(6), 0)
    );
    let running = store.job(&it.id).await.unwrap();
    assert_eq!(
        (running.status, running.started_at),
        (JobStatus::Running, Some(at(1)))
    );
    assert_eq!(store.stats(at(1)).await.unwrap().tasks_leased, 1);
    none_due(&*store, 2).await;

    let id = &lease.task.id;
    assert!(store.renew(id, 1, at(9), 0.5).await.unwrap());
    assert!(store.renew(id, 1, at(9), 0.25).await.unwrap());
    let progress = store.job(&it.id).await.unwrap().progress;
    assert!(progress > 0.1 && progress < 0.5, "{progress}");
    none_due(&*store, 8).await;

    let next = vec![render(0), render(1)];
    let Finished::Recorded(now) = store.finish(id, 1, analysed(), next, at(8)).await.unwrap()
    else {
        panic!("fenced")
    };
    assert_eq!(now.status, JobStatus::Running);
    assert_eq!(now.warnings, ["no audio"]);
    assert!(now.progress > progress);

    let a = take(&*store, 8).await;
    let b = take(&*store, 8).await;
    assert_eq!(
        (a.task.id.as_str(), b.task.id.as_str()),
        ("task_render0", "task_render1")
    );
    assert_eq!(a.task.source, "sources/video_1");
    store
        .finish(&b.task.id, 1, rendered(), Vec::new(), at(9))
        .await
        .unwrap();
    assert_eq!(store.job(&it.id).await.unwrap().status, JobStatus::Running);
    store
        .finish(&a.task.id, 1, rendered(), Vec::new(), at(10))
        .await
        .unwrap();
    let done = store.job(&it.id).await.unwrap();
    assert_eq!(
        (done.status, done.progress, done.finished_at),
        (JobStatus::Completed, 1.0, Some(at(10)))
    );
    let clips: Vec<Clip> = store
        .clips(&it.id)
        .await
        .unwrap()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(clips.iter().map(|c| c.rank).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(store.clip(&clips[1].id).await.unwrap(), clips[1]);
    assert_eq!(store.stats(at(10)).await.unwrap(), QueueStats::default());
}

async fn only_the_current_epoch_counts(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it.clone(), task, None, None).await.unwrap();
    let old = take(&*store, 0).await.task;
    // The lease ran out; another takes over, and the first wakes up again.
    let new = take(&*store, 5).await;
    assert_eq!((new.task.epoch, new.strikes), (2, 1));
    assert!(!store.renew(&old.id, old.epoch, at(60), 0.9).await.unwrap());
    assert!(
        !store
            .release(&old.id, old.epoch, at(5), true)
            .await
            .unwrap()
    );
    let zombie = store
        .finish(&old.id, old.epoch, analysed(), vec![render(0)], at(6))
        .await;
    assert_eq!(zombie.unwrap(), Finished::Fenced);
    let error = MediaError::new(MediaErrorCode::CorruptMedia, "x");
    let zombie = store.fail(&old.id, old.epoch, error, at(6)).await.unwrap();
    assert_eq!(zombie, Finished::Fenced);
    assert_eq!(store.job(&it.id).await.unwrap().status, JobStatus::Running);
    // And the current one may do it once.
    let done = store
        .finish(&new.task.id, 2, analysed(), Vec::new(), at(6))
        .await
        .unwrap();
    assert!(matches!(done, Finished::Recorded(job) if job.status == JobStatus::Completed));
    let twice = store
        .finish(&new.task.id, 2, analysed(), Vec::new(), at(6))
        .await
        .unwrap();
    assert_eq!(twice, Finished::Fenced);
}

async fn a_result_of_the_wrong_kind_changes_nothing(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it.clone(), task, None, None).await.unwrap();
    let lease = take(&*store, 0).await.task;
    let wrong = store
        .finish(&lease.id, 1, rendered(), vec![render(0)], at(1))
        .await;
    assert!(matches!(wrong, Err(StoreError::Failed(_))), "{wrong:?}");
    assert!(
        store.renew(&lease.id, 1, at(9), 0.1).await.unwrap(),
        "still held"
    );
    assert!(store.clips(&it.id).await.unwrap().is_empty());
    assert_eq!(store.stats(at(1)).await.unwrap().tasks_waiting, 0);
}

async fn a_released_task_comes_back_later(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it, task, None, None).await.unwrap();
    let first = take(&*store, 0).await.task;
    assert!(store.release(&first.id, 1, at(3), false).await.unwrap());
    assert!(
        !store.release(&first.id, 1, at(0), false).await.unwrap(),
        "given back already"
    );
    let late = store
        .finish(&first.id, 1, analysed(), Vec::new(), at(1))
        .await
        .unwrap();
    assert_eq!(
        late,
        Finished::Fenced,
        "a lease that was given back finishes nothing"
    );
    none_due(&*store, 2).await;
    let second = take(&*store, 3).await;
    assert_eq!((second.task.epoch, second.strikes), (2, 0));
    store.release(&first.id, 2, at(3), true).await.unwrap();
    assert_eq!(take(&*store, 3).await.strikes, 1);
}

async fn what_is_held_can_be_freed_while_it_stays_so(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it, task, None, None).await.unwrap();
    let first = take(&*store, 0).await.task;
    assert!(store.held(at(5), 9).await.unwrap().is_empty());
    let held = store.held(at(4), 9).await.unwrap();
    let expected = Held {
        task: first.id.clone(),
        epoch: 1,
        until: at(5),
    };
    assert_eq!(held, [expected]);
    assert!(store.held(at(4), 0).await.unwrap().is_empty());
    // Whoever holds it lives: it is renewed, and stays.
    assert!(store.renew(&first.id, 1, at(6), 0.1).await.unwrap());
    assert_eq!(store.free(held, at(1)).await.unwrap(), 0);
    none_due(&*store, 1).await;
    let held = store.held(at(1), 9).await.unwrap();
    assert_eq!(store.free(held.clone(), at(1)).await.unwrap(), 1);
    let second = take(&*store, 1).await;
    assert_eq!((second.task.epoch, second.strikes), (2, 1));
    assert_eq!(store.free(held, at(1)).await.unwrap(), 0);
    // A wait for the next try as well, and it counts nothing.
    store.release(&first.id, 2, at(999), false).await.unwrap();
    none_due(&*store, 2).await;
    let held = store.held(at(2), 9).await.unwrap();
    assert_eq!(store.free(held, at(2)).await.unwrap(), 1);
    let third = take(&*store, 2).await;
    assert_eq!((third.task.epoch, third.strikes), (3, 1));
}

async fn a_failure_ends_the_job(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it.clone(), task, None, None).await.unwrap();
    let first = take(&*store, 0).await.task;
    let next = vec![render(0), render(1)];
    store
        .finish(&first.id, 1, analysed(), next, at(0))
        .await
        .unwrap();
    let a = take(&*store, 0).await.task;
    let b = take(&*store, 0).await.task;
    let error = MediaError::new(MediaErrorCode::EncodeFailed, "disk full");
    store.fail(&a.id, 1, error.clone(), at(1)).await.unwrap();
    let failed = store.job(&it.id).await.unwrap();
    assert_eq!(
        (failed.status, failed.error, failed.finished_at),
        (JobStatus::Failed, Some(error), Some(at(1)))
    );
    let late = store
        .finish(&b.id, 1, rendered(), Vec::new(), at(2))
        .await
        .unwrap();
    assert_eq!(late, Finished::Fenced);
    none_due(&*store, 100).await;
    assert_eq!(store.stats(at(2)).await.unwrap(), QueueStats::default());
}

async fn listing_pages_from_the_newest(store: Arc<dyn JobStore>) {
    for number in 1..=5 {
        let (job, task) = job(number);
        store.submit(job, task, None, None).await.unwrap();
    }
    // The oldest job's task goes first, and its job is the running one.
    assert_eq!(take(&*store, 0).await.task.job.as_str(), "job_0001");
    let list = async |status, before: Option<&str>, limit| {
        let before = before.and_then(JobId::parse);
        let jobs = store
            .jobs(JobFilter {
                status,
                before,
                limit,
            })
            .await
            .unwrap();
        jobs.iter()
            .flatten()
            .map(|job| job.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 2).await, ["job_0005", "job_0004"]);
    assert_eq!(
        list(None, Some("job_0004"), 2).await,
        ["job_0003", "job_0002"]
    );
    assert_eq!(list(None, Some("job_0002"), 2).await, ["job_0001"]);
    assert_eq!(list(Some(JobStatus::Running), None, 9).await, ["job_0001"]);
    assert_eq!(
        list(Some(JobStatus::Queued), Some("job_0003"), 9).await,
        ["job_0002"]
    );
    assert!(list(Some(JobStatus::Failed), None, 9).await.is_empty());
}

async fn started_jobs_end_before_new_ones_begin(store: Arc<dyn JobStore>) {
    for number in [1, 2] {
        let (job, task) = job(number);
        store.submit(job, task, None, None).await.unwrap();
    }
    let first = take(&*store, 0).await.task;
    store
        .finish(&first.id, 1, analysed(), vec![render(0)], at(0))
        .await
        .unwrap();
    assert_eq!(take(&*store, 0).await.task.id.as_str(), "task_render0");
    assert_eq!(take(&*store, 0).await.task.job.as_str(), "job_0002");
}

fn video(id: &str) -> Video {
    Video {
        id: VideoId::parse(id).unwrap(),
        blob: format!("sources/{id}"),
        name: "../my talk.mp4".to_owned(),
        size: 3,
        sha256: "ab".to_owned(),
        created_at: at(0),
    }
}

async fn videos_are_found(store: Arc<dyn JobStore>) {
    let video = video("video_1");
    assert!(matches!(
        store.video(&video.id).await,
        Err(StoreError::NotFound)
    ));
    store.add_video(video.clone()).await.unwrap();
    assert_eq!(store.video(&video.id).await.unwrap(), video);
}

async fn what_nothing_names_is_told(store: Arc<dyn JobStore>) {
    let (it, task) = job(1);
    store.submit(it.clone(), task, None, None).await.unwrap();
    let keys = || {
        let keys = [
            "clips/a/2/clip.mp4",
            "sources/video_1",
            "clips/a/1/poster.jpg",
            "sources/video_0",
            "clips/a/1/clip.mp4",
            "sources/video_9",
        ];
        keys.map(str::to_owned).to_vec()
    };
    let unnamed = async || store.unnamed(keys()).await.unwrap();
    let mut expected = keys();
    expected.remove(1);
    assert_eq!(unnamed().await, expected, "an open task names its source");

    let first = take(&*store, 0).await.task;
    let done = store.finish(&first.id, 1, analysed(), vec![render(0)], at(1));
    done.await.unwrap();
    let second = take(&*store, 1).await.task;
    let done = store.finish(&second.id, 1, rendered(), Vec::new(), at(2));
    done.await.unwrap();
    let left = [
        "clips/a/2/clip.mp4",
        "sources/video_1",
        "sources/video_0",
        "sources/video_9",
    ];
    assert_eq!(
        unnamed().await,
        left,
        "a clip names its files, a task that is done nothing"
    );

    store.add_video(video("video_1")).await.unwrap();
    assert_eq!(
        unnamed().await,
        ["clips/a/2/clip.mp4", "sources/video_0", "sources/video_9"]
    );
    assert_eq!(
        store.unnamed(Vec::new()).await.unwrap(),
        Vec::<String>::new()
    );
}

async fn one_task_goes_to_one_of_many(store: Arc<dyn JobStore>) {
    for number in 1..=20 {
        let (job, task) = job(number);
        store.submit(job, task, None, None).await.unwrap();
    }
    let calls = (0..40).map(|n| store.lease(format!("gateway-{n}"), at(0), LEASE));
    let leases = futures_util::future::join_all(calls).await;
    let mut ids: Vec<_> = leases
        .into_iter()
        .filter_map(|l| l.unwrap())
        .map(|l| l.task.id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

/// Runs every case on a store of its own, made by `make`.
async fn conforms<Made>(make: impl Fn() -> Made)
where
    Made: Future<Output = Arc<dyn JobStore>>,
{
    a_key_makes_one_job(make().await).await;
    a_job_runs_to_its_end(make().await).await;
    only_the_current_epoch_counts(make().await).await;
    a_result_of_the_wrong_kind_changes_nothing(make().await).await;
    a_released_task_comes_back_later(make().await).await;
    what_is_held_can_be_freed_while_it_stays_so(make().await).await;
    a_failure_ends_the_job(make().await).await;
    listing_pages_from_the_newest(make().await).await;
    started_jobs_end_before_new_ones_begin(make().await).await;
    videos_are_found(make().await).await;
    what_nothing_names_is_told(make().await).await;
    one_task_goes_to_one_of_many(make().await).await;
}

#[tokio::test]
async fn memory_conforms() {
    conforms(async || Arc::new(MemoryStore::default()) as Arc<dyn JobStore>).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    conforms(async || {
        let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = folder.path().join(format!("{n}.db"));
        Arc::new(SqliteStore::open(&file).unwrap()) as Arc<dyn JobStore>
    })
    .await;
}

#[tokio::test]
async fn sqlite_keeps_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let (it, task) = job(1);
    let first = SqliteStore::open(&file).unwrap();
    first
        .submit(it.clone(), task, key("k", "h"), None)
        .await
        .unwrap();
    let lease = take(&first, 0).await;
    // The first process does not get to close anything: a second one opens beside it, as after a kill.
    let second = SqliteStore::open(&file).unwrap();
    std::mem::forget(first);
    assert_eq!(second.job(&it.id).await.unwrap().status, JobStatus::Running);
    none_due(&second, 4).await;
    let again = take(&second, 5).await;
    assert_eq!((again.task.id, again.task.epoch), (lease.task.id, 2));
    let (other, task) = job(2);
    let replayed = second
        .submit(other, task, key("k", "h"), None)
        .await
        .unwrap();
    assert!(matches!(replayed, Submitted::Replayed(job) if job.id == it.id));
}

#[test]
fn sqlite_refuses_a_newer_schema_and_a_file_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    rusqlite::Connection::open(&file)
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let error = SqliteStore::open(&file).unwrap_err().to_string();
    assert!(error.contains("newer program"), "{error}");
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database, but long enough to be read as one".repeat(9),
    )
    .unwrap();
    assert!(SqliteStore::open(&text).is_err());
}

#[tokio::test]
async fn sqlite_brings_an_older_file_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let store = SqliteStore::open(&file).unwrap();
    store.add_video(video("video_1")).await.unwrap();
    drop(store);
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.execute_batch(
        "DROP INDEX videos_by_blob; DROP INDEX clips_by_clip_blob; DROP INDEX clips_by_poster_blob;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    let store = SqliteStore::open(&file).unwrap();
    let keys = ["sources/video_1", "sources/video_2"].map(str::to_owned);
    let unnamed = store.unnamed(keys.to_vec()).await.unwrap();
    assert_eq!(unnamed, ["sources/video_2"]);
    let indexes: i64 = raw
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%_by_%blob'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexes, 3);
}

#[tokio::test]
async fn submits_that_arrive_together_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let store = SqliteStore::open(&file).unwrap();
    let calls = (1..=100).map(|n| {
        let (job, task) = job(n);
        store.submit(job, task, None, None)
    });
    let made = futures_util::future::join_all(calls).await;
    assert!(made.iter().all(|m| matches!(m, Ok(Submitted::New(_)))));
    let reopened = SqliteStore::open(&file).unwrap();
    assert_eq!(reopened.stats(at(0)).await.unwrap().jobs_open, 100);
}

#[tokio::test]
async fn two_processes_on_one_file_share_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let stores = [
        SqliteStore::open(&file).unwrap(),
        SqliteStore::open(&file).unwrap(),
    ];
    for number in 1..=30 {
        let (job, task) = job(number);
        stores[number as usize % 2]
            .submit(job, task, None, None)
            .await
            .unwrap();
    }
    let calls = (0..60).map(|n| stores[n % 2].lease(format!("gateway-{}", n % 2), at(0), LEASE));
    let leases = futures_util::future::join_all(calls).await;
    let mut ids: Vec<_> = leases
        .into_iter()
        .filter_map(|l| l.unwrap())
        .map(|l| l.task.id)
        .collect();
    assert_eq!(ids.len(), 30);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let store = SqliteStore::open(&file).unwrap();
    for number in 1..=5 {
        let (job, task) = job(number);
        store.submit(job, task, None, None).await.unwrap();
    }
    store.add_video(video("video_1")).await.unwrap();
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.execute_batch(
        "UPDATE jobs SET doc = '{\"id\":' WHERE id = 'job_0001';
         UPDATE jobs SET doc = CAST(x'ff00' AS TEXT) WHERE id = 'job_0002';
         UPDATE tasks SET doc = '[]' WHERE id = 'task_0003';
         UPDATE tasks SET epoch = 'x' WHERE id = 'task_0004';",
    )
    .unwrap();
    let everything = JobFilter {
        limit: 9,
        ..JobFilter::default()
    };
    let listed = store.jobs(everything).await.unwrap();
    let ids = listed.iter().map(|row| match row {
        Ok(job) => job.id.as_str(),
        Err(row) => row.id.as_str(),
    });
    assert_eq!(
        ids.collect::<Vec<_>>(),
        ["job_0005", "job_0004", "job_0003", "job_0002", "job_0001"]
    );
    assert_eq!(listed.iter().filter(|row| row.is_err()).count(), 2);
    let one = store.job(&JobId::parse("job_0001").unwrap()).await;
    assert!(matches!(one, Err(StoreError::Unreadable(id)) if id == "job_0001"));
    // Of five tasks two have a job that cannot be read, and two cannot be read themselves.
    assert_eq!(take(&store, 0).await.task.id.as_str(), "task_0005");
    none_due(&store, 0).await;
    // What the damaged ones name is named by the video's row.
    let keys = ["sources/video_1", "sources/video_2"].map(str::to_owned);
    let unnamed = store.unnamed(keys.to_vec()).await.unwrap();
    assert_eq!(unnamed, ["sources/video_2"]);
}
