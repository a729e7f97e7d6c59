//! What can be undone after the harness is gone: one row per kind of note, which says what it is and takes it away.
//!
//! A note is open: a kind and whatever data its undoer reads. A journal may come from another version of this program, so
//! a kind without a row is reported as failed, never skipped.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::MARKER;
use crate::process_set;
use crate::procfs::process::{self, Stat};

/// How long killed processes may take to disappear.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// One thing to undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoNote {
    kind: Cow<'static, str>,
    data: Value,
}

/// A kind of note.
struct Undoer {
    kind: &'static str,
    /// What the note is about, for people.
    about: fn(&Value) -> Result<String, serde_json::Error>,
    /// Undoes it for a run of this id; `None` when there was nothing left to undo.
    undo: fn(&str, &Value) -> Result<Option<String>, String>,
}

const UNDOERS: &[Undoer] = &[
    Undoer {
        kind: "children",
        about: |_| Ok("child processes".to_owned()),
        undo: |run, _| children(run),
    },
    Undoer {
        kind: "group",
        about: |data| {
            about(data, |group: Group| {
                format!("process group {} of {}", group.pgid, group.node)
            })
        },
        undo: |run, data| read(data).and_then(|group| end_group(run, &group)),
    },
    Undoer {
        kind: "process",
        about: |data| {
            about(data, |stray: Stray| {
                format!("process {} of {}", stray.pid, stray.node)
            })
        },
        undo: |_, data| read(data).and_then(|stray| end_stray(&stray)),
    },
    Undoer {
        kind: "directory",
        about: |data| {
            about(data, |directory: Directory| {
                format!("directory {}", directory.path.display())
            })
        },
        undo: |_, data| read(data).and_then(|directory| remove(&directory)),
    },
];

/// A process group, named by its leader.
#[derive(Debug, Serialize, Deserialize)]
struct Group {
    node: String,
    /// Equal to its leader's pid.
    pgid: i32,
    /// Start time of the leader, which tells it from a later process of the same number.
    start: u64,
}

/// A process that does not carry the run's mark.
#[derive(Debug, Serialize, Deserialize)]
struct Stray {
    node: String,
    pid: i32,
    start: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    path: PathBuf,
}

impl UndoNote {
    /// Children may come into being: kill whatever carries the run's [`MARKER`], and what that has started.
    #[must_use]
    pub fn children() -> Self {
        Self::new("children", &())
    }

    /// Continue and kill a process group, named by its leader.
    #[must_use]
    pub fn group(node: &str, leader: Stat) -> Self {
        Self::new(
            "group",
            &Group {
                node: node.to_owned(),
                pgid: leader.pid,
                start: leader.start,
            },
        )
    }

    /// Kill a process that has cleared its environment, and so does not carry the run's [`MARKER`].
    #[must_use]
    pub fn process(node: &str, process: Stat) -> Self {
        Self::new(
            "process",
            &Stray {
                node: node.to_owned(),
                pid: process.pid,
                start: process.start,
            },
        )
    }

    /// Remove a directory.
    #[must_use]
    pub fn directory(path: &Path) -> Self {
        Self::new(
            "directory",
            &Directory {
                path: path.to_owned(),
            },
        )
    }

    fn new(kind: &'static str, data: &impl Serialize) -> Self {
        Self {
            kind: Cow::Borrowed(kind),
            // Numbers, texts and paths; a path that is no text is the one thing that JSON cannot hold.
            data: serde_json::to_value(data).unwrap_or_default(),
        }
    }

    fn undoer(&self) -> Option<&'static Undoer> {
        UNDOERS.iter().find(|undoer| undoer.kind == self.kind)
    }

    /// What it is about, for people.
    #[must_use]
    pub fn about(&self) -> String {
        let known = self.undoer().map(|undoer| (undoer.about)(&self.data));
        match known {
            Some(Ok(about)) => about,
            Some(Err(_)) | None => format!("`{}` {}", self.kind, self.data),
        }
    }

    /// Undoes it for a run of this id; `None` when there was nothing left to undo.
    pub(super) fn perform(&self, run: &str) -> Result<Option<String>, String> {
        match self.undoer() {
            Some(undoer) => (undoer.undo)(run, &self.data),
            None => Err(format!(
                "this version cannot undo a `{}`: {}; use the version that made it, or undo it by hand",
                self.kind, self.data
            )),
        }
    }
}

