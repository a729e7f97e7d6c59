//! From text to [`Expectation`], with the column of whatever is wrong.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::{Cmp, Dimension, Expectation, Expr, Limit, Measure, Metric};
use crate::scenario::suggest::{with_duration_unit, with_percent_sign, with_rate_unit};
use crate::scenario::text::diagnostic::nearest;
use crate::scenario::text::syntax::{Scan, SyntaxError};
use crate::scenario::value::per_second;

/// What can be measured on a load, with its meaning. `within` stands for all its times.
pub const METRICS: &[(&str, &str, Metric)] = &[
    (
        "success",
        "ok / offered; unsent, timed out and unknown count as not ok",
        Metric::Success,
    ),
    (
        "within",
        "share of the offered that was answered ok within the time in brackets of its intended start",
        Metric::Within(Duration::ZERO),
    ),
    (
        "goodput",
        "requests a second that ended ok",
        Metric::Goodput,
    ),
    (
        "p50",
        "median response time, from the intended start",
        Metric::Quantile(0.5),
    ),
    (
        "p90",
        "90 % of responses are at least this fast",
        Metric::Quantile(0.9),
    ),
    ("p95", "95 %", Metric::Quantile(0.95)),
    ("p99", "99 %", Metric::Quantile(0.99)),
    ("p99.9", "99.9 %", Metric::Quantile(0.999)),
    ("max", "longest response time", Metric::Max),
    (
        "ok.p50",
        "median response time of the requests that ended ok",
        Metric::OkQuantile(0.5),
    ),
    ("ok.p95", "95 % of those", Metric::OkQuantile(0.95)),
    ("ok.p99", "99 % of those", Metric::OkQuantile(0.99)),
];

impl Expectation {
    /// Reads one.
    ///
    /// # Errors
    /// Where the text leaves the grammar, and what is expected there.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut scan = Scan::new(text);
        let expr = scan.expectation()?;
        scan.space();
        if !scan.is_at_end() {
            let rest = scan.rest_word();
            return Err(scan.error(
                rest.clone(),
                format!("`{}` does not belong here", scan.slice(rest)),
                "an expectation ends after its limit or `over 5s`",
            ));
        }
        Ok(Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            expr,
        })
    }
}

impl std::str::FromStr for Expectation {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A share from `99.9%`.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?.trim_end();
    // Shifting the point in the text gives the float nearest to the share; dividing by 100 gives its neighbour at times.
    let share = format!("{number}e-2").parse::<f64>().ok()?;
    (is_decimal(number) && (0.0..=1.0).contains(&share)).then_some(share)
}

/// Digits with at most one point; the standard library also takes `inf`, `1e9` and signs.
pub(crate) fn is_decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.matches('.').count() <= 1
}

