use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::process_set::poll;
use crate::procfs::process::{self, Stat};

const WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// A shell in an own process group with a child of its own, as a node with workers is.
fn family(run: &str) -> Child {
    Command::new("sh")
        .args(["-c", "sleep 300 & wait"])
        .env(MARKER, run)
        .process_group(0)
        .stdout(Stdio::null())
        .spawn()
        .expect("sh")
}

fn stat_of(child: &Child) -> Stat {
    process::stat(i32::try_from(child.id()).expect("pid")).expect("stat")
}

/// A clean-up of journals that have no holder. A child of another test inherits their locks until it has become another
/// program.
fn cleaned_up(directory: &Path) -> Cleaned {
    let mut all = Cleaned::default();
    assert!(poll(WITHIN, || {
        let mut now = cleanup(directory).expect("cleanup");
        let done = now.running.is_empty();
        all.undone.append(&mut now.undone);
        all.failed = now.failed;
        done
    }));
    all
}

fn wait_for_members(child: &Child, count: usize) {
    let pgid = i32::try_from(child.id()).expect("pid");
    assert!(poll(WITHIN, || process::group(pgid).len() == count));
}

#[test]
fn a_clean_end_removes_the_journal_and_an_unclean_one_keeps_it() {
    let dir = tempfile::tempdir().expect("dir");
    let journal = Journal::open(dir.path(), "r1").expect("open");
    let entry = journal.note(UndoNote::children()).expect("note");
    assert!(dir.path().join("r1.jsonl").exists());
    entry.strike();
    assert!(journal.close().is_empty());
    assert!(!dir.path().join("r1.jsonl").exists());

    let journal = Journal::open(dir.path(), "r2").expect("open");
    drop(journal.note(UndoNote::children()).expect("note"));
    assert_eq!(journal.close(), vec![UndoNote::children()]);
    assert!(dir.path().join("r2.jsonl").exists());
}

#[test]
fn a_living_run_is_left_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir");
    let journal = Journal::open(dir.path(), "alive").expect("open");
    let entry = journal
        .note(UndoNote::directory(work.path()))
        .expect("note");
    let cleaned = cleanup(dir.path()).expect("cleanup");
    assert_eq!(cleaned.running, ["alive"]);
    assert!(cleaned.undone.is_empty() && work.path().exists());
    entry.strike();
    journal.close();
}

#[test]
fn what_a_dead_harness_left_is_undone_stopped_processes_and_their_children_too() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir").keep();
    let run = format!("dead-{}", std::process::id());
    let mut child = family(&run);
    wait_for_members(&child, 2);
    let pgid = i32::try_from(child.id()).expect("pid");
    {
        let journal = Journal::open(dir.path(), &run).expect("open");
        drop(journal.note(UndoNote::children()).expect("note"));
        drop(journal.note(UndoNote::directory(&work)).expect("note"));
        drop(
            journal
                .note(UndoNote::group("processor-2", stat_of(&child)))
                .expect("note"),
        );
        // The harness dies here: the lock goes with its file.
    }
    nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(pgid),
        nix::sys::signal::Signal::SIGSTOP,
    )
    .expect("stop");
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleaned_up(dir.path());
    assert_eq!(cleaned.failed, Vec::<String>::new());
    assert!(
        cleaned
            .undone
            .iter()
            .any(|line| line.contains("killed processor-2")),
        "{cleaned:?}"
    );
    assert!(cleaned.undone.iter().any(|line| line.contains("removed")));
    assert!(process::group(pgid).is_empty());
    assert!(!work.exists());
    reaper.join().expect("reaper").expect("wait");
    assert!(!dir.path().join(format!("{run}.jsonl")).exists());
    assert_eq!(cleaned_up(dir.path()), Cleaned::default());
}

#[test]
fn children_that_no_entry_names_are_found_by_their_mark() {
    let dir = tempfile::tempdir().expect("dir");
    let run = format!("marked-{}", std::process::id());
    let mut child = family(&run);
    wait_for_members(&child, 2);
    drop(
        Journal::open(dir.path(), &run)
            .expect("open")
            .note(UndoNote::children())
            .expect("note"),
    );
    let pgid = i32::try_from(child.id()).expect("pid");
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleaned_up(dir.path());
    assert_eq!(cleaned.undone.len(), 1, "{cleaned:?}");
    assert!(process::group(pgid).is_empty());
    reaper.join().expect("reaper").expect("wait");
}

