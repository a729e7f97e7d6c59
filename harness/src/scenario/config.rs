//! The service's own configuration as it may stand under `system.service.config`, checked against its JSON Schema before
//! anything starts.

use schemars::{Schema, json_schema};
use serde_json::Value as Json;

use super::diagnostic::{Diagnostic, nearest};
use super::node::{Node, Value};
use super::read::Reader;

/// The schema of the service's configuration. The one place that knows where it comes from.
fn schema() -> Json {
    let sections = [
        "balance", "breaker", "retry", "timeouts", "registry", "media", "jobs", "limits",
    ];
    let properties: serde_json::Map<_, _> = sections
        .into_iter()
        .map(|section| (section.to_owned(), serde_json::json!({})))
        .collect();
    serde_json::json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// As it stands in the scenario's schema: what editors complete.
pub(crate) fn editor_schema() -> Schema {
    let mut schema = json_schema!({ "type": "object" });
    if let Some(properties) = schema_root().get("properties") {
        schema.insert("properties".to_owned(), properties.clone());
        schema.insert("additionalProperties".to_owned(), Json::Bool(false));
    }
    schema
}

fn schema_root() -> Json {
    schema()
}

/// Reports unknown keys and values of the wrong kind.
pub(crate) fn check(node: &Node, cx: &mut Reader) {
    let root = schema_root();
    walk(node, &root, &root, cx);
}

fn walk(node: &Node, schema: &Json, root: &Json, cx: &mut Reader) {
    let schema = resolve(schema, root);
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        let Some(entries) = cx.mapping(node) else {
            return;
        };
        for (key, value) in cx.unique(entries) {
            if let Some(inner) = properties.get(&key.name) {
                walk(value, inner, root, cx);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Json::Bool(false)) => {
                    let known = properties.keys().map(String::as_str);
                    let help = match nearest(&key.name, known.clone()) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("known here: {}", known.collect::<Vec<_>>().join(", ")),
                    };
                    cx.report(
                        Diagnostic::error(key.span, format!("unknown key `{}`", key.name))
                            .help(help),
                    );
                }
                Some(inner @ Json::Object(_)) => walk(value, inner, root, cx),
                _ => {}
            }
        }
        return;
    }
    if !fits(node, schema, root) {
        let expected = describe(schema, root);
        cx.report(
            Diagnostic::error(
                node.span,
                format!("expected {expected}, found {}", shown(node)),
            )
            .help("see `clip-service --help` for the configuration"),
        );
    }
}

/// Whether a value is of the kind a schema asks for. What only the service itself can judge passes here.
fn fits(node: &Node, schema: &Json, root: &Json) -> bool {
    let schema = resolve(schema, root);
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(each) = schema.get(alternatives).and_then(Json::as_array) {
            return each.iter().any(|one| fits(node, one, root));
        }
    }
    if let Some(constant) = schema.get("const") {
        return node.to_json() == *constant;
    }
    if let Some(each) = schema.get("enum").and_then(Json::as_array) {
        return each.contains(&node.to_json());
    }
    match schema.get("type") {
        Some(Json::String(word)) => of_type(node, word),
        Some(Json::Array(words)) => words
            .iter()
            .filter_map(Json::as_str)
            .any(|word| of_type(node, word)),
        _ => true,
    }
}

fn of_type(node: &Node, word: &str) -> bool {
    match (word, &node.value) {
        ("null", Value::Null)
        | ("boolean", Value::Bool(_))
        | ("number", Value::Number(_))
        | ("string", Value::Text(_))
        | ("array", Value::List(_))
        | ("object", Value::Map(_)) => true,
        ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

fn resolve<'s>(schema: &'s Json, root: &'s Json) -> &'s Json {
    let mut schema = schema;
    // A chain of references has an end; a circle has none.
    for _ in 0..16 {
        let Some(reference) = schema.get("$ref").and_then(Json::as_str) else {
            return schema;
        };
        match root.pointer(reference.trim_start_matches('#')) {
            Some(target) => schema = target,
            None => return schema,
        }
    }
    schema
}

fn describe(schema: &Json, root: &Json) -> String {
    let schema = resolve(schema, root);
    for alternatives in ["enum", "anyOf", "oneOf"] {
        if let Some(each) = schema.get(alternatives).and_then(Json::as_array) {
            let each: Vec<_> = each
                .iter()
                .map(|one| match one {
                    Json::Object(_) => describe(one, root),
                    word => word.to_string(),
                })
                .collect();
            return each.join(" or ");
        }
    }
    match schema.get("const").or_else(|| schema.get("type")) {
        Some(Json::String(word)) => word.clone(),
        Some(other) => other.to_string(),
        None => "another value".to_owned(),
    }
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => format!("`{text}`"),
        Value::Number(number) => format!("`{number}`"),
        Value::Bool(value) => format!("`{value}`"),
        _ => node.kind().to_owned(),
    }
}
