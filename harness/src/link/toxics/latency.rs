//! `latency`: bytes are held back for a time that varies, on a share of connections.

use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use tokio::time::Instant;

use super::{HeldCounter, Hold, LinkToxic, Stretch, Toxic, ToxicKind};
use crate::scenario::fault::Latency;
use crate::scenario::model::Direction;

#[derive(Debug)]
struct LatencyToxic {
    settings: Latency,
    held: Arc<HeldCounter>,
}

impl ToxicKind for Latency {
    const GONE: &'static str = "latency removed, held bytes let go";

    fn toxic(&self, _: SharedRng) -> Arc<dyn LinkToxic> {
        Arc::new(LatencyToxic {
            settings: self.clone(),
            held: Arc::default(),
        })
    }
}

impl LinkToxic for LatencyToxic {
    fn join(&self, direction: Direction, rng: &SharedRng) -> Option<Box<dyn Toxic>> {
        // One draw for both directions, so that a connection never changes sides while the fault lasts.
        let hit = rng.fork("share").unit() < self.settings.share.0;
        let name = format!("{direction:?}");
        (hit && self.settings.direction.includes(direction)).then(|| {
            Box::new(Delay {
                add: self.settings.add.get(),
                jitter: self.settings.jitter.get(),
                rng: rng.fork(&name),
                held: self.held.clone(),
            }) as Box<dyn Toxic>
        })
    }

    fn proof(&self) -> Option<String> {
        self.held.tally().proof("chunk")
    }
}

/// On one direction of one connection.
struct Delay {
    add: Duration,
    jitter: Duration,
    rng: SharedRng,
    held: Arc<HeldCounter>,
}

impl Delay {
    /// `add` varied by up to `jitter` either way; never negative.
    fn draw(&self) -> Duration {
        let swing = self.jitter.as_secs_f64() * self.rng.unit().mul_add(2.0, -1.0);
        Duration::from_secs_f64((self.add.as_secs_f64() + swing).max(0.0))
    }
}

impl Toxic for Delay {
    fn hold(&mut self, _: Stretch, _: Instant) -> Option<Hold> {
        Some(self.held.hold(self.draw()))
    }
}

#[cfg(test)]
mod tests {
    use clip_service::units::HumanDuration;

    use super::*;
    use crate::scenario::value::Percent;

    fn toxic(add: u64, jitter: u64, share: f64, direction: Direction) -> Arc<dyn LinkToxic> {
        let settings = Latency {
            add: HumanDuration::millis(add),
            jitter: HumanDuration::millis(jitter),
            share: Percent(share),
            direction,
        };
        settings.toxic(SharedRng::seeded(1))
    }

    fn holds(toxic: &dyn LinkToxic, direction: Direction, seed: u64) -> Option<Duration> {
        let stretch = Stretch {
            length: 1,
            begins: None,
        };
        let mut acting = toxic.join(direction, &SharedRng::seeded(seed))?;
        Some(acting.hold(stretch, Instant::now())?.time)
    }

    #[test]
    fn share_and_direction_decide_what_is_hit() {
        let half = toxic(400, 100, 0.5, Direction::Downstream);
        let hit = |seed| holds(half.as_ref(), Direction::Downstream, seed).is_some();
        let hits = (0..1000).filter(|seed| hit(*seed)).count();
        assert!((400..600).contains(&hits), "{hits}");
        assert!((0..1000).all(|seed| hit(seed) == hit(seed)));
        assert!((0..100).all(|seed| holds(half.as_ref(), Direction::Upstream, seed).is_none()));
        let both = toxic(400, 100, 0.5, Direction::Both);
        for seed in 0..100 {
            let up = holds(both.as_ref(), Direction::Upstream, seed);
            let down = holds(both.as_ref(), Direction::Downstream, seed);
            assert_eq!(up.is_some(), down.is_some(), "{seed}");
        }
        let none = toxic(400, 100, 0.0, Direction::Both);
        assert!((0..100).all(|seed| holds(none.as_ref(), Direction::Upstream, seed).is_none()));
    }

    #[test]
    fn delay_stays_within_its_jitter_reaches_both_sides_and_is_never_negative() {
        let all = toxic(400, 100, 1.0, Direction::Both);
        let drawn: Vec<_> = (0..1000)
            .filter_map(|seed| holds(all.as_ref(), Direction::Upstream, seed))
            .collect();
        let ms = Duration::from_millis;
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.iter().all(|d| (ms(300)..=ms(500)).contains(d)));
        assert!(drawn.iter().any(|d| *d < ms(330)));
        assert!(drawn.iter().any(|d| *d > ms(470)));
        let wide = toxic(1, 50, 1.0, Direction::Both);
        let zero = |seed| holds(wide.as_ref(), Direction::Upstream, seed) == Some(Duration::ZERO);
        assert!((0..1000).any(zero));
    }
}
