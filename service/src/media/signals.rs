//! What one decode pass saw and heard, and the curves that follow from it. Pure: numbers in, numbers out.

use serde::{Deserialize, Serialize};

use super::loudness;

/// Seconds per element of the curves.
pub(crate) const BIN: f64 = 0.5;

/// A picture with the mean absolute difference of its luma to the one before, 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// When it appears, seconds.
    pub(crate) at: f64,
    /// Difference to the picture before; 0 for the first.
    pub(crate) change: f64,
    /// Mean luma, 0 to 255.
    pub(crate) luma: f64,
}

/// What the decode pass gathered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Signals {
    /// Seconds.
    pub(crate) duration: f64,
    /// Time between two pictures, seconds.
    pub(crate) picture_time: f64,
    /// Pictures in order of time. Some may have been left out.
    pub(crate) pictures: Vec<Picture>,
    /// Momentary loudness every [`loudness::STEP`] from the start, LUFS; empty without sound.
    pub(crate) loudness: Vec<f64>,
}

/// Where one shot ends and the next begins. The two differ only when pictures between them were left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    /// End of the last picture seen of the old shot, seconds.
    pub(crate) before: f64,
    /// Start of the first picture seen of the new shot, seconds.
    pub(crate) at: f64,
}

/// The smallest difference that is a cut.
const CUT_FLOOR: f64 = 8.0;

/// A cut stands out from its neighbours by this factor.
const CUT_RATIO: f64 = 3.0;

/// Shots are at least this long, seconds.
const SHORTEST_SHOT: f64 = 0.6;

/// Shot cuts: differences that stand out from those of the two pictures on either side.
pub(crate) fn cuts(signals: &Signals) -> Vec<Cut> {
    let pictures = &signals.pictures;
    let mut cuts: Vec<Cut> = Vec::new();
    let mut last_change = 0.0;
    for (i, picture) in pictures.iter().enumerate().skip(1) {
        let around = (i.saturating_sub(2).max(1)..=i + 2)
            .filter(|j| *j != i)
            .filter_map(|j| pictures.get(j));
        let (sum, count) = around.fold((0.0, 0.0), |(sum, count), p| (sum + p.change, count + 1.0));
        let usual = if count > 0.0 { sum / count } else { 0.0 };
        if picture.change < CUT_FLOOR || picture.change < CUT_RATIO * usual {
            continue;
        }
        let old_end = (pictures[i - 1].at + signals.picture_time).min(picture.at);
        let cut = Cut {
            before: old_end,
            at: picture.at,
        };
        match cuts.last_mut() {
            Some(last) if picture.at - last.at < SHORTEST_SHOT => {
                // Of two that are too close the stronger one is the cut: a flash has a weaker second edge.
                if picture.change > last_change {
                    *last = cut;
                    last_change = picture.change;
                }
            }
            _ => {
                cuts.push(cut);
                last_change = picture.change;
            }
        }
    }
    cuts
}

/// Curves over the video, one element per [`BIN`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Curves {
    /// LUFS.
    pub(crate) loudness: Vec<f64>,
    /// Rise of loudness against the bin before, smoothed, LU.
    pub(crate) onset: Vec<f64>,
    /// `ln(1 + difference)`, cuts left out.
    pub(crate) motion: Vec<f64>,
    /// Cuts around this time, decaying over some seconds.
    pub(crate) rhythm: Vec<f64>,
    /// Nearly black picture.
    pub(crate) black: Vec<bool>,
    /// No motion for two seconds or more.
    pub(crate) frozen: Vec<bool>,
    /// Silence, by the file's own measure.
    pub(crate) silent: Vec<bool>,
}

/// Loudness below which this file is silent: near its quiet parts, but never above -50 nor below -60 LUFS.
pub(crate) fn silence_threshold(loudness: &[f64]) -> f64 {
    (percentile(loudness, 0.10) + 3.0).clamp(-60.0, -50.0)
}

