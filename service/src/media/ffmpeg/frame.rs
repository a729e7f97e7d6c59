//! The picture shown at a given time, as JPEG. Keeps its place in the file, so that the next picture of the same
//! stretch needs no new seek.

use std::fs::File;

use ffmpeg_next as ffmpeg;

use ffmpeg::{Discard, codec, encoder, format, frame};

use super::graph::PictureGraph;
use super::source::{Pictures, Source};
use super::{encode_failed, is_dry, raw};
use crate::media::config::Limits;
use crate::media::{MediaError, MediaErrorCode};

/// A later time is always reached by decoding on when it is this close, seconds.
const DECODE_ON: f64 = 0.5;

/// With a variable rate, pictures that nothing refers to are left out until this close to the wanted time, seconds.
const ALL_PICTURES: f64 = 0.6;

/// Time stamps are fractions that a request's decimal number cannot hit exactly, seconds.
const ROUNDING: f64 = 1e-6;

/// A JPEG and the stretch of time it is shown for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shot {
    /// When it appears, seconds.
    pub(crate) from: f64,
    /// When the next one appears, seconds.
    pub(crate) until: f64,
    /// The picture.
    pub(crate) jpeg: Vec<u8>,
}

struct Held {
    at: f64,
    picture: frame::Video,
}

/// Finds pictures in one source.
pub(crate) struct FrameReader {
    source: Source,
    pictures: Pictures,
    /// The last picture that is not later than what was last asked for, and the ones decoded after it.
    held: Vec<Held>,
    /// Nothing follows the held pictures.
    ended: bool,
    /// Time of the last keyframe read, seconds.
    keyframe: Option<f64>,
    /// Longest time known to lie between two keyframes, seconds.
    keyframe_gap: f64,
    graph: Option<(u32, PictureGraph)>,
}

impl FrameReader {
    /// Opens `file`.
    pub(crate) fn open(file: File, limits: Limits) -> Result<Self, MediaError> {
        let source = Source::open(file, limits)?;
        let pictures = source.video_decoder(1)?;
        Ok(Self {
            source,
            pictures,
            held: Vec::new(),
            ended: false,
            keyframe: None,
            keyframe_gap: 0.0,
            graph: None,
        })
    }

    /// The picture shown at `at`, at most `width` wide, as JPEG.
    pub(crate) fn shot(&mut self, at: f64, width: u32) -> Result<Shot, MediaError> {
        let duration = self.source.probe.duration;
        // The last picture stays while its time lasts; asking for the very end means that one.
        if !at.is_finite() || at < 0.0 || at > duration + 0.5 / self.source.probe.fps {
            return Err(MediaError::new(
                MediaErrorCode::OutOfRange,
                format!("there is no picture at {at} s, the video lasts {duration:.3} s"),
            ));
        }
        let at = at + ROUNDING;
        self.advance_to(at)?;
        let shown = self.held.partition_point(|h| h.at <= at).saturating_sub(1);
        let until = match self.held.get(shown + 1) {
            Some(next) => next.at,
            None if self.ended => f64::MAX,
            None => self
                .held
                .get(shown)
                .map_or(at, |h| h.at + 1.0 / self.source.probe.fps),
        };
        let Some(held) = self.held.get(shown) else {
            return Err(MediaError::new(
                MediaErrorCode::CorruptMedia,
                "no picture can be decoded there",
            ));
        };
        // Before the first picture there is nothing to show; it stands in, as in every player.
        let from = if shown == 0 { held.at.min(at) } else { held.at };
        let (out_width, out_height) = fit(&self.source, width);
        let graph = match &mut self.graph {
            Some((known, graph)) if *known == out_width => graph,
            slot => {
                let filters = format!(
                    "{}scale={out_width}:{out_height}:flags=area,setsar=1,format=yuvj420p",
                    self.source.turn.filters()
                );
                &mut slot
                    .insert((
                        out_width,
                        PictureGraph::new(filters, self.source.video.time_base),
                    ))
                    .1
            }
        };
        let scaled = graph.run(&held.picture)?;
        Ok(Shot {
            from,
            until,
            jpeg: jpeg(&scaled)?,
        })
    }

