//! Values that are written as one scalar: names, durations, rates, percentages, ranges, closed sets of words.

use std::str::FromStr;

use clip_service::units::HumanDuration;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::expr::{self, Expectation};
use super::json_path::JsonPath;
use super::node::{Node, Value};
use super::read::{Reader, Scalar};
use super::source::Span;
use super::suggest::{with_duration_unit, with_percent_sign, with_rate_unit};
use super::syntax::SyntaxError;
use crate::sut::probe::probes;

// Patterns for the JSON Schema: what several dialects of regular expressions understand alike.
pub(super) const DURATION: &str = r"(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|ms|s|m|h)\s*)+";
pub(super) const RATE: &str = r"0*([0-9]{1,6}(\.[0-9]*)?|1000000(\.0*)?)\s*/\s*(s|m|h)";
pub(super) const PERCENT: &str = r"0*(100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?)\s*%";
const DURATION_HELP: &str = "write a number and a unit: 300ms, 15s, 2m";
const RATE_HELP: &str = "write a number per unit of time: 100/s, 30/m";

/// A text of the given form, or one that a variable fills in.
pub(crate) fn text_schema(description: &str, pattern: &str) -> Schema {
    json_schema!({
        "type": "string",
        "description": description,
        "pattern": format!(r"^\s*({pattern})\s*$|\$\("),
    })
}

/// A whole number, or a variable.
fn number_schema(description: &str, minimum: u64) -> Schema {
    let digits = match minimum {
        0 => "[0-9]+",
        _ => "0*[1-9][0-9]*",
    };
    json_schema!({
        "description": description,
        "type": ["integer", "string"],
        "minimum": minimum,
        "pattern": format!(r"^\s*{digits}\s*$|\$\("),
    })
}

impl Scalar for String {
    const NAME: &'static str = "Text";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        cx.plain(node, "text")
    }

    fn stand_in() -> Self {
        String::new()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "description": "Text." })
    }
}

impl Scalar for bool {
    const NAME: &'static str = "YesNo";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        match cx.plain(node, "true or false")?.trim() {
            "true" => Some(true),
            "false" => Some(false),
            text => {
                cx.report(
                    Diagnostic::error(node.span, format!("`{text}` is not true or false"))
                        .help("write true or false"),
                );
                None
            }
        }
    }

    fn stand_in() -> Self {
        false
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "true or false.",
            "type": ["boolean", "string"],
            "pattern": r"^\s*(true|false)\s*$|\$\(",
        })
    }
}

/// A name: letters, digits, `-` and `_`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);

impl Scalar for Name {
    const NAME: &'static str = "Name";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a name")?;
        check_name(&text, node.span, cx).then_some(Self(text))
    }

    fn stand_in() -> Self {
        Self(String::new())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        // What YAML takes for a number or a truth value is read as it is written.
        json_schema!({
            "type": ["string", "integer", "boolean"],
            "description": "Letters, digits, - and _.",
            "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$|\$\(",
        })
    }
}

/// Reports a name that could not stand in expressions, file names and host names.
pub(crate) fn check_name(text: &str, span: Span, cx: &mut Reader) -> bool {
    let sound = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !sound {
        cx.report(
            Diagnostic::error(span, format!("`{text}` is not a name"))
                .help("use up to 64 letters, digits, - and _, beginning with a letter or digit"),
        );
    }
    sound
}

/// A template: text in which `$(…)` is filled in while the scenario runs. Checked where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateText(pub String);

impl Scalar for TemplateText {
    const NAME: &'static str = "Template";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        match &node.value {
            Value::Text(text) => Some(Self(text.clone())),
            Value::Number(_) | Value::Bool(_) => cx.plain(node, "text").map(Self),
            _ => cx.plain(node, "text").map(Self),
        }
    }

    fn stand_in() -> Self {
        Self(String::new())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "Text; $(uuid), $(random 0..59), $(fixture.talk), variables and captures are filled in.",
        })
    }
}

impl Scalar for u64 {
    const NAME: &'static str = "Number";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        whole(node, cx, 0)
    }

    fn stand_in() -> Self {
        0
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        number_schema("A whole number.", 0)
    }
}

/// A count of things: at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub usize);

impl Count {
    /// The number.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}

impl Scalar for Count {
    const NAME: &'static str = "Count";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let number = whole(node, cx, 1)?;
        match usize::try_from(number) {
            Ok(count) if count <= 1_000_000 => Some(Self(count)),
            _ => {
                cx.report(
                    Diagnostic::error(node.span, format!("{number} is too many"))
                        .help("write at most 1000000"),
                );
                None
            }
        }
    }