/// Stretches of silence of 0.3 s and more: start and end, seconds.
pub(crate) fn silences(signals: &Signals) -> Vec<(f64, f64)> {
    let threshold = silence_threshold(&signals.loudness);
    let mut found = Vec::new();
    let mut since = None;
    for (i, level) in signals.loudness.iter().chain([&f64::MAX]).enumerate() {
        let at = i as f64 * loudness::STEP;
        match since {
            None if *level < threshold => since = Some(at),
            Some(start) if *level >= threshold => {
                if at - start >= 0.3 - 1e-9 {
                    found.push((start, at.min(signals.duration)));
                }
                since = None;
            }
            _ => {}
        }
    }
    found
}

/// The curves of a video.
pub(crate) fn curves(signals: &Signals, cuts: &[Cut]) -> Curves {
    let bins = ((signals.duration / BIN).ceil() as usize).max(1);
    let bin_of = |at: f64| ((at / BIN).floor().max(0.0) as usize).min(bins - 1);

    let mut level = vec![(0.0, 0_u32); bins];
    for (i, lufs) in signals.loudness.iter().enumerate() {
        let slot = &mut level[bin_of(i as f64 * loudness::STEP)];
        slot.0 += 10_f64.powf(lufs / 10.0);
        slot.1 += 1;
    }
    let loudness: Vec<f64> = if signals.loudness.is_empty() {
        Vec::new()
    } else {
        let mean = |(sum, count): &(f64, u32)| match count {
            0 => loudness::SILENCE,
            n => (10.0 * (sum / f64::from(*n)).log10()).max(loudness::SILENCE),
        };
        level.iter().map(mean).collect()
    };
    let rises: Vec<f64> = (0..loudness.len())
        .map(|i| {
            if i == 0 {
                0.0
            } else {
                (loudness[i] - loudness[i - 1]).clamp(0.0, 20.0)
            }
        })
        .collect();
    let onset = smooth(&rises, 1.0);
    let threshold = silence_threshold(&signals.loudness);
    let silent = loudness.iter().map(|l| *l < threshold).collect();

    let mut change = vec![(0.0, 0_u32); bins];
    let mut luma = vec![(0.0, 0_u32); bins];
    let mut next_cut = cuts.iter().peekable();
    for picture in &signals.pictures {
        let bin = bin_of(picture.at);
        luma[bin].0 += picture.luma;
        luma[bin].1 += 1;
        while next_cut.next_if(|cut| cut.at < picture.at - 1e-9).is_some() {}
        if next_cut
            .peek()
            .is_some_and(|cut| (cut.at - picture.at).abs() <= 1e-9)
        {
            continue;
        }
        change[bin].0 += picture.change;
        change[bin].1 += 1;
    }
    let motion: Vec<f64> = change
        .iter()
        .map(|(sum, n)| {
            if *n == 0 {
                0.0
            } else {
                (sum / f64::from(*n)).ln_1p()
            }
        })
        .collect();
    let mut shown = f64::MAX;
    let black = luma
        .iter()
        .map(|(sum, n)| {
            // A bin without a new picture still shows the old one.
            if *n > 0 {
                shown = sum / f64::from(*n);
            }
            shown < 20.0
        })
        .collect();
    let still: Vec<bool> = motion.iter().map(|m| *m < 0.02).collect();
    let mut frozen = vec![false; bins];
    let mut run = 0;
    for i in 0..=bins {
        if still.get(i) == Some(&true) {
            run += 1;
        } else {
            if run as f64 * BIN >= 2.0 {
                frozen[i - run..i].fill(true);
            }
            run = 0;
        }
    }
    let mut beats = vec![0.0; bins];
    for cut in cuts {
        beats[bin_of(cut.at)] += 1.0;
    }
    Curves {
        loudness,
        onset,
        motion,
        rhythm: smooth(&beats, 4.0),
        black,
        frozen,
        silent,
    }
}

/// A robust 0-to-1 view of a curve: 0.5 is usual for this video. The spread has a floor, so that the noise of a flat
/// video is not blown up into events.
pub(crate) fn normalise(curve: &[f64], spread_floor: f64) -> Vec<f64> {
    let median = percentile(curve, 0.5);
    let away: Vec<f64> = curve.iter().map(|x| (x - median).abs()).collect();
    let spread = (1.4826 * percentile(&away, 0.5)).max(spread_floor);
    curve
        .iter()
        .map(|x| 1.0 / (1.0 + (-1.2 * ((x - median) / spread).clamp(-3.0, 3.0)).exp()))
        .collect()
}

