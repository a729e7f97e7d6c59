//! What a measure means over measured data: the one place that says so, for the conductor (steady state, stop
//! conditions, recovery) and for the judge alike.
//!
//! - A quantile *q* needs at least 1 / (1 - q) requests, anything else one; with fewer there is no reading, and no
//!   reading never holds.
//! - `over W` looks at every window of length W that fits: the first begins where the stretch begins, each next one a
//!   second later, and one ends where the stretch ends. The worst is reported. Windows without enough requests are
//!   passed over; when that leaves none, there is no reading.
//! - `2x steady` measures the same thing over the steady window of the run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Point, SLICE, Series, Window, nearest_rank};
use crate::event::Offset;
use crate::scenario::expr::{Cmp, Expectation, Expr, Limit, Measure, Metric};

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
            _ => None,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::Ratio(share) => share,
            Self::Time(time) => time.as_secs_f64(),
        }
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
    /// The limit is a multiple of the steady state, of which there is no reading.
    Baseline,
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
    /// The limit used; a multiple of steady is worked out.
    pub limit: Option<Reading>,
    /// The same measure in the steady window, where the limit refers to it.
    pub steady: Option<Reading>,
    /// Requests in the worst window; in the whole stretch when there is no reading.
    pub n: u64,
    /// Those of them that ended as expected.
    pub ok: u64,
    /// The worst window; the whole stretch without `over`.
    pub window: Window,
    /// Why there is no answer.
    pub missing: Option<Missing>,
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
    pub fn evaluate(
        &self,
        measure: &Measure,
        stretch: Window,
        baseline: Option<Window>,
    ) -> Observation {
        let mut found = Observation {
            holds: None,
            observed: None,
            limit: None,
            steady: None,
            n: 0,
            ok: 0,
            window: stretch,
            missing: None,
        };
        let Some(load) = self.load(&measure.load) else {
            found.missing = Some(Missing::Load(measure.load.clone()));
            return found;
        };
        let whole = self.counts(load, stretch);
        (found.n, found.ok) = (whole.offered(), whole.ok);
        let read = |window| self.read(load, measure.metric, window);

        found.limit = match measure.limit {
            Limit::Ratio(share) => Some(Reading::Ratio(share)),
            Limit::Time(time) => Some(Reading::Time(time)),
            Limit::TimesSteady(times) => {
                found.steady = baseline.and_then(read);
                found.steady.map(|steady| match steady {
                    Reading::Ratio(share) => Reading::Ratio(share * times),
                    Reading::Time(time) => Reading::Time(time.mul_f64(times.max(0.0))),
                })
            }
        };
        let windows = match measure.over {
            None => vec![stretch],
            Some(length) => sliding(stretch, length.get()),
        };
        let low_is_worse = matches!(measure.cmp, Cmp::AtLeast | Cmp::Above);
        let worst = windows
            .iter()
            .filter_map(|window| Some((*window, read(*window)?)))
            .reduce(|worst, next| {
                let worse = match low_is_worse {
                    true => next.1.number() < worst.1.number(),
                    false => next.1.number() > worst.1.number(),
                };
                if worse { next } else { worst }
            });
        let Some((window, observed)) = worst else {
            found.missing = Some(match measure.over {
                Some(length) if windows.is_empty() => Missing::Stretch {
                    window: length.get(),
                    stretch: stretch.length(),
                },
                _ => Missing::Samples {
                    needed: measure.metric.needed(),
                    found: whole.offered(),
                },
            });
            return found;
        };
        let counts = self.counts(load, window);
        (found.n, found.ok) = (counts.offered(), counts.ok);
        found.window = window;
        found.observed = Some(observed);
        match found.limit {
            None => found.missing = Some(Missing::Baseline),
            Some(limit) => {
                found.holds = observed.meets(measure.cmp, limit);
                found.missing = found.holds.is_none().then_some(Missing::Limit);
            }
        }
        found
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
                Expr::Measure(measure) => match self.evaluate(measure, window, baseline).holds {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => all = None,
                },
                // Breakers are events, not requests: nothing in here can say.
                Expr::Breaker { .. } => all = None,
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

    /// As [`Times::quantile`](super::Times::quantile) of the response times, without sorting them: windows are searched
    /// by the thousand.
    fn quantile(&self, load: usize, window: Window, q: f64) -> Option<Duration> {
        let mut times: Vec<_> = self.points(load, window).map(Point::response).collect();
        let at = nearest_rank(q, times.len())?;
        let enough = times.len() as u64 >= needed(q);
        enough.then(|| *times.select_nth_unstable(at).1)
    }

    /// The metric over one window, when there are enough requests.
    #[must_use]
    pub fn read(&self, load: usize, metric: Metric, window: Window) -> Option<Reading> {
        match metric {
            Metric::Success => self.counts(load, window).success().map(Reading::Ratio),
            Metric::Quantile(q) => self.quantile(load, window, q).map(Reading::Time),
            Metric::Max => self
                .points(load, window)
                .map(Point::response)
                .max()
                .map(Reading::Time),
        }
    }
}

impl Metric {
    /// Fewest requests that give a reading.
    #[must_use]
    pub fn needed(self) -> u64 {
        match self {
            Self::Success | Self::Max => 1,
            Self::Quantile(q) => needed(q),
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
