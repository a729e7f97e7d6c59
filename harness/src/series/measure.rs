//! What a measure means over measured data: the one place that says so, for the conductor (steady state, stop
//! conditions, recovery) and for the judge alike.
//!
//! - A quantile *q* needs at least 1 / (1 - q) requests, anything else one; with fewer there is no reading, and no
//!   reading never holds.
//! - `over W` looks at every window of length W that fits: the first begins where the stretch begins, each next one a
//!   second later, and one ends where the stretch ends. The worst is reported. Windows without enough requests are
//!   passed over; when that leaves none, there is no reading.
//! - `2x steady` and `steady + 50ms` measure the same thing over the steady window of the run, `0.9x peak` over the stage
//!   of that name, `0.5x plain.p95` measures the other load over the same window as this one. With `over`, the worst
//!   window is then the one that is farthest from its own limit.
//! - Goodput is counted by intended starts: of the requests of a stretch those that ended ok, by its length.
//! - `all` is every load together.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Counts, Point, SLICE, Series, Window, nearest_rank};
use crate::event::Offset;
use crate::scenario::expr::{ALL, Cmp, Expectation, Expr, Limit, Measure, Metric};

/// Distance between the starts of windows when the first one is searched in which something holds.
pub const SEARCH_STEP: Duration = Duration::from_millis(100);

/// A measured value, or the limit it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// A share, 0 to 1.
    Ratio(f64),
    /// A length of time.
    Time(Duration),
    /// So many a second.
    Rate(f64),
}

impl Reading {
    /// Whether this meets a limit of the same sort. Shares are compared to nine digits: `99.9%` read as a float is
    /// not exactly 999 / 1000.
    fn meets(self, cmp: Cmp, limit: Self) -> Option<bool> {
        let nine_digits = |share: f64| (share * 1e9).round();
        match (self, limit) {
            (Self::Ratio(a), Self::Ratio(b)) => Some(cmp.holds(nine_digits(a), nine_digits(b))),
            (Self::Time(a), Self::Time(b)) => {
                Some(cmp.holds(a.as_nanos() as f64, b.as_nanos() as f64))
            }
            (Self::Rate(a), Self::Rate(b)) => Some(cmp.holds(nine_digits(a), nine_digits(b))),
            _ => None,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Ratio(share) => share,
            Self::Time(time) => time.as_secs_f64(),
            Self::Rate(rate) => rate,
        }
    }

    fn times(self, factor: f64) -> Self {
        match self {
            Self::Ratio(share) => Self::Ratio(share * factor),
            Self::Time(time) => Self::Time(time.mul_f64(factor.max(0.0))),
            Self::Rate(rate) => Self::Rate(rate * factor),
        }
    }

    /// How much less this is than another of the same sort, as a share of it; negative for more.
    #[must_use]
    pub fn saving(self, than: Self) -> Option<f64> {
        let than = than.number();
        (than > 0.0).then(|| 1.0 - self.number() / than)
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The plan has no such load.
    Load(String),
    /// Fewer requests than the metric needs.
    Samples {
        /// What it needs.
        needed: u64,
        /// What there was.
        found: u64,
    },
    /// The stretch of time is shorter than one window.
    Stretch {
        /// The window asked for.
        window: Duration,
        /// The stretch.
        stretch: Duration,
    },
    /// The limit rests on the steady state, of which there is no reading.
    Baseline,
    /// The limit rests on a stage or on another load, of which there is no reading.
    Other(String),
    /// The limit is of another sort than the metric.
    Limit,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Load(name) => write!(f, "there is no load `{name}`"),
            Self::Samples { needed, found } => {
                write!(f, "not enough samples: {found} of at least {needed}")
            }
            Self::Stretch { window, stretch } => write!(
                f,
                "not enough samples: {:.1} s is shorter than one window of {:.1} s",
                stretch.as_secs_f64(),
                window.as_secs_f64()
            ),
            Self::Baseline => {
                f.write_str("not enough samples in the steady window to compare with")
            }
            Self::Other(name) => write!(f, "not enough samples of {name} to compare with"),
            Self::Limit => f.write_str("the limit is not of the sort that is measured"),
        }
    }
}

