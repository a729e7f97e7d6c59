//! What a process prints: notices and log lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clip_service::observe::Notice;
use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::program::Listens;
use crate::event::EventKind;
use crate::runtime::emit::Emitter;
use crate::runtime::logs::NodeLog;

/// Longest line of a child's output that is kept in one piece.
const LINE_LIMIT: usize = 64 * 1024;
/// A process that escaped may hold the pipe open; its lines are not waited for.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);

/// The output of one incarnation: its log, and the tasks that read both its streams.
#[derive(Debug)]
pub(super) struct Output {
    log: Arc<Mutex<NodeLog>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    /// Reads stdout for notices, and what is no notice there as well as stderr into the log. `address` receives where the
    /// node says that it listens.
    pub(super) fn follow(
        child: &mut Child,
        log: NodeLog,
        listens: Listens,
        address: Arc<watch::Sender<Option<SocketAddr>>>,
        emitter: Emitter,
    ) -> Self {
        let log = Arc::new(Mutex::new(log));
        let mut readers = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            readers.push(tokio::spawn(each_line(stderr, move |line| {
                log.lock().line(line);
            })));
        }
        if let Some(stdout) = child.stdout.take() {
            let log = log.clone();
            readers.push(tokio::spawn(each_line(stdout, move |line| {
                match serde_json::from_slice(line) {
                    Ok(Notice::Listening { address: said, .. }) if listens == Listens::ByNotice => {
                        match said.parse() {
                            Ok(parsed) => {
                                address.send_replace(Some(parsed));
                            }
                            Err(_) => emitter.warn(format!("not an address: {said}")),
                        }
                    }
                    Ok(Notice::Transition(transition)) => {
                        emitter.event(EventKind::Transition(transition));
                    }
                    // Other programs may print what they like.
                    Ok(Notice::Listening { .. }) | Err(_) => log.lock().line(line),
                }
            })));
        }
        Self { log, readers }
    }

    /// Waits for the ends of the streams; the last lines of the log.
    pub(super) async fn end(self) -> Vec<String> {
        for reader in self.readers {
            drop(tokio::time::timeout(LAST_LINES_WITHIN, reader).await);
        }
        self.log.lock().last_lines()
    }
}

/// Calls `take` with each line until the stream ends. Lines too long are cut into pieces.
async fn each_line(stream: impl AsyncRead + Unpin, mut take: impl FnMut(&[u8])) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let (used, complete) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(buffer) => {
                let end = buffer.iter().position(|byte| *byte == b'\n');
                let until = end.unwrap_or(buffer.len());
                line.extend_from_slice(&buffer[..until]);
                (until + usize::from(end.is_some()), end.is_some())
            }
        };
        reader.consume(used);
        if complete || line.len() > LINE_LIMIT {
            take(&line);
            line.clear();
        }
    }
    if !line.is_empty() {
        take(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_in_pieces() {
        let mut text = b"one\ntwo\n".to_vec();
        text.extend(vec![b'x'; LINE_LIMIT * 2]);
        text.extend(b"\nlast");
        let mut lines = Vec::new();
        each_line(text.as_slice(), |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })
        .await;
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines.last().map(String::as_str), Some("last"));
        let xs: usize = lines[2..lines.len() - 1].iter().map(String::len).sum();
        assert_eq!(xs, LINE_LIMIT * 2);
    }
}
