//! Nodes as child processes. A node is everything that its program starts, wherever that puts itself: all of it is
//! killed, paused and ended with the node (`tracker` finds it, [`crate::process_set`] hits it).

mod effect;
mod node;
mod output;
mod program;
mod tracker;
mod watcher;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{AddressSender, Node, NodeContext, RuntimeError, Swept, role};
use crate::plan::{NodePlan, NodeStart, RuntimeKind};
use crate::process_set::{self, listed};
use effect::{EFFECT_WITHIN, blocking};
use node::ProcessNode;
use tracker::TRACKER;

/// Runs nodes as child processes: roles of the service, and any other program.
#[derive(Debug, Clone, Copy)]
pub struct ProcessRuntime;

impl super::Runtime for ProcessRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    fn node(
        &self,
        plan: &NodePlan,
        context: &NodeContext,
        address: AddressSender,
    ) -> Result<Arc<dyn Node>, RuntimeError> {
        let program = match &plan.start {
            NodeStart::Service { system, .. } => role::command(*system, plan, context)?.into(),
            NodeStart::Run { command, env } => program::program(plan, command, env, context)?,
        };
        Ok(Arc::new(ProcessNode::new(
            &plan.name, program, address, context,
        )))
    }

    fn sweep<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Swept> {
        let run = run.to_owned();
        Box::pin(async move {
            let swept = blocking(move || {
                let mut find = || TRACKER.of_run(&run);
                let found = find();
                if found.is_empty() {
                    return Swept::default();
                }
                let told = listed(&found);
                match process_set::kill(&mut find, EFFECT_WITHIN) {
                    Ok(_) => Swept {
                        ended: vec![told],
                        left: Vec::new(),
                    },
                    Err(left) => Swept {
                        ended: Vec::new(),
                        left: vec![format!("processes of no node: {}", listed(&left))],
                    },
                }
            });
            swept.await.unwrap_or_default()
        })
    }
}
