//! The JSON Schema: committed, and the same thing the reader takes.

use std::collections::BTreeMap;

use clip_harness::scenario::model::{
    Arrivals, Baseline, Document, End, Expect, Fault, Latency, LinkSettings, Load, Program,
    ReadBack, ReadResults, Ready, Recover, Report, Restart, RollingRestart, Service, Slow,
    StageText, StatusAnswer, Steady, Step, StepExpectation, System, Users,
};
use serde_json::Value as Json;

fn of_the_service(name: &str) -> bool {
    let service = schemars::schema_for!(clip_service::config::Config).to_value();
    name == "Config" || service["$defs"].get(name).is_some()
}

fn schema() -> Json {
    clip_harness::scenario::schema().to_value()
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    let path = super::top().join("harness/scenario.schema.json");
    let committed = std::fs::read_to_string(path).expect("the schema is committed");
    let generated = format!("{:#}\n", schema());
    assert!(
        committed == generated,
        "run: cargo run -p clip-harness -- schema > harness/scenario.schema.json"
    );
}

#[test]
fn the_reader_takes_the_keys_that_the_schema_describes() {
    macro_rules! keys {
        ($($mapping:ident),*) => {
            BTreeMap::from([$((stringify!($mapping), ($mapping::KEYS.to_vec(), $mapping::required()))),*])
        };
    }
    let mut readers = keys!(
        Arrivals,
        Baseline,
        Document,
        End,
        Expect,
        Fault,
        Latency,
        LinkSettings,
        Load,
        Program,
        ReadBack,
        ReadResults,
        Ready,
        Recover,
        Report,
        Restart,
        RollingRestart,
        Service,
        Slow,
        StageText,
        StatusAnswer,
        Steady,
        Step,
        StepExpectation,
        System,
        Users
    );
    let schema = schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let described = definitions
        .iter()
        .map(|(name, definition)| (name.as_str(), definition))
        .chain([("Document", &schema)]);
    for (name, definition) in described {
        // Scalars have no keys; the service's configuration is described by the service.
        if definition["additionalProperties"] != Json::Bool(false) || of_the_service(name) {
            continue;
        }
        let (keys, required) = readers
            .remove(name)
            .unwrap_or_else(|| panic!("no reader for {name}"));
        let sorted = |mut words: Vec<String>| {
            words.sort();
            words
        };
        let owned = |words: Vec<&str>| sorted(words.into_iter().map(str::to_owned).collect());
        let properties = definition["properties"]
            .as_object()
            .map(|p| p.keys().cloned().collect());
        assert_eq!(
            sorted(properties.unwrap_or_default()),
            owned(keys),
            "{name}"
        );
        let needed: Vec<String> = definition["required"]
            .as_array()
            .map(|words| {
                words
                    .iter()
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default();
        assert_eq!(sorted(needed), owned(required), "{name}");
    }
    assert!(
        readers.is_empty(),
        "not in the schema: {:?}",
        readers.keys()
    );
}

#[test]
fn every_key_says_what_it_is() {
    let schema = schema();
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        if of_the_service(name) {
            continue;
        }
        for (key, value) in definition["properties"].as_object().into_iter().flatten() {
            assert!(
                value["description"].is_string(),
                "{name}.{key} has no description"
            );
        }
    }
}
