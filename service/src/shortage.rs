//! What the machine runs out of for a while: file descriptors, memory, room on disk. How an error says so, and how many files
//! this process may open.
//!
//! Such an error is about the node and its moment, not about the work that met it: work is given back and requests are told to
//! come again. What one video asks too much of (the limits of its worker) is no shortage.

use std::error::Error;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Whether the operating system refused something because it, or this process, has none left.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => matches!(
            errno,
            Errno::EMFILE
                | Errno::ENFILE
                | Errno::ENOMEM
                | Errno::ENOBUFS
                | Errno::ENOSPC
                | Errno::EDQUOT
        ),
        // Somebody has put words around it.
        None => {
            matches!(
                error.kind(),
                io::ErrorKind::OutOfMemory
                    | io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
            ) || error.get_ref().is_some_and(|inner| tells_shortage(inner))
        }
    }
}

/// Whether a shortage is what an error of some library comes from.
#[must_use]
pub fn tells_shortage(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_shortage) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Lets this process open as many files as it is allowed to at all; many systems begin with 1024 of them.
pub fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "cannot raise the limit of open files");
    }
}

/// How many files this process may open.
#[must_use]
pub fn file_limit() -> usize {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .and_then(|(soft, _)| usize::try_from(soft).ok())
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_known_however_it_is_wrapped() {
        let short = || io::Error::from(Errno::EMFILE);
        assert!(is_shortage(&short()));
        assert!(is_shortage(&io::Error::other(short())));
        assert!(is_shortage(&io::ErrorKind::StorageFull.into()));
        let named = tempfile::Builder::new().tempdir_in("/nonexistent");
        assert!(!is_shortage(&named.unwrap_err()));
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::ECONNREFUSED] {
            assert!(!is_shortage(&errno.into()), "{errno}");
        }
    }
}
