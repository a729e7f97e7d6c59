//! A short queue in which age decides, not length.
//!
//! A queue that drains now and then is doing its job, however long it was. One whose oldest entry stays older than a
//! target for a whole interval does not drain (CoDel's test): it only adds its length to everybody's latency. Such a
//! queue is served newest first, because the newest have the most of their time left, and what has waited too long is
//! dropped at its head. Pure: time comes in by parameter.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Reason;

/// How long entries may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Age of the oldest entry below which the queue counts as drained.
    pub target: Duration,
    /// How long that age must stay above the target before the queue counts as standing; a standing queue that has not
    /// been above it for as long counts as drained again.
    pub interval: Duration,
    /// In a standing queue, entries older than this are dropped.
    pub give_up: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    since: Instant,
    until: Option<Instant>,
    item: T,
}

/// A bounded queue that drops what is too old.
#[derive(Debug)]
pub struct AgedQueue<T> {
    entries: VecDeque<Entry<T>>,
    capacity: usize,
    above_since: Option<Instant>,
    /// When the oldest entry was last seen to be above the target, while the queue stands.
    standing: Option<Instant>,
}

impl<T> AgedQueue<T> {
    /// A queue for `capacity` entries.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
            above_since: None,
            standing: None,
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Age of the oldest entry; zero when none waits.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        self.entries.front().map_or(Duration::ZERO, |oldest| {
            now.saturating_duration_since(oldest.since)
        })
    }

    /// Forgets entries that nobody waits for any more.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        self.entries.retain(|entry| wanted(&entry.item));
    }

    /// Adds an entry that is of use until `until`. Returns the one there is no room for: the new one, or in a standing
    /// queue the oldest.
    pub fn push(&mut self, now: Instant, until: Option<Instant>, item: T) -> Option<T> {
        let entry = Entry {
            since: now,
            until,
            item,
        };
        if self.entries.is_empty() {
            self.above_since = None;
        }
        if self.entries.len() < self.capacity {
            self.entries.push_back(entry);
            return None;
        }
        if self.standing.is_none() {
            return Some(entry.item);
        }
        let Some(oldest) = self.entries.pop_front() else {
            return Some(entry.item); // a queue without places
        };
        self.entries.push_back(entry);
        Some(oldest.item)
    }

    /// Takes the entry to serve next. What is dropped on the way is added to `dropped`, with the reason.
    pub fn pop(
        &mut self,
        now: Instant,
        patience: Patience,
        dropped: &mut Vec<(T, Reason)>,
    ) -> Option<T> {
        let standing = self.judge(now, patience);
        if standing {
            while self.age(now) > patience.give_up
                && let Some(oldest) = self.entries.pop_front()
            {
                dropped.push((oldest.item, Reason::QueueAge));
            }
        }
        loop {
            let entry = if standing {
                self.entries.pop_back()
            } else {
                self.entries.pop_front()
            }?;
            if entry.until.is_some_and(|until| until <= now) {
                dropped.push((entry.item, Reason::Deadline));
                continue;
            }
            return Some(entry.item);
        }
    }

    /// Whether the queue stands.
    fn judge(&mut self, now: Instant, patience: Patience) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        // Before anything else: after a calm stretch the first entry that waits long is no sign of a standing queue.
        if self
            .standing
            .is_some_and(|last| since(last) > patience.interval)
        {
            self.standing = None;
        }
        if self.age(now) <= patience.target {
            self.above_since = None;
            return self.standing.is_some();
        }
        let above = *self.above_since.get_or_insert(now);
        if self.standing.is_some() || since(above) >= patience.interval {
            self.standing = Some(now);
        }
        self.standing.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Patience = Patience {
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
        give_up: Duration::from_millis(5),
    };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_drains_is_first_in_first_out() {
        let start = Instant::now();
        let mut queue = AgedQueue::new(8);
        let mut dropped = Vec::new();
        for round in 0..20 {
            let now = start + ms(round * 30);
            for item in 0..3 {
                assert_eq!(queue.push(now, None, item), None);
            }
            // Long waits, but the last one finds the queue empty.
            for item in 0..3 {
                let popped = queue.pop(now + ms(9 * item), PATIENCE, &mut dropped);
                assert_eq!(popped, Some(item));
            }
        }
        assert!(dropped.is_empty(), "{dropped:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_standing_queue_serves_the_newest_and_drops_the_oldest() {
        let start = Instant::now();
        let mut queue = AgedQueue::new(1000);
        let mut dropped = Vec::new();
        let mut served = Vec::new();
        // Two arrive for one that is served.
        for tick in 0..200_u64 {
            let now = start + ms(2 * tick);
            queue.push(now, None, 2 * tick);
            queue.push(now, None, 2 * tick + 1);
            served.extend(
                queue
                    .pop(now, PATIENCE, &mut dropped)
                    .map(|item| (tick, item)),
            );
        }
        let (tick, item) = served[served.len() - 1];
        assert_eq!(item, 2 * tick + 1, "the newest");
        assert!(queue.age(start + ms(398)) <= PATIENCE.give_up);
        assert!(dropped.iter().all(|(_, why)| *why == Reason::QueueAge));
        assert_eq!(dropped.len() + served.len() + queue.len(), 400);
        // Full: the oldest makes room.
        let mut small = AgedQueue::new(1);
        small.standing = Some(start);
        assert_eq!(small.push(start, None, 1), None);
        assert_eq!(small.push(start, None, 2), Some(1));
        // After a calm stretch the order is the usual one again.
        queue.retain(|_| false);
        let later = start + ms(1000);
        queue.push(later, None, 7);
        queue.push(later, None, 8);
        assert_eq!(queue.pop(later + ms(9), PATIENCE, &mut dropped), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_not_served() {
        let start = Instant::now();
        let mut queue = AgedQueue::new(2);
        let mut dropped = Vec::new();
        queue.push(start, Some(start + ms(3)), 'a');
        queue.push(start, Some(start + ms(30)), 'b');
        assert_eq!(queue.push(start, None, 'c'), Some('c'), "full");
        assert_eq!(queue.pop(start + ms(4), PATIENCE, &mut dropped), Some('b'));
        assert_eq!(dropped, [('a', Reason::Deadline)]);
    }

    proptest! {
        /// Whatever happens, nothing is lost, nothing is served late, and the bound holds.
        #[test]
        fn every_entry_leaves_once(steps in prop::collection::vec((0_u64..20, any::<bool>(), 1_u64..200), 1..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let mut now = runtime.block_on(async { Instant::now() });
            let mut queue = AgedQueue::new(16);
            let (mut dropped, mut left, mut pushed) = (Vec::new(), 0, 0_usize);
            for (wait, push, useful) in steps {
                now += ms(wait);
                if push {
                    pushed += 1;
                    left += usize::from(queue.push(now, Some(now + ms(useful)), now + ms(useful)).is_some());
                } else if let Some(until) = queue.pop(now, PATIENCE, &mut dropped) {
                    prop_assert!(until > now);
                    left += 1;
                }
                prop_assert!(queue.len() <= 16);
            }
            prop_assert_eq!(pushed, left + dropped.len() + queue.len());
        }
    }
}
