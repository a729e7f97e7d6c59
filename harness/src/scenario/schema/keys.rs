//! Rules on which keys of a mapping must be there, and which must not.

use serde_json::{Value as Json, json};

/// Of these keys one must be there; the first to write where none is.
pub(super) fn one_at_least(keys: &[&str], usual: &str) -> Json {
    let each: Vec<_> = keys
        .iter()
        .map(|key| json!({ "required": [key] }))
        .collect();
    json!({ "if": { "not": { "anyOf": each } }, "then": { "required": [usual] } })
}

/// Of these keys exactly one must be there.
pub(in crate::scenario) fn exactly_one(keys: &[&str], usual: &str) -> Vec<Json> {
    let alone = keys.iter().enumerate().map(|(index, key)| {
        json!({ "if": { "required": [key] }, "then": { "properties": none_of(&keys[index + 1..]) } })
    });
    let alone = alone.take(keys.len() - 1);
    std::iter::once(one_at_least(keys, usual))
        .chain(alone)
        .collect()
}

/// Keys that must not be there.
pub(super) fn none_of(keys: &[&str]) -> Json {
    let keys = keys
        .iter()
        .map(|key| ((*key).to_owned(), Json::Bool(false)));
    Json::Object(keys.collect())
}
