//! Mistakes that can be built in on purpose, to show that the checks would see them.

/// One mistake of the system under simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The store takes the result of a lease that has passed to another holder.
    NoFencing,
    /// The store says that a job is kept before it is.
    WriteBehind,
    /// Processors remember a picture by its time and forget whose it is.
    WrongFrames,
    /// Breakers that opened stay open for ten minutes.
    StuckBreaker,
    /// Gateways retry without a budget.
    EndlessRetries,
}

impl Flaw {
    /// Every mistake.
    pub const ALL: [Self; 5] = [
        Self::NoFencing,
        Self::WriteBehind,
        Self::WrongFrames,
        Self::StuckBreaker,
        Self::EndlessRetries,
    ];

    /// As on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFencing => "no-fencing",
            Self::WriteBehind => "write-behind",
            Self::WrongFrames => "wrong-frames",
            Self::StuckBreaker => "stuck-breaker",
            Self::EndlessRetries => "endless-retries",
        }
    }
}
