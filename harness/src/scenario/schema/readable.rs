//! Makes what the generator writes readable: for editors that show it, and for validators that print the rule that failed.

use serde_json::{Map, Value as Json, json};

/// Makes choices readable, wherever they stand.
pub(super) fn readable(schema: &mut Json) {
    match schema {
        Json::Array(items) => items.iter_mut().for_each(readable),
        Json::Object(entries) => {
            entries.values_mut().for_each(readable);
            without_null(entries);
            as_enum(entries);
        }
        _ => {}
    }
}

/// `anyOf: [X, null]` is X: a key that is not there is left out.
fn without_null(schema: &mut Map<String, Json>) {
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Json::Array(each)) = schema.get_mut("anyOf") else {
        return;
    };
    each.retain(|one| one["type"] != "null");
    if let [Json::Object(only)] = each.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.entry(key).or_insert(value);
        }
    }
}

/// A choice of words is an `enum`; where some words have settings, these are the keys of an object with one of them.
fn as_enum(schema: &mut Map<String, Json>) {
    let Some(Json::Array(each)) = schema.get("oneOf") else {
        return;
    };
    let mut words = Vec::new();
    let mut meanings = Vec::new();
    let mut settings = Map::new();
    for one in each {
        if let Some(word) = one.get("const") {
            words.push(word.clone());
            meanings.push(one["description"].clone());
        } else if let Some(Json::Object(properties)) = one.get("properties") {
            for (word, schema) in properties {
                let mut schema = schema.clone();
                schema["description"] = one["description"].clone();
                settings.insert(word.clone(), schema);
            }
        } else {
            return;
        }
    }
    schema.remove("oneOf");
    let words = json!({
        "if": { "type": "string", "not": { "pattern": r"\$\(" } },
        "then": { "enum": words, "enumDescriptions": meanings },
    });
    let rest = match settings.is_empty() {
        true => json!({ "type": "string" }),
        false => json!({
            "type": ["string", "object"],
            "properties": settings,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        }),
    };
    for part in [rest, words] {
        if let Json::Object(part) = part {
            schema.extend(part);
        }
    }
}
