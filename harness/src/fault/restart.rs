//! `restart`: a node is asked to end (SIGTERM; in the embedded runtime by its shutdown signal), ends when it has drained,
//! and is started again. Its being away is the fault, so it is over when the node is ready; a node that does not end by
//! itself in time is killed, and the proof says so.

use std::time::Duration;

use clip_service::units::HumanDuration;
use futures_util::future::{BoxFuture, ready};
use tokio::time::Instant;

use super::{Act, Active, FaultError, Injected, Testbed, Undone, seconds, start_again};
use crate::runtime::Departure;
use crate::scenario::fault::RollingRestart;

#[derive(Debug)]
struct Restart {
    node: String,
    asked: Instant,
    drain: Duration,
}

impl Act for crate::scenario::fault::Restart {
    fn inject<'a>(
        &'a self,
        node: &'a str,
        _: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        Box::pin(ready(inject(self.drain.get(), node, testbed)))
    }
}

/// One of its restarts: the conductor takes one node after the other.
impl Act for RollingRestart {
    fn inject<'a>(
        &'a self,
        node: &'a str,
        _: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        Box::pin(ready(inject(self.drain.get(), node, testbed)))
    }
}

fn inject(drain: Duration, node: &str, testbed: &Testbed) -> Result<Injected, FaultError> {
    let asked = Instant::now();
    Ok(Injected {
        detail: testbed.system.node(node)?.terminate()?,
        active: Box::new(Restart {
            node: node.to_owned(),
            asked,
            drain,
        }),
    })
}

impl Active for Restart {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let node = testbed.system.node(&self.node)?;
            // A node that has already ended did so at a moment that was not watched.
            let gone = node.ended().is_some();
            let at_most = self.asked.elapsed();
            let left = self.drain.saturating_sub(self.asked.elapsed());
            let departure = tokio::select! {
                biased;
                departure = node.end_within(left) => departure?,
                () = testbed.force.cancelled() => node.end_within(Duration::ZERO).await?,
            };
            let took = if gone {
                Took::AtMost(at_most)
            } else {
                Took::Exactly(self.asked.elapsed())
            };
            let proof = proof(&self, &departure, took);
            Ok(Undone {
                undo: start_again(&self.node, testbed).await?,
                proof: Some(proof),
            })
        })
    }
}

/// How long a node took to end.
#[derive(Debug, Clone, Copy)]
enum Took {
    Exactly(Duration),
    AtMost(Duration),
}

fn proof(restart: &Restart, departure: &Departure, took: Took) -> String {
    let (node, how) = (&restart.node, &departure.how);
    if departure.forced {
        let limit = HumanDuration(restart.drain);
        return format!("{node} did not drain within {limit} and was killed: {how}");
    }
    match took {
        Took::Exactly(took) => format!("{node} ended after {}: {how}", seconds(took)),
        Took::AtMost(took) => format!("{node} ended within {}: {how}", seconds(took)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_to_be_killed_is_said() {
        let restart = Restart {
            node: "a".to_owned(),
            asked: Instant::now(),
            drain: Duration::from_secs(15),
        };
        let told = |how: &str, forced, took| {
            let how = how.to_owned();
            proof(&restart, &Departure { how, forced }, took)
        };
        let took = Took::Exactly(Duration::from_millis(420));
        assert_eq!(
            told("exit code 0", false, took),
            "a ended after 0.4 s: exit code 0"
        );
        assert_eq!(
            told(
                "exit code 0",
                false,
                Took::AtMost(Duration::from_millis(420))
            ),
            "a ended within 0.4 s: exit code 0"
        );
        assert_eq!(
            told("exited by signal 9", true, took),
            "a did not drain within 15s and was killed: exited by signal 9"
        );
    }
}
