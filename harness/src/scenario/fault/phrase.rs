//! How reports, charts and messages speak of a fault. Each kind says it once, in its own file.

use std::time::Duration;

/// What a fault is aimed at, as text.
#[derive(Debug, Clone, Copy)]
pub struct Aimed<'a> {
    /// Names, joined for a reader.
    pub names: &'a str,
    /// Whether there are several.
    pub several: bool,
}

impl Aimed<'_> {
    /// `was`, or `were` for several.
    #[must_use]
    pub fn were(&self) -> &'static str {
        if self.several { "were" } else { "was" }
    }

    /// The names as links in prose: `the link a→b`, `the links a→b and a→c`.
    #[must_use]
    pub fn links(&self) -> String {
        let noun = if self.several { "links" } else { "link" };
        format!("the {noun} {}", self.names.replace("->", "→"))
    }
}

/// What is said of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// A note, as in charts, tables and progress lines: `kill processor-2`, `+400 ms on gateway-1->processor-1`.
    pub note: String,
    /// A clause, as in the sentence that sums up a run: `processor-2 was killed`.
    pub clause: String,
}

impl Phrase {
    /// `word names` as the note, `names were done` as the clause.
    #[must_use]
    pub(super) fn plain(word: &str, done: &str, aimed: Aimed<'_>) -> Self {
        Self {
            note: format!("{word} {}", aimed.names),
            clause: format!("{} {} {done}", aimed.names, aimed.were()),
        }
    }
}

/// A share in percent: `50 %`, `0.1 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", (share * 1e4).round() / 100.0)
}

/// A length of time with its unit apart: `400 ms`, `1.5 s`, `2 min`.
#[must_use]
pub fn length(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 if !time.is_zero() => format!("{} us", time.as_micros()),
        0..1000 => format!("{ms} ms"),
        1000..120_000 => {
            let seconds = (time.as_secs_f64() * 10.0).round() / 10.0;
            format!("{seconds} s")
        }
        _ if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ => {
            let seconds = time.as_secs();
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}
