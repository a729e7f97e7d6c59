//! The engine over worker processes.
//!
//! Analyses and renders take seconds and wait in one lane, probes and frames take milliseconds and never queue behind
//! them in the other.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use nix::fcntl::OFlag;
use parking_lot::Mutex;

use super::VERB;
use super::cache::FrameCache;
use super::lane::{Lane, light};
use super::process::{Spawner, unexpected};
use super::wire::{Job, Reply, Request, SourceKey};
use crate::admission::Waiting;
use crate::media::{
    Analysis, MediaConfig, MediaEngine, MediaError, MediaErrorCode, Probe, Progress, RenderSpec,
    Rendered, SelectOptions,
};

/// Widest JPEG of a frame.
const WIDEST: u32 = 3840;

/// The real media engine: FFmpeg in sandboxed worker processes.
///
/// Dropping the future of an analysis or a render kills the worker that does it, and leaves no partial output. A frame or
/// probe whose future is dropped while it waits is not started; one that is being made is finished, because that takes
/// milliseconds and a new process takes more.
#[derive(Clone)]
pub struct WorkerPool {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

type FrameFuture = BoxFuture<'static, Result<Bytes, MediaError>>;
type FlightKey = (SourceKey, u32, u64);

struct Inner {
    config: MediaConfig,
    heavy: Arc<Lane>,
    light: Arc<Lane>,
    cache: Mutex<FrameCache>,
    /// Frames being made; further requests for the same one wait for it.
    flights: Mutex<BTreeMap<FlightKey, WeakShared<FrameFuture>>>,
    /// Threads of one video encoder: the machine shared among the workers.
    threads: usize,
}

impl WorkerPool {
    /// A pool that starts its workers when they are first needed. Must be called inside a tokio runtime.
    pub fn new(config: MediaConfig) -> Result<Self, MediaError> {
        let crashed = |what: &str, error: &dyn std::fmt::Display| {
            MediaError::new(MediaErrorCode::WorkerCrashed, format!("{what}: {error}"))
        };
        let command = match &config.worker_command {
            Some(command) if !command.is_empty() => command.iter().map(PathBuf::from).collect(),
            _ => {
                let this = std::env::current_exe()
                    .map_err(|e| crashed("this program cannot be found", &e))?;
                vec![this, PathBuf::from(VERB)]
            }
        };
        let spawner =
            Spawner::start(command).map_err(|e| crashed("no thread to start workers", &e))?;
        let lane =
            |workers: usize, queue| Arc::new(Lane::new(workers, queue, &config, spawner.clone()));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let cache = usize::try_from(config.frame_cache_mb << 20).unwrap_or(usize::MAX);
        Ok(Self {
            inner: Arc::new(Inner {
                heavy: lane(config.workers, Waiting::patient(config.queue)),
                light: lane(config.frame_workers, light(&config)),
                cache: Mutex::new(FrameCache::new(cache)),
                flights: Mutex::new(BTreeMap::new()),
                threads: (cores / config.workers.max(1)).clamp(1, 8),
                config,
            }),
        })
    }

    /// Starts one worker of each lane, so that the first request finds it warm and a worker command that does not work is
    /// noticed at once.
    pub async fn warm(&self) -> Result<(), MediaError> {
        for lane in [&self.inner.light, &self.inner.heavy] {
            lane.checkout(None).await?.give_back();
        }
        Ok(())
    }

    /// Process ids of the workers that wait for work, for whoever wants to see what becomes of them.
    #[must_use]
    pub fn idle_workers(&self) -> Vec<u32> {
        [&self.inner.light, &self.inner.heavy]
            .iter()
            .flat_map(|lane| lane.idle())
            .collect()
    }

    async fn run(
        &self,
        lane: &Arc<Lane>,
        source: &Path,
        job: Job,
        outputs: &[File],
        progress: &Progress,
    ) -> Result<Reply, MediaError> {
        check_numbers(&job)?;
        let (file, key) = open_source(source)?;
        let mut lease = lane.checkout(Some(key)).await?;
        let request = Request {
            job,
            source: key,
            limits: self.inner.config.limits(),
        };
        let files: Vec<RawFd> = std::iter::once(file.as_raw_fd())
            .chain(outputs.iter().map(std::os::fd::AsRawFd::as_raw_fd))
            .collect();
        let (reply, _) = lease.exchange(&request, &files, progress).await?;
        // Workers report now and then; work that is over sooner has still made all of its progress.
        progress.report(1.0);
        Ok(reply)
    }

    fn start_frame(&self, source: &Path, key: SourceKey, at: f64, width: u32) -> FrameFuture {
        let pool = self.clone();
        let source = source.to_owned();
        async move {
            let mut lease = pool.inner.light.checkout(Some(key)).await?;
            let work = tokio::spawn(async move {
                let (file, key) = open_source(&source)?;
                let request = Request {
                    job: Job::Frame { at, width },
                    source: key,
                    limits: pool.inner.config.limits(),
                };
                let exchanged = lease
                    .exchange(&request, &[file.as_raw_fd()], &Progress::ignored())
                    .await;
                pool.inner
                    .flights
                    .lock()
                    .remove(&(key, width, at.to_bits()));
                match exchanged? {
                    (Reply::Shot { from, until, .. }, jpeg) => {
                        pool.inner
                            .cache
                            .lock()
                            .put(key, width, from, until, jpeg.clone());
                        Ok(jpeg)
                    }
                    (other, _) => Err(unexpected(&other)),
                }
            });
            work.await.unwrap_or_else(|error| {
                Err(MediaError::new(
                    MediaErrorCode::WorkerCrashed,
                    format!("the frame was given up: {error}"),
                ))
            })
        }
        .boxed()
    }

