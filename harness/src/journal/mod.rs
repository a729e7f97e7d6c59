//! The undo journal: what a run would leave behind is written down *before* it comes into being, and struck out when it
//! is gone. A run that ends cleanly removes its journal; what a killed harness left is undone by [`cleanup`].
//!
//! One file per run, JSON lines. The harness holds a lock on the file while it lives, so a journal is stale exactly when
//! its lock is free. Nothing here starts or breaks anything.

mod undo;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use undo::UndoNote;

/// Environment variable that every child carries; its value is the run's id. Finds children that no entry names yet.
pub const MARKER: &str = "CLIP_HARNESS_RUN";
/// The name of the node that a child was started for.
pub const NODE_MARKER: &str = "CLIP_HARNESS_NODE";
/// Overrides where journals are kept.
pub const STATE_DIR: &str = "CLIP_HARNESS_STATE";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Run { id: String, pid: u32 },
    Undo { entry: u64, undo: UndoNote },
    Struck { entry: u64 },
}

/// The journal of a living run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Locked for as long as the harness lives.
    file: File,
    next: u64,
    open: BTreeMap<u64, UndoNote>,
}

/// A line in the journal. Strike it out when the thing is undone; an entry that is merely dropped stays.
#[derive(Debug)]
#[must_use = "an entry stays in the journal until it is struck out"]
pub struct Entry {
    journal: Journal,
    number: u64,
}

impl Entry {
    /// The thing is undone.
    pub fn strike(self) {
        let mut state = self.journal.0.state.lock();
        state.open.remove(&self.number);
        // A line that cannot be written only means that a later clean-up finds nothing to do for it.
        if let Err(error) = append(&mut state.file, &Line::Struck { entry: self.number }) {
            tracing::warn!(%error, "cannot strike out a journal entry");
        }
    }
}

impl Journal {
    /// Opens the journal of a new run in `directory`.
    ///
    /// # Errors
    /// When the file cannot be made: a run without a journal must not begin.
    pub fn open(directory: &Path, run_id: &str) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{run_id}.jsonl"));
        let mut file = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        append(
            &mut file,
            &Line::Run {
                id: run_id.to_owned(),
                pid: std::process::id(),
            },
        )?;
        Ok(Self(Arc::new(Inner {
            path,
            state: Mutex::new(State {
                file,
                next: 1,
                open: BTreeMap::new(),
            }),
        })))
    }

    /// Writes down what would undo something that is about to come into being.
    ///
    /// # Errors
    /// When it cannot be written: then the thing must not be done.
    pub fn note(&self, undo: UndoNote) -> io::Result<Entry> {
        let mut state = self.0.state.lock();
        let number = state.next;
        state.next += 1;
        append(
            &mut state.file,
            &Line::Undo {
                entry: number,
                undo: undo.clone(),
            },
        )?;
        state.open.insert(number, undo);
        Ok(Entry {
            journal: self.clone(),
            number,
        })
    }

    /// Everything not struck out.
    #[must_use]
    pub fn open_entries(&self) -> Vec<UndoNote> {
        self.0.state.lock().open.values().cloned().collect()
    }

    /// Removes the journal if nothing is left in it; otherwise it stays for the next clean-up.
    pub fn close(self) -> Vec<UndoNote> {
        let left = self.open_entries();
        if left.is_empty()
            && let Err(error) = fs::remove_file(&self.0.path)
        {
            tracing::warn!(%error, path = %self.0.path.display(), "cannot remove the journal");
        }
        left
    }
}

fn append(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    // One write, straight to the kernel: it survives the death of this process.
    file.write_all(text.as_bytes())
}

/// Where journals are kept: `$CLIP_HARNESS_STATE`, else below `$XDG_STATE_HOME` or `~/.local/state`, else the temporary
/// directory.
#[must_use]
pub fn directory() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = if let Some(own) = from(STATE_DIR) {
        PathBuf::from(own)
    } else if let Some(state) = from("XDG_STATE_HOME") {
        PathBuf::from(state).join("clip-harness")
    } else if let Some(home) = from("HOME") {
        PathBuf::from(home).join(".local/state/clip-harness")
    } else {
        std::env::temp_dir().join("clip-harness")
    };
    base.join("journal")
}

/// What a clean-up did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// One line per thing undone.
    pub undone: Vec<String>,
    /// One line per thing that could not be undone.
    pub failed: Vec<String>,
    /// Ids of runs that are still going on and were left alone.
    pub running: Vec<String>,
}

/// Undoes what dead harnesses left behind, as their journals in `directory` say. Living runs are left alone.
///
/// # Errors
/// When the directory exists and cannot be read.
pub fn cleanup(directory: &Path) -> io::Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cleaned),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
        .collect();
    paths.sort();
    for path in paths {
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        // Gone in the meantime: another clean-up, or the end of its run.
        let Ok(file) = OpenOptions::new().read(true).append(true).open(&path) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => replay(&name, &file, &path, &mut cleaned),
            Err(TryLockError::WouldBlock) => cleaned.running.push(name),
            Err(TryLockError::Error(error)) => cleaned.failed.push(format!(
                "journal {} cannot be locked: {error}",
                path.display()
            )),
        }
    }
    Ok(cleaned)
}

/// The lines of a journal. The last one of a killed process may be cut short; what it would have named was not begun.
fn lines(mut file: &File) -> Vec<String> {
    let mut bytes = Vec::new();
    if let Err(error) = file.read_to_end(&mut bytes) {
        tracing::warn!(%error, "a journal cannot be read to its end");
    }
    let complete = bytes.iter().rposition(|byte| *byte == b'\n');
    let complete = complete.map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..complete])
        .lines()
        .map(str::to_owned)
        .collect()
}

fn replay(name: &str, file: &File, path: &Path, cleaned: &mut Cleaned) {
    let mut open = BTreeMap::new();
    let mut run = name.to_owned();
    let failed_before = cleaned.failed.len();
    for line in lines(file) {
        match serde_json::from_str(&line) {
            Ok(Line::Run { id, .. }) => run = id,
            Ok(Line::Undo { entry, undo }) => {
                open.insert(entry, undo);
            }
            Ok(Line::Struck { entry }) => {
                open.remove(&entry);
            }
            Err(error) => cleaned.failed.push(format!(
                "{run}: unreadable line in its journal: {error}: {line}"
            )),
        }
    }
    // Latest first: a directory goes when the processes that write to it are gone.
    for undo in open.into_values().rev() {
        match undo.perform(&run) {
            Ok(Some(done)) => cleaned.undone.push(format!("{run}: {done}")),
            Ok(None) => {}
            Err(error) => cleaned.failed.push(format!("{run}: {error}")),
        }
    }
    if cleaned.failed.len() == failed_before
        && let Err(error) = fs::remove_file(path)
    {
        cleaned
            .failed
            .push(format!("{run}: cannot remove {}: {error}", path.display()));
    }
}

/// SIGKILL to a whole group. A stopped process takes it as well; SIGCONT lets its parent see the end soon.
pub fn kill_group(pgid: i32) {
    undo::kill_group(pgid);
}

#[cfg(test)]
mod tests;
