//! One worker process as its parent sees it: started, spoken to, and read the cause of death of.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::wire::{self, MAX_MESSAGE, Reply, Request, SourceKey};
use crate::media::{MediaError, MediaErrorCode, Progress};

/// A new worker says hello within this time.
const HELLO: Duration = Duration::from_secs(10);

/// A dead worker's exit status is known within this time.
const EXIT: Duration = Duration::from_secs(1);

/// Environment a worker gets: only what the loader may need to find FFmpeg's libraries.
const ENVIRONMENT: [&str; 2] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// One worker process.
pub(super) struct Worker {
    child: Child,
    stream: BufReader<UnixStream>,
    jobs: u32,
    /// Sources it has open, perhaps; most recent last.
    recent: Vec<SourceKey>,
}

impl Worker {
    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Jobs it was given.
    pub(super) fn jobs(&self) -> u32 {
        self.jobs
    }

    /// Whether it has `source` open, perhaps.
    pub(super) fn knows(&self, source: SourceKey) -> bool {
        self.recent.contains(&source)
    }

    pub(super) async fn start(spawner: &Spawner) -> Result<Self, MediaError> {
        let failed = |error: io::Error| {
            MediaError::new(
                MediaErrorCode::WorkerCrashed.unless_short(&error),
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
            Ok(Ok(Reply::Hello { standing, missing })) => {
                let standing = standing.join(" ");
                tracing::debug!(pid = worker.child.id(), standing, "media worker ready");
                spawner.tell_missing(&missing);
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

    pub(super) async fn exchange(
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

    pub(super) fn remember(&mut self, source: SourceKey) {
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
pub(super) struct Spawner {
    requests: mpsc::UnboundedSender<Birth>,
    program: Arc<str>,
    /// Whether it was said what the kernel does not give: once is enough, workers are many.
    told: Arc<AtomicBool>,
}

impl Spawner {
    pub(super) fn start(command: Vec<PathBuf>) -> io::Result<Self> {
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
            told: Arc::default(),
        })
    }

    /// Says once which walls workers have to do without.
    fn tell_missing(&self, missing: &[String]) {
        if !missing.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            let missing = missing.join(" ");
            tracing::warn!(
                missing,
                "this kernel does not give media workers all of their walls"
            );
        }
    }

    pub(super) async fn spawn(&self, socket: OwnedFd) -> io::Result<Child> {
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

/// An answer that does not fit the question.
pub(super) fn unexpected(reply: &Reply) -> MediaError {
    MediaError::new(
        MediaErrorCode::WorkerCrashed,
        format!("the worker answered something else: {reply:?}"),
    )
}
