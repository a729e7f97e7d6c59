//! `pause`: a node's process group gets SIGSTOP. It keeps its connections and answers nothing. Undone by SIGCONT and
//! proved by its answering again.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Act, Active, FaultError, Injected, Testbed, Undone, seconds};
use crate::runtime::{Pause, RuntimeError};

#[derive(Debug)]
struct Paused {
    node: String,
    evidence: String,
}

impl Act for crate::scenario::fault::Pause {
    fn inject<'a>(
        &'a self,
        node: &'a str,
        _: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        Box::pin(inject(node, testbed))
    }
}

async fn inject(node: &str, testbed: &Testbed) -> Result<Injected, FaultError> {
    let evidence = pausable(node, testbed)?.pause().await?;
    Ok(Injected {
        detail: evidence.clone(),
        active: Box::new(Paused {
            node: node.to_owned(),
            evidence,
        }),
    })
}

/// The plan refuses nodes that cannot be paused; a runtime that does not keep its word is told here.
fn pausable<'t>(node: &str, testbed: &'t Testbed) -> Result<&'t dyn Pause, FaultError> {
    let found = testbed.system.node(node)?.pause();
    found.ok_or_else(|| {
        FaultError::Node(RuntimeError::Control {
            node: node.to_owned(),
            reason: "it cannot be paused in its runtime".to_owned(),
        })
    })
}

impl Active for Paused {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let resumed = pausable(&self.node, testbed)?.resume().await?;
            let answers = match testbed.system.wait_ready(&self.node, &testbed.force).await {
                Ok(()) => format!("ready after {}", seconds(begun.elapsed())),
                Err(RuntimeError::Cancelled) => "not waited for: the run is stopping".to_owned(),
                Err(error) => return Err(error.into()),
            };
            Ok(Undone {
                proof: Some(
                    self.evidence
                        .split_once(": ")
                        .map_or(self.evidence.as_str(), |(_, how)| how)
                        .to_owned(),
                ),
                undo: format!("{resumed}, {answers}"),
            })
        })
    }
}