/// What was found when a measure was held against the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Whether it holds; `None` when the data does not say.
    pub holds: Option<bool>,
    /// The value measured, in the worst window.
    pub observed: Option<Reading>,
    /// The limit used; one that rests on something measured is worked out.
    pub limit: Option<Reading>,
    /// What the limit rests on, where it is not a number of its own.
    pub base: Option<Base>,
    /// Requests in the worst window; in the whole stretch when there is no reading.
    pub n: u64,
    /// Those of them that ended as expected.
    pub ok: u64,
    /// The worst window; the whole stretch without `over`.
    pub window: Window,
    /// Why there is no answer.
    pub missing: Option<Missing>,
}

/// Something measured that a limit rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// `steady`, the name of a stage, or a measure of a load: `plain.p95`.
    pub name: String,
    /// What was measured.
    pub reading: Reading,
}

/// Stretches of a run that limits may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks<'a> {
    /// The steady window, where there is one.
    pub steady: Option<Window>,
    /// Named stages.
    pub stages: &'a [(String, Window)],
}

impl From<Option<Window>> for Marks<'_> {
    fn from(steady: Option<Window>) -> Self {
        Self {
            steady,
            stages: &[],
        }
    }
}

/// Fewest requests of which a quantile is more than their maximum.
#[must_use]
pub fn needed(q: f64) -> u64 {
    (1.0 / (1.0 - q.clamp(0.0, 0.999_999)) - 1e-6)
        .ceil()
        .max(1.0) as u64
}

impl Series {
    /// Holds a measure against the requests of a stretch of time.
    ///
    /// While a run goes on, requests still under way are not in the series yet: a window says everything only once
    /// one timeout has passed since its end.
    #[must_use]
    pub fn evaluate(&self, measure: &Measure, stretch: Window, marks: Marks<'_>) -> Observation {
        let mut found = Observation {
            holds: None,
            observed: None,
            limit: None,
            base: None,
            n: 0,
            ok: 0,
            window: stretch,
            missing: None,
        };
        let Some(loads) = self.named(&measure.load) else {
            found.missing = Some(Missing::Load(measure.load.clone()));
            return found;
        };
        let whole = self.counts_of(loads.clone(), stretch);
        (found.n, found.ok) = (whole.offered(), whole.ok);
        let windows = match measure.over {
            None => vec![stretch],
            Some(length) => sliding(stretch, length.get()),
        };
        // The limit moves from window to window only where it is measured there as well.
        let moves = matches!(measure.limit, Limit::TimesLoad { .. });
        let fixed = (!moves).then(|| self.limit(measure, stretch, marks));
        let low_is_worse = matches!(measure.cmp, Cmp::AtLeast | Cmp::Above);
        let mut worst: Option<(f64, Window, Reading, Bound)> = None;
        let mut nothing_to_compare = None;
        for window in &windows {
            let Some(observed) = self.read_of(loads.clone(), measure.metric, *window) else {
                continue;
            };
            let bound = match &fixed {
                Some(fixed) => fixed.clone(),
                None => self.limit(measure, *window, marks),
            };
            if let (true, Err(missing)) = (moves, &bound) {
                nothing_to_compare = Some(missing.clone());
                continue;
            }
            let limit = bound.as_ref().map_or(0.0, |(limit, _)| limit.number());
            let above = observed.number() - limit;
            let miss = if low_is_worse { -above } else { above };
            if worst.as_ref().is_none_or(|(worst, ..)| miss > *worst) {
                worst = Some((miss, *window, observed, bound));
            }
        }
        let Some((_, window, observed, bound)) = worst else {
            if let Some(Ok((limit, base))) = fixed {
                (found.limit, found.base) = (Some(limit), base);
            }
            found.missing = nothing_to_compare.or_else(|| {
                Some(match measure.over {
                    Some(length) if windows.is_empty() => Missing::Stretch {
                        window: length.get(),
                        stretch: stretch.length(),
                    },
                    _ => Missing::Samples {
                        needed: measure.metric.needed(),
                        found: whole.offered(),
                    },
                })
            });
            return found;
        };
        let counts = self.counts_of(loads, window);
        (found.n, found.ok) = (counts.offered(), counts.ok);
        found.window = window;
        found.observed = Some(observed);
        match bound {
            Err(missing) => found.missing = Some(missing),
            Ok((limit, base)) => {
                (found.limit, found.base) = (Some(limit), base);
                found.holds = observed.meets(measure.cmp, limit);
                found.missing = found.holds.is_none().then_some(Missing::Limit);
            }
        }
        found
    }

