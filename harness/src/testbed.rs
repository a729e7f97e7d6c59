//! The system under test as a run has it before it: its nodes and the links between them, made and not started.
//!
//! What faults act on. It decides nothing: the conductor says when nodes start, faults say what happens to them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

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
        let mut runtimes = BTreeMap::new();
        for node in &plan.system.nodes {
            let runtime = context.runtimes.for_node(node)?;
            runtimes.insert(node.name.as_str(), runtime.clone());
        }
        // The load generator is no node: it dials from here.
        let bind = |from: &str| match runtimes.get(from) {
            Some(runtime) => runtime.bind(),
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let upstream = |to: &str| addresses.receiver(to);
        let links = Links::open(&plan.system.links, &rng, bind, upstream).map_err(|error| {
            RuntimeError::Start {
                node: "links".to_owned(),
                reason: error.to_string(),
            }
        })?;
        context.links = links.addresses();
        let mut routes: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for link in &plan.system.links {
            let address = context.links.get(&link.name);
            if let (Some(address), Some(runtime)) = (address, runtimes.get(link.from.as_str())) {
                routes
                    .entry(link.from.clone())
                    .or_default()
                    .insert(link.to.clone(), runtime.reach(*address).to_string());
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
