//! What happens while a run goes on, in words: for the lines of a live run and the list in a report.

use std::time::Duration;

use clip_service::observe::Subject;

use crate::event::{EventKind, RunOutcome};
use crate::printable::Text;
use crate::report::humanize::{count, counted, seconds};

/// Who, and what.
type Told = Option<[Text; 2]>;

fn told(who: &str, what: String) -> Told {
    Some([Text::from(who), Text::from(what)])
}

/// What happened, as who and what; `None` for what is shown otherwise or not at all (samples of the host, counts).
#[must_use]
pub fn event_text(kind: &EventKind) -> Option<[Text; 2]> {
    match kind {
        EventKind::NodeStarted { .. }
        | EventKind::NodeReady { .. }
        | EventKind::NodeExited { .. }
        | EventKind::Transition(_)
        | EventKind::NodeLog { .. } => node(kind),
        EventKind::FaultInjected { .. }
        | EventKind::FaultReverted { .. }
        | EventKind::FaultFailed { .. }
        | EventKind::FaultRecovered { .. } => fault(kind),
        EventKind::RunStarted { .. }
        | EventKind::SystemReady
        | EventKind::LoadStarted
        | EventKind::SteadyReached { .. }
        | EventKind::LoadEnded
        | EventKind::Settling { .. }
        | EventKind::Settled { .. }
        | EventKind::Warning { .. }
        | EventKind::RunEnded { .. } => run(kind),
        EventKind::HarnessStalled { .. } | EventKind::LinksExhausted { .. } => run(kind),
        EventKind::Generator { .. } | EventKind::Host { .. } | EventKind::ProbeCounts { .. } => {
            None
        }
    }
}

/// What happened to a node, or was said by one.
fn node(kind: &EventKind) -> Told {
    match kind {
        EventKind::NodeStarted {
            node,
            incarnation,
            pid,
        } => {
            let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
            match incarnation {
                0 | 1 => told(node, format!("started{pid}")),
                again => told(node, format!("started again, {again}{pid}")),
            }
        }
        EventKind::NodeReady { node, took_us } => told(
            node,
            format!("ready after {}", seconds(Duration::from_micros(*took_us))),
        ),
        EventKind::NodeExited {
            node,
            how,
            expected,
            ..
        } => {
            let surprise = if *expected { "" } else { ", unexpectedly" };
            told(node, format!("{how}{surprise}"))
        }
        EventKind::Transition(change) => {
            let kind = match change.subject {
                Subject::Breaker => "breaker ",
                Subject::Storage => "storage of ",
                Subject::Instance | Subject::Scale => "",
                Subject::Job => return None,
            };
            let reason = match change.reason.as_str() {
                "" => String::new(),
                reason => format!(", {reason}"),
            };
            told(
                &change.source,
                format!(
                    "{kind}{}: {} -> {}{reason}",
                    change.name, change.from, change.to
                ),
            )
        }
        EventKind::NodeLog { node, line } => told(node, line.clone()),
        _ => None,
    }
}

/// What happened to a fault.
fn fault(kind: &EventKind) -> Told {
    match kind {
        EventKind::FaultInjected { fault, detail, .. } => told(fault, detail.clone()),
        EventKind::FaultReverted {
            fault,
            target,
            proof,
            undo,
            ..
        } => {
            let proof = proof.as_deref().unwrap_or("touched nothing");
            told(fault, format!("over on {target}: {proof}; {undo}"))
        }
        EventKind::FaultFailed {
            fault,
            target,
            error,
            undo,
        } => {
            let what = if *undo {
                "could not be undone"
            } else {
                "could not be injected"
            };
            told(fault, format!("{what} on {target}: {error}"))
        }
        EventKind::FaultRecovered { fault, .. } => {
            told(fault, "recovered: steady again".to_owned())
        }
        _ => None,
    }
}

/// Where the run is.
fn run(kind: &EventKind) -> Told {
    match kind {
        EventKind::RunStarted { run_id, .. } => told("run", format!("started, {run_id}")),
        EventKind::SystemReady => told("system", "ready".to_owned()),
        EventKind::LoadStarted => told("load", "started".to_owned()),
        EventKind::SteadyReached { .. } => told("steady", "reached".to_owned()),
        EventKind::LoadEnded => told("load", "ended".to_owned()),
        EventKind::Settling { open, accepted } => told(
            "ledger",
            format!(
                "waiting for {} of {} accepted",
                count(*open),
                count(*accepted)
            ),
        ),
        EventKind::Settled { took_us } => told(
            "ledger",
            format!("settled after {}", seconds(Duration::from_micros(*took_us))),
        ),
        EventKind::Warning { message } => told("warning", message.clone()),
        EventKind::HarnessStalled { for_us } => told(
            "harness",
            format!(
                "stood still for {}",
                seconds(Duration::from_micros(*for_us))
            ),
        ),
        EventKind::LinksExhausted { connections } => told(
            "harness",
            format!(
                "links ran out of file descriptors or ports for {}",
                counted(*connections, "connection")
            ),
        ),
        EventKind::RunEnded { outcome } => told(
            "run",
            match outcome {
                RunOutcome::Completed => "completed".to_owned(),
                RunOutcome::Aborted { reason } => format!("aborted: {reason}"),
                RunOutcome::Interrupted => "interrupted".to_owned(),
                RunOutcome::NotReady { reason } => format!("not ready: {reason}"),
                RunOutcome::Skipped { reason } => format!("skipped: {reason}"),
                RunOutcome::Broken { reason } => format!("broken: {reason}"),
                RunOutcome::UndoFailed { leftovers } => {
                    format!("left behind: {}", leftovers.join("; "))
                }
            },
        ),
        _ => None,
    }
}
