//! The configuration of the system under test as it may stand under `system.service.config`. The system judges it; this
//! module finds the place in the file that its judgement is about.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value as Json;

use super::read::Reader;
use super::text::diagnostic::{Diagnostic, nearest};
use super::text::node::{Key, Node};
use super::text::source::Span;
use crate::sut;

/// As it stands in the scenario's schema: what editors complete.
pub(crate) fn schema(generator: &mut SchemaGenerator) -> Schema {
    match sut::SERVICE.sut().preset() {
        Some(preset) => preset.config_schema(generator),
        None => json_schema!({ "type": "object" }),
    }
}

/// A value of the configuration with its key and place.
struct Leaf {
    key: String,
    value: Json,
    span: Span,
}

/// Reports unknown keys, and every value that the service would refuse.
pub(crate) fn check(node: &Node, cx: &mut Reader) {
    let system = sut::SERVICE.sut();
    let Some(preset) = system.preset() else {
        return;
    };
    let root = preset.config_tree();
    let sections = preset.sections();
    let mut leaves = Vec::new();
    let Some(entries) = cx.mapping(node) else {
        return;
    };
    for (key, value) in cx.unique(entries) {
        if sections.contains(&key.name.as_str()) {
            let section = &root["properties"][&key.name];
            collect(&key.name, value, section, &root, &mut leaves, cx);
        } else if root["properties"].get(&key.name).is_some() {
            cx.report(
                Diagnostic::error(key.span, format!("`{}` is set by the harness", key.name))
                    .help("leave it out"),
            );
        } else {
            unknown(key, sections.iter().copied(), cx);
        }
    }
    let values = leaves
        .iter()
        .map(|leaf| (leaf.key.clone(), leaf.value.clone()))
        .collect();
    for error in preset.config_problems(values) {
        let key = error.key.as_deref().unwrap_or_default();
        // A value the author wrote is pointed at. What is wrong with a default, because of another value, is said of its section.
        let written = leaves.iter().find(|leaf| {
            key == leaf.key
                || key
                    .strip_prefix(&leaf.key)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        let section = key.split('.').next().unwrap_or_default();
        let (span, message) = match written {
            Some(leaf) => (leaf.span, error.message),
            None => {
                let section = entries.iter().find(|(name, _)| name.name == section);
                let span = section.map_or(node.span, |(name, _)| name.span);
                let message = match &error.key {
                    Some(key) => format!("{key}: {}", error.message),
                    None => error.message,
                };
                (span, message)
            }
        };
        cx.report(Diagnostic::error(span, message).help(format!(
            "this is what {} says of its configuration",
            system.title()
        )));
    }
}

/// Goes down where the schema has a closed set of keys; everything else is one value.
fn collect(
    at: &str,
    node: &Node,
    schema: &Json,
    root: &Json,
    leaves: &mut Vec<Leaf>,
    cx: &mut Reader,
) {
    let schema = resolve(schema, root);
    let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
        leaves.push(Leaf {
            key: at.to_owned(),
            value: node.to_json(),
            span: node.span,
        });
        return;
    };
    let Some(entries) = cx.mapping(node) else {
        return;
    };
    for (key, value) in cx.unique(entries) {
        match properties.get(&key.name) {
            Some(inner) => collect(
                &format!("{at}.{}", key.name),
                value,
                inner,
                root,
                leaves,
                cx,
            ),
            None => unknown(key, properties.keys().map(String::as_str), cx),
        }
    }
}

fn unknown<'k>(key: &Key, known: impl Iterator<Item = &'k str> + Clone, cx: &mut Reader) {
    let problem = Diagnostic::error(key.span, format!("unknown key `{}`", key.name));
    cx.report(problem.help(match nearest(&key.name, known.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
    }));
}

fn resolve<'s>(schema: &'s Json, root: &'s Json) -> &'s Json {
    let mut schema = schema;
    // A chain of references has an end; a circle has none.
    for _ in 0..16 {
        let Some(reference) = schema.get("$ref").and_then(Json::as_str) else {
            break;
        };
        match root.pointer(reference.trim_start_matches('#')) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}
