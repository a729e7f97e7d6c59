//! Values of any form: JSON, and another program's settings.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::node::Node;

/// A JSON value; its texts may be templates.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub serde_json::Value);

impl Scalar for Json {
    const NAME: &'static str = "Json";

    fn read(node: &Node, _: &mut Reader) -> Option<Self> {
        Some(Self(node.to_json()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "Any value." })
    }
}

/// A mapping whose keys are another program's business; kept with its places.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(crate) node: Node,
}

impl Scalar for Settings {
    const NAME: &'static str = "Settings";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        cx.mapping(node)?;
        Some(Self { node: node.clone() })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        crate::scenario::config::schema(generator)
    }
}
