//! The few things FFmpeg's safe wrapper does not offer.

#![expect(
    unsafe_code,
    reason = "fields and calls that ffmpeg-next has no safe wrapper for"
)]

use ffmpeg_next as ffmpeg;

use ffmpeg::{codec, filter, frame};

/// Makes a graph that is not configured yet use the calling thread only: workers run side by side, and a graph's own
/// threads would only take turns with them.
pub(super) fn single_threaded(graph: &mut filter::Graph) {
    // SAFETY: the graph is alive and borrowed mutably, and FFmpeg reads this plain number when it is configured.
    unsafe { (*graph.as_mut_ptr()).nb_threads = 1 };
}

/// Another handle to the same picture, without copying it. `clone` of the wrapper copies every pixel.
pub(super) fn share(picture: &frame::Video) -> frame::Video {
    // SAFETY: `picture` is a live frame; the new frame counts its own reference to the buffers and is owned by the
    // value returned. Null (out of memory) becomes an empty frame.
    unsafe {
        let copy = ffmpeg::ffi::av_frame_clone(picture.as_ptr());
        if copy.is_null() {
            frame::Video::empty()
        } else {
            frame::Video::wrap(copy)
        }
    }
}

/// Width and height that the headers name, before any decoder is opened for them.
pub(super) fn picture_size(parameters: &codec::Parameters) -> (u32, u32) {
    // SAFETY: the parameters are alive while they are borrowed, and these are plain numbers.
    let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
    (width.max(0).unsigned_abs(), height.max(0).unsigned_abs())
}
