//! The direction of imports: two chains that share the event contract and never meet before the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each module of the crate with those it may import. `lib.rs` and `main.rs` only name them. What acts on the system under
/// test is a module of its own here, because only what runs something may import it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("http", &[]),
    // Text from outside, made safe to show.
    ("printable", &[]),
    ("procfs", &[]),
    ("process_set", &["procfs"]),
    // What is known of the system under test, and what is done to it.
    ("sut", &[]),
    ("sut::acting", &["http", "sut"]),
    ("scenario", &["sut", "printable"]),
    ("plan", &["sut", "scenario"]),
    ("event", &["scenario", "plan"]),
    ("series", &["scenario", "plan", "event"]),
    // How the system is run and broken.
    ("journal", &["procfs", "process_set"]),
    (
        "runtime",
        &[
            "http",
            "procfs",
            "process_set",
            "sut",
            "sut::acting",
            "scenario",
            "plan",
            "event",
            "journal",
        ],
    ),
    ("link", &["scenario", "plan", "event", "journal", "runtime"]),
    (
        "testbed",
        &["scenario", "plan", "event", "journal", "runtime", "link"],
    ),
    (
        "fault",
        &[
            "scenario", "plan", "event", "journal", "runtime", "link", "testbed",
        ],
    ),
    (
        "load",
        &["http", "scenario", "plan", "event", "runtime", "link"],
    ),
    (
        "run",
        &[
            "http",
            "procfs",
            "sut",
            "sut::acting",
            "scenario",
            "plan",
            "event",
            "series",
            "journal",
            "runtime",
            "link",
            "testbed",
            "fault",
            "load",
        ],
    ),
    // What became of it.
    (
        "record",
        &["procfs", "sut", "scenario", "plan", "event", "series"],
    ),
    (
        "judge",
        &["sut", "scenario", "plan", "event", "series", "record"],
    ),
    (
        "report",
        &[
            "sut",
            "printable",
            "scenario",
            "plan",
            "event",
            "series",
            "record",
            "judge",
        ],
    ),
    // Beside both: the service's roles on a simulated network, with a client and checks of its own.
    ("simulate", &[]),
];

/// The front doors: they see both halves.
const FRONT_DOORS: &[&str] = &["cli", "bdd"];

#[test]
fn imports_point_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rules: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut offences = Vec::new();
    let mut seen = 0;
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("inside");
        let module = module_of(relative);
        if matches!(module.as_str(), "lib" | "main") || FRONT_DOORS.contains(&module.as_str()) {
            continue;
        }
        // Tests may bring the parts together.
        if relative
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "testing")
        {
            continue;
        }
        let Some(allowed) = rules.get(module.as_str()) else {
            offences.push(format!(
                "{}: say in this test where `{module}` stands",
                relative.display()
            ));
            continue;
        };
        let text = std::fs::read_to_string(&file).expect("readable");
        for (line, imported) in imports(&text) {
            seen += 1;
            if imported != module && !allowed.contains(&imported.as_str()) {
                offences.push(format!(
                    "{}:{line}: {module} imports {imported}",
                    relative.display()
                ));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    assert!(
        seen > 20,
        "only {seen} imports were found: does the test still read them?"
    );
}

#[test]
fn a_rule_is_no_circle() {
    for (index, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for imported in *allowed {
            let at = MAY_IMPORT.iter().position(|(name, _)| name == imported);
            assert!(
                at.is_some_and(|at| at < index),
                "{module} may import {imported}, which stands after it"
            );
        }
    }
}

#[test]
fn imports_are_found() {
    let text = "use crate::plan::Plan;\nuse crate::{event::Event, link::{Link, Toxic}, run};\n// crate::judge\n\
                fn f() { crate::load::go() }\npub(crate) use x;\n#[cfg(test)]\nmod tests { use crate::report; }\n";
    let found: Vec<_> = imports(text)
        .into_iter()
        .map(|(_, module)| module)
        .collect();
    assert_eq!(found, ["plan", "event", "link", "run", "load"]);
    let text = "use crate::sut::{self, Wanted};\nuse crate::sut::acting::Place;\nuse crate::sut::{acting, SutKind};\n";
    let found: Vec<_> = imports(text)
        .into_iter()
        .map(|(_, module)| module)
        .collect();
    assert_eq!(found, ["sut", ACTING, ACTING]);
}

/// The module that a file belongs to.
fn module_of(relative: &Path) -> String {
    let parts: Vec<String> = relative
        .components()
        .map(|part| {
            part.as_os_str()
                .to_string_lossy()
                .trim_end_matches(".rs")
                .to_owned()
        })
        .collect();
    match parts.first() {
        Some(first) if first == "sut" && parts.iter().any(|part| part == "acting") => {
            ACTING.to_owned()
        }
        Some(first) => first.clone(),
        None => panic!("{} has no name", relative.display()),
    }
}

const ACTING: &str = "sut::acting";

/// The module that a path after `crate::` leads to.
fn module_at(path: &str) -> String {
    let statement = path.split([';', '(']).next().unwrap_or_default();
    let acts = statement
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| word == "acting");
    match name(path) {
        sut if sut == "sut" && acts => ACTING.to_owned(),
        other => other,
    }
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

/// Modules of this crate that a text names, with the line; comments and unit tests left aside.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .split("#[cfg(test)]\nmod ")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `my_crate::` are other things; `pub(crate)` has no colons.
        if code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, module_at(rest)));
            continue;
        };
        let mut depth = 0;
        let mut expecting = true;
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => expecting = true,
                c if expecting && c.is_ascii_alphabetic() => {
                    found.push((line, name(&group[index..])));
                    expecting = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
