//! Why there is no answer: to an expectation, to whether a system recovered, or to a run as a whole. Ids and numbers; the
//! sentences are [`crate::report`]'s.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Offset;

/// Why there was nothing to look at, or why what was seen is no answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// The steady state was not reached.
    SteadyNotReached,
    /// The steady window did not hold once all its requests were answered.
    SteadyBroken,
    /// No load was driven.
    NoLoad,
    /// Load ended before the stage did.
    StageCutShort,
    /// The fault was never injected.
    NeverInjected,
    /// Injecting it failed.
    InjectFailed {
        /// Into what.
        target: String,
        /// Why.
        error: String,
    },
    /// The undo of the fault was not proved.
    UndoNotProved {
        /// What went wrong, where that is known.
        error: Option<String>,
    },
    /// The fault was in place and touched nothing.
    TouchedNothing,
    /// A node ended by itself.
    NodeEnded {
        /// How, the first time.
        how: String,
        /// How often.
        times: u64,
    },
    /// No system has such a probe.
    NoProbe {
        /// Its name.
        name: String,
    },
    /// The probe has no such change.
    NoChange {
        /// The word for it.
        word: String,
        /// What changes: `a breaker`.
        thing: String,
    },
    /// The probe is about a change under a fault, and there is none here.
    NoFault {
        /// What changes: `a breaker`.
        thing: String,
    },
    /// The probe is compared in another form.
    OtherForm {
        /// Its name.
        name: String,
    },
    /// The run did not get to reading accepted work back.
    WorkNotRead,
    /// The fault has no proved end.
    NoEnd,
    /// The scenario does not say what steady is.
    NoSteady,
    /// Load ended less than one steady window after the fault.
    LoadEnded,
    /// Not enough samples after the fault to say that it was steady.
    FewSamples,
    /// It was not steady again, so it could not stay so.
    NotSteadyAgain,
    /// Another fault was in the way before one steady window was over.
    WindowCutShort {
        /// That fault.
        by: Interference,
        /// Length of the window.
        window: Duration,
    },
    /// Steady again, too late; but another fault was in the way.
    LateBeside {
        /// That fault.
        by: Interference,
        /// How long it took.
        took: Duration,
    },
    /// Not steady yet; but another fault was in the way.
    NotYetBeside {
        /// That fault.
        by: Interference,
    },
    /// It did not stay steady; but another fault was in the way.
    BrokenBeside {
        /// That fault.
        by: Interference,
    },
}

/// Another fault that keeps what happened after one from being put down to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interference {
    /// The other fault.
    pub fault: String,
    /// Whether it was in place already; otherwise it began.
    pub already: bool,
    /// Time from the end of the one to the end of the other where that was in place already, to its start otherwise.
    pub after: Duration,
}

/// Why a run says nothing about the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalidity {
    /// The load generator fell behind.
    Behind {
        /// 99th percentile of how late requests were sent.
        lag: Duration,
        /// Allowed.
        limit: Duration,
    },
    /// The load generator did not say how late it was.
    LagUnknown,
    /// The harness itself stood still.
    Stalled {
        /// For so long.
        length: Duration,
        /// Until then.
        until: Offset,
    },
    /// The links ran out of file descriptors or ports.
    LinksExhausted {
        /// For so many connections.
        connections: u64,
    },
    /// The load generator ran out of file descriptors or ports.
    GeneratorExhausted {
        /// The load.
        load: String,
        /// Requests that were not sent because of that.
        requests: u64,
    },
    /// A load offered no request.
    NoRequests {
        /// The load.
        load: String,
    },
}

/// Why a run ended as it did, where its rows do not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// As the run said itself.
    Told(String),
    /// What was left behind.
    Leftovers(Vec<String>),
    /// A fault could not be undone.
    NotUndone {
        /// On what.
        target: String,
        /// Why.
        error: String,
    },
    /// The run says nothing; why is in its validity.
    Invalid,
    /// A fault touched nothing.
    Untouched {
        /// The fault.
        fault: String,
    },
    /// The scenario expects nothing.
    NothingExpected,
    /// A control, in which these had to fail.
    Control {
        /// The expectations, in the author's words.
        failed: Vec<String>,
    },
}
