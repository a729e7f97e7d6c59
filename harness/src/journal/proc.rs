//! What `/proc` tells about processes. On systems without it nothing is found, and callers fall back on signals alone.

use std::fs;
use std::path::PathBuf;

/// The part of `/proc/<pid>/stat` that tells one process from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: i32,
    /// `R`, `S`, `T` (stopped), `Z` (zombie) and others.
    pub state: char,
    /// Process that started it.
    pub parent: i32,
    /// Process group.
    pub pgid: i32,
    /// Clock ticks since boot at its start: with the pid, names a process for ever.
    pub start: u64,
}

impl Stat {
    /// Whether it can still do anything.
    #[must_use]
    pub fn lives(self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Reads a process's stat; `None` when there is no such process.
#[must_use]
pub fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (comm) state ppid pgrp ...`; the name may hold spaces and parentheses, so fields are counted from its last `)`.
fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let pgid = fields.next()?.parse().ok()?;
    // `starttime` is field 22 of the whole line; state is field 3, ppid field 4, pgrp field 5.
    let start = fields.nth(16)?.parse().ok()?;
    Some(Stat {
        pid,
        state,
        parent,
        pgid,
        start,
    })
}

/// Every process there is.
#[must_use]
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
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
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all()
        .into_iter()
        .filter(|stat| stat.parent == own && stat.lives())
        .collect()
}

/// Living processes, this one aside, whose environment holds `NAME=value`.
#[must_use]
pub fn marked(name: &str, value: &str) -> Vec<Stat> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    all()
        .into_iter()
        .filter(|stat| stat.pid != own && stat.lives() && carries(stat.pid, name, value))
        .collect()
}

/// Whether a process was started with `NAME=value` in its environment.
#[must_use]
pub fn carries(pid: i32, name: &str, value: &str) -> bool {
    let wanted = format!("{name}={value}");
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
}

/// Command line for people; empty when unknown.
#[must_use]
pub fn command(pid: i32) -> String {
    let raw = fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    String::from_utf8_lossy(&raw)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_not_in_the_way() {
        let line =
            "4711 (a) b (c) T 1 4700 4700 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2";
        assert_eq!(
            parse(line),
            Some(Stat {
                pid: 4711,
                state: 'T',
                parent: 1,
                pgid: 4700,
                start: 98765
            })
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = i32::try_from(std::process::id()).expect("pid");
        let stat = stat(own).expect("own stat");
        assert!(stat.lives() && stat.start > 0);
        assert!(all().iter().any(|other| other.pid == own));
    }
}
