//! Where a run happened: what a reader needs to know before comparing its numbers with others.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::procfs::machine;

/// The machine and the program.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Environment {
    /// Host name.
    pub host: String,
    /// Name of the operating system.
    pub os: String,
    /// Its kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: Option<String>,
    /// Cores this process may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Version of this program.
    pub version: String,
    /// Compiler it was built with, where that is known.
    pub rustc: Option<String>,
    /// `debug` or `release`.
    pub profile: String,
    /// Commit of the working directory, where it is a git repository.
    pub commit: Option<String>,
}

impl Environment {
    /// Of this machine and this program.
    #[must_use]
    pub fn here() -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let part = |pick: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
            uname
                .as_ref()
                .map(|uname| pick(uname).to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let os = machine::field(&release, "PRETTY_NAME", '=');
        Self {
            host: part(|uname| uname.nodename()),
            os: os.unwrap_or_else(|| part(|uname| uname.sysname())),
            kernel: part(|uname| uname.release()),
            cpu: machine::cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: machine::memory_total().unwrap_or(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: option_env!("CLIP_RUSTC_VERSION").map(str::to_owned),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
            commit: commit(Path::new(".")),
        }
    }
}

/// The commit that is checked out in this directory or the nearest one above it, read without a git program.
fn commit(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let dot_git = directory
        .ancestors()
        .map(|up| up.join(".git"))
        .find(|git| git.exists())?;
    // In a linked worktree `.git` is a file that names the directory.
    let git = match std::fs::read_to_string(&dot_git) {
        Ok(link) => dot_git.parent()?.join(link.strip_prefix("gitdir:")?.trim()),
        Err(_) => dot_git,
    };
    let common = match std::fs::read_to_string(git.join("commondir")) {
        Ok(link) => git.join(link.trim()),
        Err(_) => git.clone(),
    };
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned());
    };
    if let Ok(hash) = std::fs::read_to_string(common.join(reference)) {
        return Some(hash.trim().to_owned());
    }
    let packed = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| {
        let (hash, name) = line.split_once(' ')?;
        (name == reference).then(|| hash.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_commit_through_branches_and_packed_branches() {
        let repository = tempfile::tempdir().unwrap();
        let git = repository.path().join(".git");
        let below = repository.path().join("a/b");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(
            git.join("packed-refs"),
            "# packed\nabc123 refs/heads/main\n",
        )
        .unwrap();
        assert_eq!(commit(&below), Some("abc123".to_owned()));
        std::fs::write(git.join("refs/heads/main"), "def456\n").unwrap();
        assert_eq!(commit(&below), Some("def456".to_owned()));
        std::fs::write(git.join("HEAD"), "0789\n").unwrap();
        assert_eq!(commit(&below), Some("0789".to_owned()));
    }
}
