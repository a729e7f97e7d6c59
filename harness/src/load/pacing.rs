//! When work is due: a pure schedule of intended starts, as offsets from the start of load.
//!
//! The rate over time is integrated once; the time of arrival *i* is where the integral reaches a mark. Even arrivals
//! have marks 0, 1, 2, …; Poisson arrivals have marks with exponentially distributed gaps of mean 1. Every time counts
//! from one origin, so nothing drifts, and the same seed gives the same schedule.

use std::time::Duration;

use clip_service::env::SharedRng;

use crate::plan::{RateStage, Shape};

/// Iterates over intended starts in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    stages: Vec<RateStage>,
    shape: Shape,
    rng: SharedRng,
    /// Mark of the next arrival, in arrivals since the start.
    mark: f64,
    /// RateStage the mark is in, arrivals before it, and its start in seconds.
    stage: usize,
    before: f64,
    began: f64,
}

/// Relative tolerance in counting marks: a sum of areas that should be whole may miss it by a float's breadth.
const WHOLE: f64 = 1e-9;

impl Schedule {
    /// The schedule of these stages. `rng` is only used for random shapes.
    #[must_use]
    pub fn new(stages: &[RateStage], shape: Shape, rng: SharedRng) -> Self {
        let mut schedule = Self {
            stages: stages.to_vec(),
            shape,
            rng,
            mark: 0.0,
            stage: 0,
            before: 0.0,
            began: 0.0,
        };
        if shape == Shape::Poisson {
            schedule.mark = schedule.gap();
        }
        schedule
    }

    fn gap(&self) -> f64 {
        match self.shape {
            Shape::Even => 1.0,
            // `unit` is in [0, 1), so the logarithm is of (0, 1].
            Shape::Poisson => -(1.0 - self.rng.unit()).ln(),
        }
    }
}

/// Arrivals of a whole stage: the area under its line.
fn area(stage: &RateStage) -> f64 {
    f64::midpoint(stage.from, stage.to) * stage.length.get().as_secs_f64()
}

/// Seconds into a stage at which `arrivals` have come: the root of `from t + (to - from) t^2 / 2 length`, in the form
/// that stays exact where the slope or the rate is zero.
fn time_of(stage: &RateStage, arrivals: f64) -> f64 {
    let length = stage.length.get().as_secs_f64();
    let slope = (stage.to - stage.from) / length;
    let root = (2.0 * slope)
        .mul_add(arrivals, stage.from * stage.from)
        .max(0.0)
        .sqrt();
    let sum = stage.from + root;
    if sum <= 0.0 {
        return 0.0;
    }
    (2.0 * arrivals / sum).clamp(0.0, length)
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let stage = self.stages.get(self.stage)?;
            let here = area(stage);
            let inside = self.mark - self.before;
            if inside < here - WHOLE * (self.before + here).max(1.0) {
                let seconds = self.began + time_of(stage, inside.max(0.0));
                self.mark += self.gap();
                return Some(Duration::from_secs_f64(seconds));
            }
            self.before += here;
            self.began += stage.length.get().as_secs_f64();
            self.stage += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use clip_service::units::HumanDuration;
    use proptest::prelude::*;

    use super::*;

    fn stage(from: f64, to: f64, ms: u64) -> RateStage {
        RateStage {
            from,
            to,
            length: HumanDuration::millis(ms),
            name: None,
        }
    }

    fn times(stages: &[RateStage], shape: Shape, seed: u64) -> Vec<Duration> {
        Schedule::new(stages, shape, SharedRng::seeded(seed)).collect()
    }

    #[test]
    fn a_constant_rate_is_exact() {
        let all = times(&[stage(100.0, 100.0, 10_000)], Shape::Even, 0);
        assert_eq!(all.len(), 1000);
        assert_eq!(all[0], Duration::ZERO);
        assert_eq!(all[500], Duration::from_secs(5));
    }

    #[test]
    fn a_ramp_has_half_of_its_end_rate_and_gets_denser() {
        let all = times(&[stage(0.0, 100.0, 10_000)], Shape::Even, 0);
        assert_eq!(all.len(), 500);
        let first_half = all.iter().filter(|t| t.as_secs_f64() < 5.0).count();
        assert_eq!(first_half, 125);
    }

    #[test]
    fn a_pause_between_stages_has_no_arrivals() {
        let stages = [
            stage(10.0, 10.0, 1000),
            stage(0.0, 0.0, 5000),
            stage(10.0, 10.0, 1000),
        ];
        let all = times(&stages, Shape::Even, 0);
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|t| {
            let t = t.as_secs_f64();
            !(1.0..6.0).contains(&t)
        }));
    }

    #[test]
    fn poisson_has_the_right_mean_and_spread() {
        let all = times(&[stage(100.0, 100.0, 100_000)], Shape::Poisson, 42);
        let n = all.len() as f64;
        // Three standard deviations of a Poisson count of mean 10 000.
        assert!((n - 10_000.0).abs() < 300.0, "{n}");
        let gaps: Vec<f64> = all
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_secs_f64())
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Exponential gaps: standard deviation equals the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.1);
    }

    proptest! {
        #[test]
        fn any_stages_give_sorted_counted_repeatable_times(
            raw in prop::collection::vec((0.0..200.0_f64, 0.0..200.0_f64, 0_u64..3000), 1..6),
            poisson in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let stages: Vec<RateStage> = raw.iter().map(|(a, b, ms)| stage(*a, *b, *ms)).collect();
            let shape = if poisson { Shape::Poisson } else { Shape::Even };
            let all = times(&stages, shape, seed);
            prop_assert!(all.is_sorted());
            let length: Duration = stages.iter().map(|stage| stage.length.get()).sum();
            prop_assert!(all.iter().all(|t| *t <= length));
            prop_assert_eq!(&all, &times(&stages, shape, seed));
            if !poisson {
                let expected = stages.iter().map(area).sum::<f64>();
                prop_assert!((all.len() as f64 - expected).abs() <= 1.0, "{} of {expected}", all.len());
            }
        }
    }
}
