//! What a processor says while it works on a task: one JSON object per line of its answer's body.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::media::MediaError;
use crate::model::TaskResult;

/// One line. `result` and `error` are the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEvent {
    /// Share of the work done; sent at least once a second as a sign of life.
    Progress(f64),
    /// The work is done.
    Result(TaskResult),
    /// The work failed.
    Error(MediaError),
}

impl TaskEvent {
    /// As a line.
    #[must_use]
    pub fn line(&self) -> Bytes {
        // Enums of plain data: this cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line.into()
    }
}

/// An analysis of hours of video with a cut every second stays far below this.
const LONGEST_LINE: usize = 16 << 20;

/// Puts lines back together from the pieces a body comes in.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: BytesMut,
}

impl Lines {
    /// Takes the next piece; gives the lines it completed.
    ///
    /// # Errors
    /// A line is too long or is not a [`TaskEvent`].
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<TaskEvent>, String> {
        self.buffer.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut searched = self.buffer.len() - piece.len();
        while let Some(end) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
            let line = self.buffer.split_to(searched + end + 1);
            searched = 0;
            let event = serde_json::from_slice(&line)
                .map_err(|e| format!("a processor sent a line that is no task event: {e}"))?;
            events.push(event);
        }
        if self.buffer.len() > LONGEST_LINE {
            return Err("a processor sent a line without end".to_owned());
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaErrorCode;
    use proptest::prelude::*;

    #[test]
    fn lines_look_as_documented() {
        assert_eq!(
            &TaskEvent::Progress(0.25).line()[..],
            b"{\"progress\":0.25}\n"
        );
        let error = TaskEvent::Error(MediaError::new(MediaErrorCode::NoVideoStream, "no video"));
        let line = String::from_utf8(error.line().to_vec()).unwrap();
        assert_eq!(
            line,
            "{\"error\":{\"code\":\"no_video_stream\",\"detail\":\"no video\"}}\n"
        );
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Lines::default().push(b"hello\n").is_err());
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; LONGEST_LINE]).unwrap().is_empty());
        assert!(lines.push(b"x").is_err());
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(shares in prop::collection::vec(0_u8..=100, 0..20), cut in 1_usize..40) {
            let events: Vec<_> = shares.iter().map(|s| TaskEvent::Progress(f64::from(*s) / 4.0)).collect();
            let bytes: Vec<u8> = events.iter().flat_map(|e| e.line().to_vec()).collect();
            let mut lines = Lines::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(cut) {
                read.extend(lines.push(piece).unwrap());
            }
            prop_assert_eq!(read, events);
        }
    }
}
