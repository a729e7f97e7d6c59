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
pub(super) struct ArrivalStream {
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

/// Hands out every arrival of every stream, counted from `origin`. Those not handed out because it was stopped go to
/// `unsent`, with their load and intended start.
pub(super) fn run(
    origin: Instant,
    streams: Vec<ArrivalStream>,
    outstanding: &Arc<Outstanding>,
    stop: &Stop,
    mut unsent: impl FnMut(usize, Instant),
) {
    let mut streams = streams;
    let mut numbers = vec![0_u64; streams.len()];
    let mut next: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    // The next arrival of each stream is entered before it is due, so that the horizon never overtakes this thread.
    let enter = |stream: usize, streams: &mut Vec<ArrivalStream>, number: u64| {
        let offset = *streams[stream].schedule.peek()?;
        outstanding.begin(origin + offset, streams[stream].load, number);
        Some(Reverse((offset, stream)))
    };
    for stream in 0..streams.len() {
        next.extend(enter(stream, &mut streams, 0));
    }
    let mut stopped = false;
    while let Some(Reverse((offset, stream))) = next.pop() {
        let due = origin + offset;
        stopped = stopped || stop.sleep_until(due);
        let number = numbers[stream];
        numbers[stream] += 1;
        streams[stream].schedule.next();
        next.extend(enter(stream, &mut streams, number + 1));
        let load = streams[stream].load;
        // A closed channel means that its users are gone, which only happens at an early end.
        if stopped
            || streams[stream]
                .to
                .try_send(Arrival { number, due })
                .is_err()
        {
            unsent(load, due);
            outstanding.end(due, load, number);
        }
    }
}
