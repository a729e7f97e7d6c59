//! Highlight selection without any model: a curve of excitement from sound, motion and cuts; stretches between good
//! places to cut; a score for each that a person can check; the best ones that do not overlap. Pure and deterministic.
//!
//! A highlight score says how a stretch compares with the rest of *this* video. It does not foretell views.

use super::boundary::{Boundary, boundaries, good_near};
use super::signals::{self, BIN, Curves, Cut, Signals};
use super::{Highlight, SelectOptions};

/// Name and version of the method.
pub(crate) const ALGORITHM: &str = "heuristic-v1";

/// Picks are at least this far apart, seconds.
const APART: f64 = 1.0;

/// Stretches that score less are not worth showing.
const WORTH: f64 = 40.0;

/// Parts of a score and their shares, which sum to one.
pub(super) const WEIGHTS: [(&str, f64); 7] = [
    ("energy", 0.25),
    ("hook", 0.15),
    ("peak", 0.10),
    ("complete", 0.20),
    ("contrast", 0.10),
    ("boundary", 0.12),
    ("technical", 0.08),
];

/// A stretch that stands out: its bins and the excitement in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event {
    pub(super) first: usize,
    /// One past the last bin.
    pub(super) end: usize,
    mass: f64,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    /// Best first.
    pub(crate) highlights: Vec<Highlight>,
    /// Shot cuts, seconds.
    pub(crate) cuts: Vec<f64>,
    /// Things a person should know.
    pub(crate) warnings: Vec<String>,
}

/// Chooses the highlights of a video.
pub(crate) fn select(signals: &Signals, options: &SelectOptions) -> Selection {
    let cuts = signals::cuts(signals);
    let mut warnings = Vec::new();
    if signals.loudness.is_empty() {
        warnings.push("no audio track: motion and cuts only".to_owned());
    }
    let max_length = options.max_length.max(BIN);
    let mut min_length = options.min_length.clamp(BIN, max_length);
    if signals.duration < min_length {
        warnings.push(format!(
            "the video is shorter ({:.1} s) than the shortest clip asked for ({min_length:.1} s)",
            signals.duration
        ));
        min_length = signals.duration;
    }
    let scorer = Scorer::new(signals, &cuts, max_length);
    let picks = scorer.pick(min_length, max_length, options.max_clips);
    let highlights: Vec<Highlight> = picks.iter().map(|pick| scorer.explain(pick)).collect();
    if highlights.iter().any(|highlight| highlight.score < WORTH) {
        warnings
            .push("nothing in this video stands out; the clip is its liveliest stretch".to_owned());
    }
    Selection {
        highlights,
        cuts: cuts.iter().map(|c| c.at).collect(),
        warnings,
    }
}

/// A stretch between two boundaries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pick {
    pub(super) start: Boundary,
    pub(super) end: Boundary,
    pub(super) score: f64,
}

/// A video prepared for scoring any stretch of it at once.
pub(super) struct Scorer {
    duration: f64,
    pub(super) curves: Curves,
    /// Median of what is not silence, LUFS.
    pub(super) usual_loudness: f64,
    /// Excitement per bin, 0 to 1, and its running sum.
    pub(super) excitement: Vec<f64>,
    sums: Vec<f64>,
    /// Running count of bins with something wrong.
    faults: Vec<f64>,
    /// `peaks[k][i]` is the highest excitement of bins `i..i + 2^k`.
    peaks: Vec<Vec<f64>>,
    events: Vec<Event>,
    /// Excitement above this belongs to an event.
    pub(super) threshold: f64,
    starts: Vec<Boundary>,
    ends: Vec<Boundary>,
}

