//! What programs read: JSON by its published schema, JUnit by the schema that Jenkins publishes.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};

use super::*;
use crate::event::{EventKind, RunOutcome};

/// Runs that ended in every way.
fn runs() -> Vec<Scene> {
    let reason = || "gateway-1: /ready answered 503".to_owned();
    let ended = |outcome| survived().ended(outcome);
    vec![
        survived(),
        unprotected(),
        survived().without(|kind| matches!(kind, EventKind::FaultInjected { .. })),
        survived().without(|kind| matches!(kind, EventKind::Generator { .. })),
        survived().change(|scene| scene.ledger = None),
        survived().change(|scene| scene.plan.expect = Default::default()),
        survived().change(|scene| {
            scene.samples.clear();
            scene.events.retain(|event| event.at.0 < 1_000_000);
        }),
        ended(RunOutcome::Interrupted),
        ended(RunOutcome::Aborted { reason: reason() }),
        ended(RunOutcome::NotReady { reason: reason() }),
        ended(RunOutcome::Broken { reason: reason() }),
        ended(RunOutcome::UndoFailed {
            leftovers: vec![reason()],
        }),
    ]
}

#[test]
fn every_report_is_valid_by_its_schema() {
    let schema = schema().to_value();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for scene in runs() {
        let text = json::text(&report(&scene)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let problems: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{problems:#?}");
        // The schema does not let everything through.
        value.as_object_mut().unwrap().remove("expectations");
        assert!(!validator.is_valid(&value));
        value["expectations"] = serde_json::json!([{ "id": 7 }]);
        assert!(!validator.is_valid(&value));
    }
}

#[test]
fn ids_are_unique_and_the_same_in_every_format() {
    for scene in runs() {
        let report = report(&scene);
        let ids: std::collections::BTreeSet<_> = report
            .expectations
            .iter()
            .map(|one| one.id.clone())
            .collect();
        assert_eq!(ids.len(), report.expectations.len());
        let json = json::text(&report).unwrap();
        let junit = junit::text(&report).unwrap();
        let page = html::page(&report);
        for id in ids {
            assert!(json.contains(&format!("\"id\": \"{id}\"")), "{id}");
            assert!(junit.contains(&format!("name=\"{id}: ")), "{id}");
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}

/// Attributes and children that an element may have.
fn allowed(element: &str) -> (&'static [&'static str], &'static [&'static str]) {
    const MESSAGE: &[&str] = &["type", "message"];
    match element {
        "" => (&[], &["testsuites"]),
        "testsuites" => (
            &["name", "time", "tests", "failures", "errors"],
            &["testsuite"],
        ),
        "testsuite" => (
            &[
                "name",
                "tests",
                "failures",
                "errors",
                "time",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
            ],
            &["properties", "testcase", "system-out", "system-err"],
        ),
        "properties" => (&[], &["property"]),
        "property" => (&["name", "value"], &[]),
        "testcase" => (
            &["name", "classname", "time"],
            &["skipped", "error", "failure", "system-out", "system-err"],
        ),
        "failure" | "error" | "skipped" => (MESSAGE, &[]),
        "system-out" | "system-err" => (&[], &[]),
        other => panic!("{other} is no element of JUnit"),
    }
}

fn attributes(element: &BytesStart<'_>) -> BTreeMap<String, String> {
    element
        .attributes()
        .map(|attribute| {
            let attribute = attribute.unwrap();
            let name = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
            (name, attribute.unescape_value().unwrap().into_owned())
        })
        .collect()
}

/// Elements with their attributes, every one where it may be.
fn elements(xml: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut path, mut found) = (vec![String::new()], Vec::new());
    loop {
        let (element, empty) = match reader.read_event().unwrap() {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(_) => {
                path.pop();
                continue;
            }
            Event::Eof => return found,
            _ => continue,
        };
        let name = String::from_utf8(element.name().as_ref().to_vec()).unwrap();
        let (_, children) = allowed(path.last().unwrap());
        assert!(children.contains(&name.as_str()), "{name} in {path:?}");
        let attributes = attributes(&element);
        for attribute in attributes.keys() {
            assert!(
                allowed(&name).0.contains(&attribute.as_str()),
                "{name} {attribute}"
            );
        }
        found.push((name.clone(), attributes));
        if !empty {
            path.push(name);
        }
    }
}

#[test]
fn junit_has_the_usual_shape_and_counts_what_is_in_it() {
    for scene in runs() {
        let report = report(&scene);
        let elements = elements(&junit::text(&report).unwrap());
        let count = |name: &str| elements.iter().filter(|(one, _)| one == name).count();
        let suite = &elements
            .iter()
            .find(|(name, _)| name == "testsuite")
            .unwrap()
            .1;
        for (attribute, element) in [
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ] {
            assert_eq!(suite[attribute], count(element).to_string(), "{attribute}");
        }
        assert!(
            count("testcase") > 0,
            "a run without a case looks as if it had not been"
        );
        let passed = report.passed();
        assert_eq!(
            passed,
            count("failure") + count("error") == 0,
            "{}",
            report.conclusion
        );
        let seconds = |text: &str| text.parse::<f64>().unwrap();
        let took = seconds(&suite["time"]);
        assert!((took - report.took.as_secs_f64()).abs() < 0.001);
        for (_, case) in elements.iter().filter(|(name, _)| name == "testcase") {
            let time = seconds(&case["time"]);
            assert!((0.0..=took).contains(&time), "{case:?}");
        }
    }
}
