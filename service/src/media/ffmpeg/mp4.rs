//! Writes an H.264/AAC mp4 whose index comes first, so that it plays while it loads.

use std::fs::File;

use ffmpeg_next as ffmpeg;

use ffmpeg::format::context::{Output, StreamIo};
use ffmpeg::{ChannelLayout, Dictionary, Packet, Rational, codec, encoder, format, frame};

use super::audio::{RATE, Tape};
use super::{encode_failed, is_dry};
use crate::media::{MediaError, MediaErrorCode};

/// Time stamps of pictures going in: fine enough for every frame rate.
pub(crate) const TIME_BASE: Rational = Rational(1, 90_000);

/// How to encode.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Frames per second, roughly; times come with the pictures.
    pub(crate) fps: f64,
    /// Whether there will be sound.
    pub(crate) sound: bool,
    /// Seconds, roughly: room for the index is kept at the front.
    pub(crate) duration: f64,
    /// Name of an x264 preset.
    pub(crate) preset: &'static str,
    /// x264's constant rate factor.
    pub(crate) crf: u32,
    /// Seconds between keyframes.
    pub(crate) keyframes: f64,
    /// Threads of the video encoder.
    pub(crate) threads: usize,
}

struct Sound {
    encoder: encoder::Audio,
    index: usize,
    /// Samples encoded so far, per channel.
    encoded: i64,
}

/// An mp4 being written.
pub(crate) struct Writer {
    output: Output,
    video: encoder::Video,
    video_index: usize,
    /// Duration of a picture that does not say, in [`TIME_BASE`].
    picture_duration: i64,
    last_pts: Option<i64>,
    sound: Option<Sound>,
}

impl Writer {
    /// Starts a file. Ends up complete only through [`Writer::finish`].
    pub(crate) fn create(file: File, settings: &Settings) -> Result<Self, MediaError> {
        super::init();
        let failed = encode_failed("mp4");
        let io = StreamIo::from_write_seek_with_capacity(file, 256 * 1024).map_err(&failed)?;
        let mut output = format::output_to_stream(io, None, Some("mp4")).map_err(&failed)?;
        let global = output
            .format()
            .flags()
            .contains(format::Flags::GLOBAL_HEADER);

        let h264 = encoder::find_by_name("libx264").ok_or_else(|| {
            MediaError::new(
                MediaErrorCode::EncodeFailed,
                "this FFmpeg has no libx264 encoder",
            )
        })?;
        let mut context = codec::Context::new_with_codec(h264);
        context.set_threading(codec::threading::Config {
            count: settings.threads,
            ..Default::default()
        });
        let mut video = context.encoder().video().map_err(&failed)?;
        video.set_width(settings.width);
        video.set_height(settings.height);
        video.set_format(format::Pixel::YUV420P);
        video.set_time_base(TIME_BASE);
        let fps = settings.fps.clamp(1.0, 240.0);
        video.set_frame_rate(Some(Rational((fps * 1000.0).round() as i32, 1000).reduce()));
        video.set_aspect_ratio((1, 1));
        video.set_gop((fps * settings.keyframes).round().max(1.0) as u32);
        if global {
            video.set_flags(codec::Flags::GLOBAL_HEADER);
        }
        let mut options = Dictionary::new();
        options.set("preset", settings.preset);
        options.set("crf", &settings.crf.to_string());
        let video = video.open_with(options).map_err(&failed)?;
        let video_index = add(&mut output, h264, &video)?;

        let sound = if settings.sound {
            let aac = encoder::find(codec::Id::AAC).ok_or_else(|| {
                MediaError::new(
                    MediaErrorCode::EncodeFailed,
                    "this FFmpeg has no AAC encoder",
                )
            })?;
            let mut audio = codec::Context::new_with_codec(aac)
                .encoder()
                .audio()
                .map_err(&failed)?;
            audio.set_rate(RATE as i32);
            audio.set_format(format::Sample::F32(format::sample::Type::Planar));
            audio.set_channel_layout(ChannelLayout::STEREO);
            audio.set_bit_rate(128_000);
            audio.set_time_base((1, RATE as i32));
            if global {
                audio.set_flags(codec::Flags::GLOBAL_HEADER);
            }
            let encoder = audio.open().map_err(&failed)?;
            let index = add(&mut output, aac, &encoder)?;
            Some(Sound {
                encoder,
                index,
                encoded: 0,
            })
        } else {
            None
        };

        // In the index a picture takes at most 40 bytes and a block of sound 24; what is left over becomes an empty box.
        let blocks = if settings.sound {
            f64::from(RATE) / 1024.0
        } else {
            0.0
        };
        let index = (settings.duration + 1.0) * (fps * 40.0 + blocks * 24.0);
        let mut options = Dictionary::new();
        options.set("moov_size", &(8192 + index.ceil() as u64).to_string());
        output.write_header_with(options).map_err(&failed)?;
        Ok(Self {
            output,
            video,
            video_index,
            picture_duration: (f64::from(TIME_BASE.denominator()) / fps).round() as i64,
            last_pts: None,
            sound,
        })
    }

