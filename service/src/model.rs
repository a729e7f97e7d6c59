//! Words of the domain: jobs, tasks, clips, sources and their ids. Data only, always valid once parsed.

use std::fmt;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::media::{
    Analysis, AspectRatio, Highlight, MediaError, RenderSpec, Rendered, SelectOptions,
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Makes an id of this kind from a UUID.
            #[must_use]
            pub fn from_uuid(uuid: uuid::Uuid) -> Self {
                Self(format!(concat!($prefix, "_{}"), uuid.simple()))
            }

            /// Takes text that names one; `None` unless it has the prefix and is made of letters, digits, `-` and `_`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let rest = text.strip_prefix(concat!($prefix, "_"))?;
                let valid = !rest.is_empty()
                    && rest.len() <= 64
                    && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                valid.then(|| Self(text.to_owned()))
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A job: one video to be clipped.
    JobId, "job"
);
id!(
    /// A task: one piece of a job, done by one processor.
    TaskId, "task"
);
id!(
    /// A finished clip.
    ClipId, "clip"
);
id!(
    /// An uploaded source video.
    VideoId, "video"
);

/// An uploaded source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// Its id.
    pub id: VideoId,
    /// Where its bytes are, as a blob key.
    pub blob: String,
    /// The client's file name: data, never a path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// What a client wants of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipSpec {
    /// The source.
    pub video: VideoId,
    /// Which clips.
    pub select: SelectOptions,
    /// Framing.
    pub aspect_ratio: AspectRatio,
    /// Tallest output, pixels; `None` keeps the source's.
    pub max_height: Option<u32>,
    /// Echoed back.
    #[serde(default)]
    pub metadata: IndexMap<String, String>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// Accepted, nothing started.
    Queued,
    /// At least one task was started.
    Running,
    /// Every task is done.
    Completed,
    /// A task failed for good.
    Failed,
}

impl JobStatus {
    /// Whether it can never change again.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A job as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What was asked.
    pub spec: ClipSpec,
    /// Where it stands.
    pub status: JobStatus,
    /// 0 to 1, never falling.
    pub progress: f64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When the first task started.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<MediaError>,
    /// From the analysing task, once it is done.
    pub warnings: Vec<String>,
}

/// What a task does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Decode once, choose highlights.
    Analyse {
        /// Which clips are wanted.
        select: SelectOptions,
    },
    /// Cut and encode one clip.
    Render {
        /// The clip it makes.
        clip: ClipId,
        /// Position among the job's clips, 0 is the best.
        rank: u32,
        /// Why this stretch.
        highlight: Highlight,
        /// What to encode.
        spec: RenderSpec,
    },
}

/// A task as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// The job it belongs to.
    pub job: JobId,
    /// Blob key of the source.
    pub source: String,
    /// What to do.
    pub kind: TaskKind,
    /// Times it was leased. Each lease has a new epoch; only the current epoch may finish the task.
    pub epoch: u32,
}

/// What a processor returns for a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskResult {
    /// Of [`TaskKind::Analyse`].
    Analysed(Box<Analysis>),
    /// Of [`TaskKind::Render`].
    Rendered {
        /// What came out.
        rendered: Rendered,
        /// Blob key of the mp4.
        clip_blob: String,
        /// Blob key of the JPEG.
        poster_blob: String,
        /// SHA-256 of the mp4, lower-case hex.
        sha256: String,
    },
}

/// A finished clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Its id.
    pub id: ClipId,
    /// The job that made it.
    pub job: JobId,
    /// 0 is the best of the job.
    pub rank: u32,
    /// Where in the source, and why.
    pub highlight: Highlight,
    /// What was encoded.
    pub rendered: Rendered,
    /// Blob key of the mp4.
    pub clip_blob: String,
    /// Blob key of the poster.
    pub poster_blob: String,
    /// SHA-256 of the mp4, lower-case hex; the strong ETag.
    pub sha256: String,
    /// When it was finished.
    pub created_at: Timestamp,
}
