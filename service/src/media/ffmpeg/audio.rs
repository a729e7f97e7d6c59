//! The sound of a source as one continuous stereo track at 48 kHz, whatever the file holds: other rates, other layouts,
//! gaps, overlaps, a late start.

use ffmpeg_next as ffmpeg;

use ffmpeg::{Packet, codec, decoder, filter, frame};

use super::graph::linear;
use super::source::{Source, Track};
use super::{encode_failed, is_dry};
use crate::media::{MediaError, MediaErrorCode};

/// Samples per second of everything that comes out.
pub(crate) const RATE: u32 = 48_000;

/// Receives blocks of sound: the time in seconds, if the file says, and the samples of both channels.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Option<f64>, &[f32], &[f32]) -> Result<(), MediaError>;

/// What goes into the graph, as far as the graph depends on it.
#[derive(Debug, Clone, PartialEq)]
struct Shape(String);

/// Decodes the audio stream of a source to 48 kHz stereo.
pub(crate) struct Sound {
    track: Track,
    decoder: decoder::Audio,
    graph: Option<(Shape, filter::Graph)>,
}

impl Sound {
    /// A decoder for the audio stream; `None` when there is none, or none that this FFmpeg can decode.
    pub(crate) fn open(source: &Source) -> Result<Option<Self>, MediaError> {
        let Some(track) = source.audio else {
            return Ok(None);
        };
        let opened =
            codec::Context::from_parameters(source.parameters(track)?).and_then(|mut context| {
                context.set_threading(codec::threading::Config {
                    count: 1,
                    ..Default::default()
                });
                context.decoder().audio()
            });
        Ok(opened.ok().map(|decoder| Self {
            track,
            decoder,
            graph: None,
        }))
    }

    /// Decodes `packet`, or what is left when there is none, and hands each block on: its time in seconds (if the file
    /// says) and the samples of both channels. Damaged packets are skipped; a gap shows in the times.
    pub(crate) fn decode(
        &mut self,
        source: &Source,
        packet: Option<&Packet>,
        take: Take<'_>,
    ) -> Result<(), MediaError> {
        let sent = match packet {
            Some(packet) => self.decoder.send_packet(packet),
            None => self.decoder.send_eof(),
        };
        if sent.is_err_and(|error| !is_dry(error)) {
            return Ok(());
        }
        let mut block = frame::Audio::empty();
        while self.decoder.receive_frame(&mut block).is_ok() {
            let time = block.timestamp().map(|pts| source.seconds(self.track, pts));
            self.resample(&block, time, take)?;
        }
        Ok(())
    }

    fn resample(
        &mut self,
        block: &frame::Audio,
        time: Option<f64>,
        take: Take<'_>,
    ) -> Result<(), MediaError> {
        if block.samples() == 0 || block.rate() == 0 {
            return Ok(());
        }
        let layout = match block.channel_layout().bits() {
            0 => format!("channels={}", block.channels()),
            bits => format!("channel_layout=0x{bits:x}"),
        };
        let shape = Shape(format!(
            "time_base=1/{rate}:sample_rate={rate}:sample_fmt={}:{layout}",
            block.format().name(),
            rate = block.rate(),
        ));
        let graph = match &mut self.graph {
            Some((known, graph)) if *known == shape => graph,
            slot => {
                let filters = format!(
                    "aresample={RATE},aformat=sample_fmts=fltp:sample_rates={RATE}:channel_layouts=stereo"
                );
                let graph = linear("abuffer", &shape.0, "abuffersink", &filters)?;
                &mut slot.insert((shape, graph)).1
            }
        };
        let broken = encode_failed("sound filters");
        let gone = || MediaError::new(MediaErrorCode::EncodeFailed, "sound filters: no end");
        graph
            .get("in")
            .ok_or_else(gone)?
            .source()
            .add(block)
            .map_err(&broken)?;
        let mut out = frame::Audio::empty();
        let mut time = time;
        while graph
            .get("out")
            .ok_or_else(gone)?
            .sink()
            .frame(&mut out)
            .is_ok()
        {
            if out.planes() == 2 {
                take(time, out.plane(0), out.plane(1))?;
            }
            time = time.map(|t| t + out.samples() as f64 / f64::from(RATE));
        }
        Ok(())
    }
}

