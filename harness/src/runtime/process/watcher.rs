//! One incarnation of a node, seen to its end. The node has ended when its first process has and nothing of it is left.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::sync::watch;

use super::effect::{EFFECT_WITHIN, blocking};
use super::output::Output;
use super::tracker::{Owner, TRACKER};
use crate::event::EventKind;
use crate::journal::Entry;
use crate::process_set;
use crate::procfs::process::Stat;
use crate::runtime::NodeContext;

const POLL: Duration = Duration::from_millis(10);

/// What the harness has asked of an incarnation.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// That it ends: its end is meant.
    pub(super) to_end: AtomicBool,
    /// That it ends by itself: what its first process leaves running has the rest of the time to do so.
    pub(super) gracefully: AtomicBool,
}

pub(super) struct Watcher {
    pub(super) owner: Owner,
    pub(super) leader: Stat,
    pub(super) asked: Arc<Asked>,
    pub(super) address: Arc<watch::Sender<Option<SocketAddr>>>,
    pub(super) context: NodeContext,
}

impl Watcher {
    pub(super) async fn watch(
        self,
        mut child: Child,
        output: Output,
        ended: watch::Sender<Option<String>>,
        entry: Entry,
    ) {
        let status = child.wait().await;
        let mut how = match &status {
            Ok(status) => describe(*status),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        let expected = || {
            self.asked.to_end.load(Ordering::SeqCst) || self.context.stopping.load(Ordering::SeqCst)
        };
        let left_running = self.members().await;
        // Told only now, because a node that is asked to end may be a wrapper, and what it wraps still listens.
        if self.asked.gracefully.load(Ordering::SeqCst) {
            self.ask_the_others(left_running.clone()).await;
        }
        self.address.send_replace(None);
        let meant = expected();
        if !meant && !left_running.is_empty() {
            how = format!("{how}; {}", went_on(&status, &left_running));
        }
        let (owner, leader) = (self.owner.clone(), self.leader);
        let gone = blocking(move || {
            let ended = process_set::kill(&mut || TRACKER.members(&owner), EFFECT_WITHIN).is_ok();
            if ended {
                TRACKER.forget(&owner, leader);
            }
            ended
        })
        .await;
        let log = output.end().await;
        if gone == Some(true) {
            entry.strike();
        } else {
            drop(entry);
        }
        // What ends by itself says why in its last line, if anywhere.
        if !meant && let Some(last) = log.last() {
            how = format!("{how}; last output: {last}");
        }
        self.context.emitter.event(EventKind::NodeExited {
            node: self.owner.node.to_string(),
            how: how.clone(),
            expected: meant,
            log: if meant { Vec::new() } else { log },
        });
        ended.send_replace(Some(how));
    }

    async fn members(&self) -> Vec<Stat> {
        let owner = self.owner.clone();
        let found = blocking(move || TRACKER.members(&owner)).await;
        found.unwrap_or_default()
    }

    /// SIGTERM to what a wrapper has left running, which ends by itself or is killed when the wait for the node is over.
    async fn ask_the_others(&self, mut left: Vec<Stat>) {
        let mut asked: Vec<Stat> = Vec::new();
        while !left.is_empty() {
            for stat in &left {
                if !asked.iter().any(|known| known.same(*stat)) {
                    process_set::signal(*stat, Signal::SIGTERM);
                    asked.push(*stat);
                }
            }
            tokio::time::sleep(POLL).await;
            left = self.members().await;
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("exited by signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => status.to_string(),
    }
}

/// What there is to say of a first process that ended before others of its node.
fn went_on(status: &std::io::Result<ExitStatus>, left: &[Stat]) -> String {
    let were = match left.len() {
        1 => "was",
        _ => "were",
    };
    let listed = process_set::listed(left);
    if status.as_ref().is_ok_and(ExitStatus::success) {
        format!(
            "it went into the background: {listed} {were} still running and {were} ended. Run it in the foreground, for \
             example without `&`, `nohup`, `--daemon` or `daemonize yes`: a node is over when its first process ends"
        )
    } else {
        format!("{listed} {were} still running and {were} ended")
    }
}
