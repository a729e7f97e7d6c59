//! From text to [`Expectation`], with the column of whatever is wrong.

use std::time::Duration;

use clip_service::units::HumanDuration;

use super::{BreakerChange, Cmp, Expectation, Expr, Limit, Measure, Metric};
use crate::scenario::diagnostic::nearest;

/// What can be measured on a load, with its meaning.
pub const METRICS: &[(&str, &str, Metric)] = &[
    (
        "success",
        "ok / offered; unsent, timed out and unknown count as not ok",
        Metric::Success,
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
];

/// Why a text is not an expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// First character concerned, from 0.
    pub column: usize,
    /// How many are.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

impl Expectation {
    /// Reads one.
    ///
    /// # Errors
    /// Where the text leaves the grammar, and what is expected there.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let mut scan = Scan {
            chars: text.chars().collect(),
            at: 0,
        };
        let expr = scan.expectation()?;
        scan.space();
        if scan.at < scan.chars.len() {
            let rest = scan.rest_word();
            return Err(scan.error(
                rest,
                "does not belong here",
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
    type Err = ExprError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Takes the place of what could not be read.
pub(crate) fn stand_in() -> Expectation {
    Expectation {
        text: String::new(),
        expr: Expr::Measure(Measure {
            load: String::new(),
            metric: Metric::Success,
            cmp: Cmp::AtLeast,
            limit: Limit::Ratio(1.0),
            over: None,
        }),
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
fn is_decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.matches('.').count() <= 1
}

struct Scan {
    chars: Vec<char>,
    at: usize,
}

impl Scan {
    fn expectation(&mut self) -> Result<Expr, ExprError> {
        self.space();
        let start = self.at;
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(
                start..start + 1,
                "an expectation begins with the name of a load",
                "write LOAD.success >= 99.9% or breaker(INSTANCE) opened within 2s",
            ));
        }
        self.space();
        if name == "breaker" && self.peek() == Some('(') {
            return self.breaker();
        }
        if self.peek() != Some('.') {
            return Err(self.error(
                start..start + name.chars().count(),
                &format!("`{name}` is not followed by a measure"),
                &format!("write {name}.success, {name}.p99, …"),
            ));
        }
        self.at += 1;
        self.measure(name).map(Expr::Measure)
    }

    fn measure(&mut self, load: String) -> Result<Measure, ExprError> {
        let start = self.at;
        let word = self.take(|c| c.is_ascii_alphanumeric() || c == '.' || c == '_');
        let Some((.., metric)) = METRICS.iter().find(|(name, ..)| *name == word) else {
            let known = METRICS.iter().map(|(name, ..)| *name);
            let help = match nearest(&word, known.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("one of {}", known.collect::<Vec<_>>().join(", ")),
            };
            return Err(self.error(
                start..self.at.max(start + 1),
                &format!("unknown measure `{word}`"),
                &help,
            ));
        };
        let metric = *metric;
        let cmp = self.cmp()?;
        let limit = self.limit(metric)?;
        self.space();
        let start = self.at;
        let over = match self.rest_word().is_empty() {
            true => None,
            false if self.name() == "over" => Some(self.duration(|window| {
                (!window.get().is_zero())
                    .then_some(())
                    .ok_or("a window has a length: over 5s")
            })?),
            false => {
                self.at = start;
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

    fn cmp(&mut self) -> Result<Cmp, ExprError> {
        self.space();
        let start = self.at;
        let sign = self.take(|c| matches!(c, '<' | '>' | '=' | '!' | '≤' | '≥'));
        Ok(match sign.as_str() {
            ">=" | "≥" => Cmp::AtLeast,
            "<=" | "≤" => Cmp::AtMost,
            ">" => Cmp::Above,
            "<" => Cmp::Below,
            _ => {
                return Err(self.error(
                    start..self.at.max(start + 1),
                    "a comparison is expected here",
                    "one of >=, <=, >, <",
                ));
            }
        })
    }

    fn limit(&mut self, metric: Metric) -> Result<Limit, ExprError> {
        self.space();
        let start = self.at;
        let number = self.take(|c| c.is_ascii_digit() || c == '.');
        let unit = self.take(|c| c.is_alphanumeric() || matches!(c, '%' | '.'));
        let text = format!("{number}{unit}");
        let place = start..self.at.max(start + 1);
        let help = match metric {
            Metric::Success => "write a percentage: 99.9%",
            Metric::Quantile(_) | Metric::Max => "write a duration or a factor: 250ms, 2x steady",
        };
        if unit == "x" || (unit.is_empty() && self.upcoming() == "x") {
            if unit.is_empty() {
                self.space();
                self.at += 1;
            }
            return self.times_steady(metric, &number, start);
        }
        // `99.9 %` is as good as `99.9%`.
        let with_sign = if unit.is_empty() && self.upcoming().starts_with('%') {
            self.space();
            self.at += 1;
            format!("{text}%")
        } else {
            text.clone()
        };
        match metric {
            Metric::Success => percent(&with_sign).map(Limit::Ratio),
            Metric::Quantile(_) | Metric::Max => text
                .parse::<HumanDuration>()
                .ok()
                .map(|limit| Limit::Time(limit.get())),
        }
        .ok_or_else(|| {
            let what = match metric {
                Metric::Success => "a percentage from 0% to 100%",
                Metric::Quantile(_) | Metric::Max => "a duration",
            };
            let message = match with_sign.is_empty() {
                true => "a limit is expected here".to_owned(),
                false => format!("`{with_sign}` is not {what}"),
            };
            self.error(place, &message, help)
        })
    }

    fn times_steady(
        &mut self,
        metric: Metric,
        number: &str,
        start: usize,
    ) -> Result<Limit, ExprError> {
        self.space();
        let word = self.name();
        let place = start..self.at;
        if word != "steady" {
            return Err(self.error(
                place,
                "a factor of what?",
                "write `2x steady`: twice the same measure in the steady window",
            ));
        }
        if metric == Metric::Success {
            return Err(self.error(
                place,
                "success is compared with a percentage",
                "write a percentage: 99.9%",
            ));
        }
        match number.parse::<f64>() {
            Ok(factor) if is_decimal(number) && factor > 0.0 && factor.is_finite() => {
                Ok(Limit::TimesSteady(factor))
            }
            _ => Err(self.error(
                place,
                &format!("`{number}` is not a factor"),
                "write 2x steady",
            )),
        }
    }

    fn breaker(&mut self) -> Result<Expr, ExprError> {
        self.at += 1;
        self.space();
        let start = self.at;
        let instance = self.name();
        if instance.is_empty() {
            return Err(self.error(
                start..start + 1,
                "an instance is expected here",
                "write breaker(processor-2) opened within 2s",
            ));
        }
        self.space();
        if self.peek() != Some(')') {
            return Err(self.error(
                self.at..self.at + 1,
                "`)` is expected here",
                "write breaker(processor-2) opened within 2s",
            ));
        }
        self.at += 1;
        self.space();
        let start = self.at;
        let change = match self.name().as_str() {
            "opened" => BreakerChange::Opened,
            "closed" => BreakerChange::Closed,
            word => {
                let message = match word.is_empty() {
                    true => "`opened` or `closed` is expected here".to_owned(),
                    false => format!("a breaker does not become `{word}`"),
                };
                return Err(self.error(
                    start..self.at.max(start + 1),
                    &message,
                    "write breaker(processor-2) opened within 2s",
                ));
            }
        };
        self.space();
        let start = self.at;
        if self.name() != "within" {
            return Err(self.error(
                start..self.at.max(start + 1),
                "`within` and a duration are expected here",
                "write breaker(processor-2) opened within 2s",
            ));
        }
        let within = self.duration(|_| Ok(()))?;
        Ok(Expr::Breaker {
            instance,
            change,
            within,
        })
    }

    fn duration(
        &mut self,
        check: impl Fn(HumanDuration) -> Result<(), &'static str>,
    ) -> Result<HumanDuration, ExprError> {
        self.space();
        let start = self.at;
        let text = self.take(|c| c.is_alphanumeric() || c == '.');
        let place = start..self.at.max(start + 1);
        let help = "write a number and a unit: 300ms, 15s, 2m";
        match text.parse::<HumanDuration>() {
            Ok(duration) => match check(duration) {
                Ok(()) => Ok(duration),
                Err(help) => Err(self.error(place, &format!("`{text}` is too short"), help)),
            },
            Err(_) if text.is_empty() => {
                Err(self.error(place, "a duration is expected here", help))
            }
            Err(_) => Err(self.error(place, &format!("`{text}` is not a duration"), help)),
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn space(&mut self) {
        self.take(char::is_whitespace);
    }

    fn name(&mut self) -> String {
        self.take(|c| c.is_alphanumeric() || c == '-' || c == '_')
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// The next word without taking it.
    fn upcoming(&self) -> String {
        self.chars[self.at..]
            .iter()
            .skip_while(|c| c.is_whitespace())
            .take_while(|c| !c.is_whitespace())
            .collect()
    }

    /// Columns of the word that stands here.
    fn rest_word(&self) -> std::ops::Range<usize> {
        let length = self.chars[self.at..]
            .iter()
            .take_while(|c| !c.is_whitespace())
            .count();
        self.at..self.at + length
    }

    fn error(&self, place: std::ops::Range<usize>, message: &str, help: &str) -> ExprError {
        let shown: String = self
            .chars
            .get(place.clone())
            .unwrap_or_default()
            .iter()
            .collect();
        let message = match message {
            "does not belong here" => format!("`{shown}` does not belong here"),
            message => message.to_owned(),
        };
        ExprError {
            column: place.start,
            length: place.len().max(1),
            message,
            help: help.to_owned(),
        }
    }
}

/// How long a measure's limit is, where it is a time.
impl Limit {
    /// The time, if it is one.
    #[must_use]
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            Self::Ratio(_) | Self::TimesSteady(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Expr {
        Expectation::parse(text)
            .unwrap_or_else(|error| panic!("{text}: {error:?}"))
            .expr
    }

    #[test]
    fn reads_what_the_grammar_says() {
        let measure = |metric, cmp, limit, over| {
            Expr::Measure(Measure {
                load: "frames".into(),
                metric,
                cmp,
                limit,
                over,
            })
        };
        assert_eq!(
            parsed("frames.success>=99.9 %"),
            measure(Metric::Success, Cmp::AtLeast, Limit::Ratio(0.999), None)
        );
        assert_eq!(
            parsed(" frames.p99.9  <= 2x steady  over 5s "),
            measure(
                Metric::Quantile(0.999),
                Cmp::AtMost,
                Limit::TimesSteady(2.0),
                Some(HumanDuration::secs(5))
            )
        );
        assert_eq!(
            parsed("frames.max < 1.5s"),
            measure(
                Metric::Max,
                Cmp::Below,
                Limit::Time(Duration::from_millis(1500)),
                None
            )
        );
        assert_eq!(
            parsed("breaker( processor-2 ) opened within 2s"),
            Expr::Breaker {
                instance: "processor-2".into(),
                change: BreakerChange::Opened,
                within: HumanDuration::secs(2)
            }
        );
    }

    #[test]
    fn points_at_what_is_wrong() {
        for (text, column, message) in [
            ("", 0, "an expectation begins with the name of a load"),
            ("frames", 0, "`frames` is not followed by a measure"),
            ("frames.p98 <= 1s", 7, "unknown measure `p98`"),
            ("frames.p99 == 1s", 11, "a comparison is expected here"),
            ("frames.p99 <= 99%", 14, "`99%` is not a duration"),
            ("frames.p99 <=", 13, "a limit is expected here"),
            (
                "frames.success >= 101%",
                18,
                "`101%` is not a percentage from 0% to 100%",
            ),
            (
                "frames.success >= 2x steady",
                18,
                "success is compared with a percentage",
            ),
            ("frames.p99 <= 2x stedy", 14, "a factor of what?"),
            ("frames.p99 <= 0x steady", 14, "`0` is not a factor"),
            ("frames.p99 <= 1s over 0s", 22, "`0s` is too short"),
            (
                "frames.p99 <= 1s always",
                17,
                "`always` does not belong here",
            ),
            ("breaker(p opened within 2s", 10, "`)` is expected here"),
            (
                "breaker(p) burst within 2s",
                11,
                "a breaker does not become `burst`",
            ),
            (
                "breaker(p) opened in 2s",
                18,
                "`within` and a duration are expected here",
            ),
        ] {
            let error = Expectation::parse(text).expect_err(text);
            assert_eq!(
                (error.column, error.message.as_str()),
                (column, message),
                "{text}"
            );
        }
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        let name = "[a-z][a-z0-9_-]{0,12}";
        let duration = (1_u64..10_000_000).prop_map(HumanDuration::millis);
        let cmp = prop_oneof![
            Just(Cmp::AtLeast),
            Just(Cmp::AtMost),
            Just(Cmp::Above),
            Just(Cmp::Below)
        ];
        let over = proptest::option::of(duration.clone());
        let success = (0_u32..=100_000).prop_map(|thousandths| {
            (
                Metric::Success,
                Limit::Ratio(f64::from(thousandths) / 100_000.0),
            )
        });
        let timed = (
            prop::sample::select(METRICS[1..].iter().map(|(.., m)| *m).collect::<Vec<_>>()),
            prop_oneof![
                duration.clone().prop_map(|d| Limit::Time(d.get())),
                (1_u32..10_000).prop_map(|tenths| Limit::TimesSteady(f64::from(tenths) / 10.0)),
            ],
        );
        prop_oneof![
            (name, prop_oneof![success, timed], cmp, over).prop_map(
                |(load, (metric, limit), cmp, over)| Expr::Measure(Measure {
                    load,
                    metric,
                    cmp,
                    limit,
                    over
                })
            ),
            (name, any::<bool>(), duration).prop_map(|(instance, opened, within)| Expr::Breaker {
                instance,
                change: if opened {
                    BreakerChange::Opened
                } else {
                    BreakerChange::Closed
                },
                within
            }),
        ]
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(expr in any_expr()) {
            let text = expr.to_string();
            prop_assert_eq!(Expectation::parse(&text).map(|e| e.expr), Ok(expr), "{}", text);
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            if let Err(error) = Expectation::parse(&text) {
                prop_assert!(error.column <= text.chars().count());
            }
        }
    }
}
