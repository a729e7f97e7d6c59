//! What can be wrong with a link, and the arithmetic of holding bytes back. Pure: time and randomness come in.

use std::time::Duration;

use clip_service::env::SharedRng;

use crate::link::HeldTally;
use crate::plan::{LatencySpec, SlowSpec, StatusSpec, Way};

/// Everything that is wrong with a link at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Toxics {
    /// Bytes are held back.
    pub(crate) latency: Option<LatencySpec>,
    /// Answers are held back for a multiple of the time that they took.
    pub(crate) slow: Option<SlowSpec>,
    /// Requests are answered by the link.
    pub(crate) status: Option<StatusSpec>,
    /// Nothing listens, nothing stays connected.
    pub(crate) down: bool,
}

/// One direction of a connection, named from the caller's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the caller to the node.
    Up,
    /// From the node to the caller.
    Down,
}

/// What a connection drew, uniform in 0 to 1. Drawn once, so that a connection never changes sides while a fault lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw(pub(crate) f64);

impl Toxics {
    /// The latency that a connection with this draw has in this direction.
    pub(crate) fn latency_for(&self, draw: Draw, direction: Direction) -> Option<Delay> {
        let spec = self.latency.as_ref()?;
        let way = match spec.way {
            Way::Both => true,
            Way::Upstream => direction == Direction::Up,
            Way::Downstream => direction == Direction::Down,
        };
        (way && draw.0 < spec.share).then_some(Delay {
            add: spec.add.get(),
            jitter: spec.jitter.get(),
        })
    }
}

impl SlowSpec {
    /// How long an answer that took so long is held.
    pub(crate) fn hold(&self, took: Duration) -> Duration {
        let more = took.as_secs_f64() * (self.factor - 1.0);
        // A factor beyond all measure holds for ever, which is what it says.
        let more = Duration::try_from_secs_f64(more).unwrap_or(Duration::MAX);
        more.max(self.least.get())
    }
}

/// How long a chunk is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    add: Duration,
    jitter: Duration,
}

impl Delay {
    /// `add` varied by up to `jitter` either way; never negative.
    pub(crate) fn draw(self, rng: &SharedRng) -> Duration {
        let swing = self.jitter.as_secs_f64() * rng.unit().mul_add(2.0, -1.0);
        Duration::from_secs_f64((self.add.as_secs_f64() + swing).max(0.0))
    }
}

/// What was held, as the proof that a fault bit.
#[derive(Debug, Default)]
pub(crate) struct Held {
    count: u64,
    shortest: Option<Duration>,
    longest: Duration,
}

impl Held {
    /// Counts one thing that was held so long.
    pub(crate) fn add(&mut self, held: Duration) {
        self.count += 1;
        self.shortest = Some(self.shortest.map_or(held, |shortest| shortest.min(held)));
        self.longest = self.longest.max(held);
    }

    /// The sum so far.
    pub(crate) fn tally(&self) -> HeldTally {
        HeldTally {
            count: self.count,
            shortest: self.shortest.unwrap_or_default(),
            longest: self.longest,
        }
    }
}

#[cfg(test)]
mod tests {
    use clip_service::units::HumanDuration;

    use super::*;

    fn toxics(share: f64, way: Way) -> Toxics {
        Toxics {
            latency: Some(LatencySpec {
                add: HumanDuration::millis(400),
                jitter: HumanDuration::millis(100),
                share,
                way,
            }),
            ..Toxics::default()
        }
    }

    #[test]
    fn a_slowed_answer_takes_its_factor_and_never_less_than_the_least() {
        let slow = SlowSpec {
            factor: 10.0,
            least: HumanDuration::millis(5),
        };
        let ms = Duration::from_millis;
        assert_eq!(slow.hold(ms(20)), ms(180));
        assert_eq!(slow.hold(Duration::ZERO), ms(5));
        assert_eq!(slow.hold(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn share_and_way_decide_who_is_hit() {
        let half = toxics(0.5, Way::Downstream);
        assert!(half.latency_for(Draw(0.49), Direction::Down).is_some());
        assert!(half.latency_for(Draw(0.5), Direction::Down).is_none());
        assert!(half.latency_for(Draw(0.0), Direction::Up).is_none());
        let all = toxics(1.0, Way::Both);
        assert!(all.latency_for(Draw(0.999_999), Direction::Up).is_some());
        let none = toxics(0.0, Way::Both);
        assert!(none.latency_for(Draw(0.0), Direction::Up).is_none());
    }

    #[test]
    fn delay_stays_within_its_jitter_and_reaches_both_sides() {
        let rng = SharedRng::seeded(7);
        let delay = toxics(1.0, Way::Both)
            .latency_for(Draw(0.0), Direction::Up)
            .expect("hit");
        let drawn: Vec<_> = (0..1000).map(|_| delay.draw(&rng)).collect();
        let (low, high) = (Duration::from_millis(300), Duration::from_millis(500));
        assert!(drawn.iter().all(|d| (low..=high).contains(d)));
        assert!(drawn.iter().any(|d| *d < Duration::from_millis(330)));
        assert!(drawn.iter().any(|d| *d > Duration::from_millis(470)));
    }

    #[test]
    fn jitter_larger_than_the_delay_never_goes_negative() {
        let delay = Delay {
            add: Duration::from_millis(1),
            jitter: Duration::from_millis(50),
        };
        let rng = SharedRng::seeded(3);
        assert!((0..1000).any(|_| delay.draw(&rng).is_zero()));
    }
}
