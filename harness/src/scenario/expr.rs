//! The language of expectations: `frames.p99 <= 2x steady over 5s`, `breaker(processor-2) opened within 2s`.
//!
//! Types and grammar only; what an expression means over measured data is [`crate::series`]'s business.
//!
//! ```text
//! expectation   := measure | probe
//! measure       := load "." metric cmp limit [ "over" duration ]
//! load          := name | "all"
//! metric        := "success" | "within" "(" duration ")" | "goodput"
//!                | "p50" | "p90" | "p95" | "p99" | "p99.9" | "max" | "ok.p50" | "ok.p95" | "ok.p99"
//! cmp           := ">=" | "<=" | ">" | "<"
//! limit         := number "%" | duration | rate
//!                | number "x" ( "steady" | stage | load "." metric )
//!                | "steady" "+" duration
//! probe         := name "(" node ")" ( change "within" duration | cmp number )
//! ```

use std::fmt;
use std::time::Duration;

use clip_service::units::HumanDuration;
use serde::{Deserialize, Serialize};

mod parse;
mod probe;

pub use parse::METRICS;
pub(crate) use parse::{is_decimal, percent};
pub use probe::{Claim, ProbeExpr};

/// An expectation with the text it was written as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// As the author wrote it, white space folded.
    pub text: String,
    /// What it means.
    pub expr: Expr,
}

/// What may be expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expr {
    /// A number measured on one load.
    Measure(Measure),
    /// What the system tells of itself.
    Probe(ProbeExpr),
}

impl Expr {
    /// The measure, if it is one.
    #[must_use]
    pub fn measure(&self) -> Option<&Measure> {
        match self {
            Self::Measure(measure) => Some(measure),
            Self::Probe(_) => None,
        }
    }
}

/// Whether a name stands for something else than a load.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name == ALL || crate::sut::find_probe(name).is_some()
}

/// The name of all loads together.
pub const ALL: &str = "all";

/// `load.metric cmp limit [over window]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Name of the load, or [`ALL`].
    pub load: String,
    /// What is measured.
    pub metric: Metric,
    /// How it compares.
    pub cmp: Cmp,
    /// With what.
    pub limit: Limit,
    /// In every window of this length, instead of over the whole stretch.
    pub over: Option<HumanDuration>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// ok / offered.
    Success,
    /// Share of the offered that was answered ok within this time of its intended start.
    Within(Duration),
    /// Requests a second that ended ok, counted by their intended start.
    Goodput,
    /// Response time at this quantile (0 to 1), from the intended start; a failed request counts as at least its timeout.
    Quantile(f64),
    /// Longest response time.
    Max,
    /// As [`Metric::Quantile`], of those requests only that ended ok: how fast what is admitted is, where refusing the
    /// rest is right.
    OkQuantile(f64),
}

/// What a measured number is a number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// A share of requests.
    Share,
    /// Requests a second.
    Rate,
    /// A length of time.
    Time,
}

impl Metric {
    /// What its numbers are numbers of.
    #[must_use]
    pub fn dimension(self) -> Dimension {
        match self {
            Self::Success | Self::Within(_) => Dimension::Share,
            Self::Goodput => Dimension::Rate,
            Self::Quantile(_) | Self::Max | Self::OkQuantile(_) => Dimension::Time,
        }
    }
}

/// How a measure compares with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cmp {
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `<`
    Below,
}

impl Cmp {
    /// Whether `observed` meets `limit`.
    #[must_use]
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Self::AtLeast => observed >= limit,
            Self::AtMost => observed <= limit,
            Self::Above => observed > limit,
            Self::Below => observed < limit,
        }
    }
}

impl fmt::Display for Cmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::Below => "<",
        })
    }
}

/// What a measure is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A share, 0 to 1 (written in percent).
    Ratio(f64),
    /// A length of time.
    Time(Duration),
    /// So many a second.
    Rate(f64),
    /// So many times the same measure in the steady window.
    TimesSteady(f64),
    /// So much more than the same measure in the steady window.
    SteadyPlus(Duration),
    /// So many times the same measure during a named stage of the load.
    TimesStage {
        /// How many times.
        factor: f64,
        /// The stage.
        stage: String,
    },
    /// So many times a measure of a load over the same stretch of time.
    TimesLoad {
        /// How many times.
        factor: f64,
        /// The load, or [`ALL`].
        load: String,
        /// What is measured of it.
        metric: Metric,
    },
}

impl Limit {
    /// Whether it refers to the steady window.
    #[must_use]
    pub fn is_against_steady(&self) -> bool {
        matches!(self, Self::TimesSteady(_) | Self::SteadyPlus(_))
    }

    /// Whether its value is known without measuring anything.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Ratio(_) | Self::Time(_) | Self::Rate(_))
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measure(measure) => measure.fmt(f),
            Self::Probe(probe) => probe.fmt(f),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{} {} {}",
            self.load, self.metric, self.cmp, self.limit
        )?;
        match self.over {
            Some(window) => write!(f, " over {window}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Within(time) => write!(f, "within({})", HumanDuration(*time)),
            Self::Goodput => f.write_str("goodput"),
            Self::Quantile(share) => write!(f, "p{}", hundredfold(*share)),
            Self::Max => f.write_str("max"),
            Self::OkQuantile(share) => write!(f, "ok.p{}", hundredfold(*share)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(share) => write!(f, "{}%", hundredfold(*share)),
            Self::Time(time) => HumanDuration(*time).fmt(f),
            Self::Rate(rate) => write!(f, "{rate}/s"),
            Self::TimesSteady(factor) => write!(f, "{factor}x steady"),
            Self::SteadyPlus(more) => write!(f, "steady + {}", HumanDuration(*more)),
            Self::TimesStage { factor, stage } => write!(f, "{factor}x {stage}"),
            Self::TimesLoad {
                factor,
                load,
                metric,
            } => write!(f, "{factor}x {load}.{metric}"),
        }
    }
}

/// A share in percent, without the noise that the multiplication adds to its last digits.
fn hundredfold(share: f64) -> f64 {
    (share * 100.0 * 1e9).round() / 1e9
}
