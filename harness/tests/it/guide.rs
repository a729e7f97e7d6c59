//! The guide for authors is true: what it shows can be read, and what can be written stands in it.

use std::collections::BTreeMap;

use clip_harness::judge::exit::EXITS;
use clip_harness::plan::{Plan, PlanOptions};
use clip_harness::scenario::expr::METRICS;
use clip_harness::scenario::fault::KINDS;
use serde_json::Value as Json;

fn guide() -> String {
    std::fs::read_to_string(super::top().join("scenarios/README.md")).expect("the guide is there")
}

/// The YAML blocks of a text.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```yaml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

/// Top-level keys of a YAML text, each with its lines.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut sections: BTreeMap<String, String> = BTreeMap::new();
    let mut key = String::new();
    for line in text.lines() {
        if line.starts_with(|c: char| c.is_ascii_alphabetic())
            && let Some((name, _)) = line.split_once(':')
        {
            key = name.to_owned();
        }
        let section = sections.entry(key.clone()).or_default();
        section.push_str(line);
        section.push('\n');
    }
    sections
}

/// Parts that a fragment of the guide may rest on.
const AROUND: &str = "\
version: 1
name: around
system: { service: { processors: 3 } }
load:
  frames: { arrivals: { rate: 10/s, for: 60s }, steps: [ { get: / } ] }
  jobs: { arrivals: { rate: 1/s, for: 60s }, steps: [ { post: /, capture: { id: $.id }, ledger: accepted } ] }
steady: { window: 2s, hold: [ frames.success >= 99% ] }
faults: [ { name: crash, at: 5s, for: 3s, target: any, inject: kill } ]
expect: { always: [ frames.success >= 99% ] }
";

#[test]
fn every_yaml_block_can_be_read() {
    let guide = guide();
    let blocks = blocks(&guide);
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        let text = if block.starts_with("version:") {
            block.to_owned()
        } else {
            let mut parts = sections(AROUND);
            parts.extend(sections(block));
            parts.into_values().collect()
        };
        match Plan::prepare_text("scenarios/README.md", &text, &PlanOptions::default()) {
            Ok(prepared) => assert!(prepared.warnings.is_empty(), "{}", prepared.warnings),
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }
}

/// The repository's first page: its scenario is sound, and the commands it names exist.
#[test]
fn the_first_page_shows_what_there_is() {
    let read = |file: &str| std::fs::read_to_string(super::top().join(file)).expect(file);
    let page = read("README.md");
    let blocks = blocks(&page);
    assert!(!blocks.is_empty());
    for block in blocks {
        match Plan::prepare_text("README.md", block, &PlanOptions::default()) {
            Ok(prepared) => assert!(prepared.warnings.is_empty(), "{}", prepared.warnings),
            Err(problems) => panic!("{problems}"),
        }
    }
    let makefile = read("Makefile");
    let help = super::harness(&["--help"]);
    let help = String::from_utf8(help.stdout).expect("text");
    let mut named = 0;
    let after = |command: &str| -> Vec<String> {
        let words = page.split(command).skip(1);
        let word = |rest: &str| {
            rest.split(|c: char| !c.is_ascii_lowercase())
                .next()
                .map(str::to_owned)
        };
        words
            .filter_map(word)
            .filter(|word| !word.is_empty())
            .collect()
    };
    for target in after("`make ").into_iter().chain(after("\nmake ")) {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
        named += 1;
    }
    for verb in after("`clip-harness ")
        .into_iter()
        .chain(after("\nclip-harness "))
    {
        assert!(
            help.contains(&format!("\n  {verb} ")),
            "clip-harness {verb}"
        );
        named += 1;
    }
    assert!(named >= 10, "{named}");
}

#[test]
fn every_word_of_the_format_stands_in_it() {
    let guide = guide();
    let mut missing = Vec::new();
    let mut check = |word: &str| {
        // In a table or sentence as `word`, or as a key of an example.
        let named = guide.contains(&format!("`{word}`")) || guide.contains(&format!("{word}: "));
        if !named && !guide.contains(&format!(".{word} ")) {
            missing.push(word.to_owned());
        }
    };
    let schema = clip_harness::scenario::schema().to_value();
    let service = schemars::schema_for!(clip_service::config::Config).to_value();
    for (name, definition) in schema["$defs"].as_object().expect("definitions") {
        if name == "Config" || service["$defs"].get(name).is_some() {
            continue;
        }
        definition["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .for_each(|(key, _)| check(key));
        let words = definition["then"]["enum"].as_array();
        for word in words.into_iter().flatten().filter_map(Json::as_str) {
            check(word);
        }
    }
    schema["properties"]
        .as_object()
        .expect("keys")
        .keys()
        .for_each(|key| check(key));
    KINDS
        .iter()
        .flat_map(|kind| kind.settings)
        .for_each(|setting| check(setting));
    METRICS.iter().for_each(|(metric, ..)| check(metric));
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_exit_codes_are_those_of_the_command() {
    let guide = guide();
    for (exit, meaning) in EXITS {
        let row = format!("| {} | {meaning} |", exit.code());
        assert!(guide.contains(&row), "{row}");
    }
}

#[test]
fn every_scenario_file_is_in_the_table() {
    let guide = guide();
    for file in super::scenario_files() {
        let folder = super::top().join("scenarios");
        let name = file
            .strip_prefix(folder)
            .expect("inside")
            .display()
            .to_string();
        assert!(guide.contains(&format!("| `{name}` |")), "{name}");
    }
}
