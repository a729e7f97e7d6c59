//! Which process belongs to which node.
//!
//! A node is more than its first process and that one's group: wrappers put the server in a session of its own, daemons
//! fork twice, supervisors give their workers groups. This process becomes a *child subreaper*, so whatever loses its
//! parent becomes its child instead of init's, and a table remembers every process with its node. A process belongs to
//! the node that
//!
//! 1. its parent belongs to, or any member of its process group or session,
//! 2. its environment names ([`MARKER`], [`NODE_MARKER`]),
//! 3. listens at its port, when its parent has gone before it was seen and it has cleared its environment,
//! 4. is the only one it can come from. What remains is *unclaimed*: faults on nodes are refused then, rather than
//!    reported as done, and it is ended with the run.
//!
//! The table is one for this process, as being a subreaper is: runs side by side share it. It reaps what it has adopted,
//! and only that: children that were started here are waited for where they were started.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Once};
use std::time::Duration;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use crate::journal::{Entry, Journal, MARKER, NODE_MARKER, UndoNote};
use crate::procfs::process::{self, Stat};

/// The table.
pub(super) static TRACKER: LazyLock<Tracker> = LazyLock::new(|| Tracker {
    table: Mutex::default(),
    woken: Condvar::new(),
    subreaper: Once::new(),
});

/// Time between two looks while a node is young: programs put themselves into the background when they start.
const EARLY: Duration = Duration::from_millis(20);
/// How long a node is young.
const YOUNG_FOR: Duration = Duration::from_secs(3);
/// Time between two looks later.
const LATER: Duration = Duration::from_millis(250);
/// How long an unknown child must have been dead before it is taken for an orphan that died unseen.
const UNKNOWN_DEAD_FOR: Duration = Duration::from_secs(2);

/// A node of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) run: Arc<str>,
    pub(super) node: Arc<str>,
}

/// Names a process for ever.
type Key = (i32, u64);

fn key(stat: Stat) -> Key {
    (stat.pid, stat.start)
}

/// What is known of every process of every node.
#[derive(Debug)]
pub(super) struct Tracker {
    table: Mutex<Table>,
    /// Raised when a node is started, so that the next look comes soon.
    woken: Condvar,
    subreaper: Once,
}

#[derive(Debug, Default)]
struct Table {
    known: BTreeMap<Key, Known>,
    /// Present incarnations.
    active: Vec<Incarnation>,
    /// Adopted processes that may be of any of these runs.
    unclaimed: BTreeMap<Key, BTreeSet<Arc<str>>>,
    /// Children that were dead when first seen, with the time of that.
    unknown_dead: BTreeMap<Key, Instant>,
    young_until: Option<Instant>,
    watching: bool,
}

#[derive(Debug)]
struct Known {
    owner: Owner,
    /// Started from here, and waited for there.
    leader: bool,
    /// The note of a process that a clean-up would not find by its mark or its group.
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Incarnation {
    owner: Owner,
    leader: Stat,
    address: Option<SocketAddr>,
    journal: Journal,
}

impl Tracker {
    /// A node has been started: this is its first process.
    pub(super) fn register(
        &'static self,
        owner: &Owner,
        leader: Stat,
        address: Option<SocketAddr>,
        journal: &Journal,
    ) {
        self.become_subreaper();
        let mut table = self.table.lock();
        table.known.insert(
            key(leader),
            Known {
                owner: owner.clone(),
                leader: true,
                entry: None,
            },
        );
        table.active.push(Incarnation {
            owner: owner.clone(),
            leader,
            address,
            journal: journal.clone(),
        });
        table.young_until = Some(Instant::now() + YOUNG_FOR);
        if table.watching {
            self.woken.notify_all();
            return;
        }
        let watch = std::thread::Builder::new().name("process-tracker".to_owned());
        // Without it, the same looks are taken when a node ends or is to be hit.
        match watch.spawn(|| self.watch()) {
            Ok(_) => table.watching = true,
            Err(error) => tracing::warn!(%error, "processes are not watched between faults"),
        }
    }

    /// Orphans of nodes become children of this process from now on.
    pub(super) fn become_subreaper(&self) {
        self.subreaper.call_once(|| {
            #[cfg(target_os = "linux")]
            if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
                tracing::warn!(%error, "orphans of nodes are not adopted");
            }
        });
    }

    /// Nothing of this incarnation is left.
    pub(super) fn forget(&self, owner: &Owner, leader: Stat) {
        let mut table = self.table.lock();
        table
            .active
            .retain(|one| !(one.owner == *owner && one.leader.same(leader)));
        if !table.active.iter().any(|one| one.owner == *owner) {
            table.retain_known(|_, known| known.owner != *owner);
        }
    }

