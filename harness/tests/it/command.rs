//! The command as people and CI use it: output, streams and exit codes.

use super::{harness, scenario_files, top};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn plan_draws_every_scenario() {
    for file in scenario_files() {
        let name = file
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let relative = file
            .strip_prefix(top())
            .expect("inside")
            .display()
            .to_string();
        let output = harness(&["plan", &relative]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        let chart = text(&output.stdout);
        assert!(
            chart.lines().all(|line| line.chars().count() <= 100),
            "{chart}"
        );
        insta::assert_snapshot!(format!("plan_{name}"), chart);
    }
}

#[test]
fn plan_of_every_block() {
    let output = harness(&["plan", "harness/tests/fixtures/every-block.yaml"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout));
    insta::assert_snapshot!("plan_warnings", text(&output.stderr));
}

#[test]
fn plan_for_programs_is_the_plan() {
    let output = harness(&[
        "plan",
        "--json",
        "--seed",
        "5",
        "scenarios/embedded-smoke.yaml",
    ]);
    let plan: clip_harness::plan::Plan = serde_json::from_slice(&output.stdout).expect("a plan");
    assert_eq!((plan.seed, plan.name.as_str()), (5, "embedded-smoke"));
    assert_eq!(plan.file, "scenarios/embedded-smoke.yaml");
}

#[test]
fn check_takes_folders_and_says_what_is_sound() {
    let output = harness(&["check", "scenarios"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), scenario_files().len());
}

#[test]
fn check_fails_with_the_code_for_invalid() {
    let broken = "harness/tests/fixtures/all-wrong.yaml";
    let output = harness(&["check", broken]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).ends_with("; nothing was started\n"));

    let output = harness(&["check", "--json", "scenarios/slow-link.yaml", broken]);
    assert_eq!(output.status.code(), Some(2));
    let files: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(files[0]["problems"].as_array().map(Vec::len), Some(0));
    assert_eq!(files[1]["problems"][0]["line"], 1);

    for args in [
        &["check", "no-such-file.yaml"][..],
        &["check", "harness/src"],
        &["plan", "harness/tests/fixtures/all-wrong.yaml"],
        &["plan", "scenarios/slow-link.yaml", "--var", "rat=5/s"],
        &["plan", "scenarios/slow-link.yaml", "--rate-scale", "0"],
        &["list", "scenarios", "--folder", "no-such-folder"],
        &["chek"],
    ] {
        let output = harness(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_is_worth_reading() {
    let output = harness(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for words in ["Exit codes:", "130  interrupted", "check", "plan"] {
        assert!(help.contains(words), "{words}\n{help}");
    }
}

#[test]
fn lists_come_from_the_tables() {
    for what in ["faults", "checks", "formats", "fixtures"] {
        let output = harness(&["list", what]);
        assert_eq!(output.status.code(), Some(0));
        insta::assert_snapshot!(format!("list_{what}"), text(&output.stdout));
    }
    let output = harness(&["list", "scenarios", "--json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("json");
    assert_eq!(rows.len(), scenario_files().len());
}

#[test]
fn a_new_scenario_is_sound_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder_text = folder.path().display().to_string();
    let output = harness(&["new", "my-first", "--folder", &folder_text]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let file = folder.path().join("my-first.yaml").display().to_string();
    assert_eq!(harness(&["check", &file]).status.code(), Some(0));
    assert_eq!(
        harness(&["new", "my-first", "--folder", &folder_text])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        harness(&["new", "../evil", "--folder", &folder_text])
            .status
            .code(),
        Some(2)
    );
}
