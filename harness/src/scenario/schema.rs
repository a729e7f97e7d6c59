//! The JSON Schema of scenario files: what the reader's tables describe, and the rules between keys that a schema can say.
//!
//! Generic validators print the rule that failed, so the rules are small: words are an `enum`, an absent key is absent and
//! not `null`, and what depends on another key is `if` and `then` instead of a choice between whole forms. What needs
//! names that are defined elsewhere in the file is left to the reader.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::expr::{ALL, Dimension, METRICS};
use super::fault::{DurationRule, KINDS};
use super::model::Document;
use super::value::{DURATION, PERCENT, RATE};
use crate::sut::probe::{Form, Probe, probes};

/// A name that the author chooses.
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";
/// A text with a number that is not zero, or with a variable.
pub(super) const POSITIVE: &str = r"[1-9]|\$\(";
/// How many of what is compared with what.
const NUMBER: &str = r"[0-9]+\.?[0-9]*";

/// The schema of a scenario file.
pub(super) fn of_scenarios() -> Schema {
    let root = SchemaGenerator::default().into_root_schema_for::<Document>();
    let mut root = root.to_value();
    root["title"] = "Scenario".into();
    readable(&mut root);
    for (name, rules) in rules() {
        let definition = match name {
            "Document" => &mut root,
            name => &mut root["$defs"][name],
        };
        merge(definition, rules);
    }
    Schema::try_from(root).unwrap_or_default()
}

