//! HTTP status codes, one or several.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::one_or_several;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::{Node, Value};

/// An HTTP status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(pub u16);

impl Scalar for Status {
    const NAME: &'static str = "Status";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let written = cx.plain(node, "a status code")?;
        match written.trim().parse() {
            Ok(status @ 100..=599) => Some(Self(status)),
            _ => {
                cx.report(
                    Diagnostic::error(node.span, format!("`{written}` is not a status code")).help(
                        match written.trim() {
                            "2xx" | "2XX" => "any 2xx is the default: leave `status` out, or list codes: [200, 201]",
                            text if text.ends_with("xx") || text.contains("..") => {
                                "list the codes: [400, 404]"
                            }
                            _ => "write a number from 100 to 599",
                        },
                    ),
                );
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An HTTP status code.",
            "type": ["integer", "string"],
            "minimum": 100,
            "maximum": 599,
            "pattern": r"^\s*[1-5][0-9][0-9]\s*$|\$\(",
        })
    }
}

/// One status code or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(pub Vec<u16>);

impl Scalar for Statuses {
    const NAME: &'static str = "Statuses";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let each = match &node.value {
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let read: Vec<_> = each
            .into_iter()
            .map(|item| Status::read(item, cx))
            .collect();
        read.into_iter()
            .map(|status| status.map(|status| status.0))
            .collect::<Option<_>>()
            .map(Self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_several(Status::schema(generator))
    }
}
