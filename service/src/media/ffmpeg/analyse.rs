//! The one decode pass that gathers every signal: differences of small grey pictures, and the loudness of the sound.

use std::fs::File;

use ffmpeg_next as ffmpeg;

use ffmpeg::software::scaling;
use ffmpeg::{Discard, format, frame};

use super::Report;
use super::audio::{Sound, Tape};
use super::source::Source;
use crate::media::config::Limits;
use crate::media::loudness::Meter;
use crate::media::select::{self, ALGORITHM};
use crate::media::signals::{Picture, Signals};
use crate::media::{Analysis, MediaError, MediaErrorCode, Probe, SelectOptions};

/// Size of the grey pictures that are compared.
const SMALL: (u32, u32) = (160, 90);

/// Reads the headers.
pub(crate) fn probe(file: File, limits: Limits) -> Result<Probe, MediaError> {
    Ok(Source::open(file, limits)?.probe)
}

/// Decodes `file` once and chooses its highlights.
pub(crate) fn analyse(
    file: File,
    options: &SelectOptions,
    limits: Limits,
    report: Report<'_>,
) -> Result<Analysis, MediaError> {
    let (probe, signals) = measure(file, limits, report)?;
    let selection = select::select(&signals, options);
    Ok(Analysis {
        probe,
        highlights: selection.highlights,
        cuts: selection.cuts,
        algorithm: ALGORITHM.to_owned(),
        warnings: selection.warnings,
    })
}

/// Decodes `file` once.
pub(crate) fn measure(
    file: File,
    limits: Limits,
    report: Report<'_>,
) -> Result<(Probe, Signals), MediaError> {
    let mut source = Source::open(file, limits)?;
    let mut pictures = source.video_decoder(1)?;
    // Small grey pictures show neither the missing loop filter nor the pictures that nothing refers to; both together
    // halve the work.
    pictures.decoder.skip_loop_filter(Discard::All);
    pictures.decoder.skip_frame(Discard::NonReference);
    let mut sound = Sound::open(&source)?;
    let mut eye = Eye::new(&source);
    let mut ear = Ear {
        meter: Meter::new(),
        tape: Tape::new(0.0),
        heard: false,
    };
    let duration = source.probe.duration;
    let mut end = 0.0_f64;
    loop {
        let packet = source.packet()?;
        if let Some(at) = packet.as_ref().and_then(|p| source.packet_end(p)) {
            end = end.max(at);
            if at > limits.max_duration * 1.01 {
                return Err(MediaError::new(
                    MediaErrorCode::ResourceLimit,
                    format!(
                        "the video goes on after the {:.0} s that are allowed",
                        limits.max_duration
                    ),
                ));
            }
            report((at / duration).clamp(0.0, 1.0));
        }
        let is_video = packet
            .as_ref()
            .is_none_or(|p| p.stream() == source.video.index);
        let is_sound = packet
            .as_ref()
            .is_none_or(|p| p.stream() != source.video.index);
        if is_video {
            pictures.decode(packet.as_ref(), &mut |picture| eye.see(&source, picture))?;
        }
        if is_sound && let Some(sound) = &mut sound {
            sound.decode(&source, packet.as_ref(), &mut |time, left, right| {
                ear.hear(time, left, right);
                Ok(())
            })?;
        }
        if packet.is_none() {
            break;
        }
    }
    // A file that was cut off opens without complaint and just ends early.
    if duration - end > (0.03 * duration).max(1.0) {
        return Err(MediaError::new(
            MediaErrorCode::CorruptMedia,
            format!("the file is cut off: it says {duration:.1} s but ends after {end:.1} s"),
        ));
    }
    let Some(last) = eye.seen.last() else {
        return Err(MediaError::new(
            MediaErrorCode::CorruptMedia,
            "no picture can be decoded",
        ));
    };
    let signals = Signals {
        duration: last.at + eye.picture_time,
        picture_time: eye.picture_time,
        loudness: if ear.heard {
            ear.meter.finish()
        } else {
            Vec::new()
        },
        pictures: eye.seen,
    };
    Ok((source.probe, signals))
}

/// Compares each picture with the one before.
struct Eye {
    picture_time: f64,
    scaler: Option<scaling::Context>,
    small: frame::Video,
    before: Vec<u8>,
    now: Vec<u8>,
    seen: Vec<Picture>,
}

impl Eye {
    fn new(source: &Source) -> Self {
        Self {
            picture_time: 1.0 / source.probe.fps,
            scaler: None,
            small: frame::Video::empty(),
            before: Vec::new(),
            now: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn see(&mut self, source: &Source, picture: &mut frame::Video) -> Result<(), MediaError> {
        let undecodable = |error: ffmpeg::Error| {
            MediaError::new(
                MediaErrorCode::CorruptMedia,
                format!("pictures cannot be scaled: {error}"),
            )
        };
        let (width, height, format) = (picture.width(), picture.height(), picture.format());
        let fits = self.scaler.as_ref().is_some_and(|s| {
            let input = s.input();
            (input.width, input.height, input.format) == (width, height, format)
        });
        if !fits {
            let scaler = scaling::Context::get(
                format,
                width,
                height,
                format::Pixel::GRAY8,
                SMALL.0,
                SMALL.1,
                scaling::Flags::AREA,
            );
            self.scaler = Some(scaler.map_err(undecodable)?);
        }
        let Some(scaler) = &mut self.scaler else {
            return Ok(());
        };
        scaler.run(picture, &mut self.small).map_err(undecodable)?;

        std::mem::swap(&mut self.before, &mut self.now);
        self.now.clear();
        let stride = self.small.stride(0);
        for row in self
            .small
            .data(0)
            .chunks(stride.max(1))
            .take(SMALL.1 as usize)
        {
            self.now.extend_from_slice(&row[..SMALL.0 as usize]);
        }
        let count = self.now.len().max(1) as f64;
        let change = if self.before.len() == self.now.len() {
            let sum: u64 = self
                .now
                .iter()
                .zip(&self.before)
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            sum as f64 / count
        } else {
            0.0
        };
        let luma = self.now.iter().map(|b| u64::from(*b)).sum::<u64>() as f64 / count;
        let at = match (picture.timestamp(), self.seen.last()) {
            (Some(pts), last) => source
                .seconds(source.video, pts)
                .max(last.map_or(0.0, |p| p.at)),
            (None, Some(last)) => last.at + self.picture_time,
            (None, None) => 0.0,
        };
        self.seen.push(Picture { at, change, luma });
        Ok(())
    }
}

/// Puts the sound on the video's clock and measures it.
struct Ear {
    meter: Meter,
    tape: Tape,
    heard: bool,
}

impl Ear {
    fn hear(&mut self, time: Option<f64>, left: &[f32], right: &[f32]) {
        self.heard = true;
        self.tape.add(time, left, right);
        self.meter.add(&self.tape.left, &self.tape.right);
        self.tape.left.clear();
        self.tape.right.clear();
    }
}
