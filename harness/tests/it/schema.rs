//! The JSON Schema: committed, and the same thing the reader takes.

use std::collections::BTreeMap;

use clip_harness::scenario::JsonPath;
use clip_harness::scenario::expr::{Expectation, METRICS};
use clip_harness::scenario::fault::KINDS;
use clip_harness::scenario::model::{
    Arrivals, Baseline, Document, End, Expect, Fault, LinkSettings, Load, Program, ReadBack,
    ReadResults, Ready, Recover, Report, Service, StageText, Steady, Step, StepExpectation, System,
    Users,
};
use clip_service::units::HumanDuration;
use proptest::prelude::*;
use proptest::sample::select;
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
fn the_committed_schema_of_reports_is_the_generated_one() {
    let path = super::top().join("harness/report.schema.json");
    let committed = std::fs::read_to_string(path).expect("the schema is committed");
    let generated = clip_harness::report::schema().to_value();
    assert!(
        committed == format!("{generated:#}\n"),
        "run: cargo run -p clip-harness -- schema report > harness/report.schema.json"
    );
    let definitions = generated["$defs"].as_object().expect("definitions");
    let root = ("Document", &generated);
    for (name, definition) in definitions
        .iter()
        .map(|(name, d)| (name.as_str(), d))
        .chain([root])
    {
        for (key, value) in definition["properties"].as_object().into_iter().flatten() {
            // The tag of an enum is a constant, which says what it is.
            let told = value["description"].is_string() || value["const"].is_string();
            assert!(told, "{name}.{key} has no description");
        }
    }
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
        LinkSettings,
        Load,
        Program,
        ReadBack,
        ReadResults,
        Ready,
        Recover,
        Report,
        Service,
        StageText,
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
        let is_mapping = definition["type"] == "object"
            && definition["additionalProperties"] == Json::Bool(false);
        if !is_mapping || of_the_service(name) {
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
        // The schema may need more: a list that the reader finds empty when it is absent.
        let missing: Vec<_> = owned(required)
            .into_iter()
            .filter(|key| !needed.contains(key))
            .collect();
        assert_eq!(missing, Vec::<String>::new(), "{name}");
    }
    assert!(
        readers.is_empty(),
        "not in the schema: {:?}",
        readers.keys()
    );
}

/// A scenario file as an editor sees it.
fn as_json(text: &str) -> Option<Json> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str(text).ok()
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("a schema")
}

