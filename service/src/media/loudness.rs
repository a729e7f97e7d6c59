//! Momentary loudness after ITU-R BS.1770: K-weighted energy of 400 ms windows, one every 100 ms. Not a meter for
//! delivery levels: there is no gating and no integrated value, only the curve that highlight selection reads.

use std::collections::VecDeque;

/// Loudness of silence, and the floor of everything quieter, LUFS.
pub(crate) const SILENCE: f64 = -70.0;

/// Seconds between two values.
pub(crate) const STEP: f64 = 0.1;

/// Hops per window.
const WINDOW: usize = 4;

/// A second-order filter section.
#[derive(Debug, Clone, Copy)]
struct Section {
    b: [f64; 3],
    a: [f64; 2],
    state: [f64; 2],
}

impl Section {
    fn run(&mut self, input: f64) -> f64 {
        let out = self.b[0] * input + self.state[0];
        self.state[0] = self.b[1] * input - self.a[0] * out + self.state[1];
        self.state[1] = self.b[2] * input - self.a[1] * out;
        out
    }
}

/// The recommendation's two sections for 48 kHz: the head's shelf, then the low cut.
const K_WEIGHTING: [Section; 2] = [
    Section {
        b: [
            1.535_124_859_586_97,
            -2.691_696_189_406_38,
            1.198_392_810_852_85,
        ],
        a: [-1.690_659_293_182_41, 0.732_480_774_215_85],
        state: [0.0; 2],
    },
    Section {
        b: [1.0, -2.0, 1.0],
        a: [-1.990_047_454_833_98, 0.990_072_250_366_21],
        state: [0.0; 2],
    },
];

/// Turns 48 kHz stereo samples into a loudness curve.
#[derive(Debug)]
pub(crate) struct Meter {
    channels: [[Section; 2]; 2],
    hop_energy: f64,
    hop_samples: u32,
    /// Energies of the last hops.
    window: VecDeque<f64>,
    curve: Vec<f64>,
}

/// Samples per hop at 48 kHz.
const HOP: u32 = 4800;

impl Meter {
    /// A meter that has heard nothing.
    pub(crate) fn new() -> Self {
        Self {
            channels: [K_WEIGHTING; 2],
            hop_energy: 0.0,
            hop_samples: 0,
            window: VecDeque::new(),
            curve: Vec::new(),
        }
    }

    /// Hears samples of both channels.
    pub(crate) fn add(&mut self, left: &[f32], right: &[f32]) {
        for (l, r) in left.iter().zip(right) {
            for (channel, sample) in self.channels.iter_mut().zip([l, r]) {
                let [shelf, cut] = channel;
                // A decoder may give infinities for broken input; they would stay in the filter for ever.
                let sample = if sample.is_finite() {
                    f64::from(sample.clamp(-4.0, 4.0))
                } else {
                    0.0
                };
                let weighted = cut.run(shelf.run(sample));
                self.hop_energy += weighted * weighted;
            }
            self.hop_samples += 1;
            if self.hop_samples == HOP {
                self.end_hop();
            }
        }
    }

    /// The curve: element `i` is the loudness around `i * STEP` seconds after the first sample.
    pub(crate) fn finish(mut self) -> Vec<f64> {
        if self.hop_samples > HOP / 2 {
            self.end_hop();
        }
        self.curve
    }

    fn end_hop(&mut self) {
        self.window
            .push_back(self.hop_energy / f64::from(self.hop_samples.max(1)));
        if self.window.len() > WINDOW {
            self.window.pop_front();
        }
        self.hop_energy = 0.0;
        self.hop_samples = 0;
        let mean = self.window.iter().sum::<f64>() / self.window.len() as f64;
        self.curve.push(if mean > 0.0 {
            (-0.691 + 10.0 * mean.log10()).max(SILENCE)
        } else {
            SILENCE
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(amplitude: f32, seconds: f32) -> Vec<f32> {
        (0..(48_000.0 * seconds) as usize)
            .map(|i| amplitude * (i as f32 * 997.0 * std::f32::consts::TAU / 48_000.0).sin())
            .collect()
    }

    /// The recommendation's own calibration: a full-scale 997 Hz sine in one front channel reads -3.01 LKFS.
    #[test]
    fn reads_the_calibration_tone() {
        let tone = tone(1.0, 2.0);
        let mut meter = Meter::new();
        meter.add(&tone, &vec![0.0; tone.len()]);
        let curve = meter.finish();
        assert_eq!(curve.len(), 20);
        assert!((curve[15] + 3.01).abs() < 0.05, "{}", curve[15]);
    }

    #[test]
    fn silence_and_rubbish_stay_finite() {
        let mut meter = Meter::new();
        meter.add(&[0.0; 48_000], &[f32::NAN; 48_000]);
        assert!(meter.finish().iter().all(|l| *l == SILENCE));
    }

    #[test]
    fn six_decibels_are_six_units() {
        let read = |amplitude| {
            let tone = tone(amplitude, 1.0);
            let mut meter = Meter::new();
            meter.add(&tone, &tone);
            meter.finish()[8]
        };
        assert!((read(0.5) - read(0.25) - 6.02).abs() < 0.01);
    }
}
