//! An open source file: its headers checked against the limits, its packets and its decoded pictures.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::packet::side_data;
use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Dictionary, Packet, Rational, codec, decoder, frame, media};

use super::{is_dry, raw};
use crate::media::config::Limits;
use crate::media::{MediaError, MediaErrorCode, Probe};

/// Containers that may be opened. Playlists and scripts are not among them: those name other files.
const FORMATS: &str = "mov,matroska,mpegts,mpeg,avi,flv,ogg,wav,mp3,flac,aac,asf";

/// Damaged packets or pictures that are borne in a row before the file is called broken.
const BAD_IN_A_ROW: u32 = 200;

/// Quarter turns, clockwise, that a player makes before it shows the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    None,
    Right,
    Half,
    Left,
}

impl Turn {
    /// From the display matrix of a stream: nine 16.16 fixed-point numbers, of which the first column holds the angle.
    fn from_matrix(matrix: &[u8]) -> Self {
        let cell = |i: usize| {
            matrix
                .get(i * 4..i * 4 + 4)
                .and_then(|bytes| bytes.try_into().ok())
                .map_or(0.0, |bytes| f64::from(i32::from_ne_bytes(bytes)))
        };
        let degrees = cell(1).atan2(cell(0)).to_degrees();
        match (degrees / 90.0).round() as i32 {
            1 => Self::Right,
            -1 => Self::Left,
            2 | -2 => Self::Half,
            _ => Self::None,
        }
    }

    /// Filters that do it, each followed by a comma.
    pub(crate) fn filters(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Right => "transpose=clock,",
            Self::Half => "hflip,vflip,",
            Self::Left => "transpose=cclock,",
        }
    }

    fn swaps_sides(self) -> bool {
        matches!(self, Self::Right | Self::Left)
    }
}

/// A stream that is used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub(crate) index: usize,
    pub(crate) time_base: Rational,
}

/// An open source file with one video stream and perhaps one audio stream.
pub(crate) struct Source {
    input: Input,
    pub(crate) probe: Probe,
    pub(crate) video: Track,
    pub(crate) audio: Option<Track>,
    pub(crate) turn: Turn,
    /// Every frame is shown equally long, as far as the headers know.
    pub(crate) constant_rate: bool,
    /// Time of the first packet, seconds by the file's own clock.
    origin: f64,
    limits: Limits,
    bad_in_a_row: u32,
}

impl Source {
    /// Reads the headers of `file` and refuses what is not a video within `limits`.
    pub(crate) fn open(mut file: File, limits: Limits) -> Result<Self, MediaError> {
        super::init();
        let size = file.metadata().map_err(|e| unreadable(&e))?;
        if size.is_dir() {
            return Err(MediaError::new(
                MediaErrorCode::NotAVideo,
                "this is a directory",
            ));
        }
        let size = size.len();
        if size == 0 {
            return Err(MediaError::new(
                MediaErrorCode::NotAVideo,
                "the file is empty",
            ));
        }
        if size > limits.max_bytes {
            return Err(over(format!(
                "the file has {size} bytes, {} are allowed",
                limits.max_bytes
            )));
        }
        let mut head = [0_u8; 12];
        let known = file.read(&mut head).map_err(|e| unreadable(&e))?;
        let looks_like_video = is_container(&head[..known]);
        file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;

        let io = StreamIo::from_read_seek_with_capacity(file, 256 * 1024).map_err(not_a_video)?;
        let mut options = Dictionary::new();
        options.set("format_whitelist", FORMATS);
        options.set("protocol_whitelist", "none");
        options.set("probesize", "5000000");
        options.set("analyzeduration", "5000000");
        options.set("max_streams", "32");
        let input =
            ffmpeg::format::input_from_stream(io, None, Some(options)).map_err(|error| {
                if looks_like_video {
                    let detail =
                        format!("the file has no readable index, it may be cut off ({error})");
                    MediaError::new(MediaErrorCode::CorruptMedia, detail)
                } else {
                    not_a_video(error)
                }
            })?;
        Self::inspect(input, size, limits)
    }

