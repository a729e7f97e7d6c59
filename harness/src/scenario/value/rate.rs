//! Rates of arrivals, and ranges of them.

use schemars::{Schema, SchemaGenerator};

use super::text_schema;
use crate::scenario::expr;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::suggest::with_rate_unit;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;
use crate::scenario::text::source::Span;

/// Pattern for the JSON Schema, in what several dialects of regular expressions understand alike.
pub(crate) const RATE: &str = r"0*([0-9]{1,6}(\.[0-9]*)?|1000000(\.0*)?)\s*/\s*(s|m|h)";
const RATE_HELP: &str = "write a number per unit of time: 100/s, 30/m";

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

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "Where it begins and ends: 0/s..100/s.",
            &format!(r"{RATE}\s*\.\.\s*{RATE}"),
        )
    }
}