/// Gaussian smoothing with a deviation of `sigma` bins; the ends are weighted with what there is.
pub(crate) fn smooth(curve: &[f64], sigma: f64) -> Vec<f64> {
    let reach = (3.0 * sigma).ceil() as usize;
    let kernel: Vec<f64> = (0..=reach)
        .map(|d| (-0.5 * (d as f64 / sigma).powi(2)).exp())
        .collect();
    (0..curve.len())
        .map(|i| {
            let (mut sum, mut weight) = (0.0, 0.0);
            for j in i.saturating_sub(reach)..(i + reach + 1).min(curve.len()) {
                let w = kernel[i.abs_diff(j)];
                sum += w * curve[j];
                weight += w;
            }
            if weight > 0.0 { sum / weight } else { 0.0 }
        })
        .collect()
}

/// The value that a `share` of `values` does not exceed; 0 for none.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (share * (sorted.len().saturating_sub(1)) as f64).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moving(duration: f64, change: impl Fn(usize) -> f64) -> Signals {
        let pictures = (0..(duration * 10.0) as usize)
            .map(|i| Picture {
                at: i as f64 / 10.0,
                change: change(i),
                luma: 100.0,
            })
            .collect();
        Signals {
            duration,
            picture_time: 0.1,
            pictures,
            loudness: Vec::new(),
        }
    }

    #[test]
    fn a_cut_stands_out_and_steady_motion_does_not() {
        let calm = moving(10.0, |i| if i == 50 { 40.0 } else { 2.0 });
        let found = cuts(&calm);
        assert_eq!(found.len(), 1);
        assert!((found[0].at - 5.0).abs() < 1e-9 && (found[0].before - 5.0).abs() < 1e-9);
        assert!(cuts(&moving(10.0, |_| 40.0)).is_empty());
        assert!(cuts(&moving(10.0, |i| if i == 50 { 6.0 } else { 0.1 })).is_empty());
    }

    #[test]
    fn of_two_cuts_too_close_the_stronger_stays() {
        let found = cuts(&moving(10.0, |i| match i {
            50 => 30.0,
            54 => 60.0,
            _ => 1.0,
        }));
        assert_eq!(found.iter().map(|c| c.at).collect::<Vec<_>>(), [5.4]);
    }

    #[test]
    fn pictures_left_out_widen_the_cut() {
        let mut signals = moving(10.0, |i| if i == 50 { 40.0 } else { 2.0 });
        signals.pictures.remove(49);
        let cut = cuts(&signals)[0];
        assert!((cut.before - 4.9).abs() < 1e-9 && (cut.at - 5.0).abs() < 1e-9);
    }

    #[test]
    fn silence_is_measured_against_the_file() {
        let mut loudness = vec![-30.0; 100];
        loudness[40..50].fill(-65.0);
        loudness[70..72].fill(-65.0);
        let signals = Signals {
            duration: 10.0,
            loudness,
            ..Signals::default()
        };
        let found = silences(&signals);
        assert_eq!(found.len(), 1, "two tenths are no pause");
        assert!((found[0].0 - 4.0).abs() < 1e-9 && (found[0].1 - 5.0).abs() < 1e-9);
    }

    #[test]
    fn a_flat_curve_stays_near_the_middle() {
        let noise: Vec<f64> = (0..100).map(|i| -23.0 + 0.1 * f64::from(i % 3)).collect();
        assert!(
            normalise(&noise, 3.0)
                .iter()
                .all(|n| (0.4..=0.6).contains(n))
        );
    }

    #[test]
    fn freezing_needs_two_seconds() {
        let curves = curves(
            &moving(10.0, |i| {
                if (30..60).contains(&i) || i == 80 {
                    0.0
                } else {
                    3.0
                }
            }),
            &[],
        );
        assert_eq!(curves.frozen.iter().filter(|f| **f).count(), 6);
        assert!(curves.frozen[6] && !curves.frozen[16]);
    }
}
