//! Output that nobody reads, and disks that do not take what is written: the verdict and its exit code are kept.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use super::{harness, harness_command};

/// A program that answers everything with 200, and expectations that hold, or one that does not.
fn scenario(folder: &Path, name: &str, limit: &str) -> String {
    let server = "import http.server as h\\nclass A(h.BaseHTTPRequestHandler):\\n def do_GET(s):\\n  s.send_response(200); s.send_header('content-length','0'); s.end_headers()\\n def log_message(s,*a): pass\\nimport os\\nh.ThreadingHTTPServer(('127.0.0.1',int(os.environ['PORT'])),A).serve_forever()";
    let text = format!(
        "version: 1
name: {name}
system:
  entry: a
  nodes:
    a: {{ run: [python3, -c, \"{server}\"], ready: {{ get: / }} }}
load: {{ l: {{ arrivals: {{ rate: 20/s, for: 2s }}, steps: [{{ get: / }}] }} }}
expect: {{ always: [{limit}] }}
"
    );
    let file = folder.join(format!("{name}.yaml"));
    std::fs::write(&file, text).expect("a scenario");
    file.display().to_string()
}

/// A writer's end whose reader is gone.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("a full device").into()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_verdict_survives_the_loss_of_its_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let reports = folder.path().join("reports").display().to_string();
    let bad = scenario(folder.path(), "bad", "l.p50 <= 1us");
    let good = scenario(folder.path(), "good", "l.success >= 1%");
    let run = |out: Stdio, err: Stdio, files: &[&str]| {
        let mut args = vec!["run", "--quiet", "--reports", &reports];
        args.extend(files);
        let mut command = harness_command(&args);
        command.env("CLIP_HARNESS_STATE", &state);
        command.stdout(out).stderr(err);
        let child = command.spawn().expect("the command starts");
        child.wait_with_output().expect("it ends")
    };
    for out in [closed_pipe(), full()] {
        let ended = run(out, Stdio::piped(), &[&bad, &good]);
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for words in ["FAIL   bad", "PASS   good", "1 of 2 scenarios passed"] {
            assert!(said.contains(words), "{words}\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    assert_eq!(
        run(closed_pipe(), closed_pipe(), &[&bad]).status.code(),
        Some(1)
    );
    assert_eq!(run(full(), full(), &[&good]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_saved_has_a_code_of_its_own_and_hides_no_worse_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    // A file where the folder should be stops everybody, root included.
    let blocked = folder.path().join("blocked");
    File::create(&blocked)
        .expect("a file")
        .write_all(b"x")
        .expect("written");
    let reports = blocked.display().to_string();
    let bad = scenario(folder.path(), "bad", "l.p50 <= 1us");
    let good = scenario(folder.path(), "good", "l.success >= 1%");
    for (files, code) in [(&[&good][..], 8), (&[&good, &bad][..], 1)] {
        let mut args = vec!["run", "--quiet", "--reports", &reports];
        args.extend(files.iter().map(|file| file.as_str()));
        let mut command = harness_command(&args);
        command.env("CLIP_HARNESS_STATE", &state);
        command.env("TMPDIR", folder.path());
        let ended = command.output().expect("the command ends");
        let said = text(&ended);
        assert_eq!(ended.status.code(), Some(code), "{said}");
        let out = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(out.contains("PASS   good"), "{out}{said}");
        assert_eq!(out.contains("FAIL   bad"), code == 1, "{out}{said}");
        assert!(said.contains("error: not saved: "), "{said}");
    }
}

#[test]
fn other_verbs_neither_panic_nor_change_their_code_when_nobody_reads() {
    let wrong = "harness/tests/fixtures/all-wrong.yaml";
    for (args, gone, lost) in [
        (&["check", "scenarios"][..], 0, 8),
        (&["check", "--json", wrong], 2, 2),
        (&["check", wrong], 2, 2),
        (&["plan", "scenarios/slow-link.yaml"], 0, 8),
        (&["list", "faults"], 0, 8),
        (&["schema"], 0, 8),
        (&["--help"], 0, 8),
    ] {
        let usual = harness(args);
        for (out, code) in [(closed_pipe(), gone), (full(), lost)] {
            let mut command = harness_command(args);
            command.stdout(out).stderr(Stdio::piped());
            let child = command.spawn().expect("the command starts");
            let ended = child.wait_with_output().expect("it ends");
            assert_eq!(
                ended.status.code(),
                Some(code),
                "{args:?}: {}",
                text(&ended)
            );
            assert!(!text(&ended).contains("panicked"), "{args:?}");
            assert_ne!(usual.status.code(), None, "{args:?}");
        }
    }
}
