//! The system calls of a worker. What decoding, encoding and the talk with the parent need is allowed; everything else
//! fails with "not permitted", also what the next kernel brings.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Calls that are allowed whatever their arguments.
const FREE: &[i64] = &[
    // Files and sockets that are open already.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_dup,
    libc::SYS_close,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Threads and their signals.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time, chance, and what it is and has used.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// What `fcntl` is needed for. Whoever may set the owner of a file can have the kernel send any process a signal.
const FCNTL: [i32; 6] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
];

/// That an argument of 32 bits is `value`. The kernel takes no notice of what stands above them.
fn is(argument: u8, value: u32) -> Result<SeccompCondition, BackendError> {
    let (length, value) = (SeccompCmpArgLen::Dword, u64::from(value));
    SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)
}

/// That an argument, a pointer, is null.
fn null(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

/// That an argument of 32 bits has all bits of `mask`.
fn has(argument: u8, mask: i32) -> Result<SeccompCondition, BackendError> {
    let mask = u64::from(mask.unsigned_abs());
    let equal = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, mask)
}

/// Calls that are allowed with some arguments.
fn bound() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let one =
        |conditions: Vec<SeccompCondition>| SeccompRule::new(conditions).map(|rule| vec![rule]);
    let fcntl = FCNTL
        .iter()
        .map(|command| SeccompRule::new(vec![is(1, command.unsigned_abs())?]));
    Ok(BTreeMap::from([
        (libc::SYS_fcntl, fcntl.collect::<Result<_, _>>()?),
        // A new thread, never a new process.
        (libc::SYS_clone, one(vec![has(0, libc::CLONE_THREAD)?])?),
        // Its arguments are behind a pointer, which no filter follows: the filter before this one says that there is no such
        // call, and the C library makes its threads with `clone`.
        (libc::SYS_clone3, Vec::new()),
        // What an open file is; what lies behind a path is Landlock's to refuse.
        (
            libc::SYS_newfstatat,
            one(vec![has(3, libc::AT_EMPTY_PATH)?])?,
        ),
        (libc::SYS_statx, one(vec![has(2, libc::AT_EMPTY_PATH)?])?),
        // To the peer of the socket, to no other address.
        (libc::SYS_sendto, one(vec![null(4)?])?),
        // Its own limits and its own priority, for the next job.
        (libc::SYS_prlimit64, one(vec![is(0, 0)?])?),
        (
            libc::SYS_setpriority,
            one(vec![is(0, libc::PRIO_PROCESS)?, is(1, 0)?])?,
        ),
        // The name of a thread.
        (
            libc::SYS_prctl,
            one(vec![is(0, libc::PR_SET_NAME.unsigned_abs())?])?,
        ),
    ]))
}

/// Allows the calls above and refuses all others, for good. Says whether the kernel does so.
pub(super) fn allow_few() -> bool {
    programs().is_ok_and(|programs| {
        programs
            .iter()
            .all(|program| seccompiler::apply_filter_all_threads(program).is_ok())
    })
}

/// Two filters, because one knows a single way to refuse; of two answers to a call the kernel takes the stricter one. In
/// this order, because the second refuses to take a further one.
fn programs() -> Result<[BpfProgram; 2], BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let not_there = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        arch,
    )?;
    let mut allowed = bound()?;
    allowed.extend(FREE.iter().map(|call| (*call, Vec::new())));
    let few = SeccompFilter::new(
        allowed,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        SeccompAction::Allow,
        arch,
    )?;
    Ok([not_there.try_into()?, few.try_into()?])
}
