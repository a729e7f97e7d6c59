//! What the JSON Schema can say of a step beyond its keys.

use serde_json::{Map, Value as Json, json};

use crate::scenario::schema::{exactly_one, merge};
use crate::scenario::value::NAME;

pub(in crate::scenario) fn rules() -> Json {
    const REQUESTS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];
    let path = json!({ "pattern": r"^(?![\s\S]*\$\{[A-Za-z_])(/|\$\()" });
    let paths: Map<String, Json> = REQUESTS
        .iter()
        .map(|method| ((*method).to_owned(), path.clone()))
        .collect();
    let mut paths = Json::Object(paths);
    merge(
        &mut paths,
        json!({
            "headers": { "propertyNames": { "pattern": r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" } },
            "capture": { "propertyNames": { "pattern": NAME } },
        }),
    );
    json!({
        "properties": paths,
        "dependentRequired": { "ledger": ["capture"] },
        "allOf": exactly_one(&REQUESTS, "get"),
    })
}
