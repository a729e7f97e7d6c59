//! Reading `inject`: a bare word, or a word with its settings.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{FaultKind, Injection, KINDS};
use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::{Node, Value};
use crate::scenario::vocabulary::unknown_word;

impl Scalar for Injection {
    const NAME: &'static str = "Inject";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        match &node.value {
            Value::Text(_) => {
                let word = cx.plain(node, "a fault")?;
                let Some(kind) = FaultKind::find(&word) else {
                    cx.report(unknown_word(&word, "a fault", &names, node.span));
                    return None;
                };
                let bare = (kind.bare)();
                if bare.is_none() {
                    cx.report(
                        Diagnostic::error(node.span, format!("`{word}` needs settings"))
                            .help(format!("write {{ {word}: {{ {}: … }} }}", kind.settings[0])),
                    );
                }
                bare
            }
            Value::Map(entries) => {
                let [(key, value)] = entries.as_slice() else {
                    cx.report(
                        Diagnostic::error(node.span, "a fault injects exactly one thing")
                            .help("write one fault for each"),
                    );
                    return None;
                };
                let Some(kind) = FaultKind::find(&key.name) else {
                    cx.report(unknown_word(&key.name, "a fault", &names, key.span));
                    return None;
                };
                match kind.settings {
                    [] => {
                        cx.report(
                            Diagnostic::error(key.span, format!("`{}` has no settings", kind.name))
                                .help(format!("write inject: {}", kind.name)),
                        );
                        None
                    }
                    _ => (kind.read)(value, cx),
                }
            }
            _ => {
                let help = format!("known: {}", names.join(", "));
                cx.wrong_kind(node, "a fault", Some(&help));
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut each = Vec::new();
        for kind in KINDS {
            if (kind.bare)().is_some() {
                each.push(json_schema!({ "const": kind.name, "description": kind.summary }));
            }
            if !kind.settings.is_empty() {
                each.push(json_schema!({
                    "type": "object",
                    "description": kind.summary,
                    "properties": { kind.name: (kind.schema)(generator) },
                    "required": [kind.name],
                    "additionalProperties": false,
                }));
            }
        }
        json_schema!({ "oneOf": each })
    }
}