    /// Adds a picture shown from `at` seconds of the new file.
    pub(crate) fn picture(&mut self, mut picture: frame::Video, at: f64) -> Result<(), MediaError> {
        let pts = (at * f64::from(TIME_BASE.denominator())).round() as i64;
        // Two pictures at one time: the encoder wants times to rise, and the later one would not be seen.
        if self.last_pts.is_some_and(|last| pts <= last) {
            return Ok(());
        }
        self.last_pts = Some(pts);
        picture.set_pts(Some(pts));
        picture.set_kind(ffmpeg::picture::Type::None);
        self.video
            .send_frame(&picture)
            .map_err(encode_failed("video encoder"))?;
        self.drain_video()
    }

    /// Encodes the whole blocks that `tape` holds and takes them off it; the rest as well when it is the `last` call.
    pub(crate) fn sound(&mut self, tape: &mut Tape, last: bool) -> Result<(), MediaError> {
        let failed = encode_failed("audio encoder");
        let Some(sound) = &mut self.sound else {
            return Ok(());
        };
        let block = (sound.encoder.frame_size() as usize).max(1);
        let mut done = 0;
        while tape.left.len() - done >= block || (last && tape.left.len() > done) {
            let samples = block.min(tape.left.len() - done);
            let format = format::Sample::F32(format::sample::Type::Planar);
            let mut frame = frame::Audio::new(format, samples, ChannelLayout::STEREO);
            frame.set_rate(RATE);
            frame.set_pts(Some(sound.encoded));
            frame.plane_mut::<f32>(0)[..samples].copy_from_slice(&tape.left[done..done + samples]);
            frame.plane_mut::<f32>(1)[..samples].copy_from_slice(&tape.right[done..done + samples]);
            sound.encoder.send_frame(&frame).map_err(&failed)?;
            sound.encoded += samples as i64;
            done += samples;
            drain(
                &mut sound.encoder,
                (1, RATE as i32).into(),
                sound.index,
                0,
                &mut self.output,
            )?;
        }
        tape.left.drain(..done);
        tape.right.drain(..done);
        Ok(())
    }

    /// Ends the streams and writes the index.
    pub(crate) fn finish(mut self) -> Result<(), MediaError> {
        self.video
            .send_eof()
            .map_err(encode_failed("video encoder"))?;
        self.drain_video()?;
        if let Some(sound) = &mut self.sound {
            sound
                .encoder
                .send_eof()
                .map_err(encode_failed("audio encoder"))?;
            drain(
                &mut sound.encoder,
                (1, RATE as i32).into(),
                sound.index,
                0,
                &mut self.output,
            )?;
        }
        self.output.write_trailer().map_err(encode_failed("mp4"))
    }

    fn drain_video(&mut self) -> Result<(), MediaError> {
        drain(
            &mut self.video,
            TIME_BASE,
            self.video_index,
            self.picture_duration,
            &mut self.output,
        )
    }
}

fn add(
    output: &mut Output,
    codec: ffmpeg::Codec,
    encoder: &impl AsRef<codec::Context>,
) -> Result<usize, MediaError> {
    let mut stream = output.add_stream(codec).map_err(encode_failed("mp4"))?;
    stream.set_parameters(encoder);
    Ok(stream.index())
}

fn drain(
    encoder: &mut encoder::Encoder,
    time_base: Rational,
    index: usize,
    duration: i64,
    output: &mut Output,
) -> Result<(), MediaError> {
    let mut packet = Packet::empty();
    loop {
        match encoder.receive_packet(&mut packet) {
            Ok(()) => {
                // Without a duration the last picture would last no time at all.
                if packet.duration() == 0 {
                    packet.set_duration(duration);
                }
                packet.set_stream(index);
                // The muxer chose its own time base when the header was written.
                let stream = output
                    .stream(index)
                    .map(|s| s.time_base())
                    .unwrap_or(time_base);
                packet.rescale_ts(time_base, stream);
                packet
                    .write_interleaved(output)
                    .map_err(encode_failed("mp4"))?;
            }
            Err(error) if is_dry(error) => return Ok(()),
            Err(error) => return Err(encode_failed("encoder")(error)),
        }
    }
}
