//! `slow`: every answer of a node takes a multiple of its time. It is held back on all links into the node, for so many
//! times as long as the node had it; the node itself computes as fast as before. Undone by letting answers go; proved by
//! those that were held and for how long.

use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

use super::{Act, Active, FaultError, Injected, Testbed, Undone};
use crate::link::ToxicId;
use crate::link::toxics::{LinkToxic, SlowToxic};
use crate::scenario::fault::{Aimed, Kind as _, Slow};

#[derive(Debug)]
struct Slowed {
    node: String,
    /// One for all links into the node.
    toxic: Arc<dyn LinkToxic>,
    /// In the order of these links.
    put: Vec<ToxicId>,
}

impl Act for Slow {
    fn inject<'a>(
        &'a self,
        node: &'a str,
        fault: &'a str,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Injected, FaultError>> {
        let toxic: Arc<dyn LinkToxic> = Arc::new(SlowToxic::new(self));
        let links = testbed.links.leading_to(node);
        let put: Vec<_> = links.map(|link| link.put(fault, toxic.clone())).collect();
        let plural = if put.len() == 1 { "" } else { "s" };
        let aimed = Aimed {
            names: node,
            several: false,
        };
        Box::pin(ready(Ok(Injected {
            detail: format!("{}, on {} link{plural}", self.phrase(aimed).note, put.len()),
            active: Box::new(Slowed {
                node: node.to_owned(),
                toxic,
                put,
            }),
        })))
    }
}

impl Active for Slowed {
    fn revert<'a>(
        self: Box<Self>,
        testbed: &'a Testbed,
    ) -> BoxFuture<'a, Result<Undone, FaultError>> {
        Box::pin(async move {
            // Read before any link lets go, so that what is let go because of that does not count.
            let proof = self.toxic.proof();
            let links = testbed.links.leading_to(&self.node);
            links.zip(&self.put).for_each(|(link, id)| {
                link.take(*id);
            });
            Ok(Undone {
                proof,
                undo: "slowness removed, held answers let go".to_owned(),
            })
        })
    }
}
