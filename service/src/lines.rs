//! Lines for a pipe that somebody may have stopped reading: written by a thread of their own, dropped and counted when they
//! come faster than they are read.
//!
//! A write to a full pipe waits for its reader. Whoever serves requests must not wait for a log, so nobody does. Not for files,
//! and not for output that must arrive.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes that wait for the reader.
const WAITING: usize = 4 << 20;
/// What a line costs beside its bytes.
const OVERHEAD: usize = 64;

enum Message {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Where lines go. Cheap to clone; clones share the thread.
#[derive(Clone)]
pub struct Lines {
    queue: Sender<Message>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

impl Lines {
    /// Writes lines to `out` by a thread called `name`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn to(name: &str, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, waiting) = channel();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write(&waiting, out, &shared))?;
        Ok(Self { queue, counts })
    }

    /// Hands on a line, its line break included. Never waits; a line that finds no room is dropped.
    pub fn send(&self, line: Vec<u8>) {
        let cost = line.len() + OVERHEAD;
        let before = self.counts.waiting.fetch_add(cost, Relaxed);
        if before + cost > WAITING || self.queue.send(Message::Line(line)).is_err() {
            self.counts.waiting.fetch_sub(cost, Relaxed);
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines that were not written: there was no room, or nobody reads any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }

    /// Waits until everything is written, at most for `limit`; whether it is. Blocks: for the end of a program.
    pub fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.queue.send(Message::Flush(done)).is_ok() && wait.recv_timeout(limit).is_ok()
    }
}

fn write(waiting: &Receiver<Message>, mut out: impl Write, counts: &Counts) {
    for message in waiting {
        match message {
            Message::Line(line) => {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    counts.dropped.fetch_add(1, Relaxed); // a closed pipe stops nobody
                }
                counts.waiting.fetch_sub(line.len() + OVERHEAD, Relaxed);
            }
            Message::Flush(done) => {
                done.send(()).ok(); // who asked may have given up
            }
        }
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log writes each of its lines at once.
impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;

    /// A pipe whose reader takes a line whenever it is told to.
    struct Pipe {
        taken: Arc<Mutex<Vec<u8>>>,
        reader: mpsc::Receiver<()>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The reader has gone: take everything, as after it came back.
            self.reader.recv().ok();
            self.taken.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let taken = Arc::default();
        let (read, reader) = mpsc::channel();
        let pipe = Pipe {
            taken: Arc::clone(&taken),
            reader,
        };
        let lines = Lines::to("test", pipe).expect("a thread");
        let line = |number: usize| format!("{number:>999}\n").into_bytes();
        let sent = 2 * WAITING / 1000;
        for number in 0..sent {
            lines.send(line(number));
        }
        let kept = sent - usize::try_from(lines.dropped()).expect("few");
        assert!((WAITING / 2000..=WAITING / 1000).contains(&kept), "{kept}");
        assert!(!Lines::flush(&lines, Duration::from_millis(10)));

        drop(read);
        assert!(Lines::flush(&lines, Duration::from_secs(60)));
        let expected: Vec<u8> = (0..kept).flat_map(line).collect();
        assert!(*taken.lock() == expected, "the first ones, in order");
        lines.send(b"room again\n".to_vec());
        assert!(Lines::flush(&lines, Duration::from_secs(60)));
        assert!(taken.lock().ends_with(b"room again\n"));
    }

    #[test]
    fn a_closed_pipe_is_counted() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::to("test", Closed).expect("a thread");
        lines.send(b"a\n".to_vec());
        assert!(Lines::flush(&lines, Duration::from_secs(60)));
        assert_eq!(lines.dropped(), 1);
    }
}
