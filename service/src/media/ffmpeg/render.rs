//! Cuts a stretch out of a source, exact to the picture, reframes it and encodes it; and picks its poster.

use std::fs::File;
use std::io::Write as _;

use ffmpeg_next as ffmpeg;

use ffmpeg::{Discard, Rational, frame};

use super::audio::{Sound, Tape};
use super::graph::PictureGraph;
use super::mp4::{Settings, Writer};
use super::source::Source;
use super::{Report, frame as still, raw};
use crate::media::config::Limits;
use crate::media::{AspectRatio, MediaError, MediaErrorCode, RenderSpec, Rendered};

/// Pictures that nothing refers to are left out until this close to the start, seconds.
const ALL_PICTURES: f64 = 0.5;

/// Reading goes on at most this long after the end for sound that lies behind the pictures in the file, seconds.
const SOUND_BEHIND: f64 = 10.0;

/// Time between pictures that may become the poster, seconds.
const POSTER_STEP: f64 = 0.5;

/// Frames of the same time, seconds.
const SAME: f64 = 1e-4;

/// The part of the picture that is kept, and the size it is brought to. All even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framing {
    crop: (u32, u32),
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Framing {
    /// The largest centred part of a `width` x `height` picture with the wanted shape, brought down to `max_height`.
    pub(crate) fn new(
        width: u32,
        height: u32,
        shape: AspectRatio,
        max_height: Option<u32>,
    ) -> Self {
        let even = |side: f64| ((side / 2.0).floor() as u32 * 2).max(2);
        let (w, h) = (f64::from(width), f64::from(height));
        let ratio = match shape {
            AspectRatio::Portrait => 9.0 / 16.0,
            AspectRatio::Square => 1.0,
            AspectRatio::Landscape => 16.0 / 9.0,
            AspectRatio::Source => w / h,
        };
        // Half a pixel more, so that 1080 * 9 / 16 = 607.5 becomes 608 like everywhere else.
        let crop_width = even((h * ratio + 1.0).min(w));
        let crop_height = even((w / ratio + 1.0).min(h));
        let limit = f64::from(max_height.unwrap_or(u32::MAX).max(2));
        let share = (limit / f64::from(crop_height)).min(1.0);
        let out_height = even(f64::from(crop_height) * share);
        let out_width = if share < 1.0 {
            even((f64::from(crop_width) * share).round() + 1.0).min(crop_width)
        } else {
            crop_width
        };
        Self {
            crop: (crop_width, crop_height),
            width: out_width,
            height: out_height,
        }
    }

    fn filters(self, source: &Source) -> String {
        let (crop_width, crop_height) = self.crop;
        format!(
            "{}scale={}:{}:flags=bicubic,crop={crop_width}:{crop_height},scale={}:{}:flags=bicubic,setsar=1,format=yuv420p",
            source.turn.filters(),
            source.probe.width,
            source.probe.height,
            self.width,
            self.height,
        )
    }
}

