//! A circuit breaker for one instance. Pure: takes `now` and a jitter, and returns what changed.
//!
//! An open breaker removes its instance from the choice, it does not fail calls ([`super::pool`]). It closes in two
//! steps: first an active probe must pass, which costs no user anything; then a few permits let real calls decide.

use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::BreakerConfig;

const BUCKETS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);
/// Real calls that decide a half-open breaker.
const TRIALS: u32 = 3;
/// Trials that have not answered by then count as failed.
const TRIAL_TIME: Duration = Duration::from_secs(5);
/// Closed for this long, the next opening is a first one again. Not at the first success: an instance that flaps would
/// never wait longer.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How a call ended, as far as its instance is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered.
    Success,
    /// Refused, reset or timed out.
    TransportFailure,
    /// Answered with an error status (5xx): counts into the rate, not into the row. An instance that sheds load or
    /// drains is alive.
    ErrorStatus,
    /// Says nothing about the instance: the caller went away early, or asked for something impossible.
    Ignored,
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    Closed,
    Open,
    HalfOpen,
}

impl Position {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// The right to one call. Belongs to the state that gave it: in any later state its result decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u64,
}

impl Ticket {
    /// For calls made although the breaker is open, because nobody else is left: counted, never decisive.
    pub(super) const LAST_RESORT: Self = Self { epoch: 0 };
}

/// A breaker moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        since: Instant,
    },
    Open {
        until: Instant,
    },
    HalfOpen {
        overdue: Instant,
        admitted: u32,
        succeeded: u32,
    },
}

