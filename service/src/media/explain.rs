//! Says in words and points why a stretch was chosen.

use super::select::{Pick, Scorer, WEIGHTS};
use super::signals::{self, BIN};
use super::{Component, Highlight};

impl Scorer {
    /// The pick as people and programs read it.
    pub(super) fn explain(&self, pick: &Pick) -> Highlight {
        let values = self.values(pick.start, pick.end);
        let points = self.score(pick.start, pick.end);
        let components: Vec<Component> = WEIGHTS
            .iter()
            .zip(values.iter().zip(points))
            .map(|((name, weight), (value, points))| Component {
                name: (*name).to_owned(),
                value: (value * 1000.0).round() / 1000.0,
                weight: *weight,
                points,
            })
            .collect();
        let score = (points.iter().sum::<f64>() * 10.0).round() / 10.0;
        Highlight {
            start: pick.start.at,
            end: pick.end.at,
            score,
            components,
            reasons: self.reasons(pick, &values),
            start_boundary: pick.start.kind.to_owned(),
            end_boundary: pick.end.kind.to_owned(),
        }
    }

    fn reasons(&self, pick: &Pick, values: &[f64; 7]) -> Vec<String> {
        let bins = self.excitement.len();
        let first = ((pick.start.at / BIN).floor() as usize).min(bins - 1);
        let last = ((pick.end.at / BIN).ceil() as usize).clamp(first + 1, bins);
        let mut reasons: Vec<(f64, String)> = Vec::new();
        let top = |curve: &[f64]| {
            (first..last.min(curve.len()))
                .max_by(|a, b| curve[*a].total_cmp(&curve[*b]).then(b.cmp(a)))
        };
        if let Some(i) = top(&self.curves.loudness) {
            let louder = self.curves.loudness[i] - self.usual_loudness;
            if louder >= 3.0 {
                let at = clock(i as f64 * BIN);
                reasons.push((
                    louder / 10.0,
                    format!("{louder:.0} LU louder than is usual in this video at {at}"),
                ));
            }
        }
        if let Some(i) = top(&self.curves.motion) {
            let usual = signals::percentile(&self.curves.motion, 0.5)
                .exp_m1()
                .max(0.2);
            let times = self.curves.motion[i].exp_m1() / usual;
            if times >= 1.5 {
                let at = clock(i as f64 * BIN);
                let text = if times > 10.0 {
                    format!("far more motion than is usual in this video at {at}")
                } else {
                    format!("{times:.1} times the usual motion at {at}")
                };
                reasons.push((times.min(10.0) / 8.0, text));
            }
        }
        if values[3] >= 0.8
            && let Some(event) = self.main_event(first, last)
        {
            let (from, to) = (
                clock(event.first as f64 * BIN),
                clock(event.end as f64 * BIN),
            );
            reasons.push((
                values[3],
                format!("holds the whole of what happens from {from} to {to}"),
            ));
        }
        if values[4] >= 0.2 {
            reasons.push((
                values[4],
                "stands out from the seconds around it".to_owned(),
            ));
        }
        if values[1] > self.threshold {
            reasons.push((
                values[1] / 2.0,
                "gets going within its first 3 s".to_owned(),
            ));
        }
        for (verb, boundary) in [("starts", pick.start), ("ends", pick.end)] {
            match boundary.kind {
                "shot cut" => reasons.push((0.3, format!("{verb} on a shot cut"))),
                "silence edge" => reasons.push((0.25, format!("{verb} in a pause"))),
                _ => {}
            }
        }
        if values[6] < 0.9 {
            let share = 100.0 * (1.0 - values[6]);
            reasons.push((
                0.1,
                format!("{share:.0} % of it is black, frozen or silent"),
            ));
        }
        if reasons.is_empty() {
            reasons.push((0.0, "as lively as the rest of the video".to_owned()));
        }
        reasons.sort_by(|a, b| b.0.total_cmp(&a.0));
        reasons.into_iter().map(|(_, text)| text).collect()
    }
}

/// `01:05`, or `1:01:05` from an hour on.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}
