//! Values with a form of their own: JSON, status codes, targets and moments of faults.

use clip_service::units::HumanDuration;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::node::{Node, Value};
use super::read::{Reader, Scalar};
use super::value::DURATION;
use super::vocabulary::{Moment, unknown_word};

/// A JSON value; its texts may be templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub serde_json::Value);

impl Scalar for Json {
    const NAME: &'static str = "Json";

    fn read(node: &Node, _: &mut Reader) -> Option<Self> {
        Some(Self(node.to_json()))
    }

    fn stand_in() -> Self {
        Self(serde_json::Value::Null)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Any value." })
    }
}

/// A mapping whose keys are another program's business; kept with its places.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(crate) node: Option<Node>,
}

impl Scalar for Settings {
    const NAME: &'static str = "Settings";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        cx.mapping(node)?;
        Some(Self {
            node: Some(node.clone()),
        })
    }

    fn stand_in() -> Self {
        Self { node: None }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        super::config::schema(generator)
    }
}

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

    fn stand_in() -> Self {
        Self(200)
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

/// What one of them is, or a list of such; keywords only hold for the types that they are about.
fn one_or_several(one: Schema) -> Schema {
    let mut several = one.clone();
    if let Some(serde_json::Value::Array(types)) = several.get_mut("type") {
        types.push("array".into());
    }
    several.insert("items".to_owned(), one.to_value());
    several.insert("minItems".to_owned(), 1.into());
    several
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

    fn stand_in() -> Self {
        Self(Vec::new())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_several(Status::schema(generator))
    }
}

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

    fn stand_in() -> Self {
        Self(Vec::new())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(json_schema!({ "type": ["string"], "description": "Nodes or links." }))
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

    fn stand_in() -> Self {
        Self(2.0)
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

/// Moments of a fault, with their meaning.
pub const MOMENTS: &[(&str, &str, Moment)] = &[
    ("start", "it is in place", Moment::Start),
    ("end", "it is undone, and the undo is proved", Moment::End),
    (
        "recovered",
        "the steady state has held for a whole window since its end",
        Moment::Recovered,
    ),
];

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
        let Some((.., moment)) = MOMENTS.iter().find(|(word, ..)| *word == moment) else {
            let words: Vec<_> = MOMENTS.iter().map(|(word, ..)| *word).collect();
            cx.report(unknown_word(moment, "a moment", &words, node.span));
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
            moment: *moment,
            offset,
        })
    }

    fn stand_in() -> Self {
        Self {
            fault: String::new(),
            moment: Moment::Start,
            offset: HumanDuration::default(),
        }
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
