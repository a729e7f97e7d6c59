//! Tries every forbidden call from inside the walls. The child is this test program again, which walls itself in as a worker
//! does and prints what became of each attempt.

#![expect(unsafe_code, reason = "forbidden calls are made without the library")]
#![expect(
    clippy::print_stdout,
    reason = "the child tells its parent on its standard output"
)]

use std::collections::BTreeMap;
use std::process::Command;

use super::*;

/// Tells the child that it is one.
const INSIDE: &str = "CLIP_TEST_INSIDE_THE_WALLS";

/// Calls that a worker must not get through, each aimed so that it would work outside.
fn attempts() -> Vec<(&'static str, [libc::c_long; 6])> {
    let me = libc::c_long::from(std::process::id().cast_signed());
    let parent = libc::c_long::from(std::os::unix::process::parent_id().cast_signed());
    let here = libc::c_long::from(libc::AT_FDCWD);
    let path = c"/proc/self/status".as_ptr() as libc::c_long;
    let set = libc::c_long::from(libc::PR_SET_DUMPABLE);
    let chld = libc::c_long::from(libc::SIGCHLD);
    vec![
        ("kill", [libc::SYS_kill, parent, 0, 0, 0, 0]),
        ("kill itself", [libc::SYS_kill, me, 0, 0, 0, 0]),
        ("tkill", [libc::SYS_tkill, parent, 0, 0, 0, 0]),
        ("tgkill", [libc::SYS_tgkill, parent, parent, 0, 0, 0]),
        (
            "rt_sigqueueinfo",
            [libc::SYS_rt_sigqueueinfo, parent, 0, 0, 0, 0],
        ),
        (
            "rt_tgsigqueueinfo",
            [libc::SYS_rt_tgsigqueueinfo, parent, parent, 0, 0, 0],
        ),
        (
            "fcntl that has signals sent",
            [libc::SYS_fcntl, 0, libc::F_SETOWN.into(), parent, 0, 0],
        ),
        ("pidfd_open", [libc::SYS_pidfd_open, parent, 0, 0, 0, 0]),
        (
            "prlimit of another",
            [libc::SYS_prlimit64, parent, 7, 0, 0, 0],
        ),
        ("ptrace", [libc::SYS_ptrace, 16, parent, 0, 0, 0]),
        (
            "process_vm_readv",
            [libc::SYS_process_vm_readv, parent, 0, 0, 0, 0],
        ),
        #[cfg(target_arch = "x86_64")]
        ("fork", [libc::SYS_fork, 0, 0, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("vfork", [libc::SYS_vfork, 0, 0, 0, 0, 0]),
        ("clone of a process", [libc::SYS_clone, chld, 0, 0, 0, 0]),
        ("execve", [libc::SYS_execve, path, 0, 0, 0, 0]),
        ("execveat", [libc::SYS_execveat, here, path, 0, 0, 0]),
        ("openat", [libc::SYS_openat, here, path, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("open", [libc::SYS_open, path, 0, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("chmod", [libc::SYS_chmod, path, 0o644, 0, 0, 0]),
        ("fchmod", [libc::SYS_fchmod, 0, 0o644, 0, 0, 0]),
        ("fchmodat", [libc::SYS_fchmodat, here, path, 0o644, 0, 0]),
        ("fchownat", [libc::SYS_fchownat, here, path, 0, 0, 0]),
        ("unlinkat", [libc::SYS_unlinkat, here, path, 0, 0, 0]),
        ("mkdirat", [libc::SYS_mkdirat, here, path, 0, 0, 0]),
        (
            "newfstatat of a path",
            [libc::SYS_newfstatat, here, path, 0, 0, 0],
        ),
        ("ioctl", [libc::SYS_ioctl, 0, 0x5412, path, 0, 0]),
        ("socket", [libc::SYS_socket, 2, 1, 0, 0, 0]),
        ("socketpair", [libc::SYS_socketpair, 1, 1, 0, 0, 0]),
        ("memfd_create", [libc::SYS_memfd_create, path, 0, 0, 0, 0]),
        ("io_uring_setup", [libc::SYS_io_uring_setup, 1, 0, 0, 0, 0]),
        ("bpf", [libc::SYS_bpf, 0, 0, 0, 0, 0]),
        (
            "perf_event_open",
            [libc::SYS_perf_event_open, 0, 0, -1, -1, 0],
        ),
        ("userfaultfd", [libc::SYS_userfaultfd, 0, 0, 0, 0, 0]),
        ("unshare", [libc::SYS_unshare, 0, 0, 0, 0, 0]),
        ("setns", [libc::SYS_setns, 0, 0, 0, 0, 0]),
        ("mount", [libc::SYS_mount, path, path, 0, 0, 0]),
        ("setuid", [libc::SYS_setuid, 0, 0, 0, 0, 0]),
        (
            "setpriority of another",
            [libc::SYS_setpriority, 0, parent, 0, 0, 0],
        ),
        (
            "sched_setscheduler",
            [libc::SYS_sched_setscheduler, 0, 0, 0, 0, 0],
        ),
        ("prctl", [libc::SYS_prctl, set, 1, 0, 0, 0]),
        ("seccomp", [libc::SYS_seccomp, 0, 0, 0, 0, 0]),
        ("personality", [libc::SYS_personality, 0, 0, 0, 0, 0]),
        ("setsid", [libc::SYS_setsid, 0, 0, 0, 0, 0]),
        ("a call that no kernel has", [99_999, 0, 0, 0, 0, 0]),
    ]
}

/// The error of one raw call, 0 if it went through.
fn attempt(call: [libc::c_long; 6]) -> i32 {
    let [number, a, b, c, d, e] = call;
    // SAFETY: inside the walls every one of them is refused before it looks at its arguments; those that are not are what
    // the test is there to find, and a forked child ends at once.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    let error = std::io::Error::last_os_error();
    let forks = [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
        libc::SYS_clone,
    ];
    if answer == 0 && forks.contains(&number) {
        // SAFETY: ends this process, which should not be there.
        unsafe { libc::_exit(0) }
    }
    if answer == -1 {
        error.raw_os_error().unwrap_or_default()
    } else {
        0
    }
}

/// Only as the child: prints one line for each attempt.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let walls = enter(None).unwrap();
    for name in &walls.standing {
        println!("wall {name}");
    }
    for (name, call) in attempts() {
        println!("tried {} {name}", attempt(call));
    }
    // What has to work: threads with a name, memory, its own limits, and to be told the time.
    let thread = std::thread::Builder::new().name("decoder".to_owned());
    let sum = thread.spawn(|| {
        vec![1_u8; 1 << 22]
            .iter()
            .map(|x| u64::from(*x))
            .sum::<u64>()
    });
    println!("thread {}", sum.unwrap().join().unwrap());
    let clone3 = attempt([libc::SYS_clone3, 0, 0, 0, 0, 0]);
    println!("clone3 {clone3}");
    limit(crate::media::MediaConfig::default().limits(), 1.0, true);
    println!("status {}", tokio::time::Instant::now().elapsed().as_secs());
}

#[test]
fn a_worker_gets_through_none_of_the_forbidden_calls() {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args([
            "--exact",
            "--nocapture",
            "media::worker::sandbox::tests::inside",
        ])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let walls: Vec<&str> = said
        .lines()
        .filter_map(|l| l.strip_prefix("wall "))
        .collect();
    if !walls.contains(&"few-calls") {
        return; // a kernel without seccomp, which a worker tells its parent
    }
    let tried: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("tried ")?.split_once(' '))
        .map(|(errno, name)| (name, errno))
        .collect();
    let refused = libc::EPERM.to_string();
    for (name, _) in attempts() {
        assert_eq!(tried.get(name), Some(&refused.as_str()), "{name}\n{said}");
    }
    assert!(walls.contains(&"no-capabilities"), "{said}");
    assert!(said.contains("thread 4194304\n"), "{said}");
    assert!(
        said.contains(&format!("clone3 {}\n", libc::ENOSYS)),
        "{said}"
    );
    assert!(said.contains("status 0\n"), "{said}");
}
