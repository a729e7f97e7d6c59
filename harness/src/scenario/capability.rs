//! What a node may be able to do beyond what every node can (start, be killed, end when asked). A fault names those it
//! needs, a runtime those that its nodes have; a mismatch is a mistake in the scenario, told before anything starts.

use super::vocabulary::RuntimeKind;

/// Something that nodes of some runtimes can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Be stopped from running for a while without ending.
    Pause,
}

impl Capability {
    /// What the node has to be able to do: `needs a node that can …`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "be paused",
        }
    }
}

impl RuntimeKind {
    /// What its nodes can do.
    #[must_use]
    pub fn capabilities(self) -> &'static [Capability] {
        match self {
            Self::Embedded => &[],
            Self::Process => &[Capability::Pause],
        }
    }
}
