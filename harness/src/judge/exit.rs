//! Exit codes: one table, read by the command line, its help and the documentation.

use super::{Conclusion, Verdict};

/// What the program ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Everything expected holds.
    Pass = 0,
    /// An expectation does not hold.
    Failed = 1,
    /// The scenario, or the command line, is not valid; nothing was started.
    InvalidScenario = 2,
    /// The system did not become ready.
    NotReady = 3,
    /// A fault could not be undone, or something was left behind.
    UndoFailed = 4,
    /// The run says nothing: invalid, inconclusive, or a fault was not exercised.
    Inconclusive = 5,
    /// A stop condition became true.
    Aborted = 6,
    /// What the scenario needs is missing on this machine.
    Skipped = 7,
    /// A record, a report or other output could not be written; everything expected holds.
    Unsaved = 8,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

/// Every code with its meaning, in order.
pub const EXITS: [(Exit, &str); 10] = [
    (Exit::Pass, "everything expected holds"),
    (Exit::Failed, "an expectation does not hold"),
    (
        Exit::InvalidScenario,
        "the scenario or the command line is not valid; nothing was started",
    ),
    (Exit::NotReady, "the system did not become ready"),
    (
        Exit::UndoFailed,
        "a fault could not be undone, or something was left behind",
    ),
    (
        Exit::Inconclusive,
        "the run is invalid or inconclusive, or a fault was not exercised",
    ),
    (Exit::Aborted, "a stop condition became true"),
    (
        Exit::Skipped,
        "what the scenario needs is missing on this machine",
    ),
    (
        Exit::Unsaved,
        "everything expected holds, but a record, a report or other output could not be written",
    ),
    (Exit::Interrupted, "interrupted"),
];

impl Verdict {
    /// What a program that ran this ends with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::of(self.conclusion)
    }
}

impl Exit {
    /// The code of a verdict.
    #[must_use]
    pub fn of(conclusion: Conclusion) -> Self {
        match conclusion {
            Conclusion::Pass => Self::Pass,
            Conclusion::Fail => Self::Failed,
            Conclusion::NotExercised | Conclusion::Inconclusive | Conclusion::Invalid => {
                Self::Inconclusive
            }
            Conclusion::Aborted => Self::Aborted,
            Conclusion::Interrupted => Self::Interrupted,
            Conclusion::NotReady => Self::NotReady,
            Conclusion::Skipped => Self::Skipped,
            Conclusion::UndoFailed => Self::UndoFailed,
        }
    }

    /// The same where something could not be saved besides: that is told of what would otherwise pass, and hides nothing
    /// worse.
    #[must_use]
    pub fn or_unsaved(self) -> Self {
        match self {
            Self::Pass | Self::Skipped => Self::Unsaved,
            worse => worse,
        }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        EXITS
            .iter()
            .find(|(exit, _)| *exit == self)
            .map_or("", |(_, meaning)| meaning)
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