/// Renders `spec` of `file` into `clip`, and its poster into `poster`.
pub(crate) fn render(
    file: File,
    spec: &RenderSpec,
    clip: File,
    mut poster: File,
    limits: Limits,
    threads: usize,
    report: Report<'_>,
) -> Result<Rendered, MediaError> {
    let mut source = Source::open(file, limits)?;
    let end = spec.end.min(source.probe.duration);
    if !spec.start.is_finite() || spec.start < 0.0 || end.is_nan() || end - spec.start < 0.04 {
        return Err(MediaError::new(
            MediaErrorCode::OutOfRange,
            format!(
                "{:.3} s to {:.3} s is not inside the video of {:.3} s",
                spec.start, spec.end, source.probe.duration
            ),
        ));
    }
    let length = end - spec.start;
    let mut pictures = source.video_decoder(1)?;
    let mut sound = Sound::open(&source)?;
    let framing = Framing::new(
        source.probe.width,
        source.probe.height,
        spec.aspect_ratio,
        spec.max_height,
    );
    let clip_size = clip.try_clone().map_err(|e| write_failed(&e))?;
    let writer = Writer::create(
        clip,
        &Settings {
            width: framing.width,
            height: framing.height,
            fps: source.probe.fps,
            sound: sound.is_some(),
            duration: length,
            preset: "veryfast",
            crf: 23,
            keyframes: 2.0,
            threads,
        },
    )?;
    let mut cutter = Cutter {
        start: spec.start,
        end,
        waiting: None,
        graph: PictureGraph::new(framing.filters(&source), source.video.time_base),
        writer,
        poster: None,
        written: None,
        past_end: false,
    };
    let mut tape = Tape::new(spec.start);
    source.seek(spec.start)?;
    loop {
        let packet = source.packet()?;
        let time = packet.as_ref().and_then(|p| source.packet_end(p));
        let is_video = packet
            .as_ref()
            .is_none_or(|p| p.stream() == source.video.index);
        let is_sound = packet
            .as_ref()
            .is_none_or(|p| p.stream() != source.video.index);
        if is_video && !cutter.past_end {
            let far = time.is_some_and(|t| t < spec.start - ALL_PICTURES);
            pictures.decoder.skip_frame(if far {
                Discard::NonReference
            } else {
                Discard::Default
            });
            pictures.decode(packet.as_ref(), &mut |picture| {
                let Some(pts) = picture.timestamp() else {
                    return Ok(());
                };
                let at = source.seconds(source.video, pts);
                cutter.picture(std::mem::replace(picture, frame::Video::empty()), at)
            })?;
        }
        if is_sound && let Some(sound) = &mut sound {
            sound.decode(&source, packet.as_ref(), &mut |at, left, right| {
                if tape.end() < end && at.is_none_or(|at| at < end) {
                    tape.add(at, left, right);
                    if tape.end() > end {
                        tape.finish(end);
                    }
                }
                Ok(())
            })?;
            cutter.writer.sound(&mut tape, false)?;
        }
        if let Some(time) = time {
            report(((time - spec.start) / length).clamp(0.0, 0.99));
        }
        let heard = sound.is_none() || tape.end() >= end - SAME;
        let behind = time.is_some_and(|t| t > end + SOUND_BEHIND);
        if packet.is_none() || (cutter.past_end && (heard || behind)) {
            break;
        }
    }
    if sound.is_some() {
        tape.finish(end);
        cutter.writer.sound(&mut tape, true)?;
    }
    let (last, jpeg) = cutter.finish()?;
    poster.write_all(&jpeg).map_err(|e| write_failed(&e))?;
    let size = clip_size.metadata().map_err(|e| write_failed(&e))?.len();
    report(1.0);
    Ok(Rendered {
        duration: (last + 1.0 / source.probe.fps).min(length.max(last)),
        width: framing.width,
        height: framing.height,
        size,
    })
}

fn write_failed(error: &std::io::Error) -> MediaError {
    MediaError::new(
        MediaErrorCode::EncodeFailed.unless_short(error),
        format!("the output cannot be written: {error}"),
    )
}

/// Takes decoded pictures and lets those between start and end through to the encoder.
struct Cutter {
    start: f64,
    end: f64,
    /// The last picture at or before the start: it is what is shown when the clip begins.
    waiting: Option<frame::Video>,
    graph: PictureGraph,
    writer: Writer,
    /// Best picture so far and its quality.
    poster: Option<(f64, frame::Video)>,
    /// When the last picture written is shown, seconds of the clip.
    written: Option<f64>,
    past_end: bool,
}

