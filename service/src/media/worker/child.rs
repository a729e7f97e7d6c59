//! The worker's side: walls itself in, then does one job after the other until the parent is gone.

use std::any::Any;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Job, Reply, Request, Requests, SourceKey};
use super::{VERB, sandbox};
use crate::media::ffmpeg::frame::FrameReader;
use crate::media::ffmpeg::{self, analyse, render};
use crate::media::{MediaError, MediaErrorCode};

/// Sources that stay open for further frames.
const OPEN_SOURCES: usize = 4;

/// Progress is reported at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Runs the worker if this process was started as one. To be called first thing in `main`, before any thread or runtime
/// exists; the process shall end with the code that comes back.
#[must_use]
pub fn answer_worker_verb() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != VERB {
        return None;
    }
    let parent = arguments.next().and_then(|pid| pid.to_str()?.parse().ok());
    Some(match work(parent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn work(parent: Option<i32>) -> io::Result<()> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Refuses a standard input that is no socket, as when a person types the verb.
    socket.peer_addr()?;
    ffmpeg::init();
    let walls = sandbox::enter(parent).map_err(io::Error::other)?;
    let (sender, jobs) = mpsc::channel();
    let reading = socket.try_clone()?;
    std::thread::Builder::new()
        .name("requests".to_owned())
        .spawn(move || {
            let mut requests = Requests::new(reading.as_fd());
            while let Ok(Some(request)) = requests.next() {
                if sender.send(request).is_err() {
                    break;
                }
            }
            leave();
        })?;
    let mut worker = Worker {
        socket,
        readers: VecDeque::new(),
    };
    worker.say(&Reply::Hello {
        standing: walls.standing,
        missing: walls.missing,
    })?;
    while let Ok((request, files)) = jobs.recv() {
        worker.answer(request, files)?;
    }
    Ok(())
}

/// The parent is gone: whatever this process is doing, nobody wants it.
#[expect(
    clippy::exit,
    reason = "another thread may be deep inside a decoder and cannot be asked to return"
)]
fn leave() -> ! {
    std::process::exit(0)
}

struct Worker {
    socket: UnixStream,
    /// Most recently used last.
    readers: VecDeque<(SourceKey, FrameReader)>,
}

impl Worker {
    fn answer(&mut self, request: Request, files: Vec<File>) -> io::Result<()> {
        let seconds = match &request.job {
            Job::Probe | Job::Frame { .. } => 0.0,
            Job::Analyse { .. } => request.limits.max_duration,
            // An encoder may take a few seconds for each second of a large picture.
            Job::Render { spec, .. } => 20.0 * (spec.end - spec.start),
        };
        let long = matches!(request.job, Job::Analyse { .. } | Job::Render { .. });
        sandbox::limit(request.limits, seconds, long);
        // A panic is an error of this job; the process that had it is not used again.
        match catch_unwind(AssertUnwindSafe(|| self.run(request, files))) {
            Ok(Ok((reply, bytes))) => {
                self.say(&reply)?;
                self.socket.write_all(&bytes)
            }
            Ok(Err(error)) => self.say(&Reply::Failed(error)),
            Err(panic) => {
                let detail = format!("the worker panicked: {}", panic_text(panic.as_ref()));
                self.say(&Reply::Failed(MediaError::new(
                    MediaErrorCode::WorkerCrashed,
                    detail,
                )))?;
                Err(io::Error::other("panicked"))
            }
        }
    }

    fn run(&mut self, request: Request, files: Vec<File>) -> Result<(Reply, Vec<u8>), MediaError> {
        let limits = request.limits;
        let mut files = files.into_iter();
        let mut file = || {
            files.next().ok_or_else(|| {
                MediaError::new(
                    MediaErrorCode::WorkerCrashed,
                    "a file did not arrive with its job",
                )
            })
        };
        let source = file()?;
        let mut progress = Throttle::new(&self.socket);
        let mut report = |share| progress.report(share);
        Ok(match request.job {
            Job::Probe => (Reply::Probed(analyse::probe(source, limits)?), Vec::new()),
            Job::Analyse { select } => {
                let analysis = analyse::analyse(source, &select, limits, &mut report)?;
                (Reply::Analysed(Box::new(analysis)), Vec::new())
            }
            Job::Render { spec, threads } => {
                let (clip, poster) = (file()?, file()?);
                let rendered =
                    render::render(source, &spec, clip, poster, limits, threads, &mut report)?;
                (Reply::Rendered(rendered), Vec::new())
            }
            Job::Frame { at, width } => {
                let known = self
                    .readers
                    .iter()
                    .position(|(key, _)| *key == request.source);
                let mut reader = match known.and_then(|i| self.readers.remove(i)) {
                    Some((_, reader)) => reader,
                    None => FrameReader::open(source, limits)?,
                };
                let shot = reader.shot(at, width);
                // A reader that failed on broken data may have lost its place.
                if shot.as_ref().is_ok_and(|_| true)
                    || shot
                        .as_ref()
                        .is_err_and(|e| e.code == MediaErrorCode::OutOfRange)
                {
                    if self.readers.len() == OPEN_SOURCES {
                        self.readers.pop_front();
                    }
                    self.readers.push_back((request.source, reader));
                }
                let shot = shot?;
                let bytes = shot.jpeg.len();
                (
                    Reply::Shot {
                        from: shot.from,
                        until: shot.until,
                        bytes,
                    },
                    shot.jpeg,
                )
            }
        })
    }

    fn say(&mut self, reply: &Reply) -> io::Result<()> {
        say(&self.socket, reply)
    }
}

fn say(mut socket: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// Passes progress on, but not each packet's.
struct Throttle<'a> {
    socket: &'a UnixStream,
    last: Option<Instant>,
    highest: f64,
}

impl<'a> Throttle<'a> {
    fn new(socket: &'a UnixStream) -> Self {
        Self {
            socket,
            last: None,
            highest: 0.0,
        }
    }

    fn report(&mut self, share: f64) {
        self.highest = self.highest.max(share);
        if self
            .last
            .is_some_and(|last| last.elapsed() < PROGRESS_EVERY)
        {
            return;
        }
        self.last = Some(Instant::now());
        // A parent that does not listen any more ends this process through the other thread.
        say(self.socket, &Reply::Progress(self.highest)).ok();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
