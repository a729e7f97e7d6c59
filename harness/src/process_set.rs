//! Signals to a set of processes that may grow while it is hit: stopped, let go or killed, until nothing of it escapes.
//!
//! A supervisor can fork while processes are listed. So the search is repeated: a kill until it finds nothing; a stop, and the
//! kill of a set that still grows, until it finds the same processes twice, all of them stopped. What cannot run cannot fork.
//! Which processes
//! belong to the set is the caller's to say; this module knows no nodes. Its functions block for some milliseconds, in
//! bad cases for seconds.

use std::time::Duration;

use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use crate::procfs::process::{self, Rest, Stat};

/// Time between two searches.
const POLL: Duration = Duration::from_millis(2);
/// Time that stopping may take before a kill goes on without: a process that waits for a disk stops when it is done.
const FREEZE_BEFORE_KILL: Duration = Duration::from_secs(3);

/// Stops every process that `find` finds, until two searches in a row find the same, all of them stopped.
///
/// # Errors
/// Those that still run when `within` has passed.
pub fn freeze(
    find: &mut dyn FnMut() -> Vec<Stat>,
    within: Duration,
) -> Result<Vec<Stat>, Vec<Stat>> {
    let mut before: Option<Vec<Stat>> = None;
    let mut told: Vec<Stat> = Vec::new();
    let mut running = Vec::new();
    let frozen = poll(within, || {
        let found = find();
        running = found
            .iter()
            .filter(|stat| match process::rest(stat.pid) {
                Rest::Stopped => false,
                // It stops before it runs again: a disk is slow, or it waits for a stopped child that it shares memory with.
                Rest::Waiting => !told.iter().any(|known| known.same(**stat)),
                Rest::No => true,
            })
            .copied()
            .collect();
        told.extend(&running);
        if running.is_empty() {
            let settled = before
                .as_ref()
                .is_some_and(|before| same_processes(before, &found));
            before = Some(found);
            return settled;
        }
        before = None;
        running
            .iter()
            .for_each(|stat| signal(*stat, Signal::SIGSTOP));
        false
    });
    match (frozen, before) {
        (true, Some(found)) => Ok(found),
        (true, None) | (false, _) => Err(running),
    }
}

/// Lets every process that `find` finds run again.
///
/// # Errors
/// Those that are still stopped when `within` has passed.
pub fn thaw(find: &mut dyn FnMut() -> Vec<Stat>, within: Duration) -> Result<Vec<Stat>, Vec<Stat>> {
    let mut stopped = Vec::new();
    let mut found = Vec::new();
    let thawed = poll(within, || {
        found = find();
        stopped = found
            .iter()
            .filter(|stat| process::rest(stat.pid) == Rest::Stopped)
            .copied()
            .collect();
        stopped
            .iter()
            .for_each(|stat| signal(*stat, Signal::SIGCONT));
        stopped.is_empty()
    });
    if thawed { Ok(found) } else { Err(stopped) }
}

/// Ends every process that `find` finds and whatever they start meanwhile; all that were hit.
///
/// # Errors
/// Those that still live when `within` has passed.
pub fn kill(find: &mut dyn FnMut() -> Vec<Stat>, within: Duration) -> Result<Vec<Stat>, Vec<Stat>> {
    // At once, and not stopped first: what is stopped for the time of a few searches holds requests that a process which
    // dies lets go, and a fault would be slower than the crash it stands for. Only a set that still grows is stopped.
    let mut hit = find();
    hit.iter().for_each(|stat| signal(*stat, Signal::SIGKILL));
    let grown = |stat: &Stat| !hit.iter().any(|known| known.same(*stat));
    if find().iter().any(grown) {
        let frozen = freeze(find, FREEZE_BEFORE_KILL.min(within));
        hit.extend(frozen.unwrap_or_else(|running| running));
    }
    let mut left = Vec::new();
    let gone = poll(within, || {
        left = find();
        for stat in &left {
            if !hit.iter().any(|known| known.same(*stat)) {
                hit.push(*stat);
            }
            signal(*stat, Signal::SIGKILL);
        }
        left.is_empty()
    });
    if gone { Ok(hit) } else { Err(left) }
}

/// Sends a signal to a process, unless its number belongs to another by now.
pub fn signal(stat: Stat, signal: Signal) {
    if process::stat(stat.pid).is_some_and(|now| now.same(stat)) {
        // Gone in this very moment: the next search does not find it.
        send(Pid::from_raw(stat.pid), signal).ok();
    }
}