impl Cutter {
    fn picture(&mut self, picture: frame::Video, at: f64) -> Result<(), MediaError> {
        if at >= self.end - SAME {
            self.past_end = true;
        } else if at <= self.start + SAME {
            self.waiting = Some(picture);
        } else {
            self.begin()?;
            self.write(&picture, at - self.start)?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), MediaError> {
        match self.waiting.take() {
            Some(first) => self.write(&first, 0.0),
            None => Ok(()),
        }
    }

    fn write(&mut self, picture: &frame::Video, at: f64) -> Result<(), MediaError> {
        let framed = self.graph.run(picture)?;
        let step = (at / POSTER_STEP).floor();
        if self
            .written
            .is_none_or(|last| (last / POSTER_STEP).floor() < step)
        {
            let quality = quality(&framed);
            if self.poster.as_ref().is_none_or(|(best, _)| quality > *best) {
                self.poster = Some((quality, raw::share(&framed)));
            }
        }
        self.written = Some(at);
        self.writer.picture(framed, at)
    }

    /// Ends the file: the time of the last picture and the poster.
    fn finish(mut self) -> Result<(f64, Vec<u8>), MediaError> {
        self.begin()?;
        let (Some(last), Some((_, poster))) = (self.written, self.poster) else {
            return Err(MediaError::new(
                MediaErrorCode::CorruptMedia,
                "no picture can be decoded there",
            ));
        };
        self.writer.finish()?;
        let filters = "scale=out_range=full,format=yuvj420p".to_owned();
        let full = PictureGraph::new(filters, Rational(1, 1000)).run(&poster)?;
        Ok((last, still::jpeg(&full)?))
    }
}

/// How good a picture is as a poster: sharp, and neither dark nor burnt out.
fn quality(picture: &frame::Video) -> f64 {
    let (stride, data) = (picture.stride(0), picture.data(0));
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let step = (width / 160).max(1);
    let pixel =
        |x: usize, y: usize| f64::from(data.get(y * stride + x).copied().unwrap_or_default());
    let (mut sum, mut edges, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0);
    for y in (step..height.saturating_sub(step)).step_by(step) {
        for x in (step..width.saturating_sub(step)).step_by(step) {
            let here = pixel(x, y);
            let edge = 4.0 * here
                - pixel(x - step, y)
                - pixel(x + step, y)
                - pixel(x, y - step)
                - pixel(x, y + step);
            sum += here;
            edges += edge;
            squares += edge * edge;
            count += 1.0;
        }
    }
    if count == 0.0 {
        return 0.0;
    }
    let mean: f64 = sum / count;
    let variance = squares / count - (edges / count).powi(2);
    let exposure = 1.0 - ((mean - 125.0) / 125.0).abs().min(1.0);
    variance.max(0.0).sqrt() * (0.2 + exposure)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_as_people_expect() {
        let size = |w, h, shape, max| {
            let framing = Framing::new(w, h, shape, max);
            (framing.width, framing.height)
        };
        assert_eq!(size(1920, 1080, AspectRatio::Portrait, None), (608, 1080));
        assert_eq!(size(1280, 720, AspectRatio::Portrait, None), (406, 720));
        assert_eq!(size(1920, 1080, AspectRatio::Square, Some(720)), (720, 720));
        assert_eq!(size(1080, 1920, AspectRatio::Landscape, None), (1080, 608));
        assert_eq!(size(1921, 1081, AspectRatio::Source, None), (1920, 1080));
        assert_eq!(size(1920, 1080, AspectRatio::Source, Some(480)), (854, 480));
        assert_eq!(
            size(320, 180, AspectRatio::Source, Some(1080)),
            (320, 180),
            "never scales up"
        );
    }

    proptest! {
        #[test]
        fn never_larger_than_the_source_and_always_even(
            w in 2_u32..4000,
            h in 2_u32..4000,
            max in proptest::option::of(2_u32..4000),
            shape in prop::sample::select(vec![
                AspectRatio::Portrait, AspectRatio::Square, AspectRatio::Landscape, AspectRatio::Source,
            ]),
        ) {
            let framing = Framing::new(w, h, shape, max);
            prop_assert!(framing.width.is_multiple_of(2) && framing.height.is_multiple_of(2));
            prop_assert!(framing.crop.0 <= w && framing.crop.1 <= h);
            prop_assert!(framing.width <= framing.crop.0 && framing.height <= framing.crop.1);
            prop_assert!(framing.height <= max.unwrap_or(u32::MAX));
        }
    }
}
