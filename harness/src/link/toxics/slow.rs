//! `slow`: an answer is held for a multiple of the time that the node took for it. One toxic for all links into a node,
//! so that they are counted together.

use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use tokio::time::Instant;

use super::{HeldCounter, Hold, LinkToxic, Stretch, Toxic};
use crate::scenario::fault::Slow;
use crate::scenario::model::Direction;

/// As it is set on the links into a node.
#[derive(Debug)]
pub(crate) struct SlowToxic {
    settings: Slow,
    held: Arc<HeldCounter>,
}

impl SlowToxic {
    /// With these settings.
    pub(crate) fn new(settings: &Slow) -> Self {
        Self {
            settings: settings.clone(),
            held: Arc::default(),
        }
    }
}

impl LinkToxic for SlowToxic {
    fn join(&self, direction: Direction, _: &SharedRng) -> Option<Box<dyn Toxic>> {
        Direction::Downstream.includes(direction).then(|| {
            Box::new(Answers {
                settings: self.settings.clone(),
                held: self.held.clone(),
            }) as Box<dyn Toxic>
        })
    }

    fn proof(&self) -> Option<String> {
        self.held.tally().proof("answer")
    }
}

/// The answers on one connection.
struct Answers {
    settings: Slow,
    held: Arc<HeldCounter>,
}

impl Toxic for Answers {
    fn hold(&mut self, stretch: Stretch, at: Instant) -> Option<Hold> {
        let took = at.saturating_duration_since(stretch.begins?);
        Some(self.held.hold(hold(&self.settings, took)))
    }
}

/// How long an answer that took so long is held.
fn hold(settings: &Slow, took: Duration) -> Duration {
    let more = took.as_secs_f64() * (settings.factor.0 - 1.0);
    // A factor beyond all measure holds for ever, which is what it says.
    let more = Duration::try_from_secs_f64(more).unwrap_or(Duration::MAX);
    more.max(settings.least.get())
}

#[cfg(test)]
mod tests {
    use clip_service::units::HumanDuration;

    use super::*;
    use crate::scenario::model::Factor;

    #[test]
    fn a_slowed_answer_takes_its_factor_and_never_less_than_the_least() {
        let slow = Slow {
            factor: Factor(10.0),
            least: HumanDuration::millis(5),
        };
        let ms = Duration::from_millis;
        assert_eq!(hold(&slow, ms(20)), ms(180));
        assert_eq!(hold(&slow, Duration::ZERO), ms(5));
        assert_eq!(hold(&slow, Duration::MAX), Duration::MAX);
    }
}
