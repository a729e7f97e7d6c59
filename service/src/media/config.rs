//! Settings of the media engine: how many workers, and what they may use up.

use serde::{Deserialize, Serialize};

use crate::units::HumanDuration;

/// Settings of the media engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// Worker processes for analysis and rendering.
    pub workers: usize,
    /// Worker processes for probes and single frames.
    pub frame_workers: usize,
    /// Requests for probes and frames that may wait for a worker; one more is refused as busy.
    pub frame_queue: usize,
    /// Longest wait of a probe or frame for a worker; the caller is then told that all are busy. As long as a gateway waits
    /// for a read (`timeouts.read_try`): nobody is there for what comes later.
    pub frame_wait: HumanDuration,
    /// A frame that is not there after this long is given up, and its worker replaced: it is stopped, or hangs in a decoder.
    /// A probe that takes longer leaves its turn to others. Frames take milliseconds.
    pub frame_stall: HumanDuration,
    /// Analyses and renders that may wait for a worker; one more is refused as busy.
    pub queue: usize,
    /// Program and arguments of a worker. Default: this executable with its hidden verb.
    pub worker_command: Option<Vec<String>>,
    /// A worker process is replaced after this many jobs.
    pub recycle_after: u32,
    /// A job is given up when its worker reports no progress for this long.
    pub stall: HumanDuration,
    /// Largest picture, in pixels.
    pub max_pixels: u64,
    /// Longest video.
    pub max_duration: HumanDuration,
    /// Largest source file, in bytes.
    pub max_bytes: u64,
    /// Address space of one worker process, in MiB.
    pub memory_mb: u64,
    /// Memory for JPEGs of frames already made, in MiB; 0 turns the cache off.
    pub frame_cache_mb: u64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            frame_workers: 1,
            frame_queue: 256,
            frame_wait: HumanDuration::millis(250),
            frame_stall: HumanDuration::secs(2),
            queue: 64,
            worker_command: None,
            recycle_after: 1000,
            stall: HumanDuration::secs(30),
            max_pixels: 3840 * 2160,
            max_duration: HumanDuration::secs(6 * 3600),
            max_bytes: 4 << 30,
            memory_mb: 2048,
            frame_cache_mb: 64,
        }
    }
}

impl MediaConfig {
    /// What one job may use up.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_pixels: self.max_pixels,
            max_duration: self.max_duration.get().as_secs_f64(),
            max_bytes: self.max_bytes,
            memory_mb: self.memory_mb,
        }
    }
}

/// What one job may use up. Travels to the worker with each job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) max_pixels: u64,
    /// Seconds.
    pub(crate) max_duration: f64,
    pub(crate) max_bytes: u64,
    pub(crate) memory_mb: u64,
}
