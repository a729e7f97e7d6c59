use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::*;

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

fn group_of(child: &Child) -> Undo {
    let pgid = i32::try_from(child.id()).expect("pid");
    Undo::Group {
        node: "processor-2".to_owned(),
        pgid,
        start: proc::stat(pgid).expect("stat").start,
    }
}

fn wait_for_members(child: &Child, count: usize) {
    let pgid = i32::try_from(child.id()).expect("pid");
    assert!(wait_until(|| proc::group(pgid).len() == count));
}

#[test]
fn a_clean_end_removes_the_journal_and_an_unclean_one_keeps_it() {
    let dir = tempfile::tempdir().expect("dir");
    let journal = Journal::open(dir.path(), "r1").expect("open");
    let entry = journal.note(Undo::Children).expect("note");
    assert!(dir.path().join("r1.jsonl").exists());
    entry.strike();
    assert!(journal.close().is_empty());
    assert!(!dir.path().join("r1.jsonl").exists());

    let journal = Journal::open(dir.path(), "r2").expect("open");
    drop(journal.note(Undo::Children).expect("note"));
    assert_eq!(journal.close(), vec![Undo::Children]);
    assert!(dir.path().join("r2.jsonl").exists());
}

#[test]
fn a_living_run_is_left_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir");
    let journal = Journal::open(dir.path(), "alive").expect("open");
    let entry = journal
        .note(Undo::Directory {
            path: work.path().to_owned(),
        })
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
        drop(journal.note(Undo::Children).expect("note"));
        drop(
            journal
                .note(Undo::Directory { path: work.clone() })
                .expect("note"),
        );
        drop(journal.note(group_of(&child)).expect("note"));
        // The harness dies here: the lock goes with its file.
    }
    killpg(Pid::from_raw(pgid), Signal::SIGSTOP).expect("stop");
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleanup(dir.path()).expect("cleanup");
    assert_eq!(cleaned.failed, Vec::<String>::new());
    assert!(
        cleaned
            .undone
            .iter()
            .any(|line| line.contains("killed processor-2")),
        "{cleaned:?}"
    );
    assert!(cleaned.undone.iter().any(|line| line.contains("removed")));
    assert!(proc::group(pgid).is_empty());
    assert!(!work.exists());
    reaper.join().expect("reaper").expect("wait");
    assert!(!dir.path().join(format!("{run}.jsonl")).exists());
    assert_eq!(cleanup(dir.path()).expect("again"), Cleaned::default());
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
            .note(Undo::Children)
            .expect("note"),
    );
    let pgid = i32::try_from(child.id()).expect("pid");
    let reaper = std::thread::spawn(move || child.wait());
    let cleaned = cleanup(dir.path()).expect("cleanup");
    assert_eq!(cleaned.undone.len(), 1, "{cleaned:?}");
    assert!(proc::group(pgid).is_empty());
    reaper.join().expect("reaper").expect("wait");
}

#[test]
fn a_number_that_now_belongs_to_somebody_else_is_not_touched() {
    let dir = tempfile::tempdir().expect("dir");
    let mut child = family("somebody-else");
    wait_for_members(&child, 2);
    let Undo::Group { node, pgid, start } = group_of(&child) else {
        unreachable!("group_of makes groups");
    };
    drop(
        Journal::open(dir.path(), "older")
            .expect("open")
            .note(Undo::Group {
                node,
                pgid,
                start: start - 1,
            })
            .expect("note"),
    );
    assert!(cleanup(dir.path()).expect("cleanup").undone.is_empty());
    assert_eq!(proc::group(pgid).len(), 2);
    kill_group(pgid);
    child.wait().expect("wait");
}

#[test]
fn a_line_cut_short_does_not_hide_the_others() {
    let dir = tempfile::tempdir().expect("dir");
    let work = tempfile::tempdir().expect("dir").keep();
    drop(
        Journal::open(dir.path(), "torn")
            .expect("open")
            .note(Undo::Directory { path: work.clone() })
            .expect("note"),
    );
    let path = dir.path().join("torn.jsonl");
    let mut text = fs::read_to_string(&path).expect("read");
    text.push_str("{\"undo\":{\"entry\":2,\"und");
    fs::write(&path, text).expect("write");
    assert_eq!(cleanup(dir.path()).expect("cleanup").undone.len(), 1);
    assert!(!work.exists());
}
