//! The text a scenario was read from, and places in it.

use std::io::Read as _;
use std::ops::Range;
use std::path::Path;

/// Larger files are not scenarios.
const LARGEST_BYTES: u64 = 1024 * 1024;

/// A scenario's text with the name people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// File name as given, or a name for text that comes from elsewhere.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A stretch of a source, in bytes. Empty when the place is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From a byte range.
    #[must_use]
    pub fn new(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

impl Source {
    /// Text that comes from elsewhere than a file.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One sentence for people when it cannot be read as text of a reasonable size, and what to do about it.
    pub fn read(path: &Path) -> Result<Self, (String, Option<&'static str>)> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| (format!("cannot read {name}: {error}"), None);
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err((
                format!("{name} is a folder"),
                Some("name a scenario file in it"),
            ));
        }
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that grows, or a device, from one that fits.
        file.take(LARGEST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > LARGEST_BYTES {
            return Err((
                format!("{name} is larger than 1 MiB"),
                Some("a scenario is a few kilobytes of YAML"),
            ));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            (
                format!("{name} is not UTF-8 text: byte {at} begins no character"),
                Some("save it as UTF-8"),
            )
        })?;
        // A byte order mark would count as part of the first key.
        let text = text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text);
        Ok(Self { name, text })
    }

    /// Line and column of a byte, both from 1, columns in characters.
    #[must_use]
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let byte = self.floor(byte);
        let before = &self.text[..byte];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// The line a byte is in, without its end, and where it starts.
    #[must_use]
    pub fn line(&self, byte: usize) -> (&str, usize) {
        let byte = self.floor(byte);
        let start = self.text[..byte]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        (self.text[start..end].trim_end_matches('\r'), start)
    }

    /// The text of a span; empty when it does not lie in this source.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The nearest character boundary at or before a byte.
    fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }
}
