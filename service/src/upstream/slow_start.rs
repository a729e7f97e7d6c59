//! Slow start: an instance that comes back, or joins a pool that works, gets its share little by little, because its
//! caches are cold and everybody would send it calls at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::config::Balancing;
use super::tick::Tick;

/// Its share at the very beginning: enough to warm up by.
const LEAST: f32 = 0.1;
const SET: u64 = 1 << 32;

/// How an instance gets its share: `max(0.1, (t / W)^(1 / a))`, as Envoy does it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ramp {
    seconds: f32,
    exponent: f32,
}

impl Ramp {
    pub(super) fn new(config: &Balancing) -> Self {
        Self {
            seconds: config.slow_start.get().as_secs_f32(),
            exponent: (1.0 / config.slow_start_aggression) as f32,
        }
    }

    fn at(self, seconds: f32) -> f32 {
        (seconds / self.seconds)
            .powf(self.exponent)
            .clamp(LEAST, 1.0)
    }
}

/// Where one instance is on its ramp.
#[derive(Debug)]
pub(super) struct Warmth {
    ramp: Ramp,
    /// The tick at which it began, and a bit that says that it did.
    since: AtomicU64,
}

impl Warmth {
    pub(super) fn new(ramp: Ramp) -> Self {
        Self {
            ramp,
            since: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self, now: Tick) {
        if self.ramp.seconds > 0.0 {
            self.since.store(SET | u64::from(now.get()), Relaxed);
        }
    }

    pub(super) fn stop(&self) {
        self.since.store(0, Relaxed);
    }

    /// Whether it is on the ramp still.
    pub(super) fn warming(&self) -> bool {
        self.since.load(Relaxed) != 0
    }

    /// Share of calls it is ready for: 0.1 to 1.
    pub(super) fn share(&self, now: Tick) -> f32 {
        let since = self.since.load(Relaxed);
        if since == 0 {
            1.0
        } else {
            self.ramp.at(now.since(Tick::new(since as u32)))
        }
    }

    /// Ends what is over; whether that was now.
    pub(super) fn settle(&self, now: Tick) -> bool {
        let since = self.since.load(Relaxed);
        since != 0
            && self.share(now) >= 1.0
            && self
                .since
                .compare_exchange(since, 0, Relaxed, Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::HumanDuration;

    fn warmth(seconds: u64, aggression: f64) -> Warmth {
        Warmth::new(Ramp::new(&Balancing {
            slow_start: HumanDuration::secs(seconds),
            slow_start_aggression: aggression,
            ..Balancing::default()
        }))
    }

    #[test]
    fn the_share_rises_from_a_tenth_to_all_and_the_ramp_ends_once() {
        let start = Tick::new(77);
        for (aggression, halfway) in [(1.0, 0.5), (2.0, 0.5_f32.sqrt()), (0.5, 0.25)] {
            let warmth = warmth(10, aggression);
            assert_eq!((warmth.warming(), warmth.share(start)), (false, 1.0));
            warmth.begin(start);
            assert_eq!((warmth.warming(), warmth.share(start)), (true, 0.1));
            let share = warmth.share(start.after(Duration::from_secs(5)));
            assert!((share - halfway).abs() < 1e-3, "{share}");
            assert!(!warmth.settle(start.after(Duration::from_millis(9_990))));
            let end = start.after(Duration::from_millis(10_010));
            assert_eq!(warmth.share(end), 1.0);
            assert!(warmth.settle(end) && !warmth.settle(end) && !warmth.warming());
        }
    }

    #[test]
    fn without_a_time_there_is_no_ramp() {
        let warmth = warmth(0, 1.0);
        warmth.begin(Tick::new(5));
        assert_eq!((warmth.warming(), warmth.share(Tick::new(5))), (false, 1.0));
    }
}
