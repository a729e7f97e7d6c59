//! What happens to a video: probe, one analysing decode pass, highlight selection, rendering, single frames.
//!
//! This module defines the contract ([`MediaEngine`]) and its words. The real engine runs FFmpeg inside sandboxed
//! worker child processes, so that a decoder crash or a decompression bomb costs one task and never an instance; a
//! modelled engine stands in for it in simulations. Nothing here knows of HTTP, jobs or nodes.

mod boundary;
mod config;
#[cfg(test)]
mod evaluate;
mod explain;
mod ffmpeg;
mod loudness;
pub mod model;
mod problem;
mod select;
mod signals;
pub mod synth;
pub mod worker;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::shortage::is_shortage;

pub use config::MediaConfig;
pub use problem::media_code;

/// What a file is, from its headers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Probe {
    /// Seconds.
    pub duration: f64,
    /// Pixels, after rotation and pixel aspect are applied.
    pub width: u32,
    /// Pixels, after rotation and pixel aspect are applied.
    pub height: u32,
    /// Average frames per second.
    pub fps: f64,
    /// Name of the video codec (`h264`).
    pub video_codec: String,
    /// Name of the audio codec, if there is an audio stream.
    pub audio_codec: Option<String>,
    /// Container format (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub container: String,
    /// Bytes.
    pub size: u64,
}

/// What clips are wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectOptions {
    /// Shortest clip, seconds.
    pub min_length: f64,
    /// Longest clip, seconds.
    pub max_length: f64,
    /// At most this many clips.
    pub max_clips: usize,
}

impl Default for SelectOptions {
    fn default() -> Self {
        Self {
            min_length: 15.0,
            max_length: 60.0,
            max_clips: 10,
        }
    }
}

/// One part of a highlight score: `points = 100 * value * weight`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Component {
    /// `energy`, `hook`, `peak`, `complete`, `contrast`, `boundary`, `technical`.
    pub name: String,
    /// 0 to 1.
    pub value: f64,
    /// Share of the score.
    pub weight: f64,
    /// Points it gave.
    pub points: f64,
}

/// A stretch of the source worth showing, with the reasons for it. The points of its components sum to its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Highlight {
    /// Seconds from the start of the source.
    pub start: f64,
    /// Seconds from the start of the source.
    pub end: f64,
    /// 0 to 100.
    pub score: f64,
    /// How the score came about.
    pub components: Vec<Component>,
    /// Sentences a person understands.
    pub reasons: Vec<String>,
    /// Why it starts here (`shot cut`, `silence edge`, `file start`, `grid`).
    pub start_boundary: String,
    /// Why it ends here.
    pub end_boundary: String,
}

/// Result of the analysing pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The source.
    pub probe: Probe,
    /// Picks, best first.
    pub highlights: Vec<Highlight>,
    /// Times of shot cuts, seconds.
    pub cuts: Vec<f64>,
    /// Name and version of the method (`heuristic-v1`).
    pub algorithm: String,
    /// Things a person should know (`no audio track: motion and cuts only`).
    pub warnings: Vec<String>,
}

/// How a clip is framed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum AspectRatio {
    /// Upright, centre crop.
    #[default]
    #[serde(rename = "9:16")]
    Portrait,
    /// Square, centre crop.
    #[serde(rename = "1:1")]
    Square,
    /// Wide.
    #[serde(rename = "16:9")]
    Landscape,
    /// As the source is.
    #[serde(rename = "source")]
    Source,
}

/// What to render.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenderSpec {
    /// Seconds from the start of the source; the cut is exact to the frame.
    pub start: f64,
    /// Seconds from the start of the source.
    pub end: f64,
    /// Framing.
    pub aspect_ratio: AspectRatio,
    /// Longest allowed output height in pixels; never scales up. `None` keeps the source's.
    pub max_height: Option<u32>,
}

/// What was rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendered {
    /// Seconds.
    pub duration: f64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes.
    pub size: u64,
}

/// Why media work failed. `code` values are part of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{detail}")]
pub struct MediaError {
    /// Which kind.
    pub code: MediaErrorCode,
    /// One line for a person, without a trailing dot.
    pub detail: String,
}

