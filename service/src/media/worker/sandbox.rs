//! The walls around a worker. Best effort: an old kernel or another operating system has fewer of them, and the worker
//! says which ones stand.

use crate::media::config::Limits;

/// Most open files of a worker.
#[cfg(unix)]
const OPEN_FILES: u64 = 64;

/// Largest file a worker may write, bytes.
#[cfg(unix)]
const FILE_SIZE: u64 = 4 << 30;

/// Walls this process in for good, before it has any other thread. `parent` is the process that started it.
///
/// Errors mean that the parent is already gone.
pub(super) fn enter(parent: Option<i32>) -> Result<String, String> {
    use nix::sys::resource::{Resource, setrlimit};

    let mut walls = vec![];
    let mut wall = |name: &'static str, up: bool| {
        if up {
            walls.push(name);
        }
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
        wall("no-files", linux::no_files());
        wall("no-calls", linux::no_calls());
    }
    Ok(walls.join(" "))
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
mod linux {
    #![expect(unsafe_code, reason = "priority and ignored signals have no safe call")]

    use std::collections::BTreeMap;

    use landlock::{ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetStatus};
    use nix::sys::signal::{SigHandler, Signal, signal};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    /// Lets the machine answer requests first while this process does long work.
    pub(super) fn be_humble() {
        // SAFETY: a plain call without pointers.
        unsafe {
            libc::setpriority(libc::PRIO_PROCESS, 0, 10);
        }
    }

    /// Leaves ending to the parent: a Ctrl-C reaches the whole process group. And goes first when memory runs out.
    pub(super) fn be_quiet() {
        // SAFETY: ignoring a signal installs no handler that could run.
        unsafe {
            for ending in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
                signal(ending, SigHandler::SigIgn).ok();
            }
        }
        std::fs::write("/proc/self/oom_score_adj", "500").ok();
    }

    /// Landlock without a single rule: files already open are all there is.
    pub(super) fn no_files() -> bool {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(Ruleset::create)
            .and_then(|ruleset| ruleset.restrict_self())
            .is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
    }

    /// System calls that neither decoding nor encoding needs fail with "not permitted".
    pub(super) fn no_calls() -> bool {
        let denied: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = [
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_pidfd_getfd,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_open_by_handle_at,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_io_uring_setup,
        ]
        .into_iter()
        .map(|call| (call, Vec::new()))
        .collect();
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        std::env::consts::ARCH
            .try_into()
            .and_then(|arch| SeccompFilter::new(denied, SeccompAction::Allow, refused, arch))
            .and_then(BpfProgram::try_from)
            .is_ok_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
    }
}
