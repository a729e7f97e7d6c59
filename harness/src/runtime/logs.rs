//! What nodes write to their logs: every line into a file of the run, and lines of weight on to the watchers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::emit::Emitter;
use crate::event::EventKind;

/// Lines of weight handed on per node and second; the file has them all.
const PER_SECOND: u32 = 5;
/// Longest line handed on.
const LONGEST: usize = 1000;
/// Lines kept for the case that the node ends by itself.
const KEPT: usize = 5;

/// The log of one node.
#[derive(Debug)]
pub(crate) struct NodeLog {
    node: String,
    file: Option<File>,
    emitter: Emitter,
    limit: Limit,
    last: VecDeque<String>,
}

impl NodeLog {
    /// Opens the node's file in `directory`, appending when it was there before.
    pub(crate) fn open(node: &str, directory: &Path, emitter: Emitter) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(directory.join(format!("{node}.log")))?;
        Ok(Self {
            node: node.to_owned(),
            file: Some(file),
            emitter,
            limit: Limit::default(),
            last: VecDeque::new(),
        })
    }

    /// Takes one line: its bytes as they are into the file, its text on to the watchers.
    pub(crate) fn line(&mut self, raw: &[u8]) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&[raw, b"\n"].concat())
        {
            self.file = None;
            self.emitter.warn(format!(
                "the log of {} cannot be written: {error}",
                self.node
            ));
        }
        let line = String::from_utf8_lossy(raw);
        let line = line.trim_end();
        if !line.is_empty() {
            if self.last.len() == KEPT {
                self.last.pop_front();
            }
            self.last.push_back(cut(line));
        }
        if !weighty(line) {
            return;
        }
        match self.limit.admit(Instant::now()) {
            Admit::No => {}
            Admit::Yes { suppressed } => {
                if suppressed > 0 {
                    self.forward(format!("{suppressed} more lines are in the log file"));
                }
                self.forward(readable(&cut(line)));
            }
        }
    }

    /// What the node said last, for people: some lines, the latest at the end.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.last.iter().map(|line| readable(line)).collect()
    }

    fn forward(&self, line: String) {
        self.emitter.event(EventKind::NodeLog {
            node: self.node.clone(),
            line,
        });
    }
}

fn cut(line: &str) -> String {
    line.chars().take(LONGEST).collect()
}

/// A JSON log line as a person reads it: `WARN task lost (task task_1, epoch 2)`. Other lines as they are.
fn readable(line: &str) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let (Some(level), Some(message)) =
        (fields.shift_remove("level"), fields.shift_remove("message"))
    else {
        return line.to_owned();
    };
    let details: Vec<String> = fields
        .into_iter()
        .filter(|(name, _)| !["timestamp", "target", "span", "spans"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name} {}", text(value)))
        .collect();
    let head = format!("{} {}", text(level), text(message));
    if details.is_empty() {
        head
    } else {
        format!("{head} ({})", details.join(", "))
    }
}

/// Whether a line is of level WARN or above. JSON lines say so; other programs' lines are judged by their words.
fn weighty(line: &str) -> bool {
    if line.starts_with('{')
        && let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line)
        && let Some(level) = fields.get("level").and_then(|level| level.as_str())
    {
        return level.eq_ignore_ascii_case("warn")
            || level.eq_ignore_ascii_case("warning")
            || level.eq_ignore_ascii_case("error");
    }
    ["WARN", "ERROR", "FATAL", "panicked at"]
        .iter()
        .any(|word| line.contains(word))
}

#[derive(Debug, Default)]
struct Limit {
    second: Option<Instant>,
    used: u32,
    suppressed: u64,
}

enum Admit {
    Yes { suppressed: u64 },
    No,
}

impl Limit {
    fn admit(&mut self, now: Instant) -> Admit {
        if self
            .second
            .is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1))
        {
            self.second = Some(now);
            self.used = 0;
        }
        if self.used >= PER_SECOND {
            self.suppressed += 1;
            return Admit::No;
        }
        self.used += 1;
        Admit::Yes {
            suppressed: std::mem::take(&mut self.suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::emit::Message;

    #[test]
    fn weight_is_read_from_json_and_from_words() {
        assert!(weighty(r#"{"level":"WARN","fields":{"message":"x"}}"#));
        assert!(!weighty(
            r#"{"level":"INFO","fields":{"message":"an ERROR in a message"}}"#
        ));
        assert!(weighty("thread 'main' panicked at src/main.rs:1:1"));
        assert!(!weighty("listening"));
    }

    #[test]
    fn json_lines_are_put_into_words_and_others_left_alone() {
        let line = r#"{"timestamp":"2026","level":"WARN","message":"task lost","task":"task_1","epoch":2,"target":"x"}"#;
        assert_eq!(readable(line), "WARN task lost (task task_1, epoch 2)");
        assert_eq!(readable(r#"{"level":"ERROR","message":"m"}"#), "ERROR m");
        assert_eq!(readable(r#"{"other":1}"#), r#"{"other":1}"#);
        assert_eq!(readable("plain words"), "plain words");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_limited_and_counted_and_the_file_has_it_all() {
        let dir = tempfile::tempdir().expect("dir");
        let (emitter, mut rx) = Emitter::new();
        let mut log = NodeLog::open("gateway-1", dir.path(), emitter).expect("open");
        for i in 0..100 {
            log.line(format!("WARN {i}").as_bytes());
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        log.line(b"WARN last \xff\x1b[31m");
        let mut lines = Vec::new();
        while let Ok(Message::Event(event)) = rx.try_recv() {
            if let EventKind::NodeLog { line, .. } = event.kind {
                lines.push(line);
            }
        }
        assert_eq!(
            lines,
            [
                "WARN 0",
                "WARN 1",
                "WARN 2",
                "WARN 3",
                "WARN 4",
                "95 more lines are in the log file",
                "WARN last \u{fffd}\u{1b}[31m"
            ]
        );
        let file = std::fs::read(dir.path().join("gateway-1.log")).expect("file");
        assert_eq!(file.iter().filter(|byte| **byte == b'\n').count(), 101);
        assert!(
            file.ends_with(b"WARN last \xff\x1b[31m\n"),
            "bytes as they came"
        );
    }
}
