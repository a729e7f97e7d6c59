//! The parent's side: keeps workers warm in two lanes, hands them jobs, replaces the dead and kills the hung.
//!
//! Analyses and renders take seconds and wait in one lane, probes and frames take milliseconds and never queue behind
//! them in the other.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::VERB;
use super::cache::FrameCache;
use super::wire::{self, Job, MAX_MESSAGE, Reply, Request, SourceKey};
use crate::media::{
    Analysis, MediaConfig, MediaEngine, MediaError, MediaErrorCode, Probe, Progress, RenderSpec,
    Rendered, SelectOptions,
};

/// A new worker says hello within this time.
const HELLO: Duration = Duration::from_secs(10);

/// A dead worker's exit status is known within this time.
const EXIT: Duration = Duration::from_secs(1);

/// Widest JPEG of a frame.
const WIDEST: u32 = 3840;

/// Environment a worker gets: only what the loader may need to find FFmpeg's libraries.
const ENVIRONMENT: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

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
                heavy: lane(config.workers, config.queue),
                light: lane(config.frame_workers, config.frame_queue),
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
        let lanes = [&self.inner.light, &self.inner.heavy];
        lanes
            .iter()
            .flat_map(|lane| {
                lane.idle
                    .lock()
                    .iter()
                    .filter_map(|w| w.child.id())
                    .collect::<Vec<_>>()
            })
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
        lease
            .exchange(&request, &files, progress)
            .await
            .map(|(reply, _)| reply)
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
        MediaErrorCode::EncodeFailed,
        format!("{} cannot be written: {error}", path.display()),
    )
}

fn open_source(path: &Path) -> Result<(File, SourceKey), MediaError> {
    let file = File::open(path).map_err(|e| unavailable(&e))?;
    let metadata = file.metadata().map_err(|e| unavailable(&e))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() {
            "a directory"
        } else {
            "not a plain file"
        };
        return Err(MediaError::new(
            MediaErrorCode::NotAVideo,
            format!("this is {what}"),
        ));
    }
    Ok((file, SourceKey::of(&metadata)))
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
    MediaError::new(MediaErrorCode::SourceUnavailable, detail)
}

fn unexpected(reply: &Reply) -> MediaError {
    MediaError::new(
        MediaErrorCode::WorkerCrashed,
        format!("the worker answered something else: {reply:?}"),
    )
}

/// Workers for one kind of work.
struct Lane {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    idle: Mutex<Vec<Worker>>,
    recycle_after: u32,
    stall: Duration,
    spawner: Spawner,
}

impl Lane {
    fn new(workers: usize, queue: usize, config: &MediaConfig, spawner: Spawner) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(workers.clamp(1, 256))),
            waiting: AtomicUsize::new(0),
            queue,
            idle: Mutex::new(Vec::new()),
            recycle_after: config.recycle_after.max(1),
            stall: config.stall.get(),
            spawner,
        }
    }

    /// A worker for one job, best one that has `source` open.
    async fn checkout(self: &Arc<Self>, source: Option<SourceKey>) -> Result<Lease, MediaError> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _place = Place::take(&self.waiting, self.queue)?;
                Arc::clone(&self.permits)
                    .acquire_owned()
                    .await
                    .map_err(|_| {
                        MediaError::new(
                            MediaErrorCode::Cancelled,
                            "the media engine is shutting down",
                        )
                    })?
            }
        };
        let worker = loop {
            let idle = {
                let mut idle = self.idle.lock();
                let at = source
                    .and_then(|key| idle.iter().position(|w| w.recent.contains(&key)))
                    .or(idle.len().checked_sub(1));
                at.map(|at| idle.remove(at))
            };
            let Some(mut worker) = idle else {
                break Worker::start(&self.spawner).await?;
            };
            // One that died while it was idle is simply not there any more.
            if matches!(worker.child.try_wait(), Ok(None)) {
                break worker;
            }
        };
        Ok(Lease {
            lane: Arc::clone(self),
            worker: Some(worker),
            _permit: permit,
        })
    }
}

