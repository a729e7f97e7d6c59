//! What is under way: every arrival from before it is due until its last sample has been handed on.
//!
//! From it follows how far the measured data is complete, which is what makes decisions during a run sound: a window
//! says everything once nothing is outstanding that was due before its end.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Due time, load and a number that tells equals apart.
type Key = (Instant, usize, u64);

/// Everything under way.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    keys: Mutex<BTreeSet<Key>>,
}

impl Outstanding {
    /// Something will be, or is, under way.
    pub(crate) fn begin(&self, due: Instant, load: usize, number: u64) {
        self.keys.lock().insert((due, load, number));
    }

    /// All of it has been recorded.
    pub(crate) fn end(&self, due: Instant, load: usize, number: u64) {
        self.keys.lock().remove(&(due, load, number));
    }

    /// Nothing that was due before this is missing from the records.
    pub(crate) fn horizon(&self, now: Instant) -> Instant {
        self.keys
            .lock()
            .first()
            .map_or(now, |(due, _, _)| now.min(*due))
    }

    /// How much is under way.
    pub(crate) fn count(&self) -> usize {
        self.keys.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_horizon_is_the_oldest_thing_under_way() {
        let out = Outstanding::default();
        let t = |s| Instant::now() + Duration::from_secs(s);
        let (one, two, now) = (t(1), t(2), t(10));
        assert_eq!(out.horizon(now), now);
        out.begin(two, 0, 0);
        out.begin(one, 1, 0);
        assert_eq!(out.horizon(now), one);
        out.end(one, 1, 0);
        assert_eq!(out.horizon(now), two);
        assert_eq!(out.horizon(one), one);
        out.end(two, 0, 0);
        assert_eq!((out.horizon(now), out.count()), (now, 0));
    }
}
