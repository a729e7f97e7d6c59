//! The least progress that is asked of a peer, and a watch over one direction of a connection.
//!
//! Only the time spent waiting for the peer counts: a handler that takes its time with what has come is nobody's fault. How
//! long a request may take in all is not decided here.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// The least progress that is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes that must be moved,
    pub bytes: u64,
    /// within so much time of waiting for the peer.
    pub within: Duration,
}

/// Watches whether a peer keeps a [`Pace`].
#[derive(Debug)]
pub(super) struct Watch {
    pace: Pace,
    moved: u64,
    /// In this stretch, before the wait that is under way.
    waited: Duration,
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            moved: 0,
            waited: Duration::ZERO,
            since: None,
            alarm: None,
        }
    }

    /// The peer has taken or given so many bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.moved += bytes as u64;
        if self.moved >= self.pace.bytes {
            (self.moved, self.waited) = (0, Duration::ZERO);
        }
    }

    /// To be asked while nothing moves. Ready when the peer is slower than it may be.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let alarm = match (self.since, &mut self.alarm) {
            (Some(_), Some(alarm)) => alarm,
            (_, alarm) => {
                let now = Instant::now();
                self.since = Some(now);
                let end = now + self.pace.within.saturating_sub(self.waited);
                let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
                alarm.as_mut().reset(end);
                alarm
            }
        };
        alarm.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const PACE: Pace = Pace {
        bytes: 100,
        within: Duration::from_secs(10),
    };

    /// Waits so long for the peer; whether it is too late by then.
    async fn wait(watch: &mut Watch, time: Duration) -> bool {
        timeout(time, poll_fn(|context| watch.poll_late(context)))
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_moves_too_little_is_late() {
        let mut watch = Watch::new(PACE);
        let began = Instant::now();
        let mut moved = 0;
        while !wait(&mut watch, Duration::from_secs(1)).await {
            watch.moved(9);
            moved += 9;
        }
        assert_eq!((began.elapsed(), moved), (PACE.within, 81));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_keeps_the_pace_may_take_for_ever() {
        let mut watch = Watch::new(PACE);
        for _ in 0..10_000 {
            assert!(!wait(&mut watch, Duration::from_millis(900)).await);
            watch.moved(10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_for_the_peer_does_not_count() {
        let mut watch = Watch::new(PACE);
        for _ in 0..9 {
            assert!(!wait(&mut watch, Duration::from_secs(1)).await);
            watch.moved(1);
            sleep(Duration::from_secs(60)).await;
        }
        assert!(!wait(&mut watch, Duration::from_millis(900)).await);
        assert!(wait(&mut watch, Duration::from_millis(200)).await);
    }
}