    /// What a measure must meet in a window, and what that rests on.
    fn limit(&self, measure: &Measure, window: Window, marks: Marks<'_>) -> Bound {
        let metric = measure.metric;
        let of_this = |window| self.read_of(self.named(&measure.load)?, metric, window);
        let rests_on = |name: &str, reading: Reading, limit| {
            let base = Base {
                name: name.to_owned(),
                reading,
            };
            Ok((limit, Some(base)))
        };
        let steady = || marks.steady.and_then(of_this).ok_or(Missing::Baseline);
        match &measure.limit {
            Limit::Ratio(share) => Ok((Reading::Ratio(*share), None)),
            Limit::Time(time) => Ok((Reading::Time(*time), None)),
            Limit::Rate(rate) => Ok((Reading::Rate(*rate), None)),
            Limit::TimesSteady(factor) => {
                let steady = steady()?;
                rests_on("steady", steady, steady.times(*factor))
            }
            Limit::SteadyPlus(more) => {
                let steady = steady()?;
                let limit = match steady {
                    Reading::Time(time) => Reading::Time(time + *more),
                    _ => return Err(Missing::Limit),
                };
                rests_on("steady", steady, limit)
            }
            Limit::TimesStage { factor, stage } => {
                let found = marks.stages.iter().find(|(name, _)| name == stage);
                let reading = found
                    .and_then(|(_, window)| of_this(*window))
                    .ok_or_else(|| Missing::Other(stage.clone()))?;
                rests_on(stage, reading, reading.times(*factor))
            }
            Limit::TimesLoad {
                factor,
                load,
                metric,
            } => {
                let name = format!("{load}.{metric}");
                match self
                    .named(load)
                    .and_then(|loads| self.read_of(loads, *metric, window))
                {
                    Some(reading) => rests_on(&name, reading, reading.times(*factor)),
                    None => Err(Missing::Other(name)),
                }
            }
        }
    }

    /// Whether all of these hold over the window; `None` when at least one has no answer and none is false. Nothing
    /// to hold is no answer either.
    #[must_use]
    pub fn holds(
        &self,
        hold: &[Expectation],
        window: Window,
        baseline: Option<Window>,
    ) -> Option<bool> {
        let mut all = if hold.is_empty() { None } else { Some(true) };
        for expectation in hold {
            match &expectation.expr {
                Expr::Measure(measure) => {
                    match self.evaluate(measure, window, baseline.into()).holds {
                        Some(true) => {}
                        Some(false) => return Some(false),
                        None => all = None,
                    }
                }
                // Breakers and tries are events, not requests: nothing in here can say.
                Expr::Probe(_) => all = None,
            }
        }
        all
    }

