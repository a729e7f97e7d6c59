//! The active check of one instance: when it is due, and what its outcomes mean. Pure: takes `now`; the role asks.
//!
//! A new instance has no history to doubt, so its first good answer is enough; from then on `fall` bad answers in a row
//! take it out and `rise` good ones bring it back, asked every `fastinter` while it is undecided. Who refuses the
//! connection is not there at all and is out at once. Who says that it is draining leaves without being unwell.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::wire::{Check, CheckState};

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx in time.
    Passed,
    /// Anything else, in a few words.
    Failed(String),
    /// Nobody listens on the address.
    Refused,
    /// 503 with the problem code `draining`.
    Draining,
}

/// A check with its outcomes so far.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) rules: Check,
    state: CheckState,
    /// Another state, and how many outcomes in a row speak for it.
    towards: Option<(CheckState, u32)>,
    /// When it is due; `None` while one is on its way.
    pub(super) due: Option<Instant>,
    /// Why the last bad one was bad.
    detail: String,
}

impl Checked {
    /// Due at once.
    pub(super) fn new(rules: Check, now: Instant) -> Self {
        Self {
            rules,
            state: CheckState::Unknown,
            towards: None,
            due: Some(now),
            detail: String::new(),
        }
    }

    pub(super) fn state(&self) -> CheckState {
        self.state
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Takes an outcome. `unit` is random, in `[0, 1)`: the next check comes an interval later, give or take a tenth, so
    /// that checks of instances which started together drift apart.
    pub(super) fn take(&mut self, outcome: &Outcome, unit: f64, now: Instant) {
        let (towards, needed) = match outcome {
            Outcome::Passed => (
                CheckState::Passing,
                match self.state {
                    CheckState::Unknown => 1,
                    _ => self.rules.rise,
                },
            ),
            Outcome::Failed(_) => (CheckState::Failing, self.rules.fall),
            Outcome::Refused => (CheckState::Failing, 1),
            Outcome::Draining => (CheckState::Draining, 1),
        };
        match outcome {
            Outcome::Failed(why) => self.detail.clone_from(why),
            Outcome::Refused => self.detail = "connection refused".to_owned(),
            Outcome::Passed | Outcome::Draining => {}
        }
        let before = self.towards.take().filter(|(state, _)| *state == towards);
        let in_a_row = before.map_or(1, |(_, outcomes)| outcomes + 1);
        if towards != self.state {
            if in_a_row >= needed {
                self.state = towards;
            } else {
                self.towards = Some((towards, in_a_row));
            }
        }
        let undecided = self.towards.is_some() || self.state == CheckState::Unknown;
        let interval = if undecided {
            self.rules.fastinter
        } else {
            self.rules.interval
        };
        self.due = Some(now + jittered(interval.get(), unit));
    }
}

fn jittered(interval: Duration, unit: f64) -> Duration {
    interval.mul_f64(0.9 + 0.2 * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CheckState::{Draining, Failing, Passing, Unknown};

    fn bad() -> Outcome {
        Outcome::Failed("answered 500".to_owned())
    }

    /// The states after each outcome, and the milliseconds until the next check.
    fn run(outcomes: &[Outcome]) -> Vec<(CheckState, u128)> {
        let now = Instant::now();
        let mut checked = Checked::new(Check::default(), now);
        let states = outcomes.iter().map(|outcome| {
            checked.due = None;
            checked.take(outcome, 0.5, now);
            let wait = checked.due.expect("due again").duration_since(now);
            (checked.state(), wait.as_millis())
        });
        states.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_is_enough_and_then_two_bad_ones_are_needed() {
        let ok = Outcome::Passed;
        assert_eq!(
            run(&[
                bad(),
                ok.clone(),
                bad(),
                ok.clone(),
                bad(),
                bad(),
                ok.clone(),
                ok
            ]),
            [
                (Unknown, 100),
                (Passing, 500),
                (Passing, 100),
                (Passing, 500),
                (Passing, 100),
                (Failing, 500),
                (Failing, 100),
                (Passing, 500),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_well_fails_after_two() {
        assert_eq!(run(&[bad(), bad()]), [(Unknown, 100), (Failing, 500)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_connection_and_a_goodbye_count_at_once() {
        let ok = Outcome::Passed;
        assert_eq!(
            run(&[ok.clone(), Outcome::Refused]),
            [(Passing, 500), (Failing, 500)]
        );
        let steps = [ok.clone(), Outcome::Draining, bad(), ok.clone(), ok];
        assert_eq!(
            run(&steps).into_iter().map(|s| s.0).collect::<Vec<_>>(),
            [Passing, Draining, Draining, Draining, Passing],
        );
    }

    #[tokio::test(start_paused = true)]
    async fn checks_keep_a_tenth_of_distance_to_their_interval() {
        let now = Instant::now();
        for (unit, ms) in [(0.0, 450), (0.5, 500), (0.999_999, 549)] {
            let mut checked = Checked::new(Check::default(), now);
            checked.take(&Outcome::Passed, unit, now);
            assert_eq!(checked.due.unwrap().duration_since(now).as_millis(), ms);
        }
    }
}
