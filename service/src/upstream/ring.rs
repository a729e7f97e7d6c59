//! Sums over the last moments, in ten slots of atomics: what budgets and the throttle count with. Lock-free; takes `now`.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::Instant;

const SLOTS: u64 = 10;
/// A slot is one word: in its upper bits the turn it belongs to, in the lower ones its sum, shifted so that it is never
/// negative. One word, so that a slot changes hands and value in one step.
const VALUE_BITS: u32 = 44;
const VALUE: u64 = (1 << VALUE_BITS) - 1;
const ZERO: u64 = 1 << (VALUE_BITS - 1);
const TURNS: u64 = u64::MAX >> VALUE_BITS;

/// What was added in the last ten slots of time, the running one included: between nine and ten tenths of the window.
#[derive(Debug)]
pub(super) struct Ring {
    origin: Instant,
    /// Nanoseconds of one slot.
    slot: u64,
    slots: [AtomicU64; SLOTS as usize],
}

impl Ring {
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self {
            origin: now,
            slot: nanos(window / 10).max(1),
            slots: Default::default(),
        }
    }

    /// Which turn a moment belongs to, counted from 1, so that a slot nobody used belongs to no time. The same for all
    /// rings of one window that were made at one moment.
    pub(super) fn turn(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.origin)) / self.slot + 1
    }

    /// Adds to the running slot.
    pub(super) fn add(&self, amount: i64, now: Instant) {
        self.add_in(amount, self.turn(now));
    }

    /// [`Ring::add`] in a turn that is known already.
    pub(super) fn add_in(&self, amount: i64, turn: u64) {
        let (slot, turn) = (&self.slots[(turn % SLOTS) as usize], turn & TURNS);
        let mut seen = slot.load(SeqCst);
        loop {
            let owner = seen >> VALUE_BITS;
            if owner == turn {
                slot.fetch_add(amount.cast_unsigned(), SeqCst);
                return;
            }
            if owner.wrapping_sub(turn) & TURNS < TURNS / 2 {
                return; // This thread slept through a whole window: what it adds is no longer news.
            }
            let fresh = (turn << VALUE_BITS) | ZERO.wrapping_add_signed(amount);
            match slot.compare_exchange_weak(seen, fresh, SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now_seen) => seen = now_seen,
            }
        }
    }

    /// The sum of the window.
    pub(super) fn sum(&self, now: Instant) -> i64 {
        self.sum_in(self.turn(now))
    }

    /// [`Ring::sum`] in a turn that is known already.
    pub(super) fn sum_in(&self, turn: u64) -> i64 {
        let mut index = (turn % SLOTS) as usize;
        let mut sum = 0;
        for back in 0..SLOTS.min(turn) {
            let word = self.slots[index].load(SeqCst);
            if word >> VALUE_BITS == (turn - back) & TURNS {
                sum += (word & VALUE).cast_signed() - ZERO.cast_signed();
            }
            index = index.checked_sub(1).unwrap_or(SLOTS as usize - 1);
        }
        sum
    }
}

fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_gone() {
        let start = Instant::now();
        let ring = Ring::new(10 * SECOND, start);
        assert_eq!(ring.sum(start), 0);
        ring.add(5, start);
        ring.add(-7, start + SECOND);
        assert_eq!(ring.sum(start + SECOND), -2);
        assert_eq!(ring.sum(start + 9 * SECOND), -2);
        assert_eq!(ring.sum(start + 10 * SECOND), -7);
        assert_eq!(ring.sum(start + 11 * SECOND), 0);
        ring.add(3, start + 3600 * SECOND);
        assert_eq!(ring.sum(start + 3600 * SECOND), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_not_taken_back_by_whoever_is_late() {
        let start = Instant::now();
        let ring = Ring::new(10 * SECOND, start);
        let late = start + 10 * SECOND;
        ring.add(3, late);
        ring.add(100, start);
        assert_eq!(ring.sum(late), 3);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let start = Instant::now();
        let ring = Ring::new(3600 * SECOND, start);
        std::thread::scope(|scope| {
            for sign in [1, 1, 1, -1] {
                let ring = &ring;
                scope.spawn(move || (0..10_000).for_each(|_| ring.add(sign * 7, start)));
            }
        });
        assert_eq!(ring.sum(start), 140_000);
    }
}
