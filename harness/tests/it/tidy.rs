//! The direction of imports: two chains that share the event contract and never meet before the command line. And the
//! words of one system under test, which stay where that system is described.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Each module of the crate with those it may import. `lib.rs` and `main.rs` only name them. What acts on the system under
/// test is a module of its own here, because only what runs something may import it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("http", &[]),
    // Text from outside, made safe to show.
    ("printable", &[]),
    ("procfs", &[]),
    // How many files may be open.
    ("file_limit", &[]),
    ("process_set", &["procfs"]),
    // What is known of the system under test, and what is done to it.
    ("sut", &[]),
    ("sut::acting", &["http", "sut"]),
    ("scenario", &["sut", "printable"]),
    ("plan", &["file_limit", "sut", "scenario"]),
    ("event", &["scenario", "plan"]),
    ("series", &["scenario", "plan", "event"]),
    // How the system is run and broken.
    ("journal", &["procfs", "process_set"]),
    (
        "runtime",
        &[
            "file_limit",
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
    (
        "link",
        &[
            "file_limit",
            "scenario",
            "plan",
            "event",
            "journal",
            "runtime",
        ],
    ),
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
        &[
            "file_limit",
            "http",
            "scenario",
            "plan",
            "event",
            "runtime",
            "link",
        ],
    ),
    (
        "run",
        &[
            "file_limit",
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

/// Words of the clip service. What the harness knows of it is in `sut/clip_service/`, so that it can run another system.
const CLIP_WORDS: &[&str] = &[
    "clip",
    "clips",
    "gateway",
    "gateways",
    "job",
    "jobs",
    "processor",
    "processors",
    "registry",
    "registries",
    "video",
    "videos",
];

/// Where they may stand all the same: the beginning of a path, and why.
const CLIP_PLACES: &[(&str, &str)] = &[
    ("sut/clip_service/", "the description of the clip service"),
    ("sut/mod.rs", "the closed table of systems names each"),
    ("sut/acting.rs", "the same table, for what is done to them"),
    (
        "bdd/",
        "the steps of features about the clip service speak its language",
    ),
    (
        "simulate/",
        "the roles of the clip service on a simulated network",
    ),
];

/// Uses that are no knowledge of clips: in which files, the text that is passed over, and why.
const CLIP_TEXTS: &[(&str, &str, &str)] = &[
    (
        "",
        "clip_service::units",
        "durations as people write them, used by every format",
    ),
    (
        "",
        "clip_service::env",
        "clocks and random numbers that can be seeded",
    ),
    (
        "",
        "clip_service::observe",
        "notices that any node may write: transitions with a subject",
    ),
    (
        "",
        "Subject::Job",
        "a subject of such notices, which is passed over",
    ),
    ("", "clip-harness", "the name of this program"),
    ("", "clip_harness", "the name of this crate"),
    ("", "CLIP_HARNESS", "the beginning of its variables"),
    (
        "record/environment.rs",
        "CLIP_RUSTC_VERSION",
        "set by the build script",
    ),
    (
        "scenario/model.rs",
        "gateways: Option<Written<Count>>",
        "a key of `system.service`, whose keys are one struct as every block's",
    ),
    (
        "scenario/model.rs",
        "processors: Option<Written<Count>>",
        "as above",
    ),
    (
        "scenario/model.rs",
        "\"gateway\" => self.gateways.as_ref()",
        "which key counts which role",
    ),
    (
        "scenario/model.rs",
        "\"processor\" => self.processors.as_ref()",
        "as above",
    ),
];

#[test]
fn words_of_the_clip_service_stay_with_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut offences = Vec::new();
    let mut used = vec![false; CLIP_TEXTS.len()];
    let mut places = vec![false; CLIP_PLACES.len()];
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("inside");
        // Tests are written about the system that there is.
        let is_test = |part: &std::ffi::OsStr| {
            matches!(part.to_str(), Some("tests" | "tests.rs" | "testing.rs"))
        };
        if relative.iter().any(is_test) {
            continue;
        }
        let relative = relative.display().to_string();
        let text = std::fs::read_to_string(&file).expect("readable");
        let found = clip_words(&relative, &text, &mut used);
        let place = CLIP_PLACES
            .iter()
            .position(|(place, _)| relative.starts_with(place));
        match place {
            Some(place) => places[place] |= !found.is_empty(),
            None => {
                let told = |(line, word)| format!("{relative}:{line}: `{word}`");
                offences.extend(found.into_iter().map(told));
            }
        }
    }
    let idle = CLIP_TEXTS.iter().zip(&used).filter(|(_, used)| !**used);
    offences.extend(idle.map(|((_, text, _), _)| format!("`{text}` is allowed and not there")));
    let idle = CLIP_PLACES.iter().zip(&places).filter(|(_, used)| !**used);
    offences.extend(idle.map(|((place, _), _)| format!("{place} needs no permission")));
    assert!(
        offences.is_empty(),
        "words of the clip service outside sut/clip_service:\n{}",
        offences.join("\n")
    );
}

#[test]
fn words_of_the_clip_service_are_found() {
    let found = |file: &str, text: &str| clip_words(file, text, &mut [false; CLIP_TEXTS.len()]);
    let words = |text: &str| -> Vec<String> {
        let found = found("run/mod.rs", text).into_iter();
        found.map(|(_, word)| word).collect()
    };
    assert_eq!(
        found("run/mod.rs", "fn a() {}\nuse clip_service::media::synth;\n"),
        [(2, "clip".to_owned())]
    );
    let url = "let x = format!(\"http://{entry}/api/v1/jobs/{id}\");";
    assert_eq!(words(url), ["jobs"]);
    assert_eq!(
        words("struct GatewayPlan { lostJobs: u64 }"),
        ["gateway", "jobs"]
    );
    assert_eq!(words("const A: &str = \"CLIP_DATA\";"), ["clip"]);
    let none: [&str; 0] = [];
    for fine in [
        "// a gateway\n/// A clip.\nlet a = 1; // of a job\nfn clipped(eclipse: Jobless) {}",
        "use clip_service::units::HumanDuration;\nlet name = \"clip-harness\";",
        "#[cfg(test)]\nmod tests { const A: &str = \"gateway-1\"; }",
    ] {
        assert_eq!(words(fine), none, "{fine}");
    }
    // What one file may say, another may not.
    let key = "gateways: Option<Written<Count>>";
    assert_eq!(found("scenario/model.rs", key), []);
    assert_eq!(words(key), ["gateways"]);
}

/// Words of the clip service in the code of a file, with their lines; comments and unit tests left aside. Marks which of
/// [`CLIP_TEXTS`] stand in it.
fn clip_words(file: &str, text: &str, used: &mut [bool]) -> Vec<(usize, String)> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut line = without_comment(line).to_owned();
        for ((place, allowed, _), used) in CLIP_TEXTS.iter().zip(used.iter_mut()) {
            if file.starts_with(place) && line.contains(allowed) {
                *used = true;
                line = line.replace(allowed, " ");
            }
        }
        let words = words_of(&line).into_iter();
        let of_clips = words.filter(|word| CLIP_WORDS.contains(&word.as_str()));
        found.extend(of_clips.map(|word| (index + 1, word)));
    }
    found
}

/// A line up to its comment. The slashes of a URL begin none.
fn without_comment(line: &str) -> &str {
    let slashes = line.match_indices("//").map(|(at, _)| at);
    let mut begins = slashes.filter(|at| !line[..*at].ends_with(':'));
    begins.next().map_or(line, |at| &line[..at])
}

/// The words in a line, those inside of names too: `lostJobs` and `lost_jobs` are two each.
fn words_of(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in line.chars() {
        let begins = !before.is_alphabetic() || (before.is_lowercase() && c.is_uppercase());
        if c.is_alphabetic() {
            match words.last_mut().filter(|_| !begins) {
                Some(word) => word.extend(c.to_lowercase()),
                None => words.push(c.to_lowercase().collect()),
            }
        }
        before = c;
    }
    words
}