impl<'de> Deserialize<'de> for UndoNote {
    /// Reads `{"kind": …, "data": …}`, and what the first version of the journal wrote: `"children"`,
    /// `{"group": {…}}`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, data) = match Value::deserialize(deserializer)? {
            Value::String(kind) => (kind, Value::Null),
            Value::Object(mut fields) => match fields.shift_remove("kind") {
                Some(Value::String(kind)) => {
                    (kind, fields.shift_remove("data").unwrap_or_default())
                }
                Some(_) => return Err(D::Error::custom("the kind of an undo note is a text")),
                None => fields
                    .into_iter()
                    .next()
                    .ok_or_else(|| D::Error::custom("an undo note has a kind"))?,
            },
            _ => return Err(D::Error::custom("an undo note has a kind and data")),
        };
        Ok(Self {
            kind: Cow::Owned(kind),
            data,
        })
    }
}

fn about<T: DeserializeOwned>(
    data: &Value,
    text: fn(T) -> String,
) -> Result<String, serde_json::Error> {
    T::deserialize(data).map(text)
}

fn read<T: DeserializeOwned>(data: &Value) -> Result<T, String> {
    T::deserialize(data).map_err(|error| format!("unreadable undo note {data}: {error}"))
}

fn children(run: &str) -> Result<Option<String>, String> {
    let mut find = || {
        let own = process::own_pid();
        let all = process::all();
        let marked = all
            .iter()
            .filter(|stat| stat.pid != own && process::carries(stat.pid, MARKER, run));
        living(process::with_descendants(&all, marked.copied().collect()))
    };
    let hit = process_set::kill(&mut find, GONE_WITHIN)
        .map_err(|left| format!("child processes do not end: {}", process_set::listed(&left)))?;
    let pids: Vec<i32> = hit.iter().map(|stat| stat.pid).collect();
    Ok((!pids.is_empty()).then(|| format!("killed child processes {pids:?}")))
}

fn end_group(run: &str, group: &Group) -> Result<Option<String>, String> {
    let members = process::group(group.pgid);
    let ours = match process::stat(group.pgid) {
        Some(leader) => leader.start == group.start,
        // The leader is gone: only members that carry the run's mark are surely ours.
        None => members
            .iter()
            .any(|stat| process::carries(stat.pid, MARKER, run)),
    };
    if members.is_empty() || !ours {
        return Ok(None);
    }
    let stopped = members.iter().any(|stat| stat.state == 'T');
    kill_group(group.pgid);
    let mut find = || {
        let all = process::all();
        let members = all.iter().filter(|stat| stat.pgid == group.pgid);
        living(process::with_descendants(&all, members.copied().collect()))
    };
    match process_set::kill(&mut find, GONE_WITHIN) {
        Ok(_) => {
            let was = if stopped { " (was stopped)" } else { "" };
            Ok(Some(format!(
                "killed {}, process group {}{was}",
                group.node, group.pgid
            )))
        }
        Err(left) => Err(format!(
            "process group {} of {} does not end: {}",
            group.pgid,
            group.node,
            process_set::listed(&left)
        )),
    }
}

fn end_stray(stray: &Stray) -> Result<Option<String>, String> {
    let mut find = || {
        let all = process::all();
        let itself = all
            .iter()
            .filter(|stat| (stat.pid, stat.start) == (stray.pid, stray.start));
        living(process::with_descendants(&all, itself.copied().collect()))
    };
    match process_set::kill(&mut find, GONE_WITHIN) {
        Ok(hit) => Ok(
            (!hit.is_empty()).then(|| format!("killed process {} of {}", stray.pid, stray.node))
        ),
        Err(left) => Err(format!(
            "process {} of {} does not end: {}",
            stray.pid,
            stray.node,
            process_set::listed(&left)
        )),
    }
}

fn remove(directory: &Directory) -> Result<Option<String>, String> {
    let path = &directory.path;
    match std::fs::remove_dir_all(path) {
        Ok(()) => Ok(Some(format!("removed {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot remove {}: {error}", path.display())),
    }
}

fn living(processes: Vec<Stat>) -> Vec<Stat> {
    processes.into_iter().filter(|stat| stat.lives()).collect()
}

/// SIGKILL to a whole group. A stopped process takes it as well; SIGCONT lets its parent see the end soon.
pub(super) fn kill_group(pgid: i32) {
    let group = Pid::from_raw(pgid);
    killpg(group, Signal::SIGKILL).ok();
    killpg(group, Signal::SIGCONT).ok();
}