/// `2 processes`, `1 process`.
#[must_use]
pub fn counted(count: usize) -> String {
    match count {
        1 => "1 process".to_owned(),
        many => format!("{many} processes"),
    }
}

/// `pid 12 (python3 srv.py), pid 14 (sleep 5)`: some of many, for people.
#[must_use]
pub fn listed(processes: &[Stat]) -> String {
    const SHOWN: usize = 4;
    const LONGEST: usize = 80;
    let mut parts: Vec<String> = processes
        .iter()
        .take(SHOWN)
        .map(|stat| match process::command(stat.pid) {
            command if command.is_empty() => format!("pid {}", stat.pid),
            command => {
                let command: String = command.chars().take(LONGEST).collect();
                format!("pid {} ({command})", stat.pid)
            }
        })
        .collect();
    if processes.len() > SHOWN {
        parts.push(format!("{} more", processes.len() - SHOWN));
    }
    parts.join(", ")
}

fn same_processes(one: &[Stat], other: &[Stat]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .all(|stat| other.iter().any(|same| same.same(*stat)))
}

/// Asks until the answer is yes, from a plain thread; false when `within` has passed.
pub(crate) fn poll(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + within;
    let (lock, never) = (Mutex::new(()), Condvar::new());
    let mut guard = lock.lock();
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        never.wait_for(&mut guard, POLL);
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> (Child, Stat) {
        let child = Command::new("sh")
            .args(["-c", script])
            .process_group(0)
            .stdout(Stdio::null())
            .spawn()
            .expect("sh");
        let stat = process::stat(i32::try_from(child.id()).expect("pid")).expect("stat");
        (child, stat)
    }

    /// A process and everything that was ever seen below it, so that nothing is lost when a parent ends first.
    struct Tree(Vec<Stat>);

    impl Tree {
        fn find(&mut self) -> Vec<Stat> {
            let all = process::all();
            self.0
                .retain(|known| all.iter().any(|stat| stat.same(*known)));
            self.0 = process::with_descendants(&all, std::mem::take(&mut self.0));
            let now = |known: &Stat| all.iter().find(|stat| stat.same(*known)).copied();
            let living = self.0.iter().filter_map(now);
            living.filter(|stat| stat.lives()).collect()
        }
    }

    /// Ends what a failing test would leave behind.
    impl Drop for Tree {
        fn drop(&mut self) {
            drop(kill(&mut || self.find(), WITHIN));
        }
    }

    #[test]
    fn a_tree_that_forks_all_the_time_is_stopped_continued_and_killed() {
        let (mut child, root) =
            shell("while :; do (sleep 0.01; sleep 30) & setsid sleep 30 & sleep 0.005; done");
        let mut tree = Tree(vec![root]);
        assert!(poll(WITHIN, || tree.find().len() > 10));
        let frozen = freeze(&mut || tree.find(), WITHIN).expect("all stop");
        assert!(
            frozen.len() > 5
                && frozen
                    .iter()
                    .all(|stat| process::rest(stat.pid) != Rest::No)
        );
        // Nothing runs that could fork, so it is the same set a while later.
        assert!(!poll(Duration::from_millis(100), || tree.find().len()
            != frozen.len()));
        thaw(&mut || tree.find(), WITHIN).expect("all run");
        assert!(poll(WITHIN, || tree.find().len() > frozen.len()));
        let hit = kill(&mut || tree.find(), WITHIN).expect("all end");
        assert!(hit.len() > frozen.len());
        child.wait().expect("wait");
        let gone =
            |was: &Stat| process::stat(was.pid).is_none_or(|now| !now.same(*was) || !now.lives());
        assert!(hit.iter().all(gone));
    }

    #[test]
    fn a_process_of_the_same_number_that_began_later_is_not_hit() {
        let (mut child, stat) = shell("sleep 60");
        let earlier = Stat {
            start: stat.start - 1,
            ..stat
        };
        signal(earlier, Signal::SIGKILL);
        assert!(child.try_wait().expect("wait").is_none());
        signal(stat, Signal::SIGKILL);
        child.wait().expect("wait");
    }

    #[test]
    fn what_does_not_end_is_told() {
        let own = process::stat(process::own_pid()).expect("own");
        // Found for ever, and never signalled: its start differs.
        let ghost = Stat { start: 1, ..own };
        assert_eq!(
            kill(&mut || vec![ghost], Duration::from_millis(20)),
            Err(vec![ghost])
        );
    }
}