    /// Decodes until it is known which picture is shown at `at`.
    fn advance_to(&mut self, at: f64) -> Result<(), MediaError> {
        // A seek lands half a gap before the wanted time on average; up to there decoding on is cheaper.
        let decode_on = DECODE_ON.max(self.keyframe_gap / 2.0);
        let near = self.held.first().is_some_and(|first| first.at <= at)
            && self
                .held
                .last()
                .is_some_and(|last| at < last.at + decode_on || self.ended);
        if !near {
            self.source.seek(at)?;
            self.pictures.flush();
            self.held.clear();
            self.ended = false;
            self.keyframe = None;
        }
        // Only the picture shown at that time must not be left out; with a constant rate it is known to be close.
        let every = if self.source.constant_rate {
            (2.5 / self.source.probe.fps).min(ALL_PICTURES)
        } else {
            ALL_PICTURES
        };
        while !self.ended && !self.decided(at) {
            let packet = self.source.packet()?;
            if let Some(packet) = &packet {
                if packet.stream() != self.source.video.index {
                    continue;
                }
                let time = packet
                    .pts()
                    .map(|pts| self.source.seconds(self.source.video, pts));
                let far = time.is_some_and(|time| time < at - every);
                if let (Some(time), Some(last)) = (time, self.keyframe) {
                    self.keyframe_gap = self.keyframe_gap.max(time - last);
                }
                if packet.is_key() {
                    self.keyframe = time;
                }
                self.pictures.decoder.skip_frame(if far {
                    Discard::NonReference
                } else {
                    Discard::Default
                });
            }
            self.ended = packet.is_none();
            let (source, held) = (&self.source, &mut self.held);
            self.pictures.decode(packet.as_ref(), &mut |picture| {
                let Some(pts) = picture.timestamp() else {
                    return Ok(());
                };
                let time = source.seconds(source.video, pts);
                // Only the last picture before the wanted time can be the one.
                if time <= at {
                    held.clear();
                }
                held.push(Held {
                    at: time,
                    picture: std::mem::replace(picture, frame::Video::empty()),
                });
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Whether the held pictures tell what is shown at `at`.
    fn decided(&self, at: f64) -> bool {
        let Some(last) = self.held.last() else {
            return false;
        };
        if last.at > at {
            return true;
        }
        // With a constant rate the next picture's time is known without decoding it.
        self.source.constant_rate && at < last.at + 0.9 / self.source.probe.fps
    }
}

/// Size of a picture of `source` at most `width` wide, never larger than the source, both sides even.
fn fit(source: &Source, width: u32) -> (u32, u32) {
    let probe = &source.probe;
    let share = (f64::from(width.max(16)) / f64::from(probe.width)).min(1.0);
    let even = |side: u32| (((f64::from(side) * share) / 2.0).round() as u32 * 2).max(2);
    (even(probe.width), even(probe.height))
}

/// Encodes a full-range 4:2:0 picture.
pub(crate) fn jpeg(picture: &frame::Video) -> Result<Vec<u8>, MediaError> {
    let failed = encode_failed("JPEG");
    let codec = encoder::find(codec::Id::MJPEG).ok_or_else(|| {
        MediaError::new(
            MediaErrorCode::EncodeFailed,
            "this FFmpeg has no JPEG encoder",
        )
    })?;
    let mut context = codec::Context::new_with_codec(codec)
        .encoder()
        .video()
        .map_err(&failed)?;
    context.set_width(picture.width());
    context.set_height(picture.height());
    context.set_format(format::Pixel::YUVJ420P);
    context.set_color_range(ffmpeg::color::Range::JPEG);
    context.set_time_base((1, 25));
    context.set_flags(codec::Flags::QSCALE);
    // Quality 4 of 31 in FFmpeg's units, which count 118 per step.
    context.set_global_quality(4 * 118);
    let mut encoder = context.open().map_err(&failed)?;
    let mut whole = raw::share(picture);
    whole.set_pts(Some(0));
    whole.set_kind(ffmpeg::picture::Type::None);
    encoder.send_frame(&whole).map_err(&failed)?;
    encoder.send_eof().map_err(&failed)?;
    let mut packet = ffmpeg::Packet::empty();
    match encoder.receive_packet(&mut packet) {
        Ok(()) => Ok(packet.data().unwrap_or_default().to_vec()),
        Err(error) if is_dry(error) => Err(MediaError::new(
            MediaErrorCode::EncodeFailed,
            "JPEG: the encoder gave nothing",
        )),
        Err(error) => Err(failed(error)),
    }
}