/// Makes choices readable, wherever they stand.
fn readable(schema: &mut Json) {
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

/// Adds rules to a schema: objects key by key, lists one after the other.
pub(super) fn merge(into: &mut Json, rules: Json) {
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

/// What must be true between the keys of a mapping, or of the form of a text, by the name of its definition.
fn rules() -> Vec<(&'static str, Json)> {
    let names = json!({ "propertyNames": { "pattern": NAME } });
    let reserved: Vec<_> = probes().map(|(_, probe)| probe.name).chain([ALL]).collect();
    let loads = json!({
        "propertyNames": { "pattern": NAME, "not": { "enum": reserved } },
        "minProperties": 1,
    });
    // More than zero: some digit of it is.
    let positive = json!({ "pattern": POSITIVE });
    let changes = probes_of(|probe| matches!(probe.form, Form::Change { .. }));
    let any_probe = probes_of(|_| true);
    let no_change = json!({ "items": { "not": { "pattern": format!(r"^\s*({changes})\s*\(") } } });
    let only_measures =
        json!({ "items": { "not": { "pattern": format!(r"^\s*({any_probe})\s*\(") } } });
    vec![
        (
            "Document",
            json!({
                "required": ["load", "expect"],
                "properties": {
                    "version": { "enum": [1, "1"] },
                    "vars": names,
                    "load": loads,
                    "abort": only_measures,
                },
                "if": {
                    "required": ["expect"],
                    "properties": { "expect": { "required": ["recover"] } },
                },
                "then": { "required": ["steady"] },
            }),
        ),
        (
            "System",
            json!({
                "properties": {
                    "nodes": names,
                    "links": { "propertyNames": { "pattern": "^[^>]+->[^>]+$" } },
                },
                "allOf": [ one_at_least(&["service", "nodes"], "nodes") ],
            }),
        ),
        (
            "Load",
            json!({
                "required": ["steps"],
                "properties": { "steps": { "minItems": 1 }, "timeout": positive },
                "allOf": exactly_one(&["arrivals", "users"], "arrivals"),
            }),
        ),
        (
            "Arrivals",
            json!({
                "if": { "required": ["stages"] },
                "then": { "properties": { "for": false } },
                "else": {
                    "required": ["rate", "for"],
                    "properties": { "rate": positive, "for": positive },
                },
                "allOf": [{
                    "if": { "required": ["stages"], "not": { "required": ["rate"] } },
                    "then": { "properties": { "stages": { "prefixItems": [
                        { "if": { "required": ["hold"] }, "then": { "required": ["rate"] } },
                    ] } } },
                }],
            }),
        ),
        (
            "StageText",
            json!({
                "properties": {
                    "name": { "not": { "const": "steady" } },
                    "over": positive, "by": positive, "each": positive, "hold": positive,
                },
            }),
        ),
        ("StageText", stage()),
        ("Step", step()),
        (
            "Steady",
            json!({
                "required": ["hold"],
                "properties": {
                    "window": positive,
                    "hold": {
                        "minItems": 1,
                        "items": { "not": { "pattern": format!(
                            r"^\s*({any_probe})\s*\(|x\s+steady\s*$|steady\s*\+|\sover\s") } },
                    },
                },
            }),
        ),
        ("Fault", fault()),
        ("Fault", json!({ "properties": { "for": positive } })),
        (
            "Expect",
            json!({ "minProperties": 1, "properties": { "always": no_change } }),
        ),
        ("Template", template()),
        ("Expectation", expectation()),
    ]
}

/// Of these keys one must be there; the first to write where none is.
fn one_at_least(keys: &[&str], usual: &str) -> Json {
    let each: Vec<_> = keys
        .iter()
        .map(|key| json!({ "required": [key] }))
        .collect();
    json!({ "if": { "not": { "anyOf": each } }, "then": { "required": [usual] } })
}

/// Of these keys exactly one must be there.
fn exactly_one(keys: &[&str], usual: &str) -> Vec<Json> {
    let alone = keys.iter().enumerate().map(|(index, key)| {
        json!({ "if": { "required": [key] }, "then": { "properties": none_of(&keys[index + 1..]) } })
    });
    let alone = alone.take(keys.len() - 1);
    std::iter::once(one_at_least(keys, usual))
        .chain(alone)
        .collect()
}

/// Keys that must not be there.
fn none_of(keys: &[&str]) -> Json {
    let keys = keys
        .iter()
        .map(|key| ((*key).to_owned(), Json::Bool(false)));
    Json::Object(keys.collect())
}

fn stage() -> Json {
    json!({
        "if": { "required": ["ramp"] },
        "then": {
            "required": ["over"],
            "properties": none_of(&["steps", "by", "each", "hold", "rate"]),
        },
        "else": {
            "if": { "anyOf": [
                { "required": ["steps"] }, { "required": ["by"] }, { "required": ["each"] },
            ] },
            "then": {
                "required": ["steps", "by", "each"],
                "properties": none_of(&["over", "hold", "rate"]),
            },
            "else": { "required": ["hold"], "properties": none_of(&["over"]) },
        },
    })
}

fn step() -> Json {
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

fn fault() -> Json {
    let of_kinds = |rule: DurationRule| {
        let kinds: Vec<_> = KINDS
            .iter()
            .filter(|kind| kind.duration == rule)
            .map(|kind| kind.name)
            .collect();
        json!({
            "required": ["inject"],
            "properties": { "inject": { "anyOf": [
                { "enum": kinds },
                { "type": "object", "propertyNames": { "enum": kinds } },
            ] } },
        })
    };
    let mut all = exactly_one(&["at", "after"], "at");
    all.push(json!({ "if": of_kinds(DurationRule::Needed), "then": { "required": ["for"] } }));
    all.push(
        json!({ "if": of_kinds(DurationRule::None), "then": { "properties": { "for": false } } }),
    );
    json!({ "allOf": all })
}

/// `$(…)` is closed, `random` has a range, and `${…}` is another program's.
fn template() -> Json {
    let range = r"-?[0-9]{1,9}(\.[0-9]{1,6})?";
    json!({
        "allOf": [
            { "pattern": r"^([^$]|\$(?!\()|\$\([^)]*\))*$" },
            { "pattern": format!(r"^(?![\s\S]*\$\(\s*random(?![A-Za-z0-9_-])(?!\s*{range}\s*\.\.\s*{range}\s*\)))") },
        ],
    })
}

/// One small rule after the other, so that a validator prints the one that does not hold.
fn expectation() -> Json {
    let metrics = |dimension: Option<Dimension>| {
        METRICS
            .iter()
            .filter(|(.., metric)| dimension.is_none_or(|only| metric.dimension() == only))
            .map(|(word, ..)| match *word {
                "within" => format!(r"within\s*\(\s*{DURATION}\)"),
                word => word.replace('.', r"\."),
            })
            .collect::<Vec<_>>()
            .join("|")
    };
    let name = "[A-Za-z0-9_-]+";
    let cmp = "(>=|<=|>|<|≥|≤)";
    // What is fixed, what is a multiple of the steady window, of a stage or of another load.
    let over = format!(r"(\s*over\s+{DURATION})?\s*$");
    let compared = |dimension, fixed: String| {
        let own = metrics(Some(dimension));
        // A share that is 100 % in the steady window has no multiple that means anything.
        let other = match dimension {
            Dimension::Share => format!(r"(?!steady\s*(over|$)){name}"),
            Dimension::Rate | Dimension::Time => name.to_owned(),
        };
        json!({
            "if": { "pattern": format!(r"^\s*{name}\s*\.({own})\s*{cmp}\s*[^\s<>=]") },
            "then": { "pattern": format!(
                r"{cmp}\s*({fixed}|{NUMBER}\s*x\s+{other}(\.({own}))?){over}"
            ) },
        })
    };
    let measure = format!(r"^\s*{name}\s*\.({})(?![A-Za-z0-9_.])", metrics(None));
    let any_probe = probes_of(|_| true);
    let mut rules = vec![
        json!({ "pattern": format!(r"^\s*({any_probe})\s*\(|{measure}") }),
        json!({
            "if": { "pattern": measure },
            "then": { "pattern": format!(r"^[^<>=!≥≤]*{cmp}\s*[^\s<>=!]") },
        }),
        compared(Dimension::Share, PERCENT.to_owned()),
        compared(Dimension::Rate, RATE.to_owned()),
        compared(
            Dimension::Time,
            format!(r"{DURATION}|steady\s*\+\s*{DURATION}"),
        ),
    ];
    rules.extend(probes().map(|(_, probe)| {
        let claim = match &probe.form {
            Form::Change { changes, .. } => {
                let words: Vec<_> = changes.iter().map(|change| change.word).collect();
                format!(r"({})\s+within\s+{DURATION}$", words.join("|"))
            }
            Form::Ratio(_) => format!(r"{cmp}\s*{NUMBER}\s*$"),
        };
        json!({
            "if": { "pattern": format!(r"^\s*{}\s*\(", probe.name) },
            "then": { "pattern": format!(r"\(\s*{name}\s*\)\s*{claim}") },
        })
    }));
    json!({
        "if": { "not": { "pattern": r"\$\(" } },
        "then": { "allOf": rules },
    })
}

/// The names of probes, one of which may stand here.
fn probes_of(wanted: impl Fn(&Probe) -> bool) -> String {
    let names: Vec<_> = probes()
        .filter(|(_, probe)| wanted(probe))
        .map(|(_, probe)| probe.name)
        .collect();
    names.join("|")
}
