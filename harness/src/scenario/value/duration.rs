//! Durations, and ranges of them.

use clip_service::units::HumanDuration;
use schemars::{Schema, SchemaGenerator};

use super::text_schema;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::suggest::with_duration_unit;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;
use crate::scenario::text::source::Span;

/// Pattern for the JSON Schema, in what several dialects of regular expressions understand alike.
pub(crate) const DURATION: &str = r"(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|ms|s|m|h)\s*)+";
const DURATION_HELP: &str = "write a number and a unit: 300ms, 15s, 2m";

impl Scalar for HumanDuration {
    const NAME: &'static str = "TimeSpan";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a duration")?;
        duration(&text, node.span, cx)
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

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "Shortest and longest: 1s..3s.",
            &format!(r"{DURATION}(\.\.\s*{DURATION})?"),
        )
    }
}
