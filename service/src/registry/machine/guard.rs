//! How many instances may be given up on silence alone. Pure: takes `now`.
//!
//! Of N instances up to half may go within one lease time: one of one, one of two or three, two of four or five. When
//! more fall silent at once, the network between them and the registry is the likelier cause, so each is asked
//! directly. Eureka's rule, which compares heartbeats with 85 % of those expected, is of no use below seven instances:
//! there the loss of one already stops every expiry, for good.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Who was given up in the last lease time.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Jitter of heartbeats spreads a mass loss over several sweeps, so a sweep alone says too little.
    given_up: VecDeque<Instant>,
}

impl Guard {
    /// Lets time pass: what lies a lease back no longer counts.
    pub(super) fn pass(&mut self, ttl: Duration, now: Instant) {
        self.given_up.retain(|at| now.duration_since(*at) < ttl);
    }

    /// Whether `expired` instances may go unasked while `live` ones are up, those that expired among them.
    pub(super) fn believes(&self, expired: usize, live: usize) -> bool {
        let allowed = ((live + self.given_up.len()) / 2).max(1);
        expired + self.given_up.len() <= allowed
    }

    /// One was given up.
    pub(super) fn count(&mut self, now: Instant) {
        self.given_up.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn up_to_half_of_one_to_six_may_go_at_once() {
        for (live, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
            let guard = Guard::default();
            for expired in 1..=live {
                let believed = guard.believes(expired, live);
                assert_eq!(believed, expired <= most, "{expired} of {live}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_after_the_other_is_no_way_around_it_but_slowly_is() {
        for (live, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
            let mut now = Instant::now();
            let mut guard = Guard::default();
            let mut left = live;
            while left > 0 && guard.believes(1, left) {
                guard.count(now);
                left -= 1;
            }
            assert_eq!(live - left, most, "of {live} within one lease time");
            now += TTL;
            guard.pass(TTL, now);
            assert!(left == 0 || guard.believes(1, left), "of {live}, later");
        }
    }
}
