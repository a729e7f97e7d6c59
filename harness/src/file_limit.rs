//! How many files (sockets among them) this process may have open. A generator of load needs many, and running out of them
//! looks like a failure of the system under test.
//!
//! Reads and sets the limit, and knows the errors that mean it was reached. What is made of that is decided elsewhere.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A limit on open files, of this process or one to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimit {
    /// In force.
    pub soft: u64,
    /// As far as it can be raised without privileges.
    pub hard: u64,
}

impl FileLimit {
    /// The limit of this process; `None` where the system does not tell.
    #[must_use]
    pub fn here() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        Some(Self { soft, hard })
    }

    /// Raises the limit of this process as far as it goes. The limit before, where that changed anything: for processes
    /// that must not feel it.
    #[must_use]
    pub fn raise() -> Option<Self> {
        let before = Self::here().filter(|limit| limit.soft < limit.hard)?;
        let most = Self {
            soft: before.hard,
            ..before
        };
        most.apply().ok().map(|()| before)
    }

    /// Sets it for this process.
    ///
    /// # Errors
    /// When it is above what is allowed.
    pub fn apply(self) -> io::Result<()> {
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)?)
    }
}

/// Whether an error says that this process, or this machine, has run out of something: files, buffers, ports.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| {
        matches!(
            Errno::from_raw(errno),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::EADDRNOTAVAIL
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_and_its_errors_are_known() {
        let limit = FileLimit::here().expect("a limit");
        assert!(limit.soft > 0 && limit.soft <= limit.hard);
        assert!(is_exhausted(&Errno::EMFILE.into()));
        assert!(!is_exhausted(&Errno::ECONNREFUSED.into()));
        assert!(!is_exhausted(&io::Error::other("something else")));
    }
}
