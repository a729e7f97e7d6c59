//! `slow`: every answer of a node takes a multiple of its time. It is held back on all links into the node, for so many
//! times as long as the node had it; the node itself computes as fast as before. Undone by letting answers go; proved by
//! those that were held and for how long.

use futures_util::future::BoxFuture;

use super::{Active, FaultError, Injected, Testbed, Undone, held_back};
use crate::link::{HeldTally, Link};
use crate::plan::SlowSpec;

#[derive(Debug)]
struct Slowed {
    node: String,
}

pub(super) fn inject(
    spec: &SlowSpec,
    node: &str,
    testbed: &Testbed,
) -> Result<Injected, FaultError> {
    let mut links = 0;
    for link in testbed.links.leading_to(node) {
        link.set_slow(Some(spec.clone()));
        links += 1;
    }
    let least = match spec.least.get().is_zero() {
        true => String::new(),
        false => format!(", +{} at least", spec.least),
    };
    let plural = if links == 1 { "" } else { "s" };
    Ok(Injected {
        detail: format!(
            "answers of {node} take {} times as long{least}, on {links} link{plural}",
            spec.factor
        ),
        active: Box::new(Slowed {
            node: node.to_owned(),
        }),
    })
}

impl Active for Slowed {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            let links = || testbed.links.leading_to(&self.node);
            let held = links()
                .map(|link| link.slowed())
                .fold(HeldTally::default(), HeldTally::and);
            links().for_each(|link: &std::sync::Arc<Link>| link.set_slow(None));
            Ok(Undone {
                proof: held_back(held, "answer"),
                undo: "slowness removed, held answers let go".to_owned(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_all_links_held_is_the_proof() {
        assert_eq!(held_back(HeldTally::default(), "answer"), None);
        let held = |count, shortest, longest| HeldTally {
            count,
            shortest: Duration::from_millis(shortest),
            longest: Duration::from_millis(longest),
        };
        let sum = [
            held(0, 0, 0),
            held(3, 20, 90),
            held(0, 0, 0),
            held(2, 10, 40),
        ]
        .into_iter()
        .fold(HeldTally::default(), HeldTally::and);
        assert_eq!(
            held_back(sum, "answer").as_deref(),
            Some("5 answers held 10-90 ms")
        );
    }
}
