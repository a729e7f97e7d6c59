//! The walls around a worker. Not a list of what is known to be dangerous: what a worker may do is listed, and the rest is
//! refused. Best effort: an old kernel or another operating system has fewer walls, and the worker says which ones stand
//! and which are missing.

use crate::media::config::Limits;

/// Most open files of a worker.
#[cfg(unix)]
const OPEN_FILES: u64 = 64;

/// Largest file a worker may write, bytes.
#[cfg(unix)]
const FILE_SIZE: u64 = 4 << 30;

/// The walls by name.
#[derive(Debug, Default)]
pub(super) struct Walls {
    /// Those that stand.
    pub(super) standing: Vec<String>,
    /// Those that this kernel does not give.
    pub(super) missing: Vec<String>,
}

/// Walls this process in for good, before it has any other thread. `parent` is the process that started it.
///
/// Errors mean that the parent is already gone.
pub(super) fn enter(parent: Option<i32>) -> Result<Walls, String> {
    use nix::sys::resource::{Resource, setrlimit};

    let mut walls = Walls::default();
    let mut wall = |name: &str, up: bool| {
        let list = if up {
            &mut walls.standing
        } else {
            &mut walls.missing
        };
        list.push(name.to_owned());
    };
    #[cfg(target_os = "linux")]
    {
        // The socket's end says the same; this also ends a worker whose reading thread is stuck.
        wall(
            "parent-death",
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_ok(),
        );
    }
    if parent.is_some_and(|parent| nix::unistd::getppid().as_raw() != parent) {
        return Err("the parent is gone".to_owned());
    }
    wall("no-core", setrlimit(Resource::RLIMIT_CORE, 0, 0).is_ok());
    wall(
        "open-files",
        setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES).is_ok(),
    );
    wall(
        "file-size",
        setrlimit(Resource::RLIMIT_FSIZE, FILE_SIZE, FILE_SIZE).is_ok(),
    );
    #[cfg(target_os = "linux")]
    {
        linux::be_quiet();
        wall(
            "no-new-privileges",
            nix::sys::prctl::set_no_new_privs().is_ok(),
        );
        wall("not-dumpable", nix::sys::prctl::set_dumpable(false).is_ok());
        wall("no-capabilities", linux::no_capabilities());
        wall("no-files", linux::no_files());
        // Last: what comes before needs calls that are refused from here on.
        wall("few-calls", calls::allow_few());
    }
    Ok(walls)
}

/// Sets what one job may use up: address space, and processor time from now on. A `long` job also steps back behind
/// those that people wait for.
pub(super) fn limit(limits: Limits, media_seconds: f64, long: bool) {
    use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};

    #[cfg(target_os = "linux")]
    if long {
        linux::be_humble();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = long;
    #[cfg(target_os = "linux")]
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_AS) {
        // Best effort: without the limit the job still runs.
        setrlimit(
            Resource::RLIMIT_AS,
            (limits.memory_mb << 20).min(hard),
            hard,
        )
        .ok();
    }
    let used = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        usage.user_time().tv_sec() + usage.system_time().tv_sec()
    });
    let allowed = 120.0 + media_seconds.min(limits.max_duration).max(0.0);
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CPU) {
        setrlimit(
            Resource::RLIMIT_CPU,
            (used.unsigned_abs() + allowed as u64).min(hard),
            hard,
        )
        .ok();
    }
}

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(all(test, target_os = "linux"))]
mod tests;
