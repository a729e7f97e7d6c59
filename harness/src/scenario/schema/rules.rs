//! What must be true between the keys of a mapping, or of the form of a text.

use serde_json::{Value as Json, json};

use super::expectation::{expectation, probes_of};
use super::keys::{exactly_one, none_of, one_at_least};
use crate::scenario::expr::ALL;
use crate::scenario::fault::{DurationRule, KINDS};
use crate::scenario::step;
use crate::scenario::value::{NAME, POSITIVE};
use crate::sut::probe::Form;
use crate::sut::probes;

/// The rules of each definition, by its name.
pub(super) fn rules() -> Vec<(&'static str, Json)> {
    vec![
        ("Document", document()),
        ("System", system()),
        ("Load", load()),
        ("Arrivals", arrivals()),
        ("StageText", stage()),
        ("Step", step::rules()),
        ("Steady", steady()),
        ("Fault", fault()),
        ("Expect", expect()),
        ("Template", template()),
        ("Expectation", expectation()),
    ]
}

/// More than zero: some digit of it is.
fn positive() -> Json {
    json!({ "pattern": POSITIVE })
}

/// No item of a list is one of these probes.
fn without_probes(wanted: impl Fn(&Form) -> bool) -> Json {
    let probes = probes_of(|probe| wanted(&probe.form));
    json!({ "items": { "not": { "pattern": format!(r"^\s*({probes})\s*\(") } } })
}

fn names() -> Json {
    json!({ "propertyNames": { "pattern": NAME } })
}

fn document() -> Json {
    let reserved: Vec<_> = probes().map(|(_, probe)| probe.name).chain([ALL]).collect();
    let loads = json!({
        "propertyNames": { "pattern": NAME, "not": { "enum": reserved } },
        "minProperties": 1,
    });
    json!({
        "required": ["load", "expect"],
        "properties": {
            "version": { "enum": [1, "1"] },
            "vars": names(),
            "load": loads,
            "abort": without_probes(|_| true),
        },
        "if": {
            "required": ["expect"],
            "properties": { "expect": { "required": ["recover"] } },
        },
        "then": { "required": ["steady"] },
    })
}

fn system() -> Json {
    json!({
        "properties": {
            "nodes": names(),
            "links": { "propertyNames": { "pattern": "^[^>]+->[^>]+$" } },
        },
        "allOf": [ one_at_least(&["service", "nodes"], "nodes") ],
    })
}

fn load() -> Json {
    json!({
        "required": ["steps"],
        "properties": { "steps": { "minItems": 1 }, "timeout": positive() },
        "allOf": exactly_one(&["arrivals", "users"], "arrivals"),
    })
}

fn arrivals() -> Json {
    json!({
        "if": { "required": ["stages"] },
        "then": { "properties": { "for": false } },
        "else": {
            "required": ["rate", "for"],
            "properties": { "rate": positive(), "for": positive() },
        },
        "allOf": [{
            "if": { "required": ["stages"], "not": { "required": ["rate"] } },
            "then": { "properties": { "stages": { "prefixItems": [
                { "if": { "required": ["hold"] }, "then": { "required": ["rate"] } },
            ] } } },
        }],
    })
}

fn steady() -> Json {
    let any_probe = probes_of(|_| true);
    let elsewhere = format!(r"^\s*({any_probe})\s*\(|x\s+steady\s*$|steady\s*\+|\sover\s");
    json!({
        "required": ["hold"],
        "properties": {
            "window": positive(),
            "hold": { "minItems": 1, "items": { "not": { "pattern": elsewhere } } },
        },
    })
}

fn expect() -> Json {
    let no_change = without_probes(|form| matches!(form, Form::Change { .. }));
    json!({ "minProperties": 1, "properties": { "always": no_change } })
}

fn stage() -> Json {
    json!({
        "properties": {
            "name": { "not": { "const": "steady" } },
            "over": positive(), "by": positive(), "each": positive(), "hold": positive(),
        },
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
    json!({ "properties": { "for": positive() }, "allOf": all })
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
