//! The list of steps for writers of features, held to the code.

use std::collections::BTreeSet;
use std::path::Path;

const SOURCES: [&str; 3] = [
    include_str!("checking.rs"),
    include_str!("breaking.rs"),
    include_str!("clipping.rs"),
];

/// `given the video {string}` and so on, as the attributes of the step functions say.
fn defined() -> BTreeSet<String> {
    let mut steps = BTreeSet::new();
    for source in SOURCES {
        for kind in ["given", "when", "then"] {
            for (at, opening) in source.match_indices(&format!("#[{kind}(")) {
                let attribute = &source[at + opening.len()..];
                let text = attribute.split('"').nth(1).expect("a pattern in quotes");
                steps.insert(format!("{kind} {text}"));
            }
        }
    }
    steps
}

/// The same from the tables of the README: `| given | `the video {string}` | … |`.
fn documented(readme: &str) -> BTreeSet<String> {
    let rows = readme.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let kind = cells.next()?;
        let pattern = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        ["given", "when", "then"]
            .contains(&kind)
            .then(|| format!("{kind} {pattern}"))
    });
    rows.collect()
}

fn features() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../features")
}

#[test]
fn every_step_is_documented_and_every_documented_step_exists() {
    let readme = std::fs::read_to_string(features().join("README.md")).expect("README");
    let (defined, documented) = (defined(), documented(&readme));
    assert!(
        defined.len() > 30,
        "only {} steps were found",
        defined.len()
    );
    let missing: Vec<_> = defined.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&defined).collect();
    assert!(
        missing.is_empty(),
        "not in features/README.md: {missing:#?}"
    );
    assert!(
        invented.is_empty(),
        "only in features/README.md: {invented:#?}"
    );
}