impl MediaError {
    /// An error of `code` with a one-line explanation.
    pub fn new(code: MediaErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// Kinds of media failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaErrorCode {
    /// The source file is not there.
    SourceUnavailable,
    /// Not a video file at all.
    NotAVideo,
    /// A media file without a video stream.
    NoVideoStream,
    /// Damaged beyond use, or shorter than its headers say.
    CorruptMedia,
    /// Longer, larger or wider than the limits allow.
    ResourceLimit,
    /// No progress for too long.
    Stalled,
    /// The worker process died.
    WorkerCrashed,
    /// The encoder or the output file failed.
    EncodeFailed,
    /// The time asked for lies outside the video.
    OutOfRange,
    /// Cancelled by the caller.
    Cancelled,
    /// Every worker is busy.
    Busy,
    /// The machine has run out of something for now: file descriptors, memory, room on disk.
    Shortage,
}

impl MediaErrorCode {
    /// `self`, unless `error` says that the machine has run out of something.
    #[must_use]
    pub fn unless_short(self, error: &io::Error) -> Self {
        if is_shortage(error) {
            Self::Shortage
        } else {
            self
        }
    }

    /// Whether the same task may succeed on another worker or instance.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::Stalled
                | Self::WorkerCrashed
                | Self::Busy
                | Self::Shortage
                | Self::SourceUnavailable
        )
    }
}

/// Receives the share of the work done, 0 to 1, never falling.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(f64) + Send + Sync>);

impl Progress {
    /// Calls `report` with each new share.
    pub fn new(report: impl Fn(f64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    /// Reports to nobody.
    #[must_use]
    pub fn ignored() -> Self {
        Self::new(|_| {})
    }

    /// Reports `share` of the work as done.
    pub fn report(&self, share: f64) {
        (self.0)(share);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// Does media work on local files. Dropping a returned future cancels the work.
pub trait MediaEngine: Send + Sync + 'static {
    /// Reads the headers.
    fn probe<'a>(&'a self, source: &'a Path) -> BoxFuture<'a, Result<Probe, MediaError>>;

    /// One decode pass, then highlight selection.
    fn analyse<'a>(
        &'a self,
        source: &'a Path,
        options: &'a SelectOptions,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Analysis, MediaError>>;

    /// Writes the clip to `clip` (H.264/AAC mp4, faststart) and its poster to `poster` (JPEG).
    fn render<'a>(
        &'a self,
        source: &'a Path,
        spec: &'a RenderSpec,
        clip: &'a Path,
        poster: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Rendered, MediaError>>;

    /// JPEG of the frame shown at `at` seconds, at most `width` pixels wide.
    fn frame<'a>(
        &'a self,
        source: &'a Path,
        at: f64,
        width: u32,
    ) -> BoxFuture<'a, Result<Bytes, MediaError>>;

    /// What [`frame`](Self::frame) would answer, if that is known without work.
    fn cached_frame(&self, source: &Path, at: f64, width: u32) -> Option<Bytes> {
        let _ = (source, at, width); // an engine without a cache knows nothing
        None
    }
}

/// An engine for nodes that do no media work: refuses everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoMedia;

impl NoMedia {
    fn refuse<T: Send + 'static>() -> BoxFuture<'static, Result<T, MediaError>> {
        Box::pin(async {
            Err(MediaError::new(
                MediaErrorCode::Busy,
                "this node does no media work",
            ))
        })
    }
}

impl MediaEngine for NoMedia {
    fn probe<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Probe, MediaError>> {
        Self::refuse()
    }

    fn analyse<'a>(
        &'a self,
        _: &'a Path,
        _: &'a SelectOptions,
        _: Progress,
    ) -> BoxFuture<'a, Result<Analysis, MediaError>> {
        Self::refuse()
    }

    fn render<'a>(
        &'a self,
        _: &'a Path,
        _: &'a RenderSpec,
        _: &'a Path,
        _: &'a Path,
        _: Progress,
    ) -> BoxFuture<'a, Result<Rendered, MediaError>> {
        Self::refuse()
    }

    fn frame<'a>(
        &'a self,
        _: &'a Path,
        _: f64,
        _: u32,
    ) -> BoxFuture<'a, Result<Bytes, MediaError>> {
        Self::refuse()
    }
}
