//! Numbers without a unit, and `true` or `false`.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::{Node, Value};

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

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "true or false.",
            "type": ["boolean", "string"],
            "pattern": r"^\s*(true|false)\s*$|\$\(",
        })
    }
}

impl Scalar for u64 {
    const NAME: &'static str = "Number";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        whole(node, cx, 0)
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

/// How many times as much: a number above 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Factor(pub f64);

/// More than this is a hang, for which there are other faults.
const LARGEST_FACTOR: f64 = 1_000_000.0;

impl Scalar for Factor {
    const NAME: &'static str = "Factor";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let written = cx.plain(node, "a factor")?;
        match written.trim().parse::<f64>() {
            Ok(factor) if factor > 1.0 && factor <= LARGEST_FACTOR => Some(Self(factor)),
            Ok(factor) if factor <= 1.0 => {
                cx.report(
                    Diagnostic::error(node.span, "a factor must be greater than 1")
                        .help("10 makes answers take ten times as long"),
                );
                None
            }
            Ok(_) | Err(_) => {
                cx.report(
                    Diagnostic::error(node.span, format!("`{written}` is not a factor"))
                        .help("write a number up to 1000000 without a unit: 2, 10, 1.5"),
                );
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many times as much: a number above 1.",
            "type": ["number", "string"],
            "exclusiveMinimum": 1,
            "maximum": LARGEST_FACTOR,
            "pattern": r"^\s*[0-9]+\.?[0-9]*\s*$|\$\(",
        })
    }
}