    fn stand_in() -> Self {
        Self(1)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        number_schema("A whole number, at least 1.", 1)
    }
}

fn whole(node: &Node, cx: &mut Reader, least: u64) -> Option<u64> {
    let number = match &node.value {
        Value::Number(number) => number.as_u64(),
        Value::Text(_) => cx.plain(node, "a whole number")?.trim().parse().ok(),
        _ => {
            cx.wrong_kind(node, "a whole number", None);
            return None;
        }
    };
    match number.filter(|number| *number >= least) {
        Some(number) => Some(number),
        None => {
            let written = cx.plain(node, "a whole number")?;
            cx.report(
                Diagnostic::error(
                    node.span,
                    format!("`{written}` is not a whole number of at least {least}"),
                )
                .help("write it in digits, without a unit"),
            );
            None
        }
    }
}

impl Scalar for HumanDuration {
    const NAME: &'static str = "TimeSpan";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a duration")?;
        duration(&text, node.span, cx)
    }

    fn stand_in() -> Self {
        Self::default()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("A number and a unit: 300ms, 15s, 2m, 1h30m.", DURATION)
    }
}

fn duration(text: &str, span: Span, cx: &mut Reader) -> Option<HumanDuration> {
    text.parse().ok().or_else(|| {
        cx.report(
            Diagnostic::error(span, format!("`{text}` is not a duration")).help(
                match with_duration_unit(text) {
                    Some(meant) => format!("write {meant}"),
                    None => DURATION_HELP.to_owned(),
                },
            ),
        );
        None
    })
}

/// Shortest and longest: `1s..3s`; a single duration is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationRange(pub HumanDuration, pub HumanDuration);

impl Scalar for DurationRange {
    const NAME: &'static str = "DurationRange";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a range of durations")?;
        let (low, high) = text.split_once("..").unwrap_or((&text, &text));
        let (low, high) = (
            duration(low.trim(), node.span, cx)?,
            duration(high.trim(), node.span, cx)?,
        );
        if low > high {
            cx.report(
                Diagnostic::error(node.span, format!("the range `{text}` goes down"))
                    .help(format!("write {high}..{low}")),
            );
            return None;
        }
        Some(Self(low, high))
    }

    fn stand_in() -> Self {
        Self(HumanDuration::default(), HumanDuration::default())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "Shortest and longest: 1s..3s.",
            &format!(r"{DURATION}(\.\.\s*{DURATION})?"),
        )
    }
}

/// Arrivals per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

/// More than this is beyond any generator on one machine.
const HIGHEST_RATE: f64 = 1_000_000.0;

/// A number a second from `100/s`, `30/m`.
pub(crate) fn per_second(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('/')?;
    let number = number.trim();
    let per = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    // `inf` and `nan` are numbers to the standard library, not to people.
    let number: f64 = number.parse().ok().filter(|_| expr::is_decimal(number))?;
    (number <= HIGHEST_RATE).then_some(number / per)
}

fn rate(text: &str, span: Span, cx: &mut Reader) -> Option<f64> {
    let parsed = per_second(text);
    if parsed.is_none() {
        let number = text.split('/').next().unwrap_or_default().trim();
        let high = number.parse().is_ok_and(|number: f64| {
            expr::is_decimal(&number.to_string()) && number > HIGHEST_RATE
        });
        let problem = Diagnostic::error(span, format!("`{text}` is not a rate"));
        cx.report(match with_rate_unit(text) {
            _ if high => Diagnostic::error(span, format!("the rate `{text}` is too high"))
                .help(format!("at most {HIGHEST_RATE}/s")),
            Some(meant) => problem.help(format!("write {meant}")),
            None => problem.help(RATE_HELP),
        });
    }
    parsed
}

impl Scalar for Rate {
    const NAME: &'static str = "Rate";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a rate")?;
        rate(text.trim(), node.span, cx).map(Self)
    }

    fn stand_in() -> Self {
        Self(1.0)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("A number per unit of time: 100/s, 30/m.", RATE)
    }
}

/// From one rate to another: `0/s..100/s`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateRange(pub f64, pub f64);

