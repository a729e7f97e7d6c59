//! `run` as people and CI call it: several scenarios, exit codes, result lines, what lies in the reports folder, `judge` afterwards.

use std::path::Path;

use crate::harness;

fn scenario(folder: &Path, name: &str, expectation: &str) -> String {
    let file = folder.join(format!("{name}.yaml"));
    let text = format!(
        "version: 1\nname: {name}\ntags: [quick]\nseed: 1\nlimit: 1m\n\
         system: {{ runtime: embedded, service: {{ processors: 1 }} }}\n\
         load:\n  health:\n    arrivals: {{ rate: 20/s, for: 1s }}\n    timeout: 2s\n    steps: [ {{ get: /health }} ]\n\
         expect:\n  always: [ {expectation} ]\n"
    );
    std::fs::write(&file, text).expect("the folder is writable");
    file.display().to_string()
}

#[test]
fn a_suite_ends_as_its_worst_run_and_leads_to_every_report() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reports = folder.path().join("reports");
    let reports = reports.to_str().expect("text");
    let good = scenario(folder.path(), "good", "health.success >= 99%");
    let bad = scenario(folder.path(), "bad", "health.p50 <= 1us");

    let suite = harness(&["run", &good, &bad, "--quiet", "--reports", reports]);
    let out = String::from_utf8_lossy(&suite.stdout);
    let err = String::from_utf8_lossy(&suite.stderr);
    assert_eq!(suite.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("1 of 2 scenarios passed"), "{out}");
    assert!(
        !out.contains("users launched"),
        "the load generator's own line: {out}"
    );
    let index = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("suite    "));
    let page = std::fs::read_to_string(index.expect("the index is named")).expect("it is there");
    for name in ["good", "bad"] {
        let runs: Vec<_> = std::fs::read_dir(Path::new(reports).join(name))
            .expect("a folder per scenario")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        let link = format!(
            "{name}/{}/report.html",
            runs[0].file_name().expect("a name").display()
        );
        assert!(page.contains(&link), "{link} is not in the index");
        for file in [
            "report.html",
            "report.json",
            "junit.xml",
            "summary.md",
            "events.jsonl",
            "record.json",
        ] {
            assert!(runs[0].join(file).is_file(), "{name} has no {file}");
        }
        let run = runs[0].to_str().expect("text");
        let again = harness(&["judge", run, "--json"]);
        let line: serde_json::Value = serde_json::from_slice(&again.stdout).expect("one JSON line");
        let code = if name == "good" { 0 } else { 1 };
        assert_eq!(
            (again.status.code(), line["exit"].as_i64()),
            (Some(code), Some(i64::from(code)))
        );
    }
}

#[test]
fn the_service_in_one_process_is_refused_for_slowed_and_restarted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("embedded.yaml");
    let text = "version: 1
name: embedded
seed: 7
limit: 1m
system: { runtime: embedded, service: { gateways: 1, processors: 2 } }
load:
  work:
    arrivals: { rate: 30/s, for: 14s }
    timeout: 2s
    steps: [ { get: /health } ]
steady: { window: 1s, hold: [ work.success >= 99.9% ] }
faults:
  - { name: refusing, at: 2s, for: 500ms, target: client->gateway-1, inject: { status: { code: 503, share: 50%, retry_after: 1s } } }
  - { name: gray, after: refusing.end + 200ms, for: 500ms, target: gateway-1, inject: { slow: { factor: 4, least: 30ms } } }
  - { name: rollout, after: gray.end + 200ms, target: [registry-1, processor-*], inject: rolling-restart }
expect:
  always: [ work.success >= 90% ]
  during: { gray: [ work.success >= 100% ], rollout: [ work.success >= 100% ] }
";
    std::fs::write(&file, text).expect("the folder is writable");
    let reports = folder.path().join("reports");
    let arguments = [
        "run",
        file.to_str().expect("text"),
        "--quiet",
        "--reports",
        reports.to_str().expect("text"),
    ];
    let run = harness(&arguments);
    let out = String::from_utf8_lossy(&run.stdout);
    let err = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(0), "{out}{err}");
    let folder = std::fs::read_dir(reports.join("embedded"))
        .expect("a folder of the scenario")
        .map(|entry| entry.expect("an entry").path())
        .next()
        .expect("a run");
    let report = std::fs::read(folder.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let faults = report["faults"].as_array().expect("faults");
    let proofs = |fault: &str| -> Vec<&str> {
        let row = faults.iter().find(|row| row["name"] == fault);
        let row = row.unwrap_or_else(|| panic!("{fault} in {faults:?}"));
        let proofs = row["proof"].as_array().expect("proofs");
        proofs.iter().filter_map(|proof| proof.as_str()).collect()
    };
    assert!(
        proofs("refusing")[0].ends_with("requests answered 503"),
        "{faults:?}"
    );
    assert!(proofs("gray")[0].contains("answers held 3"), "{faults:?}");
    let rollout = proofs("rollout");
    assert_eq!(rollout.len(), 3, "{rollout:?}");
    for (proof, node) in rollout
        .iter()
        .zip(["registry-1", "processor-1", "processor-2"])
    {
        assert!(
            ["after", "within"]
                .iter()
                .any(|word| proof.starts_with(&format!("{node} ended {word} "))),
            "{proof}"
        );
    }
}

