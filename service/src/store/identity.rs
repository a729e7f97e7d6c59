//! Whether a path still means the file that was opened. What is deleted, replaced or lies under another mount by now goes on
//! taking writes through what is open, and nobody finds them again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{StoreError, StoreResult};

/// A path and the file it meant.
#[derive(Debug)]
pub(super) struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    /// What `path` means now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// # Errors
    /// It means nothing, or something else.
    pub(super) fn check(&self) -> StoreResult<()> {
        let shown = self.path.file_name().unwrap_or(self.path.as_os_str());
        let lost = |why: &str| Err(StoreError::Failed(format!("{} {why}", shown.display())));
        match fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => lost("was replaced while it was in use"),
            Err(error) => lost(&format!("cannot be found any more: {error}")),
        }
    }
}
