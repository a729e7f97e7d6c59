//! What Linux says in `/proc`: about processes ([`process`]) and about the machine ([`machine`]).
//!
//! The one place of the crate that parses these files. It only reads: nothing here signals, waits or decides. On systems
//! without `/proc` nothing is found; callers that depend on it ask [`available`] first. It is small enough to need no crate:
//! five files, of which the fields that tell processes apart are read thousands of times a run.

pub mod machine;
pub mod process;

/// Whether this system says what its processes are.
#[must_use]
pub fn available() -> bool {
    process::stat(process::own_pid()).is_some()
}
