//! Media work done in this very process with FFmpeg. Only worker processes and the fixture generator come here: a
//! decoder fed with a stranger's file can crash or grow without bound, and must not do so inside a server.
//!
//! Everything takes open files, never paths: a worker has no access to any file system. All times are presentation
//! times in seconds from the start of the container; nothing counts frames, so a variable frame rate is no special case.

pub(crate) mod analyse;
pub(crate) mod audio;
pub(crate) mod frame;
pub(crate) mod graph;
pub(crate) mod mp4;
pub(crate) mod render;
pub(crate) mod source;

mod raw;

use std::sync::Once;

use ffmpeg_next as ffmpeg;
use nix::errno::Errno;

use crate::media::{MediaError, MediaErrorCode};

/// Receives the share of the work done; an error stops the work.
pub(crate) type Report<'a> = &'a mut dyn FnMut(f64);

/// Prepares the FFmpeg libraries of this process, once: quiet, because their words about a broken file would end up on
/// the service's own standard error.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Registers nothing since FFmpeg 4 and cannot fail there.
        ffmpeg::init().ok();
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    });
}

/// An error of the encoding side.
pub(crate) fn encode_failed(what: &str) -> impl Fn(ffmpeg::Error) -> MediaError + '_ {
    move |error| {
        let code = match error {
            ffmpeg::Error::Other { errno }
                if matches!(Errno::from_raw(errno), Errno::ENOSPC | Errno::EDQUOT) =>
            {
                MediaErrorCode::Shortage
            }
            // Memory that a worker lacks is what this video takes too much of.
            _ => MediaErrorCode::EncodeFailed,
        };
        MediaError::new(code, format!("{what}: {error}"))
    }
}

/// Whether a call only asks for more input, or is at its end.
pub(crate) fn is_dry(error: ffmpeg::Error) -> bool {
    matches!(
        error,
        ffmpeg::Error::Eof
            | ffmpeg::Error::Other {
                errno: ffmpeg::error::EAGAIN
            }
    )
}
