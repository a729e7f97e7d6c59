//! Exit codes: one table, the same for every verb. CI scripts rest on it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was expected holds.
    Pass = 0,
    /// An expectation does not hold.
    Fail = 1,
    /// The scenario, or the command line, cannot be understood.
    Invalid = 2,
    /// The system did not become ready.
    NotReady = 3,
    /// Something could not be undone, or was left behind.
    UndoFailed = 4,
    /// The run says nothing: the generator fell behind, or a fault touched nothing.
    Inconclusive = 5,
    /// A stop condition became true.
    Aborted = 6,
    /// Something the scenario needs is missing on this machine.
    Skipped = 7,
    /// Ctrl-C or SIGTERM; everything was undone.
    Interrupted = 130,
}

impl Exit {
    /// All of them with what they mean.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Pass, "pass"),
        (Self::Fail, "an expectation failed"),
        (Self::Invalid, "the scenario or the command line is invalid"),
        (Self::NotReady, "the system did not become ready"),
        (
            Self::UndoFailed,
            "an undo failed, or something was left behind",
        ),
        (
            Self::Inconclusive,
            "the run is invalid, or a fault was not exercised",
        ),
        (Self::Aborted, "a stop condition ended the run"),
        (Self::Skipped, "skipped: something it needs is missing here"),
        (Self::Interrupted, "interrupted; everything was undone"),
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The table for `--help`.
    pub(crate) fn table() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in Self::ALL {
            text.push_str(&format!("  {:>3}  {meaning}\n", exit.code()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
