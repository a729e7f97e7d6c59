//! Programs that a scenario names one by one under `nodes:`.
//!
//! The harness knows nothing of them but what the author wrote, and that is in the plan: how they are started, when they
//! are ready, how their work is read back. So this says only how to speak of them. Their nodes and links are expanded
//! where the author's text is resolved (`crate::plan`), because each mistake in it has a place there.

use super::{Sut, SutKind, Vocabulary};

/// Any programs.
#[derive(Debug)]
pub struct Programs;

impl Sut for Programs {
    fn kind(&self) -> SutKind {
        SutKind::Programs
    }

    fn title(&self) -> &'static str {
        "a system of programs"
    }

    fn vocabulary(&self) -> &'static Vocabulary {
        &Vocabulary {
            work: "item",
            works: "items",
            result: "result",
            instances: "discovery",
        }
    }
}
