//! Processes: who started them, which group and session they are in, what they are doing, what they were started with.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

/// The part of `/proc/<pid>/stat` that tells one process from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: i32,
    /// `R`, `S`, `T` (stopped), `Z` (zombie) and others.
    pub state: char,
    /// Process that started it, or that has adopted it since.
    pub parent: i32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub session: i32,
    /// Threads, a first one that has ended before the others included.
    pub threads: u32,
    /// Clock ticks since boot at its start: with the pid, names a process for ever.
    pub start: u64,
}

impl Stat {
    /// Whether it can still do anything. A program whose first thread has ended reads as a zombie while others go on.
    #[must_use]
    pub fn lives(self) -> bool {
        match self.state {
            'Z' => self.threads > 1,
            'X' => false,
            _ => true,
        }
    }

    /// Whether this is the same process as `other`, and not a later one of its number.
    #[must_use]
    pub fn same(self, other: Self) -> bool {
        (self.pid, self.start) == (other.pid, other.start)
    }
}

/// The id of this process.
#[must_use]
pub fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

/// Reads a process's stat; `None` when there is no such process.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (comm) state ppid pgrp session ...`; the name may hold spaces and parentheses, so fields are counted from its
/// last `)`.
fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let pgid = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // `num_threads` is field 20 of the whole line, `starttime` field 22; state is field 3, session field 6.
    let threads = fields.nth(13)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    Some(Stat {
        pid,
        state,
        parent,
        pgid,
        session,
        threads,
        start,
    })
}

/// Every process there is.
#[must_use]
pub fn all() -> Vec<Stat> {
    numbers("/proc").into_iter().filter_map(stat).collect()
}

/// Names in a directory that are numbers.
fn numbers(directory: &str) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Living members of a process group.
#[must_use]
pub fn group(pgid: i32) -> Vec<Stat> {
    all()
        .into_iter()
        .filter(|stat| stat.pgid == pgid && stat.lives())
        .collect()
}

/// Living children of this process.
#[must_use]
pub fn children() -> Vec<Stat> {
    let own = own_pid();
    all()
        .into_iter()
        .filter(|stat| stat.parent == own && stat.lives())
        .collect()
}

/// This process's children and theirs, zombies included, parents before children. Reads this tree only, where the kernel
/// offers that; otherwise everything there is.
#[must_use]
pub fn descendants() -> Vec<Stat> {
    let own = own_pid();
    if fs::exists(format!("/proc/{own}/task/{own}/children")).unwrap_or(false) {
        let mut found: Vec<Stat> = Vec::new();
        let mut next = vec![own];
        while let Some(pid) = next.pop() {
            for child in children_of(pid).into_iter().filter_map(stat) {
                // A number taken over in the meantime must not lead in circles.
                if !found.iter().any(|seen| seen.pid == child.pid) {
                    next.push(child.pid);
                    found.push(child);
                }
            }
        }
        return found;
    }
    let everything = all();
    let born = everything.iter().filter(|stat| stat.parent == own);
    with_descendants(&everything, born.copied().collect())
}

/// These processes with their children, their children's children and so on, of the processes in `all`.
#[must_use]
pub fn with_descendants(all: &[Stat], roots: Vec<Stat>) -> Vec<Stat> {
    let mut found = roots;
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        next += 1;
        for stat in all.iter().filter(|stat| stat.parent == parent.pid) {
            if !found.iter().any(|known| known.pid == stat.pid) {
                found.push(*stat);
            }
        }
    }
    found
}