/// A place in a queue that has an end.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Result<Self, MediaError> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::AcqRel) >= queue {
            return Err(MediaError::new(
                MediaErrorCode::Busy,
                format!("every media worker is busy and {queue} requests are waiting"),
            ));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A worker in use. Dropped without having been given back, it is killed: nobody knows what it is in the middle of.
struct Lease {
    lane: Arc<Lane>,
    worker: Option<Worker>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// Has one request done. The worker goes back to its lane when it can be used again.
    async fn exchange(
        &mut self,
        request: &Request,
        files: &[RawFd],
        progress: &Progress,
    ) -> Result<(Reply, Bytes), MediaError> {
        let Some(mut worker) = self.worker.take() else {
            return Err(MediaError::new(
                MediaErrorCode::WorkerCrashed,
                "the worker was used up",
            ));
        };
        let result = worker
            .exchange(request, files, progress, self.lane.stall)
            .await;
        // After damaged data or a lack of memory a fresh process is the safer one.
        let usable = match &result {
            Ok(_) => true,
            Err(error) => !matches!(
                error.code,
                MediaErrorCode::WorkerCrashed
                    | MediaErrorCode::Stalled
                    | MediaErrorCode::CorruptMedia
                    | MediaErrorCode::EncodeFailed
            ),
        };
        if usable {
            worker.remember(request.source);
            self.worker = Some(worker);
            self.put_back();
        }
        result
    }

    fn give_back(mut self) {
        self.put_back();
    }

    fn put_back(&mut self) {
        if let Some(worker) = self.worker.take()
            && worker.jobs < self.lane.recycle_after
        {
            self.lane.idle.lock().push(worker);
        }
    }
}

/// One worker process.
struct Worker {
    child: Child,
    stream: BufReader<UnixStream>,
    jobs: u32,
    /// Sources it has open, perhaps; most recent last.
    recent: Vec<SourceKey>,
}

