//! The program of the page: each part is sound by itself, and the whole does on a page of stubs what readers do with it
//! (`page.test.cjs`). Needs `node`; where there is none, that is said and nothing is claimed.

use std::process::{Command, Output};

use crate::report::html::SCRIPTS;

/// The tests themselves, kept as a file so that `node --test` names what fails.
const TESTS: &str = include_str!("page.test.cjs");

/// Words that a page without strings of markup and without a library has no need for.
const REFUSED: [&str; 9] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "var ",
    "fetch(",
    "XMLHttpRequest",
];

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn node(arguments: &[&str], directory: &std::path::Path) -> Option<Output> {
    let run = Command::new("node")
        .args(arguments)
        .current_dir(directory)
        .output();
    match run {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("skipped: node cannot be run here ({error})");
            None
        }
    }
}

fn assert_well(output: &Output) {
    let told = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{}\n{}", told[0], told[1]);
}

#[test]
fn no_part_builds_markup_or_leaves_a_function_unused() {
    let whole: String = SCRIPTS.iter().map(|(_, text)| *text).collect();
    for (name, text) in SCRIPTS {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}:{}", number + 1);
            assert!(line.len() <= 180, "{place} is too long");
            for refused in REFUSED {
                assert!(!line.contains(refused), "{place} has {refused}");
            }
            // Loose comparison takes 0, "" and null for the same.
            let strict = line.replace("===", "").replace("!==", "");
            assert!(
                !strict.contains("==") && !strict.contains("!="),
                "{place} compares loosely"
            );
            let function = line
                .strip_prefix("function ")
                .and_then(|rest| rest.split('(').next());
            if let Some(function) = function {
                let uses = whole.matches(function).count();
                assert!(uses > 1, "{place}: {function} is not used");
            }
        }
    }
}

#[test]
fn every_part_parses_and_the_program_does_what_readers_ask_for() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in SCRIPTS {
        std::fs::write(
            directory.path().join(name),
            format!("\"use strict\";\n{text}"),
        )
        .unwrap();
        let Some(output) = node(&["--check", name], directory.path()) else {
            return;
        };
        assert_well(&output);
    }
    let whole: String = SCRIPTS.iter().map(|(_, text)| *text).collect();
    std::fs::write(directory.path().join("program.js"), whole).unwrap();
    std::fs::write(directory.path().join("page.test.cjs"), TESTS).unwrap();
    if let Some(output) = node(&["--test", "page.test.cjs"], directory.path()) {
        assert_well(&output);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            told.contains("# fail 0") && !told.contains("# pass 0"),
            "{told}"
        );
    }
}