/// What a validator says, with its place.
fn refusals(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    let Some(json) = as_json(text) else {
        return vec!["not YAML".to_owned()];
    };
    validator
        .iter_errors(&json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn every_scenario_of_the_repository_is_valid() {
    let validator = validator();
    let files = super::scenario_files();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let refused = refusals(&validator, &text);
        assert!(refused.is_empty(), "{}: {refused:#?}", file.display());
    }
}

/// The small mistakes that the schema cannot see: they need names from elsewhere in the file, or arithmetic.
const ONLY_FOR_THE_READER: &[&str] = &[
    "the run takes longer than 5s",
    "must be above 0s",
    "a program cannot run in the embedded runtime",
    "`w` waits for itself",
    "there is no link from w to `x`",
    "`entry` is missing",
    "the system has no node `x`",
    "no whole number of steps leads from 50/s to 60/s",
    "these are more than 1000 steps",
    "there is already a stage `s`",
    "the system has no node `gateway-9`",
    "the system has no node `gateway-9*`",
    "the system has no node `gateway-2`",
    "every stage has a rate of zero",
    "`for` is missing: no other load says how long the users stay",
    "unknown variable `jbo`",
    "there is no fixture `tlak`",
    "`f` begins after the load has ended",
    "there is no fault `g`",
    "these faults wait for each other",
    "`kill` needs a node, and `gateway-1->processor-1` is a link",
    "`down` needs a link, and `processor-1` is a node",
    "`jitter` must not be greater than `add`",
    "the system has no node `gatway-*`",
    "`retry_after` must be whole seconds, not 1500ms",
    "the system has no link `*->processor-7`",
    "there is no load `b`",
    "there is no steady state to compare with",
    "there is no fault `f`",
    "there is no stage `peek`",
    "there is no load `b`",
    "the system has no gateway `processor-1`",
    "`a.success >= 98%` is not an expectation of this scenario",
    "`abort` cannot be compared with a stage",
    "the steady state cannot be compared with a stage, which may come later",
    "no step has `ledger: accepted`, so the ledger stays empty",
];

#[test]
fn the_schema_refuses_what_check_refuses() {
    let validator = validator();
    let mistakes = super::problems::small_mistakes();
    let accepted: Vec<_> = mistakes
        .iter()
        .filter(|(text, _)| refusals(&validator, text).is_empty())
        .map(|(_, message)| *message)
        .collect();
    assert_eq!(accepted, ONLY_FOR_THE_READER, "of {}", mistakes.len());
}

/// A mistake is a few messages of a validator at its place, short enough to be read.
#[test]
fn messages_of_validators_can_be_read() {
    let validator = validator();
    let mut long = Vec::new();
    for (text, message) in super::problems::small_mistakes() {
        let refused = refusals(&validator, &text);
        // A mapping that is something else altogether lacks every key that it must have.
        if refused.len() > 4 || refused.iter().any(|said| said.chars().count() > 300) {
            long.push(format!("{message}: {refused:#?}"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The rules of one definition.
fn of_definition(name: &str) -> jsonschema::Validator {
    let mut schema = schema();
    let mut rules = schema["$defs"][name].clone();
    rules["$defs"] = schema["$defs"].take();
    jsonschema::validator_for(&rules).expect("a schema")
}

/// What a text is made of that may be an expectation.
fn expectations() -> impl Strategy<Value = String> {
    let measures: Vec<_> = METRICS.iter().map(|(word, ..)| *word).collect();
    let word = prop_oneof![
        4 => select(vec!["a.", "all.", "b-1 ."]),
        4 => select(measures),
        2 => select(vec!["(250ms)", "( 1s )"]),
        4 => select(vec![">=", "<=", ">", "<", " >= ", "≤", "=>", "="]),
        4 => select(vec!["99.9%", "100 %", "101%", "1h30m", "250ms", "40/s", "30 / m", "2x steady", "0.9 x peak", "2x b.p95", "0.5x b.success", "steady + 5ms", "7"]),
        1 => select(vec![" over 5s", "over 1m", " ", "x", "steady"]),
        1 => select(vec!["breaker(p-1) opened within 2s", "amplification( g ) <= 1.2", "breaker(p)"]),
    ];
    proptest::collection::vec(word, 1..6).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// An editor must not underline what `check` accepts.
    #[test]
    fn what_is_read_is_valid(
        expectation in expectations(),
        time in "([0-9]{0,2}(\\.[0-9]?)?(ns|us|ms|s|m|h|d) ?){1,3}",
        path in "\\$([.]?[a-z_-]{0,3}|\\[ ?(-?[0-9]{0,2}|'[a-z ]?'|[a-z]) ?\\]){0,3}",
    ) {
        thread_local! {
            static RULES: [jsonschema::Validator; 3] =
                ["Expectation", "TimeSpan", "JsonPath"].map(of_definition);
        }
        RULES.with(|[expectations, times, paths]| {
            let valid = |rules: &jsonschema::Validator, text: &str| rules.is_valid(&text.into());
            if expectation.parse::<Expectation>().is_ok() {
                prop_assert!(valid(expectations, &expectation), "{expectation}");
            }
            prop_assert_eq!(time.parse::<HumanDuration>().is_ok(), valid(times, &time), "{}", time);
            prop_assert_eq!(path.parse::<JsonPath>().is_ok(), valid(paths, &path), "{}", path);
            Ok(())
        })?;
    }
}

/// What the grammar refuses, the schema refuses too, but for the arithmetic.
#[test]
fn misspelt_expectations_are_refused() {
    let rules = of_definition("Expectation");
    for text in [
        "shop.sucess >= 99%",
        "shop.P99 <= 2s",
        "shop.p97 <= 1s",
        "shop.success => 99%",
        "shop.p99 = 2s",
        "shop.success 99%",
        "shop.success >= 0.99",
        "shop.p99 < 200",
        "shop.success >= 101%",
        "shop.success >= -5%",
        "shop.success >= 2x steady",
        "shop.goodput >= 40",
        "shop.p99 <= 2s over 5",
        "shop.p99 <= 2s ovr 5s",
        "breaker(p) opened in 2s",
        "breaker() opened within 2s",
        "amplification(g) <= 120%",
        "success >= 99%",
        "http_req_duration p(95)<200",
    ] {
        assert!(!rules.is_valid(&text.into()), "{text}");
        assert!(text.parse::<Expectation>().is_err(), "{text}");
    }
}

#[test]
fn no_choice_has_null_in_it() {
    fn look(schema: &Json, at: &str) {
        match schema {
            Json::Array(items) => items.iter().for_each(|item| look(item, at)),
            Json::Object(entries) => {
                assert!(entries.get("type") != Some(&Json::from("null")), "{at}");
                for (key, value) in entries {
                    look(value, &format!("{at}/{key}"));
                }
            }
            _ => {}
        }
    }
    look(&schema(), "");
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

#[test]
fn every_kind_of_fault_is_described_with_its_settings() {
    let schema = schema();
    let inject = &schema["$defs"]["Inject"];
    let words = inject["then"]["enum"].as_array().expect("bare words");
    for kind in KINDS {
        let settings = &inject["properties"][kind.name];
        if kind.settings.is_empty() {
            assert!(words.contains(&kind.name.into()), "{}", kind.name);
            assert!(settings.is_null(), "{}", kind.name);
            continue;
        }
        let properties = settings["properties"].as_object().expect("settings");
        let mut keys: Vec<_> = properties.keys().map(String::as_str).collect();
        let mut taken = kind.settings.to_vec();
        keys.sort_unstable();
        taken.sort_unstable();
        assert_eq!(keys, taken, "{}", kind.name);
        for (key, value) in properties {
            assert!(value["description"].is_string(), "{}.{key}", kind.name);
        }
    }
}