impl Worker {
    async fn start(spawner: &Spawner) -> Result<Self, MediaError> {
        let failed = |error: io::Error| {
            MediaError::new(
                MediaErrorCode::WorkerCrashed,
                format!("a worker cannot be started: {error}"),
            )
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let stream = UnixStream::from_std(ours).map_err(failed)?;
        let child = spawner.spawn(theirs.into()).await.map_err(failed)?;
        let mut worker = Self {
            child,
            stream: BufReader::new(stream),
            jobs: 0,
            recent: Vec::new(),
        };
        match timeout(HELLO, worker.receive()).await {
            Ok(Ok(Reply::Hello { sandbox })) => {
                tracing::debug!(pid = worker.child.id(), sandbox, "media worker ready");
                Ok(worker)
            }
            Ok(Ok(other)) => Err(unexpected(&other)),
            Ok(Err(error)) => {
                let why = worker.epitaph(&error).await;
                let detail = format!(
                    "{} does not work as a media worker: {}",
                    spawner.program, why.detail
                );
                Err(MediaError::new(MediaErrorCode::WorkerCrashed, detail))
            }
            Err(_) => Err(MediaError::new(
                MediaErrorCode::WorkerCrashed,
                format!(
                    "{} does not work as a media worker: it says nothing",
                    spawner.program
                ),
            )),
        }
    }

    async fn exchange(
        &mut self,
        request: &Request,
        files: &[RawFd],
        progress: &Progress,
        stall: Duration,
    ) -> Result<(Reply, Bytes), MediaError> {
        self.jobs += 1;
        let talk = async {
            if let Err(error) = self.send(request, files).await {
                return Err(self.epitaph(&error).await);
            }
            let mut highest = 0.0;
            loop {
                let Ok(reply) = timeout(stall, self.receive()).await else {
                    return Err(MediaError::new(
                        MediaErrorCode::Stalled,
                        format!("no progress for {} s", stall.as_secs_f64()),
                    ));
                };
                match reply {
                    Ok(Reply::Progress(share)) => {
                        if share > highest {
                            highest = share;
                            progress.report(share.min(1.0));
                        }
                    }
                    Ok(Reply::Failed(error)) => return Err(error),
                    Ok(Reply::Shot { from, until, bytes }) if bytes <= MAX_MESSAGE => {
                        let mut jpeg = vec![0; bytes];
                        let read = timeout(stall, self.stream.read_exact(&mut jpeg)).await;
                        return match read {
                            Ok(Ok(_)) => {
                                Ok((Reply::Shot { from, until, bytes }, Bytes::from(jpeg)))
                            }
                            Ok(Err(error)) => Err(self.epitaph(&error).await),
                            Err(_) => Err(MediaError::new(
                                MediaErrorCode::Stalled,
                                "half a picture, then nothing",
                            )),
                        };
                    }
                    Ok(reply) => return Ok((reply, Bytes::new())),
                    Err(error) => return Err(self.epitaph(&error).await),
                }
            }
        };
        talk.await
    }

    async fn send(&mut self, request: &Request, files: &[RawFd]) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        let mut sent = 0;
        while sent < line.len() {
            let stream = self.stream.get_ref();
            stream.writable().await?;
            let with = if sent == 0 { files } else { &[] };
            match stream.try_io(Interest::WRITABLE, || {
                wire::send(stream.as_raw_fd(), &line[sent..], with)
            }) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        let read = (&mut self.stream)
            .take(MAX_MESSAGE as u64)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// What a worker died of.
    async fn epitaph(&mut self, error: &io::Error) -> MediaError {
        use std::os::unix::process::ExitStatusExt as _;

        let status = match timeout(EXIT, self.child.wait()).await {
            Ok(Ok(status)) => status,
            _ => {
                let detail = format!("the worker stopped answering: {error}");
                return MediaError::new(MediaErrorCode::WorkerCrashed, detail);
            }
        };
        let limit = |what: &str| {
            MediaError::new(
                MediaErrorCode::ResourceLimit,
                format!("the video takes too much {what}"),
            )
        };
        match status.signal().map(nix::sys::signal::Signal::try_from) {
            Some(Ok(nix::sys::signal::Signal::SIGXCPU)) => limit("processor time"),
            Some(Ok(nix::sys::signal::Signal::SIGXFSZ)) => limit("room on disk"),
            Some(Ok(signal)) => MediaError::new(
                MediaErrorCode::WorkerCrashed,
                format!("the worker was ended by {signal}"),
            ),
            _ => MediaError::new(
                MediaErrorCode::WorkerCrashed,
                format!("the worker ended: {status}"),
            ),
        }
    }

    fn remember(&mut self, source: SourceKey) {
        self.recent.retain(|known| *known != source);
        self.recent.push(source);
        if self.recent.len() > 4 {
            self.recent.remove(0);
        }
    }
}

type Birth = (OwnedFd, oneshot::Sender<io::Result<Child>>);

/// Starts processes on a thread of its own that lives as long as the pool: the kernel ends a worker when the *thread* that
/// started it ends, and runtime threads come and go.
#[derive(Clone)]
struct Spawner {
    requests: mpsc::UnboundedSender<Birth>,
    program: Arc<str>,
}

impl Spawner {
    fn start(command: Vec<PathBuf>) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let (requests, mut births) = mpsc::unbounded_channel::<Birth>();
        let program = command
            .first()
            .map(|p| p.display().to_string())
            .unwrap_or_default();
        std::thread::Builder::new()
            .name("media-spawner".to_owned())
            .spawn(move || {
                while let Some((socket, answer)) = births.blocking_recv() {
                    let _inside = runtime.enter();
                    // A caller that has gone away drops the child, which kills it.
                    answer.send(spawn(&command, socket)).ok();
                }
            })?;
        Ok(Self {
            requests,
            program: program.into(),
        })
    }

    async fn spawn(&self, socket: OwnedFd) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts workers is gone");
        let (answer, child) = oneshot::channel();
        self.requests.send((socket, answer)).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}

fn spawn(command: &[PathBuf], socket: OwnedFd) -> io::Result<Child> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // It stays in this process group: whoever ends or pauses the group means the workers as well.
    Command::new(program)
        .args(arguments)
        .arg(std::process::id().to_string())
        .env_clear()
        .envs(
            ENVIRONMENT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}