impl Scan {
    fn expectation(&mut self) -> Result<Expr, SyntaxError> {
        self.space();
        let start = self.at();
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(
                start..start + 1,
                "an expectation begins with the name of a load",
                "write LOAD.success >= 99.9%",
            ));
        }
        self.space();
        if self.peek() == Some('(') {
            return self.probe(&name, start).map(Expr::Probe);
        }
        if self.peek() != Some('.') {
            return Err(self.error(
                start..start + name.chars().count(),
                format!("a measure is missing after `{name}`"),
                format!("write {name}.success, {name}.p99, …"),
            ));
        }
        self.advance();
        self.measure(name).map(Expr::Measure)
    }

    fn measure(&mut self, load: String) -> Result<Measure, SyntaxError> {
        let metric = self.metric()?;
        let cmp = self.cmp()?;
        let limit = self.limit(metric)?;
        self.space();
        let start = self.at();
        let over = match self.rest_word().is_empty() {
            true => None,
            false if self.name() == "over" => Some(self.duration(|window| {
                (!window.get().is_zero())
                    .then_some(())
                    .ok_or("a window must be longer than zero: over 5s")
            })?),
            false => {
                self.back_to(start);
                None
            }
        };
        Ok(Measure {
            load,
            metric,
            cmp,
            limit,
            over,
        })
    }

    /// The word of a metric, with its time where it has one.
    fn metric(&mut self) -> Result<Metric, SyntaxError> {
        let start = self.at();
        let word = self.take(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        let Some((.., metric)) = METRICS.iter().find(|(name, ..)| *name == word) else {
            let known = METRICS.iter().map(|(name, ..)| *name);
            let help = match nearest(&word, known.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(self.error(
                start..self.at().max(start + 1),
                format!("unknown measure `{word}`"),
                &help,
            ));
        };
        let Metric::Within(_) = metric else {
            return Ok(*metric);
        };
        let help = "write within(250ms)";
        self.bracket('(', help)?;
        let time = self.duration(|time| (!time.get().is_zero()).then_some(()).ok_or(help))?;
        self.bracket(')', help)?;
        Ok(Metric::Within(time.get()))
    }

    pub(super) fn bracket(&mut self, bracket: char, help: &str) -> Result<(), SyntaxError> {
        self.space();
        if self.peek() != Some(bracket) {
            let message = format!("`{bracket}` is expected here");
            return Err(self.error(self.at()..self.at() + 1, &message, help));
        }
        self.advance();
        Ok(())
    }

    pub(super) fn cmp(&mut self) -> Result<Cmp, SyntaxError> {
        self.space();
        let start = self.at();
        let sign = self.take(|c| matches!(c, '<' | '>' | '=' | '!' | '≤' | '≥'));
        Ok(match sign.as_str() {
            ">=" | "≥" => Cmp::AtLeast,
            "<=" | "≤" => Cmp::AtMost,
            ">" => Cmp::Above,
            "<" => Cmp::Below,
            _ => {
                return Err(self.error(
                    start..self.at().max(start + 1),
                    "a comparison is expected here",
                    match sign.as_str() {
                        "=>" => "write >=",
                        "=<" => "write <=",
                        "=" | "==" => "write >= or <=",
                        _ => "write >=, <=, > or <",
                    },
                ));
            }
        })
    }

    fn limit(&mut self, metric: Metric) -> Result<Limit, SyntaxError> {
        self.space();
        let start = self.at();
        if self.peek().is_some_and(char::is_alphabetic) {
            return self.steady_plus(metric);
        }
        let sign = self.take(|c| matches!(c, '-' | '+'));
        let number = sign + &self.take(|c| c.is_ascii_digit() || c == '.');
        let unit = self.take(|c| c.is_alphanumeric() || matches!(c, '%' | '.' | '/'));
        if unit == "x" || (unit.is_empty() && self.upcoming() == "x") {
            if unit.is_empty() {
                self.space();
                self.advance();
            }
            return self.times(metric, &number, start);
        }
        let mut text = format!("{number}{unit}");
        let place = start..self.at().max(start + 1);
        // `99.9 %` is as good as `99.9%`, `100 / s` as `100/s`.
        if unit.is_empty() && self.upcoming().starts_with(['%', '/']) {
            self.space();
            text.extend(self.peek());
            self.advance();
        }
        if text.ends_with('/') {
            self.space();
            text.push_str(&self.name());
        }
        let (limit, what, meant, help) = match metric.dimension() {
            Dimension::Share => (
                percent(&text).map(Limit::Ratio),
                "a percentage from 0% to 100%",
                with_percent_sign(&text),
                "write a percentage: 99.9%",
            ),
            Dimension::Rate => (
                per_second(&text).map(Limit::Rate),
                "a rate",
                with_rate_unit(&text),
                "write a rate or a factor: 40/s, 0.9x STAGE",
            ),
            Dimension::Time => (
                text.parse::<HumanDuration>()
                    .ok()
                    .map(|limit| Limit::Time(limit.get())),
                "a duration",
                with_duration_unit(&text),
                "write a duration, a factor or a sum: 250ms, 2x steady, steady + 50ms",
            ),
        };
        let help = meant.map_or_else(|| help.to_owned(), |meant| format!("write {meant}"));
        limit.ok_or_else(|| {
            let message = match text.is_empty() {
                true => "a limit is expected here".to_owned(),
                false => format!("`{text}` is not {what}"),
            };
            self.error(place, &message, help)
        })
    }

    /// `steady + 50ms`, from its first letter on.
    fn steady_plus(&mut self, metric: Metric) -> Result<Limit, SyntaxError> {
        let start = self.at();
        let word = self.name();
        let place = start..self.at();
        if word != "steady" {
            let message = format!("`{word}` is not a limit");
            let help = "write 250ms, 99.9%, 40/s, 2x steady or steady + 50ms";
            return Err(self.error(place, &message, help));
        }
        if metric.dimension() != Dimension::Time {
            return Err(self.error(
                place,
                "only response times are compared with `steady + …`",
                "write 99.9%, 40/s or 0.9x steady",
            ));
        }
        self.bracket('+', "write steady + 50ms, or 2x steady")?;
        let more = self.duration(|_| Ok(()))?;
        Ok(Limit::SteadyPlus(more.get()))
    }

    /// What stands after `2x`: the steady window, a stage, or a measure of another load.
    fn times(&mut self, metric: Metric, number: &str, start: usize) -> Result<Limit, SyntaxError> {
        self.space();
        let word_at = self.at();
        let word = self.name();
        let place = start..self.at();
        if word.is_empty() {
            return Err(self.error(
                place,
                format!("`{number}x` needs `steady`, a stage or a load"),
                "write 2x steady, 0.9x STAGE or 0.5x LOAD.p95",
            ));
        }
        let factor = match number.parse::<f64>() {
            Ok(factor) if is_decimal(number) && factor > 0.0 && factor.is_finite() => factor,
            _ => {
                return Err(self.error(
                    place,
                    format!("`{number}` is not a factor"),
                    "a factor is a number greater than 0: 2x steady",
                ));
            }
        };
        if self.peek() == Some('.') {
            self.advance();
            let other = self.metric()?;
            if other.dimension() != metric.dimension() {
                return Err(self.error(
                    word_at..self.at(),
                    format!("`{metric}` and `{other}` cannot be compared"),
                    "a share goes with a share, a time with a time, a rate with a rate",
                ));
            }
            return Ok(Limit::TimesLoad {
                factor,
                load: word,
                metric: other,
            });
        }
        if word != "steady" {
            return Ok(Limit::TimesStage {
                factor,
                stage: word,
            });
        }
        if metric.dimension() == Dimension::Share {
            return Err(self.error(
                place,
                format!("`{metric}` is compared with a percentage"),
                "write a percentage: 99.9%",
            ));
        }
        Ok(Limit::TimesSteady(factor))
    }

    pub(super) fn duration(
        &mut self,
        check: impl Fn(HumanDuration) -> Result<(), &'static str>,
    ) -> Result<HumanDuration, SyntaxError> {
        self.space();
        let start = self.at();
        let text = self.take(|c| c.is_alphanumeric() || c == '.');
        let place = start..self.at().max(start + 1);
        let help = "write a number and a unit: 300ms, 15s, 2m";
        match text.parse::<HumanDuration>() {
            Ok(duration) => match check(duration) {
                Ok(()) => Ok(duration),
                Err(help) => Err(self.error(place, format!("`{text}` is too short"), help)),
            },
            Err(_) if text.is_empty() => {
                Err(self.error(place, "a duration is expected here", help))
            }
            Err(_) => Err(self.error(place, format!("`{text}` is not a duration"), help)),
        }
    }
}

#[cfg(test)]
mod tests;