    /// The first window of this length, searched in steps of [`SEARCH_STEP`], that begins at or after `from`, ends at
    /// or before `until`, and in which all of these hold.
    #[must_use]
    pub fn first_holding(
        &self,
        hold: &[Expectation],
        length: Duration,
        from: Offset,
        until: Offset,
        baseline: Option<Window>,
    ) -> Option<Window> {
        let mut window = Window::starting(from, length);
        while window.to <= until {
            if self.holds(hold, window, baseline) == Some(true) {
                return Some(window);
            }
            window = Window::starting(window.from.plus(SEARCH_STEP), length);
        }
        None
    }

    /// The loads that a name stands for: one, or all of them.
    fn named(&self, name: &str) -> Option<Range<usize>> {
        match self.load(name) {
            Some(load) => Some(load..load + 1),
            None => (name == ALL).then_some(0..self.loads.len()),
        }
    }

    /// How the requests of a window ended, over these loads.
    fn counts_of(&self, loads: Range<usize>, window: Window) -> Counts {
        loads
            .map(|load| self.counts(load, window))
            .fold(Counts::default(), Counts::and)
    }

    /// The metric of one load over one window, when there are enough requests.
    #[must_use]
    pub fn read(&self, load: usize, metric: Metric, window: Window) -> Option<Reading> {
        self.read_of(load..load + 1, metric, window)
    }

    fn read_of(&self, loads: Range<usize>, metric: Metric, window: Window) -> Option<Reading> {
        let points = || loads.clone().flat_map(|load| self.points(load, window));
        match metric {
            Metric::Success => {
                let share = self.counts_of(loads.clone(), window).success();
                share.map(Reading::Ratio)
            }
            Metric::Within(time) => {
                let (mut offered, mut within) = (0_u64, 0_u64);
                for point in points() {
                    offered += 1;
                    within += u64::from(point.ok() && point.response() <= time);
                }
                (offered > 0).then(|| Reading::Ratio(within as f64 / offered as f64))
            }
            Metric::Goodput => {
                let counts = self.counts_of(loads.clone(), window);
                let length = window.length().as_secs_f64();
                let any = counts.offered() > 0 && length > 0.0;
                any.then(|| Reading::Rate(counts.ok as f64 / length))
            }
            // As `Times::quantile` of the response times, without sorting them: windows are searched by the thousand.
            Metric::Quantile(q) => quantile(q, points().map(Point::response).collect()),
            Metric::OkQuantile(q) => {
                let ok = points().filter(|point| point.ok());
                quantile(q, ok.map(Point::response).collect())
            }
            Metric::Max => points().map(Point::response).max().map(Reading::Time),
        }
    }
}

fn quantile(q: f64, mut times: Vec<Duration>) -> Option<Reading> {
    let at = nearest_rank(q, times.len())?;
    let enough = times.len() as u64 >= needed(q);
    enough.then(|| Reading::Time(*times.select_nth_unstable(at).1))
}

/// A limit and what it rests on, or why there is none.
type Bound = Result<(Reading, Option<Base>), Missing>;

impl Metric {
    /// Fewest requests that give a reading.
    #[must_use]
    pub fn needed(self) -> u64 {
        match self {
            Self::Success | Self::Within(_) | Self::Goodput | Self::Max => 1,
            Self::Quantile(q) | Self::OkQuantile(q) => needed(q),
        }
    }
}

/// Windows of this length in a stretch, a slice apart, the last one flush with its end.
fn sliding(stretch: Window, length: Duration) -> Vec<Window> {
    if length.is_zero() || stretch.length() < length {
        return Vec::new();
    }
    let mut windows = Vec::new();
    let mut window = Window::starting(stretch.from, length);
    while window.to <= stretch.to {
        windows.push(window);
        window = Window::starting(window.from.plus(SLICE), length);
    }
    let last = Window::new(
        Offset(stretch.to.0 - u64::try_from(length.as_micros()).unwrap_or(0)),
        stretch.to,
    );
    if windows.last().is_some_and(|window| *window != last) {
        windows.push(last);
    }
    windows
}