impl Scorer {
    fn new(signals: &Signals, cuts: &[Cut], max_length: f64) -> Self {
        let curves = signals::curves(signals, cuts);
        let excitement = excitement(&curves);
        let bins = excitement.len();
        let wrong = |i: usize| {
            let flag = |flags: &[bool]| flags.get(i) == Some(&true);
            f64::from(u8::from(
                flag(&curves.black) || flag(&curves.frozen) || flag(&curves.silent),
            ))
        };
        let faults = running_sum((0..bins).map(wrong));
        let sums = running_sum(excitement.iter().copied());
        let median = signals::percentile(&excitement, 0.5);
        let high = signals::percentile(&excitement, 0.95);
        // The margin keeps the noise of an eventless video from being called an event.
        let threshold = ((median + high) / 2.0).max(median + 0.08);
        let events = events(&excitement, threshold, max_length);
        let mut peaks = vec![excitement.clone()];
        while 1 << peaks.len() <= bins {
            let half = 1 << (peaks.len() - 1);
            let last = &peaks[peaks.len() - 1];
            let next = (0..=bins - 2 * half)
                .map(|i| last[i].max(last[i + half]))
                .collect();
            peaks.push(next);
        }
        let (starts, ends) = boundaries(signals, cuts);
        let audible: Vec<f64> = curves
            .loudness
            .iter()
            .zip(&curves.silent)
            .filter(|(_, silent)| !**silent)
            .map(|(level, _)| *level)
            .collect();
        let usual_loudness = signals::percentile(&audible, 0.5);
        Self {
            duration: signals.duration,
            curves,
            usual_loudness,
            excitement,
            sums,
            faults,
            peaks,
            events,
            threshold,
            starts,
            ends,
        }
    }