impl Scalar for RateRange {
    const NAME: &'static str = "RateRange";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a range of rates")?;
        let Some((from, to)) = text.split_once("..") else {
            cx.report(
                Diagnostic::error(node.span, format!("`{text}` is not a range of rates"))
                    .help("write its start and its end: 0/s..100/s"),
            );
            return None;
        };
        let (from, to) = (
            rate(from.trim(), node.span, cx),
            rate(to.trim(), node.span, cx),
        );
        Some(Self(from?, to?))
    }

    fn stand_in() -> Self {
        Self(1.0, 1.0)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "Where it begins and ends: 0/s..100/s.",
            &format!(r"{RATE}\s*\.\.\s*{RATE}"),
        )
    }
}

/// A share, 0 to 1, written in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub f64);

impl Scalar for Percent {
    const NAME: &'static str = "Percent";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a percentage")?;
        let share = expr::percent(text.trim());
        if share.is_none() {
            cx.report(
                Diagnostic::error(node.span, format!("`{text}` is not a percentage")).help(
                    match with_percent_sign(&text) {
                        Some(meant) => format!("write {meant}"),
                        None => "write a number from 0 to 100 and a percent sign: 99.9%".to_owned(),
                    },
                ),
            );
        }
        share.map(Self)
    }

    fn stand_in() -> Self {
        Self(1.0)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("0% to 100%.", PERCENT)
    }
}

/// What expectations of a load look like, for editors.
const EXPECTATION_FORMS: &[&str] = &[
    "LOAD.success >= 99.9%",
    "LOAD.within(250ms) >= 99.9%",
    "LOAD.goodput >= 0.9x STAGE",
    "LOAD.p99 <= 250ms",
    "LOAD.p99 <= 2x steady",
    "LOAD.max <= steady + 50ms",
    "LOAD.p95 <= 0.5x LOAD.p95",
    "… over 5s",
];

const EXPECTATION_EXAMPLES: &[&str] = &[
    "frames.success >= 99.9%",
    "frames.within(250ms) >= 99.9%",
    "frames.p99 <= 2x steady",
];

impl Scalar for Expectation {
    const NAME: &'static str = "Expectation";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "an expectation")?;
        parsed(node, &text, cx)
    }

    fn stand_in() -> Self {
        expr::stand_in()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let shapes = probes().map(|(_, probe)| probe.shape());
        let forms = EXPECTATION_FORMS
            .iter()
            .map(|form| (*form).to_owned())
            .chain(shapes);
        let examples = probes().map(|(_, probe)| probe.example);
        let examples: Vec<_> = EXPECTATION_EXAMPLES
            .iter()
            .copied()
            .chain(examples)
            .collect();
        json_schema!({
            "type": "string",
            "description": forms.collect::<Vec<_>>().join(", "),
            "examples": examples,
        })
    }
}

impl Scalar for JsonPath {
    const NAME: &'static str = "JsonPath";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a JSON path")?;
        parsed(node, &text, cx)
    }

    fn stand_in() -> Self {
        Self::default()
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        const NAME: &str = r"[^\s.\[\]()'\x22*?:,$@0-9][^\s.\[\]()'\x22*?:,$@]*";
        const QUOTED: &str = r#"'([^'\\]|\\.)*'|"([^"\\]|\\.)*""#;
        text_schema(
            "The way to one value of a JSON answer: $.id, $.items[0].id, $['first name'].",
            &format!(r"\$(\.{NAME}|\[\s*(0|-?[1-9][0-9]*|{QUOTED})\s*\])*"),
        )
    }
}

/// Reads a small language; a problem is pointed at inside the text.
fn parsed<T: FromStr<Err = SyntaxError>>(node: &Node, text: &str, cx: &mut Reader) -> Option<T> {
    text.parse()
        .map_err(|error: SyntaxError| {
            let span = inside(node, text, error.column, error.length, cx);
            cx.report(Diagnostic::error(span, error.message).help(error.help));
        })
        .ok()
}

/// The place of a stretch of a scalar's text, where the text stands in the file as it is; the whole scalar otherwise.
pub(crate) fn inside(node: &Node, text: &str, column: usize, length: usize, cx: &Reader) -> Span {
    let written = cx.source.slice(node.span);
    let Some(offset) = written.find(text).filter(|_| !text.is_empty()) else {
        return node.span;
    };
    let byte_of = |column: usize| {
        text.char_indices()
            .nth(column)
            .map_or(text.len(), |(byte, _)| byte)
    };
    let start = node.span.start + offset;
    Span::new(start + byte_of(column)..start + byte_of(column + length))
}
