//! The thread that hands out arrivals when they are due.
//!
//! A thread and not a task: tokio's timer has a grain of one millisecond, which would be added to every response time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::outstanding::Outstanding;
use super::pacing::Schedule;

/// Work that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    /// Position among the arrivals of its load.
    pub(super) number: u64,
    /// Intended start.
    pub(super) due: Instant,
}

/// One load's arrivals.
pub(super) struct Lane {
    /// Index of the load in the plan.
    pub(super) load: usize,
    pub(super) schedule: Peekable<Schedule>,
    pub(super) to: Sender<Arrival>,
}

/// Ends the pacer early.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_all();
    }

    /// Sleeps until `when`; true if stopped before.
    fn sleep_until(&self, when: Instant) -> bool {
        let mut stopped = self.stopped.lock();
        loop {
            let left = when.saturating_duration_since(Instant::now());
            if *stopped || left.is_zero() {
                return *stopped;
            }
            self.wake.wait_for(&mut stopped, left);
        }
    }
}

/// Hands out every arrival of every lane, counted from `origin`. Those not handed out because it was stopped go to
/// `unsent`, with their load and intended start.
pub(super) fn run(
    origin: Instant,
    lanes: Vec<Lane>,
    outstanding: &Arc<Outstanding>,
    stop: &Stop,
    mut unsent: impl FnMut(usize, Instant),
) {
    let mut lanes = lanes;
    let mut numbers = vec![0_u64; lanes.len()];
    let mut next: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    // The next arrival of each lane is entered before it is due, so that the horizon never overtakes this thread.
    let enter = |lane: usize, lanes: &mut Vec<Lane>, number: u64| {
        let offset = *lanes[lane].schedule.peek()?;
        outstanding.begin(origin + offset, lanes[lane].load, number);
        Some(Reverse((offset, lane)))
    };
    for lane in 0..lanes.len() {
        next.extend(enter(lane, &mut lanes, 0));
    }
    let mut stopped = false;
    while let Some(Reverse((offset, lane))) = next.pop() {
        let due = origin + offset;
        stopped = stopped || stop.sleep_until(due);
        let number = numbers[lane];
        numbers[lane] += 1;
        lanes[lane].schedule.next();
        next.extend(enter(lane, &mut lanes, number + 1));
        let load = lanes[lane].load;
        // A closed channel means that its users are gone, which only happens at an early end.
        if stopped || lanes[lane].to.try_send(Arrival { number, due }).is_err() {
            unsent(load, due);
            outstanding.end(due, load, number);
        }
    }
}
