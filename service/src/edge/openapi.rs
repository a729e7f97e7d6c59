//! What can be asked of a role, as OpenAPI 3.1: written out of the rows that the router is built from, with the schemas of
//! the types that are read and written.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::endpoint::{Content, Operation};
use crate::http::{Members, PROBLEM_JSON};

/// What is said of the whole.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// Its name.
    pub title: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What the parameters of paths are, by name.
    pub path_parameters: &'static [(&'static str, &'static str)],
}

/// The document for these rows.
pub fn document<'a>(info: &Info, operations: impl IntoIterator<Item = &'a Operation>) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Members>();
    let mut paths = Map::new();
    for operation in operations {
        let described = describe(info, operation, &problem, &mut generator);
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": info.title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": info.about,
        },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

/// The parameters in a path: what stands in braces.
fn in_path(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

fn describe(
    info: &Info,
    operation: &Operation,
    problem: &Schema,
    generator: &mut SchemaGenerator,
) -> Value {
    let mut parameters: Vec<Value> = in_path(operation.path)
        .map(|name| {
            let mut known = info.path_parameters.iter();
            let about = known
                .find(|(known, _)| *known == name)
                .map_or("", |(_, about)| about);
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" },
                    "description": about })
        })
        .collect();
    parameters.extend(operation.parameters.iter().map(|parameter| {
        let one = json!({ "type": parameter.kind });
        let schema = match parameter.repeated {
            true => json!({ "type": "array", "items": one }),
            false => one,
        };
        let mut described = json!({ "name": parameter.name, "in": "query",
            "description": parameter.about, "schema": schema });
        if parameter.required {
            described["required"] = true.into();
        }
        described
    }));
    let mut responses = Map::new();
    for (status, when, content) in operation.answers {
        let mut answer = json!({ "description": when });
        if let Some(content) = described_content(*content, generator) {
            answer["content"] = content;
        }
        responses.insert(status.to_string(), answer);
    }
    for (status, when) in operation.refusals {
        let content = json!({ PROBLEM_JSON: { "schema": problem } });
        responses.insert(
            status.to_string(),
            json!({ "description": when, "content": content }),
        );
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(content) = described_content(operation.body, generator) {
        described["requestBody"] = json!({ "content": content });
    }
    described
}

fn described_content(content: Content, generator: &mut SchemaGenerator) -> Option<Value> {
    Some(match content {
        Content::Empty => return None,
        Content::Json(of) => json!({ "application/json": { "schema": of(generator) } }),
        Content::AnyJson => json!({ "application/json": { "schema": { "type": "object" } } }),
        Content::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Content::Form(of) => json!({ "multipart/form-data": { "schema": of(generator) } }),
        Content::Bytes(kind) => json!({ kind: {} }),
    })
}