    fn inspect(input: Input, size: u64, limits: Limits) -> Result<Self, MediaError> {
        // Cover art is stored as a video stream of one picture; it is not the video.
        let stream = input
            .streams()
            .filter(|s| s.parameters().medium() == media::Type::Video)
            .filter(|s| !s.disposition().contains(Disposition::ATTACHED_PIC))
            .max_by_key(|s| {
                let moving = s.frames() != 1;
                (
                    moving,
                    s.disposition().contains(Disposition::DEFAULT),
                    std::cmp::Reverse(s.index()),
                )
            });
        let Some(stream) = stream else {
            let detail = match input.streams().best(media::Type::Audio) {
                Some(_) => "the file has sound but no video",
                None => "the file has no video stream",
            };
            return Err(MediaError::new(MediaErrorCode::NoVideoStream, detail));
        };
        let video = Track {
            index: stream.index(),
            time_base: stream.time_base(),
        };
        let (coded_width, coded_height) = raw::picture_size(&stream.parameters());
        if coded_width == 0 || coded_height == 0 {
            return Err(MediaError::new(
                MediaErrorCode::CorruptMedia,
                "the video has no picture size",
            ));
        }
        let pixels = u64::from(coded_width) * u64::from(coded_height);
        if pixels > limits.max_pixels {
            return Err(over(format!(
                "pictures of {coded_width}x{coded_height} are too large, {} pixels are allowed",
                limits.max_pixels
            )));
        }
        let decoder = open_video(&stream.parameters(), limits, 1)?;
        let turn = stream
            .side_data()
            .find(|data| data.kind() == side_data::Type::DisplayMatrix)
            .map_or(Turn::None, |data| Turn::from_matrix(data.data()));
        let aspect = f64::from(decoder.aspect_ratio());
        let pixel_aspect = if aspect.is_finite() && (0.1..=10.0).contains(&aspect) {
            aspect
        } else {
            1.0
        };
        let shown_width = (f64::from(coded_width) * pixel_aspect).round().max(1.0) as u32;
        let (width, height) = if turn.swaps_sides() {
            (coded_height, shown_width)
        } else {
            (shown_width, coded_height)
        };

        let average = f64::from(stream.avg_frame_rate());
        let nominal = f64::from(stream.rate());
        let fps = [average, nominal]
            .into_iter()
            .find(|r| r.is_finite() && *r > 0.0)
            .unwrap_or(25.0);
        let constant_rate = (average - nominal).abs() < 1e-3 * fps;

        let audio_stream = input.streams().best(media::Type::Audio);
        let start_of = |s: &ffmpeg::Stream<'_>| {
            let start = s.start_time();
            (start != i64::MIN).then(|| start as f64 * f64::from(s.time_base()))
        };
        let origin = audio_stream
            .iter()
            .chain([&stream])
            .filter_map(start_of)
            .min_by(f64::total_cmp)
            // What lies before zero is run-up that players do not show.
            .map_or(0.0, |start| start.max(0.0));
        let stream_duration = match stream.duration() {
            d if d > 0 => Some(d as f64 * f64::from(video.time_base)),
            _ => None,
        };
        let container_duration = match input.duration() {
            d if d > 0 => Some(d as f64 / 1e6),
            _ => None,
        };
        let Some(duration) = stream_duration.or(container_duration) else {
            return Err(MediaError::new(
                MediaErrorCode::CorruptMedia,
                "the file does not say how long it is",
            ));
        };
        if duration > limits.max_duration {
            return Err(over(format!(
                "the video lasts {duration:.0} s, {:.0} s are allowed",
                limits.max_duration
            )));
        }
        let probe = Probe {
            duration,
            width,
            height,
            fps,
            video_codec: stream.parameters().id().name().to_owned(),
            audio_codec: audio_stream
                .as_ref()
                .map(|s| s.parameters().id().name().to_owned()),
            container: input.format().name().to_owned(),
            size,
        };
        let audio = audio_stream.map(|s| Track {
            index: s.index(),
            time_base: s.time_base(),
        });
        drop((decoder, stream));
        Ok(Self {
            probe,
            video,
            audio,
            turn,
            constant_rate,
            origin,
            limits,
            bad_in_a_row: 0,
            input,
        })
    }

    /// The next packet of the two streams in use; `None` at the end of the file.
    pub(crate) fn packet(&mut self) -> Result<Option<Packet>, MediaError> {
        let mut packet = Packet::empty();
        loop {
            match packet.read(&mut self.input) {
                Ok(()) => {
                    self.bad_in_a_row = 0;
                    let index = packet.stream();
                    if index == self.video.index || self.audio.is_some_and(|a| a.index == index) {
                        return Ok(Some(packet));
                    }
                }
                Err(ffmpeg::Error::Eof) => return Ok(None),
                Err(error) => {
                    self.bad_in_a_row += 1;
                    let passing = matches!(error, ffmpeg::Error::InvalidData) || is_dry(error);
                    if !passing || self.bad_in_a_row > BAD_IN_A_ROW {
                        return Err(MediaError::new(
                            MediaErrorCode::CorruptMedia,
                            format!("the file cannot be read further: {error}"),
                        ));
                    }
                }
            }
        }
    }

    /// Goes to the last keyframe at or before `at`.
    pub(crate) fn seek(&mut self, at: f64) -> Result<(), MediaError> {
        let target = ((at + self.origin) * 1e6).floor() as i64;
        // Some containers have no index before their first keyframe; their start is the keyframe before.
        self.input
            .seek(target, ..target)
            .or_else(|_| self.input.seek(0, ..))
            .map_err(|error| {
                MediaError::new(
                    MediaErrorCode::CorruptMedia,
                    format!("the file cannot be positioned: {error}"),
                )
            })
    }

    /// Seconds from the start of the video for a time stamp of `track`.
    pub(crate) fn seconds(&self, track: Track, timestamp: i64) -> f64 {
        timestamp as f64 * f64::from(track.time_base) - self.origin
    }

    /// When `packet` ends, if it says.
    pub(crate) fn packet_end(&self, packet: &Packet) -> Option<f64> {
        let track = match self.audio {
            Some(audio) if packet.stream() == audio.index => audio,
            _ => self.video,
        };
        let at = packet.pts().or(packet.dts())?;
        Some(self.seconds(track, at + packet.duration().max(0)))
    }

    /// A decoder for the video stream.
    pub(crate) fn video_decoder(&self, threads: usize) -> Result<Pictures, MediaError> {
        let parameters = self.parameters(self.video)?;
        Ok(Pictures {
            decoder: open_video(&parameters, self.limits, threads)?,
            packets: 0,
            frames: 0,
            errors: 0,
        })
    }

    /// Codec parameters of `track`.
    pub(crate) fn parameters(&self, track: Track) -> Result<codec::Parameters, MediaError> {
        let stream = self.input.stream(track.index).ok_or_else(|| {
            MediaError::new(
                MediaErrorCode::CorruptMedia,
                "a stream of the file has gone",
            )
        })?;
        Ok(stream.parameters())
    }
}

