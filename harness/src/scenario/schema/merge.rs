//! Putting a schema together from parts.

use serde_json::Value as Json;

/// Adds rules to a schema: objects key by key, lists one after the other.
pub(in crate::scenario) fn merge(into: &mut Json, rules: Json) {
    match (into, rules) {
        (_, Json::Null) => {}
        (Json::Object(into), Json::Object(rules)) => {
            for (key, rule) in rules {
                merge(into.entry(key).or_insert(Json::Null), rule);
            }
        }
        (Json::Array(into), Json::Array(rules)) => into.extend(rules),
        (into, rules) => *into = rules,
    }
}