fn children_of(pid: i32) -> Vec<i32> {
    let tasks = format!("/proc/{pid}/task");
    numbers(&tasks)
        .into_iter()
        .filter_map(|task| fs::read_to_string(format!("{tasks}/{task}/children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

/// Living processes, this one aside, whose environment holds `NAME=value`.
#[must_use]
pub fn marked(name: &str, value: &str) -> Vec<Stat> {
    let own = own_pid();
    all()
        .into_iter()
        .filter(|stat| stat.pid != own && stat.lives() && carries(stat.pid, name, value))
        .collect()
}

/// Whether a process was started with `NAME=value` in its environment.
#[must_use]
pub fn carries(pid: i32, name: &str, value: &str) -> bool {
    variable(pid, name).is_some_and(|found| found == value)
}

/// The value of a variable in the environment that a process was started with; `None` too where it cannot be read, has
/// been cleared, or was written over by the program.
#[must_use]
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let own = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    // The memory of a program whose first thread has ended is known to its other threads only.
    let environ = if own.is_empty() {
        numbers(&format!("/proc/{pid}/task"))
            .into_iter()
            .filter(|task| *task != pid)
            .find_map(|task| fs::read(format!("/proc/{pid}/task/{task}/environ")).ok())
            .unwrap_or_default()
    } else {
        own
    };
    environ
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .next()
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Every thread is stopped (`T`).
    Stopped,
    /// Every thread is stopped, or waits in the kernel and cannot be disturbed (`D`).
    Waiting,
    /// Some thread runs, or could.
    No,
}

/// Whether a process runs; threads that have ended aside.
#[must_use]
pub fn rest(pid: i32) -> Rest {
    let states: Vec<char> = numbers(&format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|task| {
            parse(&fs::read_to_string(format!("/proc/{pid}/task/{task}/stat")).ok()?)
        })
        .map(|task| task.state)
        .filter(|state| !matches!(state, 'Z' | 'X'))
        .collect();
    if states.is_empty() || states.iter().any(|state| !matches!(state, 'T' | 't' | 'D')) {
        Rest::No
    } else if states.contains(&'D') {
        Rest::Waiting
    } else {
        Rest::Stopped
    }
}

/// Command line for people; empty when unknown.
#[must_use]
pub fn command(pid: i32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// Processes of these that hold the socket which listens at `address`; `None` when no socket that can be seen from here
/// listens there.
#[must_use]
pub fn listeners(address: SocketAddr, among: &[Stat]) -> Option<Vec<Stat>> {
    let sockets: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, address.port()))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let wanted: BTreeMap<String, ()> = sockets
        .iter()
        .map(|inode| (format!("socket:[{inode}]"), ()))
        .collect();
    let holds = |stat: &Stat| {
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", stat.pid)) else {
            return false;
        };
        files
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| {
                target
                    .to_str()
                    .is_some_and(|name| wanted.contains_key(name))
            })
    };
    Some(among.iter().filter(|stat| holds(stat)).copied().collect())
}

/// Inodes of the sockets that listen on a port: `sl local_address rem_address st ... inode`, state 0A.
fn listening(table: &str, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (_, local) = fields.get(1)?.rsplit_once(':')?;
            let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
            listens.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_not_in_the_way() {
        let line =
            "4711 (a) b (c) T 1 4700 4600 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 98765 1000 2";
        assert_eq!(
            parse(line),
            Some(Stat {
                pid: 4711,
                state: 'T',
                parent: 1,
                pgid: 4700,
                session: 4600,
                threads: 3,
                start: 98765
            })
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn a_zombie_with_threads_lives() {
        let zombie = parse("7 (x) Z 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 9 10 2").expect("stat");
        assert!(!zombie.lives());
        assert!(
            Stat {
                threads: 2,
                ..zombie
            }
            .lives()
        );
    }

    #[test]
    fn this_process_is_found() {
        let own = own_pid();
        let stat = stat(own).expect("own stat");
        assert!(stat.lives() && stat.start > 0 && stat.threads > 1);
        assert!(all().iter().any(|other| other.pid == own));
        assert_eq!(rest(own), Rest::No);
    }

    #[test]
    fn the_process_that_listens_is_found_by_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let own = stat(own_pid()).expect("own stat");
        let parent = stat(own.parent).expect("the parent's stat");
        assert_eq!(listeners(address, &[parent, own]), Some(vec![own]));
        drop(listener);
        assert_eq!(listeners(address, &[own]), None);
    }

    #[test]
    fn children_and_theirs_are_found() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .spawn()
            .expect("sh");
        let pid = i32::try_from(child.id()).expect("pid");
        let grandchild = loop {
            let all = descendants();
            assert!(all.iter().any(|stat| stat.pid == pid), "{all:?}");
            if let Some(found) = all.iter().find(|stat| stat.parent == pid) {
                break *found;
            }
            std::thread::yield_now();
        };
        assert_eq!(grandchild.pgid, stat(pid).expect("stat").pgid);
        child.kill().expect("kill");
        child.wait().expect("wait");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(grandchild.pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .expect("kill");
    }
}
