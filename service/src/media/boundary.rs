//! Where clips may start and end: on shot cuts, in pauses, at the ends of the file, and on a grid so that there is always
//! an answer.

use super::signals::{self, BIN, Cut, Signals};

/// An edge moves onto a good boundary this close, seconds.
const SNAP: f64 = 1.5;

/// A place where a clip may start or end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Boundary {
    pub(super) at: f64,
    pub(super) quality: f64,
    pub(super) kind: &'static str,
}

/// Where clips may start and where they may end, each in order of time.
pub(super) fn boundaries(signals: &Signals, cuts: &[Cut]) -> (Vec<Boundary>, Vec<Boundary>) {
    let duration = signals.duration;
    let mut starts = vec![Boundary {
        at: 0.0,
        quality: 0.8,
        kind: "file start",
    }];
    let mut ends = vec![Boundary {
        at: duration,
        quality: 0.8,
        kind: "file end",
    }];
    for cut in cuts {
        starts.push(Boundary {
            at: cut.at,
            quality: 1.0,
            kind: "shot cut",
        });
        ends.push(Boundary {
            at: cut.before,
            quality: 1.0,
            kind: "shot cut",
        });
    }
    for (from, to) in signals::silences(signals) {
        // In the middle of the pause, but never far from the sound.
        let middle = (from + to) / 2.0;
        if to < duration - BIN {
            starts.push(Boundary {
                at: middle.max(to - 0.35),
                quality: 0.9,
                kind: "silence edge",
            });
        }
        if from > BIN {
            ends.push(Boundary {
                at: middle.min(from + 0.45),
                quality: 0.9,
                kind: "silence edge",
            });
        }
    }
    // The grid makes sure that there is always an answer.
    let mut tick = 1;
    while f64::from(tick) * BIN < duration {
        let grid = Boundary {
            at: f64::from(tick) * BIN,
            quality: 0.25,
            kind: "grid",
        };
        starts.push(grid);
        ends.push(grid);
        tick += 1;
    }
    for list in [&mut starts, &mut ends] {
        list.sort_by(|a, b| a.at.total_cmp(&b.at).then(b.quality.total_cmp(&a.quality)));
        // Of boundaries at the same place the best is the reason.
        let mut kept: Vec<Boundary> = Vec::with_capacity(list.len());
        for boundary in list.drain(..) {
            match kept.last_mut() {
                Some(last) if boundary.at - last.at < 0.05 => {
                    if boundary.quality > last.quality {
                        *last = boundary;
                    }
                }
                _ => kept.push(boundary),
            }
        }
        *list = kept;
    }
    (starts, ends)
}

/// The nearest good boundary within reach of a poor one.
pub(super) fn good_near(boundaries: &[Boundary], edge: Boundary) -> Option<Boundary> {
    if edge.quality >= 0.9 {
        return None;
    }
    let from = boundaries.partition_point(|b| b.at < edge.at - SNAP);
    boundaries[from..]
        .iter()
        .take_while(|b| b.at <= edge.at + SNAP)
        .filter(|b| b.quality >= 0.9)
        .min_by(|a, b| (a.at - edge.at).abs().total_cmp(&(b.at - edge.at).abs()))
        .copied()
}
