//! What a fault hits, as it is written; resolved against the system by the plan.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::one_or_several;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::{Node, Value};

/// Selectors of nodes or links: one or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(pub Vec<String>);

impl Scalar for Targets {
    const NAME: &'static str = "Targets";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let each = match &node.value {
            Value::List(items) if items.is_empty() => {
                cx.report(
                    Diagnostic::error(node.span, "the list of targets is empty")
                        .help("write a node, a link, or a list of them: [web-*, db]"),
                );
                return None;
            }
            Value::List(items) => items.iter().collect(),
            _ => vec![node],
        };
        let read: Vec<_> = each
            .into_iter()
            .map(|item| cx.plain(item, "a node, a link or a selector"))
            .collect();
        read.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(json_schema!({ "type": ["string"], "description": "Nodes or links." }))
    }
}