    /// The best picks that do not overlap, best first.
    fn pick(&self, min_length: f64, max_length: f64, count: usize) -> Vec<Pick> {
        let fits = |start: f64, end: f64| {
            let length = end - start;
            length >= min_length - 1e-6 && length <= max_length + 1e-6
        };
        // Of all stretches only the best per start and the best per end are kept: memory stays linear, and every
        // stretch that could win is among them.
        let mut best_per_end: Vec<Option<Pick>> = vec![None; self.ends.len()];
        let mut candidates = Vec::new();
        let mut from = 0;
        for start in &self.starts {
            while self
                .ends
                .get(from)
                .is_some_and(|end| end.at < start.at + min_length - 1e-6)
            {
                from += 1;
            }
            let mut best: Option<Pick> = None;
            for (i, end) in self.ends.iter().enumerate().skip(from) {
                if end.at > start.at + max_length + 1e-6 {
                    break;
                }
                let score = self.score(*start, *end).iter().sum();
                let pick = Pick {
                    start: *start,
                    end: *end,
                    score,
                };
                for slot in [&mut best, &mut best_per_end[i]] {
                    if slot.is_none_or(|b| score > b.score + 1e-9) {
                        *slot = Some(pick);
                    }
                }
            }
            // Lengths so narrow that no boundary fits: any place must do.
            let end = (start.at + max_length).min(self.duration);
            if best.is_none() && fits(start.at, end) {
                let end = Boundary {
                    at: end,
                    quality: 0.25,
                    kind: "grid",
                };
                let score = self.score(*start, end).iter().sum();
                best = Some(Pick {
                    start: *start,
                    end,
                    score,
                });
            }
            candidates.extend(best);
        }
        candidates.extend(best_per_end.into_iter().flatten());
        candidates.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(a.start.at.total_cmp(&b.start.at))
                .then(a.end.at.total_cmp(&b.end.at))
        });

        let mut picks: Vec<Pick> = Vec::new();
        let clear = |picks: &[Pick], skip: usize, start: f64, end: f64| {
            picks
                .iter()
                .enumerate()
                .all(|(i, p)| i == skip || start >= p.end.at + APART || end + APART <= p.start.at)
        };
        for candidate in candidates {
            // The best one is an answer even when nothing is worth showing.
            if picks.len() >= count || (candidate.score < WORTH && !picks.is_empty()) {
                break;
            }
            if clear(&picks, usize::MAX, candidate.start.at, candidate.end.at) {
                picks.push(candidate);
            }
        }
        // The share of boundaries in the score is small and can lose; a viewer notices a missed cut at once.
        for i in 0..picks.len() {
            let pick = picks[i];
            if let Some(start) = good_near(&self.starts, pick.start)
                && fits(start.at, pick.end.at)
                && clear(&picks, i, start.at, pick.end.at)
            {
                picks[i].start = start;
            }
            let pick = picks[i];
            if let Some(end) = good_near(&self.ends, pick.end)
                && fits(pick.start.at, end.at)
                && clear(&picks, i, pick.start.at, end.at)
            {
                picks[i].end = end;
            }
            picks[i].score = self.score(picks[i].start, picks[i].end).iter().sum();
        }
        picks.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(a.start.at.total_cmp(&b.start.at))
        });
        picks
    }

    /// Points of each part, in the order of [`WEIGHTS`], each rounded to a tenth so that they sum to what is shown.
    pub(super) fn score(&self, start: Boundary, end: Boundary) -> [f64; 7] {
        let values = self.values(start, end);
        std::array::from_fn(|i| (1000.0 * values[i] * WEIGHTS[i].1).round() / 10.0)
    }

    /// The parts of a score, 0 to 1, in the order of [`WEIGHTS`].
    pub(super) fn values(&self, start: Boundary, end: Boundary) -> [f64; 7] {
        let (from, to) = (start.at, end.at);
        let inside = self.mean(&self.sums, from, to);
        let around = [(from - 5.0, from), (to, to + 5.0)]
            .into_iter()
            .filter(|(a, b)| a.max(0.0) + BIN <= b.min(self.duration))
            .map(|(a, b)| self.mean(&self.sums, a, b))
            .max_by(f64::total_cmp);
        let first = (from / BIN).floor() as usize;
        let last = (to / BIN).ceil() as usize;
        let complete = self.main_event(first, last).map_or(0.0, |event| {
            (self.mass(event.first.max(first), event.end.min(last)) / event.mass).min(1.0)
        });
        [
            inside,
            self.mean(&self.sums, from, to.min(from + 3.0)),
            self.peak(first, last),
            complete,
            around.map_or(0.0, |around| ((inside - around) / 0.5).clamp(0.0, 1.0)),
            (start.quality + end.quality) / 2.0,
            1.0 - self.mean(&self.faults, from, to),
        ]
        .map(|value| value.clamp(0.0, 1.0))
    }

    /// Mean of the curve whose running sum is `sums` between two times; bins count by the part that is covered.
    fn mean(&self, sums: &[f64], from: f64, to: f64) -> f64 {
        let bins = (sums.len() - 1) as f64;
        let (from, to) = ((from / BIN).clamp(0.0, bins), (to / BIN).clamp(0.0, bins));
        if to - from < 1e-9 {
            return 0.0;
        }
        let upto = |x: f64| {
            let whole = (x.floor() as usize).min(sums.len() - 1);
            let next = (whole + 1).min(sums.len() - 1);
            sums[whole] + (x - whole as f64) * (sums[next] - sums[whole])
        };
        (upto(to) - upto(from)) / (to - from)
    }

    fn peak(&self, first: usize, last: usize) -> f64 {
        let bins = self.excitement.len();
        let (first, last) = (
            first.min(bins - 1),
            last.clamp(first.min(bins - 1) + 1, bins),
        );
        let level = (last - first).ilog2() as usize;
        self.peaks[level][first].max(self.peaks[level][last - (1 << level)])
    }

    /// The event with the largest part inside a stretch.
    pub(super) fn main_event(&self, first: usize, last: usize) -> Option<&Event> {
        let from = self.events.partition_point(|e| e.end <= first);
        self.events[from..]
            .iter()
            .take_while(|e| e.first < last)
            .max_by(|a, b| {
                let inside = |e: &Event| self.mass(e.first.max(first), e.end.min(last));
                inside(a).total_cmp(&inside(b))
            })
    }

    /// Excitement of whole bins.
    fn mass(&self, first: usize, end: usize) -> f64 {
        if end > first {
            self.sums[end] - self.sums[first]
        } else {
            0.0
        }
    }
}

/// How exciting each bin is: sound, motion, rhythm of cuts and onsets, less where there is nothing to see or hear.
fn excitement(curves: &Curves) -> Vec<f64> {
    let motion = signals::normalise(&curves.motion, 0.3);
    let loudness = signals::normalise(&curves.loudness, 3.0);
    let onset = signals::normalise(&curves.onset, 1.0);
    let fastest = curves.rhythm.iter().copied().fold(0.0, f64::max).max(0.1);
    // Without sound its share goes to the others.
    let sound = !loudness.is_empty();
    let [w_loud, w_move, w_cut, w_onset] = if sound {
        [0.45, 0.30, 0.15, 0.10]
    } else {
        [0.0, 0.30 / 0.45, 0.15 / 0.45, 0.0]
    };
    let raw: Vec<f64> = (0..motion.len())
        .map(|i| {
            let at = |curve: &[f64]| curve.get(i).copied().unwrap_or_default();
            let level = w_loud * at(&loudness)
                + w_move * motion[i]
                + w_cut * at(&curves.rhythm) / fastest
                + w_onset * at(&onset);
            let flag = |flags: &[bool], factor: f64| {
                if flags.get(i) == Some(&true) {
                    factor
                } else {
                    1.0
                }
            };
            level * flag(&curves.black, 0.2) * flag(&curves.silent, 0.7) * flag(&curves.frozen, 0.5)
        })
        .collect();
    signals::smooth(&raw, 2.0)
}