    /// Every living process of a node: all of this machine are looked at.
    pub(super) fn members(&self, owner: &Owner) -> Vec<Stat> {
        let all = process::all();
        let mut table = self.table.lock();
        table.update(&all);
        let of_owner = |stat: &&Stat| {
            stat.lives()
                && table
                    .known
                    .get(&key(**stat))
                    .is_some_and(|known| known.owner == *owner)
        };
        all.iter().filter(of_owner).copied().collect()
    }

    /// Living processes that some node of this run has started; which one cannot be told.
    pub(super) fn unclaimed(&self, run: &str) -> Vec<Stat> {
        let all = process::all();
        let mut table = self.table.lock();
        table.update(&all);
        let of_run = |stat: &&Stat| {
            let runs = table.unclaimed.get(&key(**stat));
            stat.lives() && runs.is_some_and(|runs| runs.iter().any(|one| **one == *run))
        };
        let found = all.iter().filter(of_run).copied().collect();
        process::with_descendants(&all, found)
            .into_iter()
            .filter(|stat| stat.lives())
            .collect()
    }

    /// Every living process of a run, whichever node it is of.
    pub(super) fn of_run(&self, run: &str) -> Vec<Stat> {
        let mut found = self.unclaimed(run);
        let all = process::all();
        let table = self.table.lock();
        for stat in all.iter().filter(|stat| stat.lives()) {
            let known = table.known.get(&key(*stat));
            let ours = match known {
                Some(known) => *known.owner.run == *run,
                None => stat.pid != process::own_pid() && process::carries(stat.pid, MARKER, run),
            };
            if ours && !found.iter().any(|one| one.same(*stat)) {
                found.push(*stat);
            }
        }
        found
    }

    /// Looks at the tree below this process as long as there are nodes.
    fn watch(&self) {
        let mut table = self.table.lock();
        while !table.active.is_empty() {
            let young = table
                .young_until
                .is_some_and(|until| Instant::now() < until);
            self.woken
                .wait_for(&mut table, if young { EARLY } else { LATER });
            let tree = parking_lot::MutexGuard::unlocked(&mut table, process::descendants);
            table.update(&tree);
        }
        table.watching = false;
    }
}

impl Table {
    /// Brings the table up to date with a list of processes, which holds all below this one.
    fn update(&mut self, all: &[Stat]) {
        let present: BTreeMap<Key, Stat> = all.iter().map(|stat| (key(*stat), *stat)).collect();
        // A list of the tree below this process only: what is not in it may have been missed, and is looked up by itself.
        let gone = |key: &Key| {
            !present.contains_key(key) && process::stat(key.0).is_none_or(|now| now.start != key.1)
        };
        let mut lost: BTreeSet<Owner> = BTreeSet::new();
        for (of, known) in &self.known {
            if gone(of) {
                lost.insert(known.owner.clone());
            }
        }
        self.retain_known(|of, _| !gone(of));
        self.unclaimed.retain(|of, _| !gone(of));
        self.unknown_dead.retain(|of, _| !gone(of));
        // The mark first, then kin: a process may be listed before its parent.
        let own = process::own_pid();
        let mut strangers: Vec<Stat> = Vec::new();
        // A node may itself run a harness: the marks of that one's nodes count when nothing else is known.
        let mut others = Vec::new();
        for stat in all {
            if !self.is_new(*stat, own) {
                continue;
            }
            match marked(*stat) {
                Some(owner) if self.active.iter().any(|one| one.owner == owner) => {
                    self.add(*stat, owner);
                }
                mark => {
                    strangers.push(*stat);
                    others.extend(mark.map(|owner| (*stat, owner)));
                }
            }
        }
        while self.add_kin(&mut strangers, all, own) {}
        for (stat, owner) in others {
            if self.is_new(stat, own) {
                self.add(stat, owner);
                strangers.retain(|stranger| !stranger.same(stat));
            }
        }
        self.claim_orphans(&strangers, &lost, own);
        // What an orphan has started meanwhile.
        while self.add_kin(&mut strangers, all, own) {}
        self.note_unmarked(&present);
        self.reap(all, own);
    }

    fn is_new(&self, stat: Stat, own: i32) -> bool {
        stat.pid != own
            && !self.known.contains_key(&key(stat))
            && !self.unclaimed.contains_key(&key(stat))
    }

    fn add(&mut self, stat: Stat, owner: Owner) {
        self.known.insert(
            key(stat),
            Known {
                owner,
                leader: false,
                entry: None,
            },
        );
    }

