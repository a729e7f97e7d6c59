//! What nodes start wherever they put it (sessions and groups of their own, the background, without environment) is hit by
//! faults, ended with the node, and never left behind. Real processes: this test binary as a server, behind shells.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clip_harness::procfs::process::{self, Stat};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use crate::harness_command;

const WITHIN: Duration = Duration::from_secs(20);

/// A folder for one scenario, whose servers carry its name in their command line.
struct Place {
    home: tempfile::TempDir,
    token: String,
}

impl Place {
    fn new(name: &str) -> Self {
        Self {
            home: tempfile::tempdir().expect("home"),
            token: format!("stray-{name}-{}", std::process::id()),
        }
    }

    /// The server of `run::a_node`.
    fn server(&self) -> String {
        let own = std::env::current_exe().expect("own path");
        format!(
            "{} --exact run::a_node --ignored --nocapture {}",
            own.display(),
            self.token
        )
    }

    /// Writes a scenario with one node that runs `script` in a shell, in which SERVER stands for the server.
    fn scenario(&self, script: &str, length: &str, rest: &str) -> String {
        let script = script.replace("SERVER", &self.server());
        let text = format!(
            "version: 1
name: stray
seed: 1
limit: 1m
system:
  entry: web
  nodes:
    web:
      run: [ sh, -c, {script:?} ]
      ready: {{ get: /health, within: 10s }}
load:
  work:
    arrivals: {{ rate: 50/s, for: {length} }}
    timeout: 500ms
    steps: [ {{ get: /work }} ]
{rest}
"
        );
        let file = self.home.path().join("stray.yaml");
        std::fs::write(&file, text).expect("the folder is writable");
        file.display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = harness_command(arguments);
        command
            .env("CLIP_HARNESS_STATE", self.home.path().join("state"))
            .current_dir(self.home.path());
        command
    }

    fn run(&self, scenario: &str) -> (Option<i32>, String) {
        let output = self
            .command(&["run", scenario, "--quiet", "--reports", "reports"])
            .output()
            .expect("the harness starts");
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    }

    /// The folder of the one run.
    fn report(&self) -> std::path::PathBuf {
        std::fs::read_dir(self.home.path().join("reports/stray"))
            .expect("a report")
            .next()
            .expect("one run")
            .expect("an entry")
            .path()
    }

    /// Proof of a fault in the run's report.
    fn proof(&self, fault: &str) -> String {
        let events = self.report().join("events.jsonl");
        let events = std::fs::read_to_string(events).expect("events");
        events
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .find(|event| event["event"] == "fault-reverted" && event["fault"] == fault)
            .and_then(|event| event["proof"].as_str().map(str::to_owned))
            .unwrap_or_else(|| panic!("{fault} has no proof"))
    }

    /// Living processes that carry the token.
    fn servers(&self) -> Vec<Stat> {
        process::all()
            .into_iter()
            .filter(|stat| stat.lives() && process::command(stat.pid).contains(&self.token))
            .collect()
    }

    fn assert_clean(&self) {
        assert_eq!(self.servers(), [], "a server lives on");
        assert!(
            empty(&self.home.path().join("state/journal")),
            "a journal is left"
        );
    }
}

impl Drop for Place {
    /// What a failing test would leave behind.
    fn drop(&mut self) {
        for stat in self.servers() {
            kill(Pid::from_raw(stat.pid), Signal::SIGKILL).ok();
        }
    }
}

fn empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}

fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + WITHIN;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "{what} within {WITHIN:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Kills and pauses the node; what the service level says is that both bite.
const BOTH_FAULTS: &str = "steady: { window: 500ms, hold: [ work.success >= 99% ] }
faults:
  - { name: crash, at: 700ms, for: 700ms, target: web, inject: kill }
  - { name: freeze, after: crash.recovered, for: 800ms, target: web, inject: pause }
expect:
  during: { crash: [ work.success <= 20% ], freeze: [ work.success <= 80% ] }
  recover: { within: 5s }";

fn both_faults_hit_all_of(name: &str, script: &str, at_least: usize) {
    let place = Place::new(name);
    let scenario = place.scenario(script, "9s", BOTH_FAULTS);
    let (code, text) = place.run(&scenario);
    assert_eq!(code, Some(0), "{text}");
    for (fault, says) in [("crash", "exited by signal 9"), ("freeze", "state T")] {
        let proof = place.proof(fault);
        assert!(proof.contains(says), "{proof}");
        let hit: usize = proof
            .split_whitespace()
            .rev()
            .nth(2)
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no count in {proof}"));
        assert!(hit >= at_least, "{fault}: {proof}");
    }
    place.assert_clean();
}

#[test]
fn a_server_in_a_session_of_its_own_is_hit() {
    both_faults_hit_all_of("setsid", "setsid SERVER & wait", 2);
}

#[test]
fn a_server_in_a_pipeline_is_hit() {
    both_faults_hit_all_of("pipeline", "setsid SERVER 2>&1 | cat", 3);
}

#[test]
fn a_server_that_forked_twice_and_lost_its_environment_is_hit() {
    // The inner shell ends at once: the server is an orphan without a mark.
    let script =
        "(env -i PORT=$PORT setsid setsid SERVER >/dev/null 2>&1 </dev/null &) ; exec sleep 600";
    both_faults_hit_all_of("double-fork", script, 2);
}

#[test]
fn a_supervisor_that_starts_its_workers_anew_in_groups_of_their_own_is_hit() {
    let script = "while :; do set -m; SERVER & wait $!; done";
    both_faults_hit_all_of("supervisor", script, 2);
}

