//! Hold-down of instances that keep changing their mind. Pure: takes `now`.
//!
//! An instance that is well and unwell in turns does more harm than one that is down: every change moves traffic, and
//! each time the first requests find out. So after [`HoldDown::changes`] changes within [`HoldDown::within`] it stays
//! out, whatever it says, for [`HoldDown::first`] times two for each earlier hold, at most [`HoldDown::longest`]; each
//! healthy minute takes one such doubling back.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::config::HoldDown;

/// Health for this long takes one doubling back.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);
/// Doublings beyond this change nothing: any first hold is at its longest by then.
const MOST_DOUBLINGS: u32 = 16;

/// The changes of one life of one instance.
#[derive(Debug, Default)]
pub(super) struct Flap {
    healthy: Option<bool>,
    changes: VecDeque<Instant>,
    doublings: u32,
    held: Option<(Instant, Duration)>,
    /// From when on health counts towards forgiveness.
    well_since: Option<Instant>,
}

impl Flap {
    /// Takes the health as heartbeats and check say it. `None`: it is leaving or starting, and neither well nor unwell.
    pub(super) fn observe(&mut self, rules: &HoldDown, healthy: Option<bool>, now: Instant) {
        let Some(healthy) = healthy else {
            self.well_since = None;
            return;
        };
        match self.healthy.replace(healthy) {
            Some(before) if before == healthy => {
                self.well_since = healthy.then(|| self.well_since.unwrap_or(now));
            }
            // Becoming ready for the first time is a start and no change.
            before => {
                self.well_since = healthy.then_some(now);
                if before.is_some() {
                    self.count(rules, now);
                }
            }
        }
    }

    fn count(&mut self, rules: &HoldDown, now: Instant) {
        if !rules.enabled {
            return;
        }
        let within = rules.within.get();
        self.changes.push_back(now);
        while self
            .changes
            .front()
            .is_some_and(|at| now.duration_since(*at) >= within)
        {
            self.changes.pop_front();
        }
        if self.changes.len() < rules.changes as usize {
            return;
        }
        self.changes.clear();
        let doubled = rules.first.get().saturating_mul(1 << self.doublings);
        let length = doubled.min(rules.longest.get());
        self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
        self.held = Some((now + length, length));
    }

    /// Lets time pass; says whether a hold has just ended.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        if let Some(since) = self.well_since
            && self.held.is_none()
            && self.doublings > 0
            && now.duration_since(since) >= FORGIVEN_AFTER
        {
            self.doublings -= 1;
            self.well_since = Some(since + FORGIVEN_AFTER);
        }
        let over = self.held.is_some_and(|(until, _)| until <= now);
        if over {
            self.held = None;
            // The minute of health that forgives is one in use, not one on hold.
            self.well_since = self.well_since.map(|_| now);
        }
        over
    }

    /// How long the hold lasts that it is under.
    pub(super) fn held(&self) -> Option<Duration> {
        self.held.map(|(_, length)| length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    /// Down and up, once a second each, until it is held; returns when that was.
    fn flap(flap: &mut Flap, rules: &HoldDown, mut now: Instant) -> Instant {
        let mut healthy = true;
        for _ in 0..10 {
            if flap.held().is_some() {
                return now;
            }
            now += secs(1);
            healthy = !healthy;
            flap.observe(rules, Some(healthy), now);
        }
        panic!("never held")
    }

    #[tokio::test(start_paused = true)]
    async fn three_changes_hold_it_and_each_hold_is_twice_as_long_up_to_the_longest() {
        let (rules, mut now) = (HoldDown::default(), Instant::now());
        let mut it = Flap::default();
        it.observe(&rules, Some(true), now);
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            now = flap(&mut it, &rules, now);
            assert_eq!(it.held(), Some(secs(expected)));
            assert!(!it.pass(now + secs(expected) - Duration::from_millis(1)));
            now += secs(expected);
            it.observe(&rules, Some(true), now);
            assert!(it.pass(now));
            // That it is well again was a change too; long ago by the time of the next ones.
            now += secs(59);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_changes_and_starts_are_none() {
        let (rules, mut now) = (HoldDown::default(), Instant::now());
        let mut it = Flap::default();
        for healthy in [None, Some(true), None, Some(true), None, Some(true)] {
            it.observe(&rules, healthy, now);
        }
        for turn in 0..20 {
            now += secs(30);
            it.observe(&rules, Some(turn % 2 == 1), now);
            assert_eq!(it.held(), None, "two changes a minute");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_healthy_minute_takes_a_doubling_back() {
        let (rules, mut now) = (HoldDown::default(), Instant::now());
        let mut it = Flap::default();
        it.observe(&rules, Some(true), now);
        for _ in 0..3 {
            now = flap(&mut it, &rules, now) + secs(300);
            it.observe(&rules, Some(true), now);
            it.pass(now);
            now += secs(59);
        }
        assert_eq!(it.doublings, 3);
        it.observe(&rules, Some(true), now);
        for left in [2, 1, 0, 0] {
            now += secs(60);
            it.pass(now);
            assert_eq!(it.doublings, left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn switched_off_it_holds_nobody() {
        let rules = HoldDown {
            enabled: false,
            ..HoldDown::default()
        };
        let mut it = Flap::default();
        let mut now = Instant::now();
        for turn in 0..20 {
            now += secs(1);
            it.observe(&rules, Some(turn % 2 == 0), now);
            assert_eq!(it.held(), None);
        }
    }
}