#[test]
fn a_number_that_now_belongs_to_somebody_else_is_not_touched() {
    let dir = tempfile::tempdir().expect("dir");
    let mut child = family("somebody-else");
    wait_for_members(&child, 2);
    let leader = stat_of(&child);
    drop(
        Journal::open(dir.path(), "older")
            .expect("open")
            .note(UndoNote::group(
                "processor-2",
                Stat {
                    start: leader.start - 1,
                    ..leader
                },
            ))
            .expect("note"),
    );
    assert!(cleaned_up(dir.path()).undone.is_empty());
    assert_eq!(process::group(leader.pid).len(), 2);
    kill_group(leader.pid);
    child.wait().expect("wait");
}

#[test]
fn a_line_cut_short_does_not_hide_the_others() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir").keep();
    drop(
        Journal::open(dir.path(), "torn")
            .expect("open")
            .note(UndoNote::directory(&work))
            .expect("note"),
    );
    let path = dir.path().join("torn.jsonl");
    let mut text = fs::read_to_string(&path).expect("read");
    text.push_str("{\"undo\":{\"entry\":2,\"und");
    fs::write(&path, text).expect("write");
    assert_eq!(cleaned_up(dir.path()).undone.len(), 1);
    assert!(!work.exists());
}

#[test]
fn a_stray_that_cleared_its_environment_is_ended_by_its_note() {
    let dir = tempfile::tempdir().expect("dir");
    let mut child = Command::new("sh")
        .args(["-c", "sleep 300 & wait"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .process_group(0)
        .spawn()
        .expect("sh");
    wait_for_members(&child, 2);
    let stray = stat_of(&child);
    let journal = Journal::open(dir.path(), "stray").expect("open");
    drop(journal.note(UndoNote::process("web", stray)).expect("note"));
    drop(journal);
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleaned_up(dir.path());
    assert_eq!(
        cleaned.undone,
        [format!("stray: killed process {} of web", stray.pid)]
    );
    assert!(process::group(stray.pid).is_empty(), "its child as well");
    reaper.join().expect("reaper").expect("wait");
}

#[test]
fn a_journal_of_the_first_version_is_undone() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir").keep();
    let run = format!("first-version-{}", std::process::id());
    let mut child = family(&run);
    wait_for_members(&child, 2);
    let leader = stat_of(&child);
    let text = format!(
        r#"{{"run":{{"id":"{run}","pid":1}}}}
{{"undo":{{"entry":1,"undo":"children"}}}}
{{"undo":{{"entry":2,"undo":{{"directory":{{"path":"{}"}}}}}}}}
{{"undo":{{"entry":3,"undo":{{"group":{{"node":"web","pgid":{},"start":{}}}}}}}}}
{{"undo":{{"entry":4,"undo":{{"directory":{{"path":"/struck/out"}}}}}}}}
{{"struck":{{"entry":4}}}}
"#,
        work.display(),
        leader.pid,
        leader.start
    );
    fs::write(dir.path().join(format!("{run}.jsonl")), text).expect("write");
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleaned_up(dir.path());
    assert_eq!(cleaned.failed, Vec::<String>::new());
    assert_eq!(cleaned.undone.len(), 2, "{cleaned:?}");
    assert!(process::group(leader.pid).is_empty() && !work.exists());
    reaper.join().expect("reaper").expect("wait");
    assert!(empty(dir.path()));
}

#[test]
fn what_cannot_be_read_or_undone_here_is_told_and_kept() {
    let dir = tempfile::tempdir().expect("dir");
    for (name, line, told) in [
        (
            "other",
            r#"{"undo":{"entry":1,"undo":{"kind":"cgroup","data":{"path":"/sys/fs/cgroup/x"}}}}"#,
            "cannot undo a `cgroup`: {\"path\":\"/sys/fs/cgroup/x\"}",
        ),
        (
            "odd",
            r#"{"undo":{"entry":1,"undo":{"kind":"group","data":{"node":"web"}}}}"#,
            "unreadable undo note",
        ),
        ("later", r#"{"later":{"entry":1}}"#, "unreadable line"),
    ] {
        let path = dir.path().join(format!("{name}.jsonl"));
        fs::write(&path, format!("{line}\n")).expect("write");
        let cleaned = cleaned_up(dir.path());
        assert!(
            cleaned.failed.len() == 1 && cleaned.failed[0].contains(told),
            "{cleaned:?}"
        );
        assert!(path.exists(), "{name} is kept for a version that can");
        fs::remove_file(path).expect("remove");
    }
}

fn empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("dir").next().is_none()
}