/// Runs of excitement above `threshold`; runs less than 2 s apart are one, and none is longer than a clip may be.
fn events(excitement: &[f64], threshold: f64, max_length: f64) -> Vec<Event> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (i, e) in excitement.iter().enumerate() {
        if *e <= threshold {
            continue;
        }
        match runs.last_mut() {
            Some(run) if ((i - run.1) as f64) * BIN < 2.0 => run.1 = i + 1,
            _ => runs.push((i, i + 1)),
        }
    }
    let longest = ((max_length / BIN) as usize).max(1);
    runs.into_iter()
        .map(|(first, end)| {
            // Of a run that no clip can hold, the best stretch that one can is the event.
            let (first, end) = if end - first > longest {
                let mass = |i: usize| excitement[i..i + longest].iter().sum::<f64>();
                let mut best = (first, mass(first));
                let mut sum = best.1;
                for i in first + 1..=end - longest {
                    sum += excitement[i + longest - 1] - excitement[i - 1];
                    if sum > best.1 + 1e-9 {
                        best = (i, sum);
                    }
                }
                (best.0, best.0 + longest)
            } else {
                (first, end)
            };
            Event {
                first,
                end,
                mass: excitement[first..end].iter().sum(),
            }
        })
        .collect()
}

fn running_sum(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sums = vec![0.0];
    let mut sum = 0.0;
    for value in values {
        sum += value;
        sums.push(sum);
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::signals::Picture;

    /// A video of `seconds` with quiet noise everywhere and planted bursts.
    fn video(seconds: u32, bursts: &[(f64, f64)], noise: &[f64]) -> Signals {
        let noise_at = |i: usize| {
            noise
                .get(i % noise.len().max(1))
                .copied()
                .unwrap_or_default()
        };
        let inside = |at: f64| bursts.iter().any(|(from, to)| (*from..*to).contains(&at));
        let edge = |at: f64| {
            bursts
                .iter()
                .any(|(from, to)| (at - from).abs() < 0.05 || (at - to).abs() < 0.05)
        };
        let pictures = (0..seconds * 10)
            .map(|i| {
                let at = f64::from(i) / 10.0;
                let motion = if inside(at) { 6.0 } else { 0.6 };
                let change = if edge(at) {
                    60.0
                } else {
                    motion * (1.0 + 0.3 * noise_at(i as usize))
                };
                Picture {
                    at,
                    change,
                    luma: 110.0,
                }
            })
            .collect();
        let loudness = (0..seconds * 10)
            .map(|i| {
                let at = f64::from(i) / 10.0;
                (if inside(at) { -16.0 } else { -32.0 }) + 2.0 * noise_at(i as usize)
            })
            .collect();
        Signals {
            duration: f64::from(seconds),
            picture_time: 0.1,
            pictures,
            loudness,
        }
    }

    fn options(min_length: f64, max_length: f64, max_clips: usize) -> SelectOptions {
        SelectOptions {
            min_length,
            max_length,
            max_clips,
        }
    }

    #[test]
    fn weights_sum_to_one() {
        assert!((WEIGHTS.iter().map(|(_, weight)| weight).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_burst_is_found_whole_and_on_its_cuts() {
        let signals = video(120, &[(41.0, 56.0)], &[0.1, -0.4, 0.3, -0.2, 0.8]);
        let selection = select(&signals, &options(8.0, 30.0, 3));
        let best = &selection.highlights[0];
        assert!(
            (best.start - 41.0).abs() < 0.2 && (best.end - 56.0).abs() < 0.2,
            "{best:?}"
        );
        assert_eq!(
            (best.start_boundary.as_str(), best.end_boundary.as_str()),
            ("shot cut", "shot cut")
        );
        assert!(
            best.reasons.iter().any(|r| r.contains("LU louder")),
            "{:?}",
            best.reasons
        );
        assert!(best.score > 75.0, "{}", best.score);
    }

    #[test]
    fn a_video_without_events_scores_low() {
        let signals = video(120, &[], &[0.1, -0.4, 0.3, -0.2, 0.8]);
        let best = select(&signals, &options(8.0, 30.0, 3)).highlights[0].score;
        assert!(best <= 55.0, "{best}");
    }

    #[test]
    fn a_video_shorter_than_a_clip_is_one_clip() {
        let selection = select(&video(6, &[(2.0, 4.0)], &[0.0]), &options(15.0, 60.0, 10));
        assert_eq!(selection.highlights.len(), 1);
        assert_eq!(
            (selection.highlights[0].start, selection.highlights[0].end),
            (0.0, 6.0)
        );
        assert!(
            selection.warnings[0].contains("shorter"),
            "{:?}",
            selection.warnings
        );
    }

    #[test]
    fn a_single_length_is_met_exactly() {
        let selection = select(
            &video(30, &[(9.0, 14.0)], &[0.1, -0.2]),
            &options(7.3, 7.3, 2),
        );
        assert_eq!(selection.highlights.len(), 1);
        assert!(
            selection
                .highlights
                .iter()
                .all(|h| (h.end - h.start - 7.3).abs() < 1e-6),
            "{selection:?}"
        );
    }

    #[test]
    fn without_sound_motion_decides_and_it_says_so() {
        let mut signals = video(120, &[(41.0, 56.0)], &[0.1, -0.4, 0.3]);
        signals.loudness.clear();
        let selection = select(&signals, &options(8.0, 30.0, 3));
        assert!(
            (selection.highlights[0].start - 41.0).abs() < 0.2,
            "{:?}",
            selection.highlights[0]
        );
        assert_eq!(selection.warnings, ["no audio track: motion and cuts only"]);
    }

    #[test]
    fn louder_as_a_whole_changes_nothing() {
        let signals = video(120, &[(41.0, 56.0), (80.0, 92.0)], &[0.1, -0.4, 0.3, -0.2]);
        let mut louder = signals.clone();
        louder.loudness.iter_mut().for_each(|l| *l += 6.0);
        let spans = |s| -> Vec<(f64, f64)> {
            select(s, &options(8.0, 30.0, 2))
                .highlights
                .iter()
                .map(|h| (h.start, h.end))
                .collect()
        };
        assert_eq!(spans(&signals), spans(&louder));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn picks_keep_every_promise(
            seconds in 5_u32..150,
            starts in prop::collection::vec((0.0..140.0_f64, 2.0..25.0_f64), 0..4),
            noise in prop::collection::vec(-3.0..3.0_f64, 1..40),
            min in 1.0..20.0_f64,
            extra in 0.0..40.0_f64,
            count in 1_usize..8,
        ) {
            let bursts: Vec<(f64, f64)> = starts.iter().map(|(from, length)| (*from, from + length)).collect();
            let signals = video(seconds, &bursts, &noise);
            let options = options(min, min + extra, count);
            let selection = select(&signals, &options);
            prop_assert!(!selection.highlights.is_empty() || signals.duration < 0.5);
            prop_assert!(selection.highlights.len() <= count);
            let shortest = min.min(signals.duration);
            for h in &selection.highlights {
                let length = h.end - h.start;
                prop_assert!(length >= shortest - 1e-3 && length <= min + extra + 1e-3, "{h:?}");
                prop_assert!(h.start >= 0.0 && h.end <= signals.duration + 1e-9);
                let sum: f64 = h.components.iter().map(|c| c.points).sum();
                prop_assert!((sum - h.score).abs() < 0.1);
                prop_assert!((0.0..=100.0).contains(&h.score));
                for c in &h.components {
                    prop_assert!((c.points - 100.0 * c.value * c.weight).abs() < 0.1, "{c:?}");
                }
                prop_assert!(!h.reasons.is_empty());
            }
            let mut spans: Vec<(f64, f64)> = selection.highlights.iter().map(|h| (h.start, h.end)).collect();
            spans.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert!(spans.windows(2).all(|w| w[1].0 - w[0].1 >= APART - 1e-9), "{spans:?}");
            prop_assert!(selection.highlights.windows(2).all(|w| w[0].score >= w[1].score));
            prop_assert_eq!(select(&signals, &options), selection);
        }
    }
}
