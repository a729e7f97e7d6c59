//! Files by key: in a local folder that several processes may share, or in memory.
//!
//! A key appears whole or not at all: bytes are written to a temporary file, synced, then renamed. Temporary files live
//! in a folder per process that a lock file guards, so that whoever opens the store next can sweep away what a killed
//! process left behind and nothing that a living one still uses.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::identity::Identity;
use super::{BlobEntry, Blobs, StoreError, StoreResult};
use crate::shortage::is_shortage;

/// Whether `key` may name a blob: parts of letters, digits, `-`, `_` and `.`, joined by `/`, none starting with a dot.
#[must_use]
pub fn valid_key(key: &str) -> bool {
    key.len() <= 200
        && key.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ if is_shortage(&error) => Self::Shortage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// An error of writing: a folder that is not there is no blob that is not there.
fn unwritable(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Failed(error.to_string()),
        _ => error.into(),
    }
}

/// What a check writes: a block of most file systems, so that a full one shows.
const CHECK_BYTES: usize = 4096;

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    tokio::task::spawn_blocking(act)
        .await
        .unwrap_or_else(|e| Err(StoreError::Failed(format!("a storage call was lost: {e}"))))
}

/// Blobs in a local folder.
#[derive(Debug)]
pub struct LocalBlobs {
    root: PathBuf,
    own: Arc<ProcessFolder>,
    /// The data folder, that of the blobs, and that of this process.
    folders: Arc<[Identity; 3]>,
    counter: AtomicU64,
}

impl LocalBlobs {
    /// Opens or creates the folder, and sweeps away temporary files of processes that are gone.
    ///
    /// # Errors
    /// The folder cannot be created or written.
    pub fn open(root: &Path) -> StoreResult<Self> {
        let shown = |e: io::Error| StoreError::Failed(format!("{}: {e}", root.display()));
        let scratch = root.join("tmp");
        fs::create_dir_all(&scratch).map_err(shown)?;
        fs::create_dir_all(root.join("blobs")).map_err(shown)?;
        sweep(&scratch).map_err(shown)?;
        let own = ProcessFolder::create(&scratch).map_err(shown)?;
        let identity = |path: &Path| Identity::of(path).map_err(shown);
        let folders = [
            identity(root)?,
            identity(&root.join("blobs"))?,
            identity(&own.path)?,
        ];
        Ok(Self {
            root: root.join("blobs"),
            own: Arc::new(own),
            folders: Arc::new(folders),
            counter: AtomicU64::new(0),
        })
    }

    fn place(&self, key: &str) -> StoreResult<PathBuf> {
        if valid_key(key) {
            Ok(self.root.join(key))
        } else {
            Err(StoreError::Failed(format!("`{key}` is not a blob key")))
        }
    }
}

/// Makes `file`, already whole, appear as `place`, and both survive a power cut.
fn publish(file: &Path, place: &Path) -> StoreResult<()> {
    let folder = place.parent().ok_or(StoreError::NotFound)?;
    let published = (|| {
        fs::create_dir_all(folder)?;
        fs::rename(file, place)?;
        File::open(folder)?.sync_all()?;
        if let Some(above) = folder.parent() {
            File::open(above)?.sync_all()?; // `folder` itself may be new
        }
        Ok(())
    })();
    published.map_err(unwritable)
}

fn read_part(place: &Path, offset: u64, length: u64) -> StoreResult<Bytes> {
    let mut file = File::open(place)?;
    let size = file.metadata()?.len();
    let length = length.min(size.saturating_sub(offset));
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// The parts of a key. Listings are ordered by them, which is the order of a walk through folders; that of the text is
/// another one, because `-` and `.` come before `/`.
fn parts(key: &str) -> Vec<&str> {
    key.split('/').filter(|part| !part.is_empty()).collect()
}

/// A walk through the folders, in order, that begins after a key and ends when enough is found.
struct Walk {
    limit: usize,
    now: Timestamp,
    found: Vec<BlobEntry>,
}

impl Walk {
    /// Walks through `folder`, whose keys begin with `prefix`; `after` is relative to it, empty for all of it.
    fn folder(&mut self, folder: &Path, prefix: &str, after: &[&str]) -> io::Result<()> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            // What is no key was not put here by us.
            names.extend(
                entry?
                    .file_name()
                    .into_string()
                    .ok()
                    .filter(|name| valid_key(name)),
            );
        }
        names.sort_unstable();
        for name in names {
            if self.found.len() == self.limit {
                break;
            }
            let first = after.first().copied().unwrap_or_default();
            if name.as_str() < first {
                continue;
            }
            let on_the_way = name == first;
            let place = folder.join(&name);
            let key = format!("{prefix}{name}");
            // Somebody may delete while we walk.
            let Ok(metadata) = fs::symlink_metadata(&place) else {
                continue;
            };
            if metadata.is_dir() {
                let below = if on_the_way { &after[1..] } else { &[] };
                self.folder(&place, &format!("{key}/"), below)?;
            } else if metadata.is_file() && !on_the_way {
                let written =
                    Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
                // A time to come is a clock that was set back.
                let age = Duration::try_from(self.now.duration_since(written)).unwrap_or_default();
                self.found.push(BlobEntry { key, age });
            }
        }
        Ok(())
    }
}

