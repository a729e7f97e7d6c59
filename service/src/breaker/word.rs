//! What a call must know of a breaker, in one word, so that one atomic load is one consistent view.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// Every call.
    Closed = 0,
    /// None, until its wait is over.
    Open = 1,
    /// A few, which decide.
    HalfOpen = 2,
    /// None, until somebody releases it.
    ForcedOpen = 3,
    /// Every call; it judges them and says when it would open.
    Observe = 4,
}

impl State {
    /// `closed`, `open`, `half-open`, `forced-open` or `observe`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced-open",
            Self::Observe => "observe",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

const STATE_BITS: u32 = 3;
const TRIAL_BITS: u32 = 6;
/// The row and the trials share these bits: no state needs both.
const PAYLOAD_BITS: u32 = 20;
const EPOCH_SHIFT: u32 = STATE_BITS + PAYLOAD_BITS;
const LONGEST_ROW: u32 = (1 << PAYLOAD_BITS) - 1;

/// State (3 bits), payload (20 bits) and epoch (41 bits: at a transition per microsecond they last for 25 days, and a
/// breaker moves once per second at most).
///
/// The payload is the number of failures in a row while calls are judged (closed, observe), and three counts of trials,
/// 6 bits each, while half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

/// Which of the three counts of trials.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trials {
    /// Permits given and not given back.
    Admitted = 0,
    /// Of these, how many succeeded.
    Succeeded = 1,
    /// Of the ones that succeeded, how many were slow.
    Slow = 2,
}

impl Word {
    pub(super) const fn new(state: State, epoch: u64) -> Self {
        Self(state as u64 | (epoch << EPOCH_SHIFT))
    }

    pub(super) const fn state(self) -> State {
        match self.0 & ((1 << STATE_BITS) - 1) {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::ForcedOpen,
            _ => State::Observe,
        }
    }

    /// Rises with every transition, from 1.
    pub(super) const fn epoch(self) -> u64 {
        self.0 >> EPOCH_SHIFT
    }

    /// Whether calls pass freely and are judged.
    pub(super) const fn judges(self) -> bool {
        matches!(self.state(), State::Closed | State::Observe)
    }

    /// Transport failures in a row.
    pub(super) const fn row(self) -> u32 {
        (self.0 >> STATE_BITS) as u32 & LONGEST_ROW
    }

    pub(super) fn with_row(self, row: u32) -> Self {
        let mask = u64::from(LONGEST_ROW) << STATE_BITS;
        Self((self.0 & !mask) | (u64::from(row.min(LONGEST_ROW)) << STATE_BITS))
    }

    pub(super) const fn trials(self, which: Trials) -> u32 {
        let shift = STATE_BITS + TRIAL_BITS * which as u32;
        (self.0 >> shift) as u32 & ((1 << TRIAL_BITS) - 1)
    }

    pub(super) const fn more(self, which: Trials) -> Self {
        Self(self.0 + (1 << (STATE_BITS + TRIAL_BITS * which as u32)))
    }

    pub(super) const fn less(self, which: Trials) -> Self {
        Self(self.0 - (1 << (STATE_BITS + TRIAL_BITS * which as u32)))
    }
}

/// A [`Word`] that threads share.
#[derive(Debug)]
pub(super) struct AtomicWord(AtomicU64);

impl AtomicWord {
    pub(super) fn new(word: Word) -> Self {
        Self(AtomicU64::new(word.0))
    }

    pub(super) fn load(&self) -> Word {
        Word(self.0.load(Ordering::Acquire))
    }

    /// For transitions only, which exclude each other by a lock. Updates that raced with it fail, for they compare.
    pub(super) fn store(&self, word: Word) {
        self.0.store(word.0, Ordering::Release);
    }

    /// Replaces the word by what `change` makes of it, unless that is `None`; the new word.
    pub(super) fn update(&self, mut change: impl FnMut(Word) -> Option<Word>) -> Option<Word> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let next = change(Word(word))?;
            match self
                .0
                .compare_exchange_weak(word, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(next),
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_touch_each_other() {
        let epoch = (1 << 41) - 1;
        for state in [
            State::Closed,
            State::Open,
            State::HalfOpen,
            State::ForcedOpen,
            State::Observe,
        ] {
            let word = Word::new(state, epoch).with_row(LONGEST_ROW);
            assert_eq!(
                (word.state(), word.epoch(), word.row()),
                (state, epoch, LONGEST_ROW)
            );
            assert_eq!(word.with_row(u32::MAX).row(), LONGEST_ROW);
            assert_eq!(word.with_row(0), Word::new(state, epoch));
        }
        let mut word = Word::new(State::HalfOpen, 7);
        for _ in 0..60 {
            word = word
                .more(Trials::Admitted)
                .more(Trials::Succeeded)
                .more(Trials::Slow);
        }
        let counts = [Trials::Admitted, Trials::Succeeded, Trials::Slow].map(|t| word.trials(t));
        assert_eq!(counts, [60, 60, 60]);
        let word = word.less(Trials::Succeeded);
        let counts = [Trials::Admitted, Trials::Succeeded, Trials::Slow].map(|t| word.trials(t));
        assert_eq!(counts, [60, 59, 60]);
        assert_eq!((word.state(), word.epoch()), (State::HalfOpen, 7));
    }
}
