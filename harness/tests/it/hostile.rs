//! Text that is no scenario: refused in good order and in good time, whatever it is.

use std::path::Path;

use clip_harness::plan::{Plan, PlanOptions};
use proptest::prelude::*;

fn first_problem(text: &str) -> String {
    match Plan::prepare_text("x.yaml", text, &PlanOptions::default()) {
        Ok(_) => "none".to_owned(),
        Err(problems) => problems.items()[0].message.clone(),
    }
}

#[test]
fn what_is_not_yaml_is_said_with_its_place() {
    for (text, message) in [
        ("", "x.yaml is empty"),
        ("# nothing yet\n", "x.yaml is empty"),
        ("hello", "expected a mapping, found text"),
        ("- a\n", "expected a mapping, found a list"),
        (
            "version: 1\n---\nversion: 1\n",
            "a second document begins here",
        ),
        ("a: \"b\n", "unclosed quote"),
        ("a: *b\n", "alias references unknown anchor"),
    ] {
        assert_eq!(first_problem(text), message, "{text}");
    }
}

#[test]
fn depth_and_repetition_are_bounded() {
    let flow = "[".repeat(100_000);
    let nested = format!("{}{}", "{a: ".repeat(60), "}".repeat(60));
    for text in [flow, nested] {
        assert_eq!(first_problem(&text), "nested more than 48 deep");
    }
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (earlier, later) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        let nine = vec![format!("*{earlier}"); 9].join(",");
        laughs.push_str(&format!("{later}: &{later} [{nine}]\n"));
    }
    assert_eq!(
        first_problem(&laughs),
        "the text becomes too large when it is expanded"
    );
}

#[test]
fn files_that_cannot_be_scenarios() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let told = |path: &Path| match Plan::prepare(path, &PlanOptions::default()) {
        Ok(_) => panic!("{} is no scenario", path.display()),
        Err(problems) => problems.to_string(),
    };
    assert!(told(&write("big.yaml", &vec![b'a'; 10_000_000])).contains("larger than 1 MiB"));
    assert!(told(&write("latin.yaml", b"a: \xff\xfe")).contains("not UTF-8 text: byte 3"));
    assert!(told(folder.path()).contains("is a folder"));
    assert!(told(&folder.path().join("none.yaml")).contains("cannot read"));
}

const PIECES: &[&str] = &[
    "\n",
    "  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "~",
    "$(",
    ")",
    "$(uuid)",
    "$(rate)",
    "null",
    "true",
    "-1",
    "1e999",
    ".nan",
    "0x",
    "99999999999999999999",
    "\t",
    "\r\n",
    "é",
    "🦀",
    "\u{0}",
    "\u{feff}",
    "|",
    ">",
    "? ",
    "---\n",
    "5s",
    "100%",
    "->",
    "*",
    "a.success >= 9%",
];

fn mutated(edits: Vec<(usize, usize, usize)>) -> String {
    let mut text: Vec<char> = include_str!("../fixtures/every-block.yaml")
        .chars()
        .collect();
    for (at, removed, piece) in edits {
        let at = at % (text.len() + 1);
        let end = (at + removed).min(text.len());
        text.splice(at..end, PIECES[piece % PIECES.len()].chars());
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_mutated_scenario_never_panics(
        edits in prop::collection::vec((any::<usize>(), 0_usize..12, any::<usize>()), 1..8)
    ) {
        let text = mutated(edits);
        if let Err(problems) = Plan::prepare_text("x.yaml", &text, &PlanOptions::default()) {
            prop_assert!(problems.has_errors());
            prop_assert!(!problems.render(true).is_empty());
            for item in problems.items() {
                if let Some(span) = item.span {
                    prop_assert!(span.start <= span.end && span.end <= text.len(), "{:?}", item);
                }
            }
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        if let Err(problems) = Plan::prepare_text("x.yaml", &text, &PlanOptions::default()) {
            prop_assert!(!problems.render(false).is_empty());
        }
    }
}
