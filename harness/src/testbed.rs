//! The system under test as a run has it before it: its nodes and the links between them, made and not started.
//!
//! What faults act on. It decides nothing: the conductor says when nodes start, faults say what happens to them.

use std::collections::BTreeMap;

use clip_service::env::SharedRng;
use tokio_util::sync::CancellationToken;

use crate::link::Links;
use crate::plan::Plan;
use crate::runtime::{Addresses, NodeContext, RuntimeError, System};

/// Nodes and links of one run.
#[derive(Debug)]
pub struct Testbed {
    /// Edges.
    pub links: Links,
    /// Nodes.
    pub system: System,
    /// Cuts short what an undo waits for; the undo itself is done all the same.
    pub force: CancellationToken,
}

impl Testbed {
    /// Opens the links of a plan and makes its nodes. Links come first: their addresses, which are filled into `context`,
    /// are part of the nodes' configuration.
    ///
    /// # Errors
    /// When a link cannot listen, or a node cannot run here.
    pub fn new(
        plan: &Plan,
        mut context: NodeContext,
        force: CancellationToken,
    ) -> Result<Self, RuntimeError> {
        let rng = SharedRng::seeded(plan.seed);
        let nodes = plan.system.nodes.iter().map(|node| node.name.as_str());
        let addresses = Addresses::of(nodes);
        let links = Links::open(&plan.system.links, &rng, |to| addresses.receiver(to)).map_err(
            |error| RuntimeError::Start {
                node: "links".to_owned(),
                reason: error.to_string(),
            },
        )?;
        context.links = links.addresses();
        let mut routes: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for link in &plan.system.links {
            if let Some(address) = context.links.get(&link.name) {
                routes
                    .entry(link.from.clone())
                    .or_default()
                    .insert(link.to.clone(), *address);
            }
        }
        context.routes = routes;
        let system = System::new(&plan.system, &context, &addresses)?;
        Ok(Self {
            links,
            system,
            force,
        })
    }
}