/// Puts blocks of sound where their times say, from a given start on: silence fills gaps, overlaps are dropped. Small
/// differences between the time stamps and the number of samples are left alone, they are rounding.
#[derive(Debug)]
pub(crate) struct Tape {
    start: f64,
    /// Samples written so far, per channel.
    written: u64,
    pub(crate) left: Vec<f32>,
    pub(crate) right: Vec<f32>,
}

/// Time stamps may differ from the running sample count by this much, seconds.
const SLACK: f64 = 0.02;

/// Silence put in at once is bounded: a time stamp out of nowhere must not fill the memory. Seconds.
const LONGEST_GAP: f64 = 600.0;

impl Tape {
    /// A tape that begins at `start` seconds of the source.
    pub(crate) fn new(start: f64) -> Self {
        Self {
            start,
            written: 0,
            left: Vec::new(),
            right: Vec::new(),
        }
    }

    /// Where the tape ends now, seconds of the source.
    pub(crate) fn end(&self) -> f64 {
        self.start + self.written as f64 / f64::from(RATE)
    }

    /// Adds a block that begins at `time`; without a time it follows the one before.
    pub(crate) fn add(&mut self, time: Option<f64>, left: &[f32], right: &[f32]) {
        let ahead = time.map_or(0.0, |time| time - self.end());
        let mut skip = 0;
        // The first block is placed exactly, later ones only when they are really elsewhere.
        let slack = if self.written == 0 { 0.0 } else { SLACK };
        if ahead > slack {
            self.silence(ahead);
        } else if ahead < -slack {
            skip = (-ahead * f64::from(RATE)).round() as usize;
        }
        let skip = skip.min(left.len());
        self.left.extend_from_slice(&left[skip..]);
        self.right.extend_from_slice(&right[skip..]);
        self.written += (left.len() - skip) as u64;
    }

    /// Adds silence up to `end` seconds of the source, or cuts what is longer.
    pub(crate) fn finish(&mut self, end: f64) {
        let missing = end - self.end();
        if missing > 0.0 {
            self.silence(missing);
        } else {
            let extra = ((-missing * f64::from(RATE)).round() as usize).min(self.left.len());
            let keep = self.left.len() - extra;
            self.left.truncate(keep);
            self.right.truncate(keep);
            self.written -= extra as u64;
        }
    }

    fn silence(&mut self, seconds: f64) {
        let samples = (seconds.min(LONGEST_GAP) * f64::from(RATE)).round() as usize;
        self.left.resize(self.left.len() + samples, 0.0);
        self.right.resize(self.right.len() + samples, 0.0);
        self.written += samples as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SECOND: [f32; 48_000] = [1.0; 48_000];

    #[test]
    fn fills_gaps_and_drops_overlaps() {
        let mut tape = Tape::new(10.0);
        tape.add(Some(10.5), &SECOND, &SECOND);
        assert_eq!(tape.left.len(), 72_000);
        assert_eq!((tape.left[23_999], tape.left[24_000]), (0.0, 1.0));
        tape.add(Some(11.0), &SECOND, &SECOND);
        assert!((tape.end() - 12.0).abs() < 1e-9);
        tape.add(Some(12.001), &SECOND, &SECOND);
        assert!((tape.end() - 13.0).abs() < 1e-9, "rounding is not a gap");
    }

    #[test]
    fn begins_in_the_middle_of_a_block_and_ends_exactly() {
        let mut tape = Tape::new(10.25);
        tape.add(Some(10.0), &SECOND, &SECOND);
        assert_eq!(tape.left.len(), 36_000);
        tape.finish(10.5);
        assert_eq!(tape.left.len(), 12_000);
        tape.finish(11.25);
        assert_eq!((tape.left.len(), tape.right.len()), (48_000, 48_000));
    }

    #[test]
    fn a_wild_time_stamp_cannot_fill_the_memory() {
        let mut tape = Tape::new(0.0);
        tape.add(Some(1e9), &SECOND, &SECOND);
        assert!(tape.left.len() < 48_000 * 700);
    }
}
