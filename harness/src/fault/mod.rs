//! What goes wrong: one file per kind. Injecting returns the undo, a value that must be used; undoing proves itself and
//! says whether the fault ever bit.
//!
//! Adding a kind: a variant of [`FaultSpec`], a row in the scenario's table of kinds, a file here with its settings, its
//! proof and its test, and a line in [`inject`].

mod down;
mod kill;
mod latency;
mod pause;
mod restart;
mod slow;
mod status;

use std::fmt;

use futures_util::future::BoxFuture;

use crate::link::{HeldTally, LinkError};
use crate::plan::{FaultSpec, TargetPlan};
use crate::runtime::RuntimeError;
use crate::testbed::Testbed;

/// Why a fault could not be injected or undone.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// A node did not do what it was told.
    #[error(transparent)]
    Node(#[from] RuntimeError),
    /// A link did not do what it was told.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The kind does not go with the target.
    #[error("`{kind}` needs a {needs}, and {target} is none")]
    Target {
        /// Word for the kind.
        kind: &'static str,
        /// `node` or `link`.
        needs: &'static str,
        /// What it was aimed at.
        target: String,
    },
}

/// What is known when a fault has been undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// Evidence that it bit; `None` when it touched nothing.
    pub proof: Option<String>,
    /// Evidence that it is gone.
    pub undo: String,
}

/// A fault that is in place.
pub trait Active: Send + Sync + fmt::Debug {
    /// Takes it away and proves that it is gone.
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>>;
}

/// A fault that is in place, with the words for it.
#[must_use = "an injected fault must be reverted"]
#[derive(Debug)]
pub struct Injected {
    /// What was done, with evidence.
    pub detail: String,
    active: Box<dyn Active>,
}

impl Injected {
    /// Takes it away and proves that it is gone.
    ///
    /// # Errors
    /// When it cannot be taken away, or is still there.
    pub async fn revert(self, testbed: &Testbed) -> Result<Undone, FaultError> {
        self.active.revert(testbed).await
    }
}

/// Does to the target what the spec says.
///
/// # Errors
/// When it cannot be done, or its effect is not there.
pub async fn inject(
    spec: &FaultSpec,
    target: &TargetPlan,
    testbed: &Testbed,
) -> Result<Injected, FaultError> {
    match spec {
        FaultSpec::Kill => kill::inject(target_node(spec, target)?, testbed).await,
        FaultSpec::Pause => pause::inject(target_node(spec, target)?, testbed).await,
        FaultSpec::Latency(latency) => {
            latency::inject(latency, target_link(spec, target)?, testbed)
        }
        FaultSpec::Down => down::inject(target_link(spec, target)?, testbed).await,
        FaultSpec::Status(answer) => status::inject(answer, target_link(spec, target)?, testbed),
        FaultSpec::Slow(slow) => slow::inject(slow, target_node(spec, target)?, testbed),
        FaultSpec::Restart(restart) => {
            restart::inject(restart.drain.get(), target_node(spec, target)?, testbed)
        }
        // Whoever performs the faults takes one node after the other.
        FaultSpec::RollingRestart(rolling) => {
            restart::inject(rolling.drain.get(), target_node(spec, target)?, testbed)
        }
    }
}

fn target_node<'a>(spec: &FaultSpec, target: &'a TargetPlan) -> Result<&'a str, FaultError> {
    match target {
        TargetPlan::Node(name) => Ok(name),
        TargetPlan::Link(name) => Err(FaultError::Target {
            kind: spec.word(),
            needs: "node",
            target: name.clone(),
        }),
    }
}

fn target_link<'a>(spec: &FaultSpec, target: &'a TargetPlan) -> Result<&'a str, FaultError> {
    match target {
        TargetPlan::Link(name) => Ok(name),
        TargetPlan::Node(name) => Err(FaultError::Target {
            kind: spec.word(),
            needs: "link",
            target: name.clone(),
        }),
    }
}

/// Starts a node that has ended and waits until it is ready; the evidence.
async fn start_again(node: &str, testbed: &Testbed) -> Result<String, FaultError> {
    match testbed.system.start_node(node, &testbed.force).await {
        Ok(took) => Ok(format!("restarted, ready after {}", seconds(took))),
        // The system is stopped next: a node that is not waited for is not left behind.
        Err(RuntimeError::Cancelled) => Ok("restart cut short: the run is stopping".to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// A share in percent, for people.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 100.0
}

/// What links held back, in so many `noun`s, as the proof of a fault; nothing held is none.
fn held_back(held: HeldTally, noun: &str) -> Option<String> {
    (held.count > 0).then(|| {
        let plural = if held.count == 1 { "" } else { "s" };
        format!(
            "{} {noun}{plural} held {}-{} ms",
            held.count,
            held.shortest.as_millis(),
            held.longest.as_millis()
        )
    })
}

/// A length of time for people.
fn seconds(time: std::time::Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