#[test]
fn a_wrapper_is_asked_to_end_and_what_it_wraps_as_well() {
    let place = Place::new("wrapped");
    let scenario = place.scenario(
        "setsid sh -c 'trap \"touch asked; exit 0\" TERM; SERVER & wait' & wait",
        "4s",
        "steady: { window: 500ms, hold: [ work.success >= 99% ] }
faults:
  - { name: away, at: 1s, for: 300ms, target: web, inject: restart }
expect: { recover: { within: 5s } }",
    );
    let (code, text) = place.run(&scenario);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        place.home.path().join("asked").exists(),
        "SIGTERM came to the inner shell"
    );
    place.assert_clean();
}

#[test]
fn a_program_that_goes_into_the_background_is_ended_and_told_what_to_do() {
    for (name, script) in [
        ("daemon", "setsid SERVER >/dev/null 2>&1 & exit 0"),
        ("nohup", "nohup SERVER >/dev/null 2>&1 &"),
        (
            "bare",
            "env -i PORT=$PORT setsid SERVER >/dev/null 2>&1 </dev/null &",
        ),
    ] {
        let place = Place::new(name);
        let scenario = place.scenario(script, "2s", "expect: { always: [ work.success >= 99% ] }");
        let (code, text) = place.run(&scenario);
        assert_eq!(code, Some(3), "{name}: {text}");
        for told in [
            "web ended before it was ready",
            "went into the background",
            "Run it in the foreground",
        ] {
            assert!(text.contains(told), "{name}: {told}: {text}");
        }
        assert!(!text.contains("not ready within"), "{name}: {text}");
        place.assert_clean();
    }
}

#[test]
fn a_program_that_ends_early_is_not_said_to_have_been_waited_for() {
    let place = Place::new("early");
    let scenario = place.scenario(
        "echo no such database >&2; exit 3",
        "2s",
        "expect: { always: [ work.success >= 99% ] }",
    );
    let (code, text) = place.run(&scenario);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("exit code 3; last output: no such database"),
        "{text}"
    );
    assert!(
        !text.contains("10s") && !text.contains("background"),
        "{text}"
    );
}

#[test]
fn a_node_that_ends_unasked_fails_the_run_and_every_report_says_so() {
    let ends = "SERVER & sleep 2; echo the disk is full >&2; kill -9 $!; exit 3";
    let expect = "expect: { always: [ work.success >= 1% ] }";
    let place = Place::new("unasked");
    let (code, text) = place.run(&place.scenario(ends, "4s", expect));
    assert_eq!(code, Some(1), "{text}");
    let run = place.report();
    for (report, told) in [
        ("report.json", "\"id\": \"exits/web\""),
        ("junit.xml", "web does not end by itself"),
        ("report.html", "web does not end by itself"),
        ("summary.md", "web does not end by itself"),
    ] {
        let written = std::fs::read_to_string(run.join(report)).expect(report);
        assert!(written.contains(told), "{report}: {written}");
        assert!(written.contains("the disk is full"), "{report}");
    }
    for told in [
        "FAIL",
        "web does not end by itself",
        "exit code 3",
        "the disk is full",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    place.assert_clean();

    let allowed = Place::new("allowed");
    let scenario = allowed.scenario(ends, "4s", expect);
    let text = std::fs::read_to_string(&scenario).expect("scenario");
    let text = text.replace("      ready:", "      exits: allowed\n      ready:");
    std::fs::write(&scenario, text).expect("writable");
    let (code, text) = allowed.run(&scenario);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_the_node_did_not_start_makes_a_kill_an_error() {
    let place = Place::new("elsewhere");
    // The node only waits; its port is taken by a server that this test starts, as a container would.
    let scenario = place.scenario(
        "echo $PORT > port; exec sleep 600",
        "3s",
        "faults:
  - { name: crash, at: 500ms, for: 500ms, target: web, inject: kill }
expect: { always: [ work.success >= 1% ] }",
    );
    let run = place
        .command(&["run", &scenario, "--quiet", "--reports", "reports"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the harness starts");
    let port = wait_for("the port", || {
        let text = std::fs::read_to_string(place.home.path().join("port")).ok()?;
        text.trim().parse::<u16>().ok()
    });
    let server = place.server();
    let mut words = server.split_whitespace();
    let mut server = Command::new(words.next().expect("a program"))
        .args(words)
        .env("PORT", port.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the server starts");
    let output = run.wait_with_output().expect("the harness ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    server.kill().expect("kill");
    server.wait().expect("wait");
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(text.contains("still accepts connections"), "{text}");
}

#[test]
fn what_a_killed_harness_leaves_is_found_by_cleanup_wherever_it_is() {
    for (name, script) in [
        ("cleanup-setsid", "setsid SERVER & wait"),
        (
            "cleanup-bare",
            "(env -i PORT=$PORT setsid SERVER >/dev/null 2>&1 </dev/null &) ; exec sleep 600",
        ),
    ] {
        let place = Place::new(name);
        let scenario = place.scenario(script, "30s", "expect: { always: [ work.success >= 1% ] }");
        let mut run = place
            .command(&["run", &scenario, "--quiet", "--reports", "reports"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the harness starts");
        // Its load has begun when the server is there and a stray would have been written down.
        wait_for("the server", || (!place.servers().is_empty()).then_some(()));
        wait_for("its note", || {
            let journals = std::fs::read_dir(place.home.path().join("state/journal")).ok()?;
            let text: String = journals
                .flatten()
                .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
                .collect();
            let wanted = if name == "cleanup-bare" {
                "\"process\""
            } else {
                "\"group\""
            };
            text.contains(wanted).then_some(())
        });
        run.kill().expect("kill");
        run.wait().expect("wait");
        assert!(!place.servers().is_empty(), "{name}: the server lives on");
        let output = place.command(&["cleanup"]).output().expect("cleanup");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
        assert!(text.contains("undone"), "{name}: {text}");
        place.assert_clean();
    }
}