impl Blobs for LocalBlobs {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        let place = self.place(key);
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = self.own.path.join(format!("put-{number}"));
        blocking(move || {
            let place = place?;
            let written = (|| {
                let mut file = File::create(&temporary).map_err(unwritable)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                publish(&temporary, &place)
            })();
            if written.is_err() {
                fs::remove_file(&temporary).ok(); // nothing to say about it beyond the first error
            }
            written
        })
        .boxed()
    }

    fn adopt<'a>(&'a self, key: &'a str, file: &'a Path) -> BoxFuture<'a, StoreResult<()>> {
        let place = self.place(key);
        let file = file.to_owned();
        blocking(move || {
            let place = place?;
            File::open(&file)?.sync_all()?;
            publish(&file, &place)
        })
        .boxed()
    }

    fn local<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<PathBuf>> {
        let place = self.place(key);
        // One stat on a hot path: not worth a thread's hand-over.
        std::future::ready(place.and_then(|place| {
            fs::metadata(&place)?;
            Ok(place)
        }))
        .boxed()
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        let place = self.place(key);
        blocking(move || Ok(fs::metadata(place?)?.len())).boxed()
    }

    fn read<'a>(
        &'a self,
        key: &'a str,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'a, StoreResult<Bytes>> {
        let place = self.place(key);
        blocking(move || read_part(&place?, offset, length)).boxed()
    }

    fn scratch(&self) -> StoreResult<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("work-")
            .tempdir_in(&self.own.path)
            .map_err(unwritable)
    }

    fn list<'a>(
        &'a self,
        after: &'a str,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Vec<BlobEntry>>> {
        let root = self.root.clone();
        let after = after.to_owned();
        blocking(move || {
            let mut walk = Walk {
                limit,
                now,
                found: Vec::new(),
            };
            walk.folder(&root, "", &parts(&after))?;
            Ok(walk.found)
        })
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        let folders = Arc::clone(&self.folders);
        let file = self.own.path.join("check");
        blocking(move || {
            folders.iter().try_for_each(Identity::check)?;
            let written = fs::write(&file, [0; CHECK_BYTES]);
            fs::remove_file(&file).ok(); // if it is not there, the first error says why
            written.map_err(|error| match error.kind() {
                // Not for a moment, and not of this process.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StoreError::Failed(error.to_string())
                }
                _ => unwritable(error),
            })
        })
        .boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        let place = self.place(key);
        blocking(move || match fs::remove_file(place?) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        })
        .boxed()
    }
}

/// The folder of one process's temporary files. Its lock file, made before it and removed after it, is locked as long
/// as the process lives; the operating system lets go of it however the process ends.
#[derive(Debug)]
struct ProcessFolder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl ProcessFolder {
    fn create(scratch: &Path) -> io::Result<Self> {
        for _ in 0..100 {
            let lock = tempfile::Builder::new()
                .prefix("process-")
                .suffix(".lock")
                .tempfile_in(scratch)?;
            if lock.as_file().try_lock().is_err() {
                continue; // a sweeper looked at it in between, and will remove it
            }
            let (file, lock_path) = lock.keep().map_err(|e| e.error)?;
            let path = lock_path.with_extension("d");
            fs::create_dir(&path)?;
            if lock_path.exists() {
                return Ok(Self {
                    path,
                    lock_path,
                    _lock: file,
                });
            }
            fs::remove_dir(&path)?; // swept between making and locking
        }
        Err(io::Error::other("cannot lock a folder for temporary files"))
    }
}

impl Drop for ProcessFolder {
    fn drop(&mut self) {
        // Best effort: what stays is swept by the next one to open the store.
        fs::remove_dir_all(&self.path).ok();
        fs::remove_file(&self.lock_path).ok();
    }
}

