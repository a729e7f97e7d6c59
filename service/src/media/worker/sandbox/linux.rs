//! The walls of Linux that are no filter of system calls: privileges, files, signals.

#![expect(
    unsafe_code,
    reason = "priority, ignored signals and capabilities have no safe call"
)]

use landlock::{ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetStatus};
use nix::sys::signal::{SigHandler, Signal, signal};

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

/// Version of the structures below, `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
/// More than any kernel has; the call says where the list ends.
const MOST_CAPABILITIES: libc::c_ulong = 64;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up every capability, also those that could be had again: a worker of a service that runs as root is nobody.
pub(super) fn no_capabilities() -> bool {
    let nothing = [CapabilityData::default(); 2];
    let mut left = [CapabilityData::default(); 2];
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    // SAFETY: the pointers are to structures of the kernel's layout that live through the calls.
    unsafe {
        // Without the right to shrink the bounding set there is nothing in it that could be gained either: new privileges
        // are refused, and so is execve.
        for capability in 0..MOST_CAPABILITIES {
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
        }
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
            0,
            0,
            0,
        );
        libc::syscall(
            libc::SYS_capset,
            std::ptr::from_mut(&mut header),
            nothing.as_ptr(),
        );
        let asked = libc::syscall(
            libc::SYS_capget,
            std::ptr::from_mut(&mut header),
            left.as_mut_ptr(),
        );
        asked == 0 && left == nothing
    }
}
