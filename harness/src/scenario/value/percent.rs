//! Shares, written in percent.

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::text_schema;
use crate::scenario::expr;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::suggest::with_percent_sign;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;

/// Pattern for the JSON Schema, in what several dialects of regular expressions understand alike.
pub(crate) const PERCENT: &str = r"0*(100(\.0*)?|[0-9]{1,2}(\.[0-9]*)?)\s*%";

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

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema("0% to 100%.", PERCENT)
    }
}