/// The video decoder of a source.
pub(crate) struct Pictures {
    pub(crate) decoder: decoder::Video,
    packets: u64,
    frames: u64,
    errors: u64,
}

impl Pictures {
    /// Decodes `packet`, or what is left when there is none, and hands each picture on until `take` fails.
    pub(crate) fn decode(
        &mut self,
        packet: Option<&Packet>,
        take: &mut dyn FnMut(&mut frame::Video) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        let sent = match packet {
            Some(packet) => {
                self.packets += 1;
                self.decoder.send_packet(packet)
            }
            None => self.decoder.send_eof(),
        };
        if let Err(error) = sent
            && !is_dry(error)
        {
            self.bad(error)?;
        }
        let mut picture = frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut picture) {
                Ok(()) => {
                    self.frames += 1;
                    take(&mut picture)?;
                }
                Err(error) if is_dry(error) => return Ok(()),
                Err(error) => return self.bad(error),
            }
        }
    }

    /// Forgets what was decoded, after a seek.
    pub(crate) fn flush(&mut self) {
        self.decoder.flush();
    }

    /// Counts a decoding error; too many of them end the work.
    fn bad(&mut self, error: ffmpeg::Error) -> Result<(), MediaError> {
        self.errors += 1;
        let hopeless = self.frames == 0 && self.errors > u64::from(BAD_IN_A_ROW);
        let mostly = self.errors > 50 && self.errors * 10 > self.packets * 3;
        if hopeless || mostly {
            return Err(MediaError::new(
                MediaErrorCode::CorruptMedia,
                format!(
                    "{} of {} pictures cannot be decoded: {error}",
                    self.errors, self.packets
                ),
            ));
        }
        Ok(())
    }
}