fn sweep(scratch: &Path) -> io::Result<()> {
    for entry in fs::read_dir(scratch)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|e| e != "lock") {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(&lock_path) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            fs::remove_dir_all(lock_path.with_extension("d")).ok();
            fs::remove_file(&lock_path).ok();
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Written {
    bytes: Bytes,
    at: Instant,
}

/// Blobs in memory, for tests and simulations. [`Blobs::local`] writes a copy into a temporary folder, which is made
/// when it is first needed.
#[derive(Debug, Default)]
pub struct MemoryBlobs {
    blobs: Mutex<BTreeMap<String, Written>>,
    folder: Mutex<Option<tempfile::TempDir>>,
}

impl MemoryBlobs {
    fn folder(&self) -> StoreResult<PathBuf> {
        let mut folder = self.folder.lock();
        let made = match folder.take() {
            Some(made) => made,
            None => tempfile::tempdir()?,
        };
        Ok(folder.insert(made).path().to_owned())
    }

    fn get(&self, key: &str) -> StoreResult<Bytes> {
        self.blobs
            .lock()
            .get(key)
            .map(|written| written.bytes.clone())
            .ok_or(StoreError::NotFound)
    }

    fn set(&self, key: &str, bytes: Bytes) -> StoreResult<()> {
        if !valid_key(key) {
            return Err(StoreError::Failed(format!("`{key}` is not a blob key")));
        }
        let at = Instant::now();
        self.blobs
            .lock()
            .insert(key.to_owned(), Written { bytes, at });
        Ok(())
    }

    fn copy_out(&self, key: &str) -> StoreResult<PathBuf> {
        let place = self.folder()?.join(key);
        let bytes = self.get(key)?;
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&place, &bytes)?;
        Ok(place)
    }
}

impl Blobs for MemoryBlobs {
    fn put<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, StoreResult<()>> {
        std::future::ready(self.set(key, bytes)).boxed()
    }

