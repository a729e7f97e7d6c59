//! What the registry's HTTP interface is, as OpenAPI 3.1: written out of the table of operations that the router is
//! built from, with the schemas of the types that are read and written.

use http::Method;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::http::{Members, PROBLEM_JSON};

/// Writes the schema of one type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What one method of one path does.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Unique name.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<SchemaOf>,
    pub(super) answer: Answer,
    /// Statuses of refusals, and when.
    pub(super) refusals: &'static [(u16, &'static str)],
}

/// What is answered when all is well.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Json(SchemaOf),
    Text,
    /// JSON that describes itself.
    Document,
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// JSON Schema type.
    pub(super) kind: &'static str,
    pub(super) repeated: bool,
    pub(super) about: &'static str,
}

/// The document for `operations`.
pub(super) fn document<'a>(operations: impl Iterator<Item = &'a Operation>) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Members>();
    let mut paths = Map::new();
    for operation in operations {
        let described = describe(operation, &problem, &mut generator);
        let path = paths
            .entry(operation.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Registry",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Who is there, on which address, and whether it can take work.",
        },
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn describe(operation: &Operation, problem: &Schema, generator: &mut SchemaGenerator) -> Value {
    let in_path = operation.path.contains("{name}").then(|| {
        json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" },
                "description": "Name of the instance." })
    });
    let in_query = operation.parameters.iter().map(|parameter| {
        let one = json!({ "type": parameter.kind });
        let schema = if parameter.repeated {
            json!({ "type": "array", "items": one })
        } else {
            one
        };
        json!({ "name": parameter.name, "in": "query", "description": parameter.about, "schema": schema })
    });
    let answer = match operation.answer {
        Answer::Json(of) => json!({ "application/json": { "schema": of(generator) } }),
        Answer::Text => json!({ "text/plain": { "schema": { "type": "string" } } }),
        Answer::Document => json!({ "application/json": { "schema": { "type": "object" } } }),
    };
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({ "description": "Done.", "content": answer }),
    );
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
        "parameters": in_path.into_iter().chain(in_query).collect::<Vec<_>>(),
        "responses": responses,
    });
    if let Some(of) = operation.body {
        let content = json!({ "application/json": { "schema": of(generator) } });
        described["requestBody"] = json!({ "content": content });
    }
    described
}
