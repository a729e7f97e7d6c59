//! Small languages: expectations and JSON paths. A problem is pointed at inside the text.

use std::str::FromStr;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::text_schema;
use crate::scenario::expr::Expectation;
use crate::scenario::json_path::JsonPath;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;
use crate::scenario::text::source::Span;
use crate::scenario::text::syntax::SyntaxError;
use crate::sut::probes;

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
