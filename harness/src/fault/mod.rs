//! What faults do: injecting returns the undo, a value that must be used; undoing proves itself and says whether the
//! fault ever bit. What a kind is (settings, checks, words) is in `scenario::fault`.
//!
//! Faults that a link can do by itself need nothing here: they are toxics (`link::toxics`), and `toxic` puts any of them
//! on a link. Every other kind has a file and a row in `ACTS`.

mod down;
mod kill;
mod pause;
mod restart;
mod slow;
mod toxic;

use std::fmt;

use futures_util::future::BoxFuture;

use crate::link::LinkError;
use crate::plan::TargetPlan;
use crate::runtime::RuntimeError;
use crate::scenario::fault::{
    Down, Injection, Kill, Kind, Pause, Restart, RollingRestart, Slow, TargetKind,
};
use crate::testbed::Testbed;

/// What the kinds do that are more than a toxic.
static ACTS: &[ActRow] = &[
    ActRow::of::<Kill>(),
    ActRow::of::<Pause>(),
    ActRow::of::<Down>(),
    ActRow::of::<Slow>(),
    ActRow::of::<Restart>(),
    ActRow::of::<RollingRestart>(),
];

/// A kind of fault that can be done.
trait Act: Kind {
    /// Does it to the target of this name, for the fault of that name.
    fn inject<'a>(
        &'a self,
        target: &'a str,
        fault: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>>;
}

/// A row of the table of acts.
struct ActRow {
    name: &'static str,
    inject: InjectFn,
}

/// Does an injection, if it is of the row's kind.
type InjectFn = for<'a> fn(
    &'a Injection,
    &'a str,
    &'a str,
    &'a Testbed,
) -> Option<BoxFuture<'a, Result<Injected, FaultError>>>;

impl ActRow {
    const fn of<K: Act>() -> Self {
        Self {
            name: K::NAME,
            inject: |injection, target, fault, testbed| {
                let settings = injection.settings::<K>()?;
                Some(settings.inject(target, fault, testbed))
            },
        }
    }
}

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
    #[error("`{kind}` needs a {needs}; {target} is not one")]
    Target {
        /// Word for the kind.
        kind: &'static str,
        /// `node` or `link`.
        needs: &'static str,
        /// What it was aimed at.
        target: String,
    },
    /// Nothing in this version does it.
    #[error("this version cannot inject `{kind}`")]
    NoAct {
        /// Word for the kind.
        kind: &'static str,
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

/// Does to the target what the injection says, for the fault of this name.
///
/// # Errors
/// When it cannot be done, or its effect is not there.
pub async fn inject(
    fault: &str,
    injection: &Injection,
    target: &TargetPlan,
    testbed: &Testbed,
) -> Result<Injected, FaultError> {
    let kind = injection.kind();
    let hit = match target {
        TargetPlan::Node(_) => TargetKind::Node,
        TargetPlan::Link(_) => TargetKind::Link,
    };
    if kind.target != hit {
        return Err(FaultError::Target {
            kind: kind.name,
            needs: kind.target.word(),
            target: target.name().to_owned(),
        });
    }
    let target = target.name();
    if let Some(injected) = toxic::inject(fault, injection, target, testbed) {
        return injected;
    }
    let act = ACTS.iter().find(|act| act.name == kind.name);
    match act.and_then(|act| (act.inject)(injection, target, fault, testbed)) {
        Some(injecting) => injecting.await,
        None => Err(FaultError::NoAct { kind: kind.name }),
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

/// A length of time for people.
fn seconds(time: std::time::Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::toxics::TOXICS;
    use crate::scenario::fault::KINDS;

    #[test]
    fn every_kind_is_done_in_one_place() {
        for kind in KINDS {
            let acts = ACTS.iter().filter(|act| act.name == kind.name).count();
            let toxics = TOXICS.iter().filter(|row| row.name == kind.name).count();
            assert_eq!(acts + toxics, 1, "{}", kind.name);
        }
        let toxics = TOXICS.iter().map(|row| row.name);
        for name in ACTS.iter().map(|act| act.name).chain(toxics) {
            assert!(KINDS.iter().any(|kind| kind.name == name), "{name}");
        }
    }
}
