//! Texts: names, templates, and any other.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::{Node, Value};
use crate::scenario::text::source::Span;

impl Scalar for String {
    const NAME: &'static str = "Text";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        cx.plain(node, "text")
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "description": "Text." })
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
            _ => cx.plain(node, "text").map(Self),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "Text; $(uuid), $(random 0..59), $(fixture.talk), variables and captures are filled in.",
        })
    }
}