/// One instance's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: State,
    /// Rises with every move, from 1.
    epoch: u64,
    in_a_row: u32,
    window: Window,
    /// Openings since it was last healthy.
    attempt: u32,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig, now: Instant) -> Self {
        Self {
            config,
            state: State::Closed { since: now },
            epoch: 1,
            in_a_row: 0,
            window: Window::new(now),
            attempt: 0,
        }
    }

    pub(super) fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::Open { .. } => Position::Open,
            State::HalfOpen { .. } => Position::HalfOpen,
        }
    }

    /// Whether [`Breaker::admit`] would admit.
    pub(super) fn admits(&self) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { .. } => false,
            State::HalfOpen { admitted, .. } => admitted < TRIALS,
        }
    }

    /// Takes the right to one call. Whoever has it must [`Breaker::record`] its outcome.
    pub(super) fn admit(&mut self) -> Option<Ticket> {
        if !self.admits() {
            return None;
        }
        if let State::HalfOpen { admitted, .. } = &mut self.state {
            *admitted += 1;
        }
        Some(Ticket { epoch: self.epoch })
    }

    /// Takes the outcome of an admitted call. `jitter` is uniform in `[0, 1)`.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Instant,
        jitter: f64,
    ) -> Option<Moved> {
        if ticket.epoch != self.epoch {
            return None;
        }
        match (&mut self.state, outcome) {
            (State::HalfOpen { admitted, .. }, Outcome::Ignored) => {
                *admitted = admitted.saturating_sub(1); // Undecided: somebody else may try.
                None
            }
            (State::HalfOpen { succeeded, .. }, Outcome::Success) => {
                *succeeded += 1;
                (*succeeded >= TRIALS).then(|| {
                    self.window.clear(now);
                    self.in_a_row = 0;
                    self.move_to(
                        State::Closed { since: now },
                        format!("{TRIALS} calls succeeded"),
                    )
                })
            }
            (State::HalfOpen { .. }, Outcome::TransportFailure | Outcome::ErrorStatus) => {
                Some(self.open(now, jitter, "a trial call failed".to_owned()))
            }
            (State::Closed { .. }, outcome) => {
                let reason = self.judge(outcome, now)?;
                Some(self.open(now, jitter, reason))
            }
            (State::Open { .. }, _) => None,
        }
    }

    /// Why a closed breaker should open, if this outcome makes it so.
    fn judge(&mut self, outcome: Outcome, now: Instant) -> Option<String> {
        match outcome {
            Outcome::Ignored => return None,
            Outcome::Success => self.in_a_row = 0,
            Outcome::TransportFailure => self.in_a_row += 1,
            Outcome::ErrorStatus => {}
        }
        self.window.add(outcome == Outcome::Success, now);
        if !self.config.enabled {
            return None;
        }
        if self.in_a_row >= self.config.consecutive_failures {
            return Some(format!("{} transport failures in a row", self.in_a_row));
        }
        let (ok, failed) = self.window.sums();
        let total = ok + failed;
        let rate = f64::from(failed) / f64::from(total.max(1));
        // Only a failure opens: a success cannot be the news that an instance is bad.
        (outcome != Outcome::Success
            && total >= self.config.min_calls
            && rate >= self.config.failure_rate)
            .then(|| format!("{failed} of {total} calls failed"))
    }

    /// Whether it is closed, but the last call failed on the way: worth a look without waiting for further callers.
    pub(super) fn in_doubt(&self) -> bool {
        self.config.enabled && self.in_a_row > 0 && matches!(self.state, State::Closed { .. })
    }

    /// A probe of an instance that nobody had reason to doubt failed.
    pub(super) fn missed(&mut self, now: Instant, jitter: f64) -> Option<Moved> {
        if !self.config.enabled || !matches!(self.state, State::Closed { .. }) {
            return None;
        }
        self.in_a_row += 1;
        self.in_a_row_too_long(now, jitter)
    }

    /// A probe failed as the last call did, which is one more failure in the row. A probe that passes is no success: it
    /// must not hide that calls fail.
    pub(super) fn doubt(&mut self, now: Instant, jitter: f64) -> Option<Moved> {
        if !self.in_doubt() {
            return None;
        }
        self.in_a_row += 1;
        self.in_a_row_too_long(now, jitter)
    }

    fn in_a_row_too_long(&mut self, now: Instant, jitter: f64) -> Option<Moved> {
        (self.in_a_row >= self.config.consecutive_failures).then(|| {
            let reason = format!(
                "{} transport failures in a row, probes included",
                self.in_a_row
            );
            self.open(now, jitter, reason)
        })
    }

    /// When an open breaker wants to be probed.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            _ => None,
        }
    }

    /// Takes the outcome of an active probe. A probe that fails costs nobody anything, so the next one comes after the
    /// shortest wait however often it failed: an instance that was down for long is not kept out for longer.
    pub(super) fn probed(&mut self, passed: bool, now: Instant, jitter: f64) -> Option<Moved> {
        let State::Open { until } = self.state else {
            return None;
        };
        if now < until {
            return None;
        }
        if !passed {
            let again = self.config.open.get().mul_f64(1.0 + 0.5 * jitter);
            self.state = State::Open { until: now + again };
            return None;
        }
        let trial = self.config.open.get().max(TRIAL_TIME);
        let state = State::HalfOpen {
            overdue: now + trial,
            admitted: 0,
            succeeded: 0,
        };
        Some(self.move_to(state, "a probe passed".to_owned()))
    }

    /// Opens again when trial calls were made and never answered. A half-open breaker that nobody calls stays as it is:
    /// it has learnt nothing.
    pub(super) fn tick(&mut self, now: Instant, jitter: f64) -> Option<Moved> {
        match self.state {
            State::HalfOpen {
                overdue,
                admitted,
                succeeded,
            } if now >= overdue && admitted > succeeded => {
                Some(self.open(now, jitter, "trial calls did not answer".to_owned()))
            }
            _ => None,
        }
    }

    fn open(&mut self, now: Instant, jitter: f64, reason: String) -> Moved {
        if let State::Closed { since } = self.state
            && now.duration_since(since) >= HEALTHY_AFTER
        {
            self.attempt = 0;
        }
        self.attempt = self.attempt.saturating_add(1);
        let doubled = 2_u32.saturating_pow(self.attempt - 1);
        let wait = self
            .config
            .open
            .get()
            .saturating_mul(doubled)
            .min(self.config.max_open.get());
        self.move_to(
            State::Open {
                until: now + wait.mul_f64(1.0 + 0.5 * jitter),
            },
            reason,
        )
    }

    fn move_to(&mut self, state: State, reason: String) -> Moved {
        let from = self.position();
        self.state = state;
        self.epoch += 1;
        Moved {
            from,
            to: self.position(),
            reason,
        }
    }
}

/// Successes and failures of the last ten seconds, in one-second buckets.
#[derive(Debug)]
struct Window {
    buckets: [(u32, u32); BUCKETS],
    bucket: usize,
    bucket_ends: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            buckets: [(0, 0); BUCKETS],
            bucket: 0,
            bucket_ends: now + BUCKET,
        }
    }

    fn clear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    fn add(&mut self, ok: bool, now: Instant) {
        for _ in 0..BUCKETS {
            if now < self.bucket_ends {
                break;
            }
            self.bucket = (self.bucket + 1) % BUCKETS;
            self.buckets[self.bucket] = (0, 0);
            self.bucket_ends += BUCKET;
        }
        if now >= self.bucket_ends {
            self.bucket_ends = now + BUCKET;
        }
        let (succeeded, failed) = &mut self.buckets[self.bucket];
        *(if ok { succeeded } else { failed }) += 1;
    }

    fn sums(&self) -> (u32, u32) {
        self.buckets
            .iter()
            .fold((0, 0), |sum, bucket| (sum.0 + bucket.0, sum.1 + bucket.1))
    }
}

#[cfg(test)]
mod tests;
