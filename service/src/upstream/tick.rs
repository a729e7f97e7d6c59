//! Time as the balancer keeps it: short enough to share a word with a value, exact enough for averages over seconds.

use std::time::Duration;

use tokio::time::Instant;

/// A tick is 2^16 ns, 65.5 µs.
const SHIFT: u32 = 16;
const SECONDS: f32 = (1_u64 << SHIFT) as f32 / 1e9;
/// A moment that lies ahead by at most this much is taken for one that lies ahead, not for one that is long past: about
/// nine minutes.
const AHEAD: u32 = 1 << 23;

/// A moment, in ticks since some [`Origin`]. It comes round every 78 hours: what nobody touched for exactly that long looks
/// fresh for a moment, which an average survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    pub(super) const fn new(ticks: u32) -> Self {
        Self(ticks)
    }

    pub(super) const fn get(self) -> u32 {
        self.0
    }

    pub(super) const fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead <= AHEAD
    }

    /// Seconds from `earlier` to here; 0 if that has not come yet.
    pub(super) fn since(self, earlier: Self) -> f32 {
        if earlier.is_after(self) {
            0.0
        } else {
            self.0.wrapping_sub(earlier.0) as f32 * SECONDS
        }
    }

    /// Later by `wait`, which may be up to nine minutes.
    pub(super) fn after(self, wait: Duration) -> Self {
        Self(self.0.wrapping_add(ticks(wait)))
    }
}

fn ticks(time: Duration) -> u32 {
    let nanos = time
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(time.subsec_nanos()));
    (nanos >> SHIFT) as u32
}

/// Where ticks are counted from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(Instant);

impl Origin {
    pub(super) const fn new(now: Instant) -> Self {
        Self(now)
    }

    pub(super) fn tick(self, now: Instant) -> Tick {
        Tick(ticks(now.saturating_duration_since(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_a_tick_and_what_lies_ahead_has_no_age() {
        let start = Tick::new(u32::MAX - 5);
        let later = start.after(Duration::from_millis(1500));
        assert!((later.since(start) - 1.5).abs() < 1e-3);
        assert_eq!(start.since(later), 0.0);
        assert!(later.is_after(start) && !start.is_after(later) && !start.is_after(start));
        let long = start.after(Duration::from_secs(540));
        assert!(long.is_after(start));
        let days = Duration::from_secs(2 * 86_400);
        assert!((start.after(days).since(start) - days.as_secs_f32()).abs() < 1.0);
    }
}