fn open_video(
    parameters: &codec::Parameters,
    limits: Limits,
    threads: usize,
) -> Result<decoder::Video, MediaError> {
    let id = parameters.id();
    let codec = decoder::find(id).ok_or_else(|| {
        MediaError::new(
            MediaErrorCode::NotAVideo,
            format!("there is no decoder for {id:?} video"),
        )
    })?;
    let undecodable = |error: ffmpeg::Error| {
        MediaError::new(
            MediaErrorCode::CorruptMedia,
            format!("the video stream cannot be opened: {error}"),
        )
    };
    let mut context = codec::Context::from_parameters(parameters.clone()).map_err(undecodable)?;
    context.set_threading(codec::threading::Config {
        kind: codec::threading::Type::Frame,
        count: threads,
        ..Default::default()
    });
    let mut options = Dictionary::new();
    options.set("max_pixels", &limits.max_pixels.to_string());
    context
        .decoder()
        .open_as_with(codec, options)
        .and_then(|opened| opened.video())
        .map_err(undecodable)
}

/// Whether the first bytes are those of a video container.
fn is_container(head: &[u8]) -> bool {
    head.get(4..8)
        .is_some_and(|b| matches!(b, b"ftyp" | b"moov" | b"mdat"))
        || head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3])
        || head.starts_with(b"RIFF")
        || head.starts_with(b"FLV")
}

fn not_a_video(error: ffmpeg::Error) -> MediaError {
    let detail = match error {
        ffmpeg::Error::InvalidData => "this is not a video file".to_owned(),
        // What a refused container comes back as.
        ffmpeg::Error::Other {
            errno: ffmpeg::error::EINVAL,
        } => "this is not a video file of a supported kind".to_owned(),
        other => format!("this is not a video file: {other}"),
    };
    MediaError::new(MediaErrorCode::NotAVideo, detail)
}

fn over(detail: String) -> MediaError {
    MediaError::new(MediaErrorCode::ResourceLimit, detail)
}

fn unreadable(error: &std::io::Error) -> MediaError {
    MediaError::new(
        MediaErrorCode::SourceUnavailable,
        format!("the file cannot be read: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(cells: [i32; 2]) -> Vec<u8> {
        cells
            .iter()
            .flat_map(|c| c.to_ne_bytes())
            .chain([0; 28])
            .collect()
    }

    #[test]
    fn reads_the_turn_from_the_display_matrix() {
        assert_eq!(Turn::from_matrix(&matrix([1 << 16, 0])), Turn::None);
        assert_eq!(Turn::from_matrix(&matrix([0, 1 << 16])), Turn::Right);
        assert_eq!(Turn::from_matrix(&matrix([0, -(1 << 16)])), Turn::Left);
        assert_eq!(Turn::from_matrix(&matrix([-(1 << 16), 0])), Turn::Half);
        assert_eq!(Turn::from_matrix(&[1, 2]), Turn::None);
    }

    #[test]
    fn knows_the_first_bytes_of_containers() {
        assert!(is_container(b"\0\0\0 ftypisom"));
        assert!(!is_container(b"#EXTM3U\n"));
        assert!(!is_container(b"ab"));
    }
}
