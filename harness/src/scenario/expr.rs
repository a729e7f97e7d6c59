//! The language of expectations: `frames.p99 <= 2x steady over 5s`, `breaker(processor-2) opened within 2s`.
//!
//! Types and grammar only; what an expression means over measured data is [`crate::series`]'s business.
//!
//! ```text
//! expectation := measure | breaker
//! measure     := load "." metric cmp limit [ "over" duration ]
//! metric      := "success" | "p50" | "p90" | "p95" | "p99" | "p99.9" | "max"
//! cmp         := ">=" | "<=" | ">" | "<"
//! limit       := number "%" | duration | number "x" "steady"
//! breaker     := "breaker" "(" instance ")" ( "opened" | "closed" ) "within" duration
//! ```

use std::fmt;
use std::time::Duration;

use clip_service::units::HumanDuration;
use serde::{Deserialize, Serialize};

mod parse;

pub use parse::{ExprError, METRICS};
pub(crate) use parse::{percent, stand_in};

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
    /// A breaker changed state in time, counted from the start of the fault it is written under.
    Breaker {
        /// Instance the breaker guards.
        instance: String,
        /// Which way.
        change: BreakerChange,
        /// At most this long after the fault began (opened) or ended (closed).
        within: HumanDuration,
    },
}

/// `load.metric cmp limit [over window]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Name of the load.
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
    /// Response time at this quantile (0 to 1), from the intended start; a failed request counts as at least its timeout.
    Quantile(f64),
    /// Longest response time.
    Max,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A share, 0 to 1 (written in percent).
    Ratio(f64),
    /// A length of time.
    Time(Duration),
    /// So many times the same measure in the steady window.
    TimesSteady(f64),
}

/// Which way a breaker changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerChange {
    /// To open.
    Opened,
    /// To closed.
    Closed,
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measure(measure) => measure.fmt(f),
            Self::Breaker {
                instance,
                change,
                within,
            } => {
                let change = match change {
                    BreakerChange::Opened => "opened",
                    BreakerChange::Closed => "closed",
                };
                write!(f, "breaker({instance}) {change} within {within}")
            }
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
            Self::Quantile(share) => write!(f, "p{}", hundredfold(*share)),
            Self::Max => f.write_str("max"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(share) => write!(f, "{}%", hundredfold(*share)),
            Self::Time(time) => HumanDuration(*time).fmt(f),
            Self::TimesSteady(factor) => write!(f, "{factor}x steady"),
        }
    }
}

/// A share in percent, without the noise that the multiplication adds to its last digits.
fn hundredfold(share: f64) -> f64 {
    (share * 100.0 * 1e9).round() / 1e9
}
