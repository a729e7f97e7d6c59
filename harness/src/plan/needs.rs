//! What a machine must offer for a plan, as data. The command that runs it finds out before anything starts whether it does.

use std::collections::BTreeSet;
use std::fmt;

use super::{NodeStart, Plan, RuntimeKind};
use crate::sut::SutKind;

/// One thing that a machine offers or lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Child processes that can be found and signalled.
    Processes,
    /// The program that runs the roles of a system the harness knows.
    Program(SutKind),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes => f.write_str("own child processes"),
            Self::Program(system) => f.write_str(system.sut().title()),
        }
    }
}

impl Plan {
    /// What the machine must offer for it.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<Need> {
        let nodes = self.system.nodes.iter();
        let of_processes = nodes.filter(|node| node.runtime == RuntimeKind::Process);
        of_processes
            .flat_map(|node| {
                let program = match &node.start {
                    NodeStart::Service { system, .. } => Some(Need::Program(*system)),
                    NodeStart::Run { .. } => None,
                };
                std::iter::once(Need::Processes).chain(program)
            })
            .collect()
    }
}
