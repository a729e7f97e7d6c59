//! Accepted work as a report shows it.

use super::Moment;
use crate::printable::Text;

/// Accepted work in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Definitely accepted.
    pub accepted: u64,
    /// Those of them that are unknown now.
    pub lost: u64,
    /// Submits without a definite answer.
    pub unknown: u64,
    /// Results that could be decoded.
    pub decoded: Option<u64>,
}

/// Accepted work, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Definitely accepted.
    pub accepted: u64,
    /// Accepted and finished.
    pub finished: u64,
    /// Accepted and unknown now.
    pub lost: u64,
    /// Accepted and failed.
    pub failed: u64,
    /// Accepted and not finished.
    pub open: u64,
    /// Definitely refused.
    pub refused: u64,
    /// Without a definite answer.
    pub unknown: u64,
    /// Some of those that something is wrong with.
    pub troubled: Vec<TroubledWork>,
}

/// A piece of work that something is wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubledWork {
    /// Its id.
    pub id: Option<Text>,
    /// When it was due to be submitted.
    pub due: Moment,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong with a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No definite answer to its submit.
    NoAnswer,
    /// Accepted and unknown now.
    Lost,
    /// It failed, and why.
    Failed(Text),
    /// Not finished, and its state.
    Open(Text),
    /// It could not be read back, and why.
    Unreadable(Text),
    /// A result is bad, and how.
    Result(Text),
}