    /// The frame being made for the same request, or a new one.
    fn join_frame(
        &self,
        source: &Path,
        key: SourceKey,
        at: f64,
        width: u32,
    ) -> Shared<FrameFuture> {
        let flight = (key, width, at.to_bits());
        let mut flights = self.inner.flights.lock();
        if let Some(flying) = flights.get(&flight).and_then(WeakShared::upgrade) {
            return flying;
        }
        // Requests that were dropped while they waited leave their place behind.
        if flights.len() > 4 * self.inner.config.frame_queue.max(64) {
            flights.retain(|_, flight| flight.upgrade().is_some());
        }
        let started = self.start_frame(source, key, at, width).shared();
        if let Some(weak) = started.downgrade() {
            flights.insert(flight, weak);
        }
        started
    }
}

impl MediaEngine for WorkerPool {
    fn probe<'a>(&'a self, source: &'a Path) -> BoxFuture<'a, Result<Probe, MediaError>> {
        async move {
            match self
                .run(
                    &self.inner.light,
                    source,
                    Job::Probe,
                    &[],
                    &Progress::ignored(),
                )
                .await?
            {
                Reply::Probed(probe) => Ok(probe),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn analyse<'a>(
        &'a self,
        source: &'a Path,
        options: &'a SelectOptions,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Analysis, MediaError>> {
        async move {
            let job = Job::Analyse {
                select: options.clone(),
            };
            match self
                .run(&self.inner.heavy, source, job, &[], &progress)
                .await?
            {
                Reply::Analysed(analysis) => Ok(*analysis),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn render<'a>(
        &'a self,
        source: &'a Path,
        spec: &'a RenderSpec,
        clip: &'a Path,
        poster: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Rendered, MediaError>> {
        async move {
            let clip = Unfinished::create(clip)?;
            let poster = Unfinished::create(poster)?;
            let job = Job::Render {
                spec: spec.clone(),
                threads: self.inner.threads,
            };
            let files = [clip.handle()?, poster.handle()?];
            match self
                .run(&self.inner.heavy, source, job, &files, &progress)
                .await?
            {
                Reply::Rendered(rendered) => {
                    clip.finish()?;
                    poster.finish()?;
                    Ok(rendered)
                }
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }

    fn frame<'a>(
        &'a self,
        source: &'a Path,
        at: f64,
        width: u32,
    ) -> BoxFuture<'a, Result<Bytes, MediaError>> {
        async move {
            check_numbers(&Job::Frame { at, width })?;
            let width = width.clamp(16, WIDEST);
            let key = SourceKey::of(&std::fs::metadata(source).map_err(|e| unavailable(&e))?);
            if let Some(jpeg) = self.inner.cache.lock().get(key, width, at) {
                return Ok(jpeg);
            }
            self.join_frame(source, key, at, width).await
        }
        .boxed()
    }

    fn cached_frame(&self, source: &Path, at: f64, width: u32) -> Option<Bytes> {
        let key = SourceKey::of(&std::fs::metadata(source).ok()?);
        let width = width.clamp(16, WIDEST);
        self.inner.cache.lock().get(key, width, at)
    }
}

/// An output file that appears under its name only when it is complete.
struct Unfinished {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    fn create(path: &Path) -> Result<Self, MediaError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        let partial = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)
            .map_err(|e| not_written(path, &e))?;
        Ok(Self {
            file,
            partial,
            path: path.to_owned(),
        })
    }

    fn handle(&self) -> Result<File, MediaError> {
        self.file
            .try_clone()
            .map_err(|e| not_written(&self.path, &e))
    }

    fn finish(&self) -> Result<(), MediaError> {
        std::fs::rename(&self.partial, &self.path).map_err(|e| not_written(&self.path, &e))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it was finished.
        std::fs::remove_file(&self.partial).ok();
    }
}

fn not_written(path: &Path, error: &io::Error) -> MediaError {
    MediaError::new(
        MediaErrorCode::EncodeFailed.unless_short(error),
        format!("{} cannot be written: {error}", path.display()),
    )
}

/// Opens a source without waiting for anybody: a named pipe waits for a writer, and some devices do something when they are
/// opened, so what is there is looked at before. Looked at again afterwards, because it may have been exchanged.
fn open_source(path: &Path) -> Result<(File, SourceKey), MediaError> {
    plain(&std::fs::metadata(path).map_err(|e| unavailable(&e))?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(|e| unavailable(&e))?;
    let metadata = file.metadata().map_err(|e| unavailable(&e))?;
    plain(&metadata)?;
    Ok((file, SourceKey::of(&metadata)))
}

fn plain(metadata: &Metadata) -> Result<(), MediaError> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() {
        "a directory"
    } else {
        "not a plain file"
    };
    Err(MediaError::new(
        MediaErrorCode::NotAVideo,
        format!("this is {what}"),
    ))
}

/// Numbers that are none have no place in a request: JSON cannot hold them.
fn check_numbers(job: &Job) -> Result<(), MediaError> {
    let numbers = match job {
        Job::Probe => vec![],
        Job::Analyse { select } => vec![select.min_length, select.max_length],
        Job::Render { spec, .. } => vec![spec.start, spec.end],
        Job::Frame { at, .. } => vec![*at],
    };
    match numbers
        .iter()
        .find(|number| !number.is_finite() || **number < 0.0)
    {
        None => Ok(()),
        Some(number) => Err(MediaError::new(
            MediaErrorCode::OutOfRange,
            format!("{number} s is not a time inside a video"),
        )),
    }
}

fn unavailable(error: &io::Error) -> MediaError {
    let detail = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("the file cannot be opened: {error}"),
    };
    MediaError::new(
        MediaErrorCode::SourceUnavailable.unless_short(error),
        detail,
    )
}
