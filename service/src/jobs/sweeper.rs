//! Deletes blobs that nothing names: clips of attempts that were fenced, and sources whose upload was cut between the
//! blob and its row. Everything is written blob first and row second, so only a blob that has stayed unnamed for far
//! longer than any upload or encode takes is one that no row will ever name.
//!
//! Ages are by the wall clock, which may be set. What looks old by it and by a clock that goes on from where this process
//! found it is old, so no jump makes a young blob look old. What is dated into the future counts as old when this process has
//! seen it for as long.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::env::Env;
use crate::store::StoreResult;

/// Much longer than anything that is still being written needs.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Blobs in one question to the store.
const PAGE: usize = 500;

/// What a sweeper knows beside the store.
#[derive(Debug)]
struct Memory {
    /// One moment by both clocks.
    began: (Timestamp, Instant),
    /// Unnamed blobs that are dated into the future, by the time since when they are known.
    undated: BTreeMap<String, Instant>,
}

impl Memory {
    fn new(env: &Env) -> Self {
        Self {
            began: (env.clock.now(), Instant::now()),
            undated: BTreeMap::new(),
        }
    }

    /// The earlier of the wall clock's time and the one that it would show if nobody had set it.
    fn now(&self, env: &Env) -> Timestamp {
        let (then, since) = self.began;
        let wall = env.clock.now();
        then.checked_add(since.elapsed())
            .map_or(wall, |unset| unset.min(wall))
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Swept {
    /// Blobs looked at that something names.
    named: usize,
    /// Old blobs that nothing names.
    unnamed: usize,
    /// Those of them that are deleted now.
    deleted: usize,
}

/// Sweeps at once and then each hour, until `stop`. Several gateways may do so on the same store.
pub async fn sweep_until(env: &Env, stop: CancellationToken) {
    let sweeping = async {
        let mut memory = Memory::new(env);
        loop {
            match sweep(env, &mut memory).await {
                Ok(swept) if swept.unnamed == 0 => {}
                Ok(swept) if swept.deleted == 0 => tracing::warn!(
                    blobs = swept.unnamed,
                    "storage names none of its blobs, so none is swept: does the folder belong to this database?"
                ),
                Ok(swept) => {
                    tracing::info!(deleted = swept.deleted, "swept blobs that nothing names")
                }
                Err(error) => tracing::warn!(%error, "blobs not swept; trying again in an hour"),
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sweeping => {}
    }
}

/// Deletes old blobs that nothing names, unless nothing names any: then the rows are missing, and not the use.
async fn sweep(env: &Env, memory: &mut Memory) -> StoreResult<Swept> {
    let mut swept = Swept::default();
    let mut unnamed = Vec::new();
    let mut undated = BTreeMap::new();
    let (now, here) = (memory.now(env), Instant::now());
    let mut after = String::new();
    loop {
        let page = env.blobs.list(&after, PAGE, now).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.key);
        let mut ages: BTreeMap<String, Duration> = page
            .into_iter()
            .filter(|blob| blob.age > LEFT_BEHIND || blob.age.is_zero())
            .map(|blob| (blob.key, blob.age))
            .collect();
        if ages.is_empty() {
            continue;
        }
        for key in env.store.unnamed(ages.keys().cloned().collect()).await? {
            let mut age = ages.remove(&key).unwrap_or_default();
            if age.is_zero() {
                let since = memory.undated.get(&key).copied().unwrap_or(here);
                age = here.duration_since(since);
                undated.insert(key.clone(), since);
            }
            if age > LEFT_BEHIND {
                unnamed.push(key);
            }
        }
        swept.named += ages.len();
    }
    memory.undated = undated;
    swept.unnamed = unnamed.len();
    if swept.named > 0 {
        for key in unnamed {
            env.blobs.delete(&key).await?;
            swept.deleted += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::http::testing::{MemoryNet, node};
    use crate::model::{Video, VideoId};

    async fn put(env: &Env, key: &str) {
        env.blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }

    async fn upload(env: &Env, id: &str) {
        let video = Video {
            id: VideoId::parse(id).unwrap(),
            blob: format!("sources/{id}"),
            name: String::new(),
            size: 1,
            sha256: String::new(),
            created_at: env.clock.now(),
        };
        put(env, &video.blob).await;
        env.store.add_video(video).await.unwrap();
    }

    async fn keys(env: &Env) -> Vec<String> {
        let listed = env.blobs.list("", usize::MAX, env.clock.now()).await;
        listed.unwrap().into_iter().map(|blob| blob.key).collect()
    }

    fn env() -> Env {
        node("gateway-1", Arc::new(MemoryNet::default()), 1).0
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_old_and_unnamed_goes_and_nothing_else() {
        let env = env();
        upload(&env, "video_1").await;
        put(&env, "sources/video_2").await;
        for n in 0..2 * PAGE {
            put(&env, &format!("clips/clip_{n}/1/clip.mp4")).await;
        }
        let stop = CancellationToken::new();
        let _stop = stop.clone().drop_guard();
        let sweeper = env.clone();
        let sweeping = env
            .exec
            .scoped(async move { sweep_until(&sweeper, stop).await });
        tokio::time::sleep(LEFT_BEHIND - Duration::from_secs(1)).await;
        put(&env, "sources/video_3").await;
        assert_eq!(keys(&env).await.len(), 2 * PAGE + 3, "a day is not over");
        tokio::time::sleep(EVERY + Duration::from_secs(2)).await;
        assert_eq!(keys(&env).await, ["sources/video_1", "sources/video_3"]);
        drop(sweeping);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_knows_none_of_the_blobs_has_none_swept() {
        let env = env();
        put(&env, "sources/video_1").await;
        put(&env, "sources/video_2").await;
        tokio::time::sleep(2 * LEFT_BEHIND).await;
        let mut memory = Memory::new(&env);
        let (named, unnamed, deleted) = (0, 2, 0);
        let expected = Swept {
            named,
            unnamed,
            deleted,
        };
        assert_eq!(sweep(&env, &mut memory).await.unwrap(), expected);
        assert_eq!(keys(&env).await.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_deletes_nothing_young_and_keeps_nothing_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let offset = Arc::new(parking_lot::Mutex::new(jiff::SignedDuration::ZERO));
        let shown = Arc::clone(&offset);
        let env = Env {
            blobs: Arc::new(crate::store::LocalBlobs::open(folder.path()).unwrap()),
            clock: crate::env::WallClock::new(move || jiff::Timestamp::now() + *shown.lock()),
            ..env()
        };
        upload(&env, "video_1").await;
        put(&env, "sources/video_2").await;
        let mut memory = Memory::new(&env);
        // Set forward: the upload looks old while its row is on the way.
        *offset.lock() = jiff::SignedDuration::from_hours(240);
        assert_eq!(sweep(&env, &mut memory).await.unwrap().deleted, 0);
        upload(&env, "video_2").await;
        put(&env, "sources/video_3").await;
        tokio::time::advance(EVERY).await;
        assert_eq!(sweep(&env, &mut memory).await.unwrap().unnamed, 0);
        assert_eq!(keys(&env).await.len(), 3);
        // Set back: what was written is to come.
        *offset.lock() = jiff::SignedDuration::from_hours(-240);
        let mut memory = Memory::new(&env);
        assert_eq!(sweep(&env, &mut memory).await.unwrap().unnamed, 0);
        tokio::time::advance(LEFT_BEHIND + EVERY).await;
        assert_eq!(sweep(&env, &mut memory).await.unwrap().unnamed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_told() {
        let (env, stop) = (env(), CancellationToken::new());
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(1), sweep_until(&env, stop));
        ended.await.unwrap();
    }
}