    /// Adds those whose parent, group or session is that of a member; whether there were any.
    fn add_kin(&mut self, strangers: &mut Vec<Stat>, all: &[Stat], own: i32) -> bool {
        let here = process::stat(own);
        let mut members: BTreeMap<i32, Owner> = BTreeMap::new();
        let (mut groups, mut sessions) = (BTreeMap::new(), BTreeMap::new());
        for stat in all {
            if let Some(known) = self.known.get(&key(*stat)) {
                members.insert(stat.pid, known.owner.clone());
                groups.insert(stat.pgid, known.owner.clone());
                sessions.insert(stat.session, known.owner.clone());
            }
        }
        for one in &self.active {
            // Also when the leader has gone: a number is not given away while it names a group.
            groups.entry(one.leader.pid).or_insert(one.owner.clone());
        }
        if let Some(here) = here {
            groups.remove(&here.pgid);
            sessions.remove(&here.session);
        }
        let before = strangers.len();
        strangers.retain(|stat| {
            let owner = members
                .get(&stat.parent)
                .or_else(|| groups.get(&stat.pgid))
                .or_else(|| sessions.get(&stat.session))
                .cloned();
            let found = owner.is_some();
            if let Some(owner) = owner {
                self.add(*stat, owner);
            }
            !found
        });
        strangers.len() < before
    }

    /// Finds the node of processes that this one has adopted without having seen their parent. A child that was started
    /// here is in this process's session; one that has a session of its own has put itself into the background.
    fn claim_orphans(&mut self, strangers: &[Stat], lost: &BTreeSet<Owner>, own: i32) {
        let Some(here) = process::stat(own) else {
            return;
        };
        let orphans = strangers
            .iter()
            .filter(|stat| stat.parent == own && stat.session != here.session && stat.lives());
        for stat in orphans {
            let possible: Vec<&Incarnation> = self
                .active
                .iter()
                .filter(|one| one.leader.start <= stat.start)
                .collect();
            let by_port = possible.iter().find(|one| {
                let holds = |address| process::listeners(address, std::slice::from_ref(stat));
                one.address
                    .and_then(holds)
                    .is_some_and(|holders| !holders.is_empty())
            });
            let losers: Vec<&&Incarnation> = possible
                .iter()
                .filter(|one| lost.contains(&one.owner))
                .collect();
            let owner = match (by_port, losers.as_slice(), possible.as_slice()) {
                (Some(one), ..) => Some(one.owner.clone()),
                (None, [one], _) => Some(one.owner.clone()),
                (None, [], [one]) => Some(one.owner.clone()),
                _ => None,
            };
            match owner {
                Some(owner) => self.add(*stat, owner),
                None if possible.is_empty() => {}
                None => {
                    let runs = possible.iter().map(|one| one.owner.run.clone()).collect();
                    self.unclaimed.insert(key(*stat), runs);
                }
            }
        }
    }

    /// Writes down those that a clean-up would find neither by their mark nor by their leader's group.
    fn note_unmarked(&mut self, present: &BTreeMap<Key, Stat>) {
        for (of, known) in &mut self.known {
            let Some(stat) = present.get(of) else {
                continue;
            };
            let incarnation = self.active.iter().find(|one| one.owner == known.owner);
            let Some(incarnation) = incarnation else {
                continue;
            };
            if known.entry.is_some()
                || stat.pgid == incarnation.leader.pid
                || !stat.lives()
                || process::carries(stat.pid, MARKER, &known.owner.run)
            {
                continue;
            }
            let note = UndoNote::process(&known.owner.node, *stat);
            match incarnation.journal.note(note) {
                Ok(entry) => known.entry = Some(entry),
                Err(error) => tracing::warn!(%error, "a stray process cannot be written down"),
            }
        }
    }

    fn retain_known(&mut self, keep: impl Fn(&Key, &Known) -> bool) {
        let gone: Vec<Key> = self
            .known
            .iter()
            .filter(|(of, known)| !keep(of, known))
            .map(|(of, _)| *of)
            .collect();
        for of in gone {
            if let Some(entry) = self.known.remove(&of).and_then(|known| known.entry) {
                entry.strike();
            }
        }
    }

    /// Takes note of the end of what was adopted. Nothing else waits for it.
    fn reap(&mut self, all: &[Stat], own: i32) {
        let session = process::stat(own).map(|here| here.session);
        let dead = all
            .iter()
            .filter(|stat| stat.parent == own && stat.state == 'Z' && stat.threads <= 1);
        for stat in dead {
            let of = key(*stat);
            let adopted = match self.known.get(&of) {
                Some(known) => !known.leader,
                None if self.unclaimed.contains_key(&of) => true,
                // Nothing here starts children in sessions of their own.
                None if Some(stat.session) != session => {
                    let seen = self.unknown_dead.entry(of).or_insert_with(Instant::now);
                    seen.elapsed() >= UNKNOWN_DEAD_FOR
                }
                None => false,
            };
            if adopted {
                // Gone already, or not dead after all: the next look tells.
                waitpid(Pid::from_raw(stat.pid), Some(WaitPidFlag::WNOHANG)).ok();
            }
        }
    }
}

/// The node that a process's environment names.
fn marked(stat: Stat) -> Option<Owner> {
    Some(Owner {
        run: process::variable(stat.pid, MARKER)?.into(),
        node: process::variable(stat.pid, NODE_MARKER)?.into(),
    })
}