#[test]
fn what_cannot_run_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reports = folder.path().join("reports");
    let reports = reports.to_str().expect("text");
    let good = scenario(folder.path(), "good", "health.success >= 99%");
    let wrong = scenario(folder.path(), "wrong", "helth.success >= 99%");
    for arguments in [
        vec!["run", &good, &wrong, "--reports", reports],
        vec!["run", &good, "--tag", "nightly", "--reports", reports],
        vec!["run"],
        vec!["judge", reports],
    ] {
        let refused = harness(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(!refused.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!Path::new(reports).exists(), "something was started");
}

#[test]
fn a_control_passes_by_failing_and_what_was_not_counted_decides_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let reports = folder.path().join("reports");
    let reports = reports.to_str().expect("text");
    let named = |name: &str, expectation: &str| {
        let file = scenario(folder.path(), name, expectation);
        let text = std::fs::read_to_string(&file).expect("it was written");
        let text = format!("{text}control: [ {expectation} ]\n");
        std::fs::write(&file, text).expect("the folder is writable");
        file
    };
    let fails = named("fails", "health.p50 <= 1us");
    let holds = named("holds", "health.success >= 50%");
    // A gateway that is asked for its health alone makes no calls.
    let uncounted = scenario(
        folder.path(),
        "uncounted",
        "amplification(gateway-1) <= 1.2",
    );
    for (file, code, words) in [
        (&fails, 0, "must fail: health.p50 <= 1us"),
        (&holds, 1, "must fail: health.success >= 50%"),
        (&uncounted, 5, "gateway-1 made no calls"),
    ] {
        let run = harness(&["run", file, "--quiet", "--reports", reports]);
        let out = String::from_utf8_lossy(&run.stdout);
        let err = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{out}{err}");
        assert!(out.contains(words), "{out}");
    }
}

/// The command in a folder of its own, without the service's program beside it, as on a machine that lacks it.
fn alone(folder: &Path, args: &[&str]) -> std::process::Output {
    let program = folder.join("bin/clip-harness");
    if !program.exists() {
        std::fs::create_dir(folder.join("bin")).expect("a folder");
        std::fs::hard_link(env!("CARGO_BIN_EXE_clip-harness"), &program).expect("a link");
    }
    std::process::Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("CLIP_HARNESS_STATE", folder.join("state"))
        .env("NO_COLOR", "1")
        .output()
        .expect("the command starts")
}

#[test]
fn what_this_machine_lacks_skips_a_scenario_and_the_suite_goes_on() {
    // On the disk of the binaries, because of the link.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let here = scenario(folder.path(), "here", "health.success >= 99%");
    let lacking = scenario(folder.path(), "lacking", "health.success >= 99%");
    let text = std::fs::read_to_string(&lacking).expect("scenario");
    let text = text.replace("runtime: embedded", "runtime: process");
    std::fs::write(&lacking, text).expect("writable");

    let suite = alone(folder.path(), &["run", &lacking, &here, "--quiet"]);
    let out = String::from_utf8_lossy(&suite.stdout);
    assert_eq!(
        suite.status.code(),
        Some(0),
        "one skipped, one passed: {out}"
    );
    for told in [
        "SKIPPED",
        "lacks the clip service: clip-service is not beside",
        "1 of 2 scenarios passed, 1 skipped",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    let index = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("suite    "));
    let index = folder.path().join(index.expect("the index is named"));
    let page = std::fs::read_to_string(index).expect("it is there");
    assert!(page.contains("2 scenarios: 1 passed, 1 skipped."), "{page}");
    assert!(page.contains("lacks the clip service"));

    let only = alone(
        folder.path(),
        &["run", &lacking, "--quiet", "--json", "--reports", "only"],
    );
    let line: serde_json::Value = serde_json::from_slice(&only.stdout).expect("one JSON line");
    assert_eq!(
        (
            only.status.code(),
            line["exit"].as_i64(),
            line["verdict"].as_str()
        ),
        (Some(7), Some(7), Some("SKIPPED"))
    );
    let directory = folder
        .path()
        .join(line["directory"].as_str().expect("a directory"));
    let junit = std::fs::read_to_string(directory.join("junit.xml")).expect("junit.xml");
    assert!(
        junit.contains("<skipped") && junit.contains("skipped=\"1\""),
        "{junit}"
    );
    assert!(
        !junit.contains("<failure") && !junit.contains("<error"),
        "{junit}"
    );
    let json = std::fs::read_to_string(directory.join("report.json")).expect("report.json");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["conclusion"], "skipped");

    let strict = alone(folder.path(), &["run", &lacking, "--quiet", "--no-skip"]);
    assert_eq!(strict.status.code(), Some(3));
}
