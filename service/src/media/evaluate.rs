//! How well selection finds what was planted, next to three ways of not looking: the loudest windows, evenly spread
//! windows, random windows. The videos are made, so this is a regression test and says nothing about taste.

use std::io::{Seek as _, SeekFrom};

use super::ffmpeg::analyse::measure;
use super::signals::Signals;
use super::synth::{self, Noise, Recipe, Scene, Span};
use super::{MediaConfig, SelectOptions, select};
use crate::env::SharedRng;

/// Length of the baselines' windows, seconds: about that of the planted events.
const WINDOW: f64 = 8.0;

/// Events per video, and clips asked for.
const EVENTS: usize = 2;

const DURATION: f64 = 48.0;

/// A video with two events and two confounders in a random order, at random places.
fn recipe(rng: &SharedRng) -> Recipe {
    let tenths = |from: usize, to: usize| (from + rng.below(to - from + 1)) as f64 / 10.0;
    let mut kinds = vec![
        "highlight",
        "highlight",
        "motion in silence",
        "loud over a still picture",
    ];
    for i in (1..kinds.len()).rev() {
        kinds.swap(i, rng.below(i + 1));
    }
    let size = "size=160x90:rate=15";
    let mut scenes: Vec<Scene> = Vec::new();
    let mut sounds = vec![Noise {
        from: 0.0,
        to: DURATION,
        level: 0.006,
        sound: format!("anoisesrc=color=brown:seed={}:amplitude=1", rng.below(1000)),
    }];
    let mut highlights = Vec::new();
    let mut at = 0.0;
    let calm = |from: f64, to: f64, scenes: &mut Vec<Scene>| {
        let shade = 0x30
            + 0x10 * rng.below(4)
            + if scenes.len().is_multiple_of(4) {
                0x60
            } else {
                0
            };
        scenes.push(Scene {
            from,
            to,
            kind: "calm".to_owned(),
            picture: format!(
                "color=color=0x{shade:02x}{shade:02x}{shade:02x}:{size},noise=alls=6:allf=t:all_seed={}",
                rng.below(1000)
            ),
        });
    };
    for kind in kinds {
        let from = at + tenths(30, 55);
        let to = from + tenths(60, 75);
        calm(at, from, &mut scenes);
        let picture = match kind {
            "loud over a still picture" => format!("smptehdbars={size}"),
            _ => format!(
                "testsrc2={size},hue=h={},scroll=horizontal=0.03",
                rng.below(360)
            ),
        };
        scenes.push(Scene {
            from,
            to,
            kind: kind.to_owned(),
            picture,
        });
        if kind != "motion in silence" {
            let sound = format!(
                "anoisesrc=color=pink:seed={}:amplitude=1,tremolo=f=5:d=0.5",
                rng.below(1000)
            );
            sounds.push(Noise {
                from,
                to,
                level: 0.3,
                sound,
            });
        }
        if kind == "highlight" {
            highlights.push(Span { from, to });
        }
        at = to;
    }
    calm(at, DURATION.max(at + 1.0), &mut scenes);
    Recipe {
        about: "planted".to_owned(),
        width: 160,
        height: 90,
        fps: 15,
        keyframe_every: 2.0,
        scenes,
        speech: Vec::new(),
        sounds,
        highlights,
    }
}

fn iou(a: Span, b: Span) -> f64 {
    let shared = (a.to.min(b.to) - a.from.max(b.from)).max(0.0);
    shared / ((a.to - a.from) + (b.to - b.from) - shared)
}

/// Overlap of each planted event with the pick that matches it best.
fn overlaps(planted: &[Span], picks: &[Span]) -> Vec<f64> {
    planted
        .iter()
        .map(|event| {
            picks
                .iter()
                .map(|pick| iou(*event, *pick))
                .fold(0.0, f64::max)
        })
        .collect()
}

