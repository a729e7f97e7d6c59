//! What exists outside of this process for the length of a run: the undo journal, and the directory that nodes share.

use std::io;
use std::path::{Path, PathBuf};

use super::options::Options;
use crate::journal::{Entry, Journal, UndoNote};

/// The journal and the shared directory.
pub(super) struct RunDir {
    pub(super) journal: Journal,
    children: Entry,
    directory: Entry,
    pub(super) data: PathBuf,
}

impl RunDir {
    pub(super) fn prepare(options: &Options) -> io::Result<Self> {
        let journal = Journal::open(&options.journal, &options.run_id)?;
        let data = std::env::temp_dir().join(format!("clip-harness-{}", options.run_id));
        let children = journal.note(UndoNote::children())?;
        let directory = journal.note(UndoNote::directory(&data))?;
        std::fs::create_dir_all(&data)?;
        Ok(Self {
            journal,
            children,
            directory,
            data,
        })
    }

    /// Removes the directory and closes the journal; what is left.
    pub(super) fn clear(self) -> Vec<String> {
        let mut left = Vec::new();
        match remove(&self.data) {
            Ok(()) => self.directory.strike(),
            Err(error) => left.push(format!("directory {}: {error}", self.data.display())),
        }
        self.children.strike();
        let said = UndoNote::directory(&self.data);
        left.extend(
            self.journal
                .close()
                .iter()
                // Said above, with the reason.
                .filter(|note| **note != said)
                .map(UndoNote::about),
        );
        left
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
