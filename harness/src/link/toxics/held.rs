//! Counting what was held back: the proof of toxics that make bytes wait.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// What has been held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HeldTally {
    /// Things that were held and let go.
    pub(crate) count: u64,
    /// Shortest time one was held.
    pub(crate) shortest: Duration,
    /// Longest time one was held.
    pub(crate) longest: Duration,
    /// Things that are held now.
    pub(crate) waiting: u64,
}

impl HeldTally {
    /// As a proof, in so many `noun`s; nothing held is none.
    pub(crate) fn proof(self, noun: &str) -> Option<String> {
        let plural = |count| if count == 1 { "" } else { "s" };
        match (self.count, self.waiting) {
            (0, 0) => None,
            (0, waiting) => Some(format!(
                "{waiting} {noun}{} held until the fault ended",
                plural(waiting)
            )),
            (count, _) => Some(format!(
                "{count} {noun}{} held {}-{} ms",
                plural(count),
                self.shortest.as_millis(),
                self.longest.as_millis()
            )),
        }
    }
}

/// Counts what is held, on all connections together.
#[derive(Debug, Default)]
pub(crate) struct HeldCounter(Mutex<HeldTally>);

impl HeldCounter {
    /// The sum so far.
    pub(crate) fn tally(&self) -> HeldTally {
        *self.0.lock()
    }

    /// Something will be held for so long.
    pub(crate) fn hold(self: &Arc<Self>, time: Duration) -> Hold {
        self.0.lock().waiting += 1;
        Hold {
            time,
            counter: self.clone(),
        }
    }
}

/// One thing that is held. Counts as let go with [`Hold::released`], and not at all when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    /// How long it is to be held.
    pub(crate) time: Duration,
    counter: Arc<HeldCounter>,
}

impl Hold {
    /// It was let go after so long.
    pub(crate) fn released(self, held: Duration) {
        let mut tally = self.counter.0.lock();
        tally.shortest = match tally.count {
            0 => held,
            _ => tally.shortest.min(held),
        };
        tally.longest = tally.longest.max(held);
        tally.count += 1;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.counter.0.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_is_the_proof_and_what_still_waits_where_nothing_was() {
        let counter = Arc::new(HeldCounter::default());
        assert_eq!(counter.tally().proof("chunk"), None);
        let ms = Duration::from_millis;
        let (first, second) = (counter.hold(ms(300)), counter.hold(ms(500)));
        assert_eq!(
            counter.tally().proof("chunk").as_deref(),
            Some("2 chunks held until the fault ended")
        );
        first.released(ms(310));
        assert_eq!(
            counter.tally().proof("chunk").as_deref(),
            Some("1 chunk held 310-310 ms")
        );
        second.released(ms(505));
        // A connection that ended before its time.
        drop(counter.hold(ms(9)));
        assert_eq!(
            counter.tally().proof("answer").as_deref(),
            Some("2 answers held 310-505 ms")
        );
    }
}