/// The loudest windows that do not overlap.
fn loudest(signals: &Signals) -> Vec<Span> {
    let length = (WINDOW * 10.0) as usize;
    let power: Vec<f64> = signals
        .loudness
        .iter()
        .map(|l| 10_f64.powf(l / 10.0))
        .collect();
    let mut windows: Vec<(f64, usize)> = power
        .windows(length)
        .enumerate()
        .map(|(i, w)| (w.iter().sum(), i))
        .collect();
    windows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut chosen: Vec<usize> = Vec::new();
    for (_, i) in windows {
        if chosen.len() < EVENTS && chosen.iter().all(|c| c.abs_diff(i) >= length) {
            chosen.push(i);
        }
    }
    chosen
        .iter()
        .map(|i| Span {
            from: *i as f64 / 10.0,
            to: *i as f64 / 10.0 + WINDOW,
        })
        .collect()
}

#[derive(Default)]
struct Tally(Vec<f64>);

impl Tally {
    fn hits(&self) -> f64 {
        self.0.iter().filter(|o| **o >= 0.5).count() as f64 / self.0.len() as f64
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

#[test]
fn finds_what_was_planted_better_than_not_looking() {
    let (mut ours, mut loud, mut uniform, mut random) = (
        Tally::default(),
        Tally::default(),
        Tally::default(),
        Tally::default(),
    );
    let (mut cuts_planted, mut cuts_found) = (0, 0);
    for seed in 0..5 {
        let rng = SharedRng::seeded(seed);
        let recipe = recipe(&rng);
        let mut file = tempfile::tempfile().expect("a temporary file");
        let truth = synth::make(&recipe, file.try_clone().expect("a handle")).expect("made");
        file.seek(SeekFrom::Start(0)).expect("rewind");
        let (_, signals) =
            measure(file, MediaConfig::default().limits(), &mut |_| {}).expect("measured");
        let options = SelectOptions {
            min_length: 4.0,
            max_length: 15.0,
            max_clips: EVENTS,
        };
        let selection = select::select(&signals, &options);
        let picks: Vec<Span> = selection
            .highlights
            .iter()
            .map(|h| Span {
                from: h.start,
                to: h.end,
            })
            .collect();
        ours.0.extend(overlaps(&truth.highlights, &picks));
        loud.0
            .extend(overlaps(&truth.highlights, &loudest(&signals)));
        let third = truth.duration / (EVENTS + 1) as f64;
        let even = |i: usize| Span {
            from: third * i as f64 - WINDOW / 2.0,
            to: third * i as f64 + WINDOW / 2.0,
        };
        uniform
            .0
            .extend(overlaps(&truth.highlights, &[even(1), even(2)]));
        for _ in 0..50 {
            let window = |_| {
                let from = rng.unit() * (truth.duration - WINDOW);
                Span {
                    from,
                    to: from + WINDOW,
                }
            };
            let picks: Vec<Span> = (0..EVENTS).map(window).collect();
            random.0.extend(overlaps(&truth.highlights, &picks));
        }
        cuts_planted += truth.cuts.len();
        cuts_found += truth
            .cuts
            .iter()
            .filter(|cut| {
                selection
                    .cuts
                    .iter()
                    .any(|found| (*found - **cut).abs() <= 1.5 / 15.0)
            })
            .count();
    }
    let rows = [
        ("ours", &ours),
        ("loudest windows", &loud),
        ("uniform", &uniform),
        ("random", &random),
    ];
    let figures: String = rows
        .iter()
        .map(|(name, tally)| {
            format!(
                "{name:16} hit@0.5 {:.2}  mean tIoU {:.2}\n",
                tally.hits(),
                tally.mean()
            )
        })
        .collect();
    let figures = format!("{figures}cuts within a frame: {cuts_found} of {cuts_planted}");
    // Shown with --nocapture, and when the test fails.
    std::io::Write::write_all(&mut std::io::stdout(), format!("{figures}\n").as_bytes()).ok();
    for (name, tally) in &rows[1..] {
        assert!(
            ours.hits() > tally.hits() && ours.mean() > tally.mean() + 0.1,
            "{name}:\n{figures}"
        );
    }
    assert!(ours.hits() >= 0.9 && ours.mean() >= 0.75, "{figures}");
    assert!(cuts_found * 10 >= cuts_planted * 8, "{figures}");
}
