//! A moment of another fault, and a time after it.

use clip_service::units::HumanDuration;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::DURATION;
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;
use crate::scenario::vocabulary::{Moment, Vocabulary as _, unknown_word};

/// `crash.recovered + 3s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// The other fault.
    pub fault: String,
    /// Which moment of it.
    pub moment: Moment,
    /// How long after that.
    pub offset: HumanDuration,
}

impl Scalar for After {
    const NAME: &'static str = "After";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a moment of another fault")?;
        let (moment_text, offset_text) = match text.split_once('+') {
            Some((moment, offset)) => (moment.trim(), Some(offset.trim())),
            None => (text.trim(), None),
        };
        let Some((fault, moment)) = moment_text.split_once('.') else {
            cx.report(
                Diagnostic::error(node.span, format!("`{text}` is not a moment of a fault"))
                    .help("write FAULT.recovered + 3s; moments are start, end, recovered"),
            );
            return None;
        };
        let Some(moment) = Moment::find(moment) else {
            let problem = unknown_word(moment, Moment::WHAT, &Moment::words(), node.span);
            cx.report(problem);
            return None;
        };
        let offset = match offset_text.map(str::parse::<HumanDuration>) {
            None => HumanDuration::default(),
            Some(Ok(offset)) => offset,
            Some(Err(_)) => {
                let shown = offset_text.unwrap_or_default();
                cx.report(
                    Diagnostic::error(node.span, format!("`{shown}` is not a duration"))
                        .help("write a number and a unit: 300ms, 15s, 2m"),
                );
                return None;
            }
        };
        Some(Self {
            fault: fault.to_owned(),
            moment,
            offset,
        })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A moment of another fault and a time after it: crash.recovered + 3s.",
            "pattern": format!(
                r"^\s*[A-Za-z0-9_-]+\.(start|end|recovered)\s*(\+\s*{DURATION})?$|\$\("
            ),
        })
    }
}