    fn adopt<'a>(&'a self, key: &'a str, file: &'a Path) -> BoxFuture<'a, StoreResult<()>> {
        let adopted = (|| {
            self.set(key, fs::read(file)?.into())?;
            Ok(fs::remove_file(file)?)
        })();
        std::future::ready(adopted).boxed()
    }

    fn local<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<PathBuf>> {
        std::future::ready(self.copy_out(key)).boxed()
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<u64>> {
        std::future::ready(self.get(key).map(|bytes| bytes.len() as u64)).boxed()
    }

    fn read<'a>(
        &'a self,
        key: &'a str,
        offset: u64,
        length: u64,
    ) -> BoxFuture<'a, StoreResult<Bytes>> {
        let part = self.get(key).map(|bytes| {
            let clip = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(clip(offset)..clip(offset.saturating_add(length)))
        });
        std::future::ready(part).boxed()
    }

    fn scratch(&self) -> StoreResult<tempfile::TempDir> {
        Ok(tempfile::tempdir_in(self.folder()?)?)
    }

    fn list<'a>(
        &'a self,
        after: &'a str,
        limit: usize,
        _now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<Vec<BlobEntry>>> {
        let blobs = self.blobs.lock();
        let mut found: Vec<BlobEntry> = blobs
            .iter()
            .filter(|(key, _)| parts(key) > parts(after))
            .map(|(key, written)| BlobEntry {
                key: key.clone(),
                age: written.at.elapsed(),
            })
            .collect();
        found.sort_by(|a, b| parts(&a.key).cmp(&parts(&b.key)));
        found.truncate(limit);
        std::future::ready(Ok(found)).boxed()
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, StoreResult<()>> {
        self.blobs.lock().remove(key);
        std::future::ready(Ok(())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_leave_their_folder() {
        for key in ["a", "clips/clip_1/3/clip.mp4", "sources/video-a_b.mp4"] {
            assert!(valid_key(key), "{key}");
        }
        let long = "a".repeat(201);
        for key in [
            "", "/", "/a", "a/", "a//b", "..", "a/../b", ".a", "a\\b", "a b", "ü", "a\0", &long,
        ] {
            assert!(!valid_key(key), "{key}");
        }
    }

    async fn conforms(blobs: &dyn Blobs) {
        blobs
            .put("a/b.txt", Bytes::from_static(b"0123456789"))
            .await
            .unwrap();
        assert_eq!(blobs.size("a/b.txt").await.unwrap(), 10);
        assert_eq!(&blobs.read("a/b.txt", 2, 3).await.unwrap()[..], b"234");
        assert_eq!(&blobs.read("a/b.txt", 8, 30).await.unwrap()[..], b"89");
        assert_eq!(&blobs.read("a/b.txt", 80, 30).await.unwrap()[..], b"");
        assert_eq!(
            fs::read(blobs.local("a/b.txt").await.unwrap()).unwrap(),
            b"0123456789"
        );
        blobs
            .put("a/b.txt", Bytes::from_static(b"new"))
            .await
            .unwrap();
        assert_eq!(blobs.size("a/b.txt").await.unwrap(), 3);

        let work = blobs.scratch().unwrap();
        let file = work.path().join("x");
        fs::write(&file, b"adopted").unwrap();
        blobs.adopt("c", &file).await.unwrap();
        assert!(!file.exists());
        assert_eq!(&blobs.read("c", 0, 100).await.unwrap()[..], b"adopted");

        let now = Timestamp::now();
        let list = async |after, limit| {
            let listed = blobs.list(after, limit, now).await.unwrap();
            listed
                .into_iter()
                .map(|entry| entry.key)
                .collect::<Vec<_>>()
        };
        for key in ["a-b", "a.b", "a/b/c", "b"] {
            blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
        }
        let all = list("", 100).await;
        assert_eq!(
            all,
            ["a/b/c", "a/b.txt", "a-b", "a.b", "b", "c"],
            "by parts of the key"
        );
        for (at, key) in all.iter().enumerate() {
            let rest = &all[at + 1..];
            assert_eq!(list(key, 2).await, rest[..rest.len().min(2)], "after {key}");
        }
        for (missing, next) in [
            ("a", 0),
            ("a/b", 0),
            ("a/b.txt/x", 2),
            ("a/c", 2),
            ("a-a", 2),
        ] {
            assert_eq!(
                list(missing, 2).await,
                all[next..next + 2],
                "after {missing}"
            );
        }
        let listed = blobs.list("", 100, now).await.unwrap();
        let young = |entry: &BlobEntry| entry.age < Duration::from_secs(60);
        assert!(listed.iter().all(young), "{listed:?}");

        blobs.delete("c").await.unwrap();
        blobs.delete("c").await.unwrap();
        assert!(matches!(blobs.size("c").await, Err(StoreError::NotFound)));
        assert!(matches!(
            blobs.read("c", 0, 1).await,
            Err(StoreError::NotFound)
        ));
        assert!(matches!(blobs.local("c").await, Err(StoreError::NotFound)));
        assert!(matches!(
            blobs.put("../x", Bytes::new()).await,
            Err(StoreError::Failed(_))
        ));
    }

    #[tokio::test]
    async fn both_conform() {
        let folder = tempfile::tempdir().unwrap();
        conforms(&LocalBlobs::open(folder.path()).unwrap()).await;
        conforms(&MemoryBlobs::default()).await;
    }

    #[tokio::test]
    async fn a_blob_in_a_folder_is_as_old_as_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::open(folder.path()).unwrap();
        blobs.put("a/b", Bytes::from_static(b"x")).await.unwrap();
        let stray = folder.path().join("blobs/a/.hidden");
        fs::write(stray, b"not ours").unwrap();
        let written = folder.path().join("blobs/a/b");
        let hour = Duration::from_secs(3600);
        let earlier = fs::metadata(&written).unwrap().modified().unwrap() - hour;
        File::options()
            .write(true)
            .open(&written)
            .unwrap()
            .set_modified(earlier)
            .unwrap();
        let now = Timestamp::try_from(earlier).unwrap() + hour;
        let aged = |age| {
            vec![BlobEntry {
                key: "a/b".to_owned(),
                age,
            }]
        };
        assert_eq!(blobs.list("", 9, now).await.unwrap(), aged(hour));
        let before = now - 2 * hour;
        assert_eq!(
            blobs.list("", 9, before).await.unwrap(),
            aged(Duration::ZERO)
        );
    }

    #[test]
    fn scratch_of_the_dead_is_swept_and_of_the_living_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let alive = LocalBlobs::open(folder.path()).unwrap();
        let work = alive.scratch().unwrap();
        // What a killed process leaves: a lock file that nobody holds, and its folder.
        let tmp = folder.path().join("tmp");
        fs::write(tmp.join("process-dead.lock"), b"").unwrap();
        fs::create_dir_all(tmp.join("process-dead.d/work-1")).unwrap();
        let other = LocalBlobs::open(folder.path()).unwrap();
        assert!(!tmp.join("process-dead.d").exists());
        assert!(!tmp.join("process-dead.lock").exists());
        assert!(work.path().exists());
        drop((work, alive, other));
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }
}
