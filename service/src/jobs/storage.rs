//! Watches whether what is accepted could be kept: the data folder and the database are those that were opened, and can be
//! written. While they are not, a gateway is not ready and accepts nothing. Not what protects a single write: the stores look
//! for themselves before they answer.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use crate::env::Env;
use crate::observe::Subject;
use crate::store::{StoreError, StoreResult};

const EVERY: Duration = Duration::from_secs(1);
/// Storage that says nothing for this long cannot be used: a network file system that is gone does not say so.
const LONGEST: Duration = Duration::from_secs(5);

/// Checks storage now and then until `stop`, and tells `queue` what it finds.
pub async fn watch_storage(env: &Env, queue: &Queue, stop: CancellationToken) {
    let watching = async {
        let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut checking = std::pin::pin!(check(env));
            let checked = match tokio::time::timeout(LONGEST, &mut checking).await {
                Ok(checked) => checked,
                Err(_) => {
                    tell(env, queue, Some("it does not answer".to_owned()));
                    checking.await // one call that hangs is enough
                }
            };
            match checked {
                // Of this process, for a moment: it says nothing about storage.
                Err(StoreError::Shortage(_)) => {}
                checked => tell(env, queue, checked.err().map(|error| error.to_string())),
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

async fn check(env: &Env) -> StoreResult<()> {
    env.blobs.check().await?;
    env.store.check().await
}

/// Keeps what was found, and reports a change.
fn tell(env: &Env, queue: &Queue, fault: Option<String>) {
    let reason = fault.clone().unwrap_or_else(|| "it can be used".to_owned());
    let word = |lost: bool| if lost { "lost" } else { "well" };
    let lost = fault.is_some();
    let before = queue.storage_found(fault);
    if before != lost {
        if lost {
            tracing::error!(reason, "storage is lost: nothing is accepted");
        }
        env.transition(
            Subject::Storage,
            &env.node,
            word(before),
            word(lost),
            reason,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::http::testing::{MemoryNet, node};
    use crate::store::{LocalBlobs, SqliteStore};

    /// What is done to a data folder, and how it is told.
    type Blow = (&'static str, fn(&std::path::Path), &'static str);

    const BLOWS: &[Blow] = &[
        (
            "the folder is deleted",
            |data| std::fs::remove_dir_all(data).unwrap(),
            "cannot be found any more",
        ),
        (
            "the folder is another one",
            |data| {
                std::fs::rename(data, data.with_extension("old")).unwrap();
                std::fs::create_dir(data).unwrap();
            },
            "was replaced",
        ),
        (
            "the database is deleted",
            |data| std::fs::remove_file(data.join("jobs.db")).unwrap(),
            "jobs.db cannot be found any more",
        ),
        (
            "the database is replaced",
            |data| {
                let database = data.join("jobs.db");
                std::fs::copy(&database, data.join("copy")).unwrap();
                std::fs::rename(data.join("copy"), &database).unwrap();
            },
            "jobs.db was replaced",
        ),
        (
            "the log is deleted",
            |data| std::fs::remove_file(data.join("jobs.db-wal")).unwrap(),
            "jobs.db-wal cannot be found any more",
        ),
        (
            "the place for temporary files is deleted",
            |data| std::fs::remove_dir_all(data.join("tmp")).unwrap(),
            "cannot be found any more",
        ),
    ];

    fn env_in(data: &std::path::Path) -> Env {
        let env = node("gateway-1", Arc::new(MemoryNet::default()), 1).0;
        Env {
            store: Arc::new(SqliteStore::open(&data.join("jobs.db")).unwrap()),
            blobs: Arc::new(LocalBlobs::open(data).unwrap()),
            ..env
        }
    }

    #[tokio::test]
    async fn lost_storage_is_noticed_and_takes_nothing_more() {
        for (what, strike, told) in BLOWS {
            let above = tempfile::tempdir().unwrap();
            let data = above.path().join("data");
            std::fs::create_dir(&data).unwrap();
            let env = env_in(&data);
            check(&env).await.unwrap();
            strike(&data);
            let error = check(&env).await.unwrap_err().to_string();
            assert!(error.contains(told), "{what}: {error}");
        }
    }

    #[tokio::test]
    async fn a_write_into_a_database_that_is_gone_is_not_answered_as_done() {
        let above = tempfile::tempdir().unwrap();
        let data = above.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let env = env_in(&data);
        std::fs::remove_dir_all(&data).unwrap();
        let video = crate::model::Video {
            id: crate::model::VideoId::parse("video_1").unwrap(),
            blob: "sources/video_1".to_owned(),
            name: String::new(),
            size: 1,
            sha256: String::new(),
            created_at: env.clock.now(),
        };
        let failed = |done: StoreResult<()>| matches!(done, Err(StoreError::Failed(_)));
        assert!(failed(env.store.add_video(video).await));
        assert!(failed(env.blobs.put("a/b", Bytes::from_static(b"x")).await));
        assert!(failed(env.blobs.scratch().map(drop)));
    }

    #[tokio::test]
    async fn what_is_found_is_told_and_taken_back() {
        let above = tempfile::tempdir().unwrap();
        let data = above.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let (env, queue) = (env_in(&data), Arc::new(Queue::default()));
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let (watched, told) = (env.clone(), Arc::clone(&queue));
        let watching = env
            .exec
            .scoped(async move { watch_storage(&watched, &told, stop).await });
        let until = async |lost: bool| {
            let change = async {
                while queue.storage_fault().is_some() != lost {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(3 * EVERY, change).await.unwrap();
        };
        let away = data.with_extension("away");
        std::fs::rename(&data, &away).unwrap();
        until(true).await;
        // The same one again, as after a mount that was missing.
        std::fs::rename(&away, &data).unwrap();
        until(false).await;
        drop(watching);
    }
}
