//! Was it good enough: a record in, a verdict out. Pure: no clock, no files, the same answer every time.
//!
//! Every expectation of the plan becomes a [`Row`], in every scope that it is written for. **No data is never a pass**:
//! what cannot be answered is inconclusive, what a fault did not touch was not exercised, and a run whose load generator
//! fell behind says nothing about the system. The worst row wins.

use crate::event::RunOutcome;
use crate::record::{Record, Timeline};

mod evidence;
pub mod exit;
mod exits;
mod faults;
mod gap;
mod headline;
mod ledger;
mod probes;
mod recovery;
mod row;
mod rows;
mod slowdown;
#[cfg(test)]
pub(crate) mod testing;
mod validity;
mod verdict;

pub use exit::Exit;
pub use gap::{Gap, Interference, Invalidity, Reason};
pub use headline::seconds;
pub use row::{Evidence, Finding, LedgerFinding, Ratio, Recovered, Row, RowOutcome, Scope, Status};
pub use slowdown::Slowdown;
pub use verdict::{Availability, Conclusion, FaultRow, Headline, SecondState, Validity, Verdict};

/// Judges a record.
#[must_use]
pub fn judge(record: &Record) -> Verdict {
    let timeline = Timeline::of(record);
    // A run that never began has answered nothing, and is not shown as if it had been asked.
    let began = !matches!(record.outcome, RunOutcome::Skipped { .. });
    let mut rows = match began {
        true => rows::rows(record, &timeline),
        false => Vec::new(),
    };
    evidence::add(record, &timeline, &mut rows);
    let exits = exits::rows(record);
    rows.extend(exits.iter().cloned());
    let faults = match began {
        true => faults::faults(record, &timeline),
        false => Vec::new(),
    };
    let headline = headline::headline(record, &timeline, &faults);
    let validity = validity::validity(record);
    let (conclusion, reason) = conclude(record, &rows, &exits, &faults, &validity);
    Verdict {
        conclusion,
        reason,
        rows,
        faults,
        headline,
        validity,
    }
}

/// How the run ended comes first, then whether it says anything, then what it says.
fn conclude(
    record: &Record,
    rows: &[Row],
    exits: &[Row],
    faults: &[FaultRow],
    validity: &Validity,
) -> (Conclusion, Option<Reason>) {
    let timeline = Timeline::of(record);
    let undo_error = timeline.faults.iter().flat_map(|fault| &fault.targets);
    let undo_error = undo_error
        .filter(|target| target.reverted.is_none())
        .find_map(|target| {
            Some(Reason::NotUndone {
                target: target.target.clone(),
                error: target.undo_error.clone()?,
            })
        });
    let told = |reason: &String| Some(Reason::Told(reason.clone()));
    match &record.outcome {
        // Leftovers matter to the next user of the machine, whatever else happened.
        RunOutcome::UndoFailed { leftovers } => {
            return (
                Conclusion::UndoFailed,
                Some(Reason::Leftovers(leftovers.clone())),
            );
        }
        _ if undo_error.is_some() => return (Conclusion::UndoFailed, undo_error),
        RunOutcome::Interrupted => return (Conclusion::Interrupted, None),
        RunOutcome::Skipped { reason } => return (Conclusion::Skipped, told(reason)),
        RunOutcome::NotReady { reason } => return (Conclusion::NotReady, told(reason)),
        RunOutcome::Aborted { reason } => return (Conclusion::Aborted, told(reason)),
        // That a node has ended is a fact, whatever became of the rest of the run because of it.
        RunOutcome::Broken { reason } if !exits.is_empty() => {
            return (Conclusion::Fail, told(reason));
        }
        RunOutcome::Completed if !exits.is_empty() => return (Conclusion::Fail, None),
        RunOutcome::Broken { reason } => return (Conclusion::Invalid, told(reason)),
        RunOutcome::Completed => {}
    }
    if !validity.problems.is_empty() {
        return (Conclusion::Invalid, Some(Reason::Invalid));
    }
    let worst = rows.iter().map(|row| row.outcome).max();
    let untouched = faults.iter().find(|fault| !fault.exercised);
    match (worst, untouched) {
        (Some(RowOutcome::Fail), _) => (Conclusion::Fail, None),
        (_, Some(fault)) => (
            Conclusion::NotExercised,
            Some(Reason::Untouched {
                fault: fault.fault.clone(),
            }),
        ),
        (Some(RowOutcome::NotExercised), None) => (Conclusion::NotExercised, None),
        (Some(RowOutcome::Inconclusive | RowOutcome::NotEnoughSamples), None) => {
            (Conclusion::Inconclusive, None)
        }
        (Some(RowOutcome::Pass), None) => (Conclusion::Pass, control(rows)),
        (None, None) => (Conclusion::Inconclusive, Some(Reason::NothingExpected)),
    }
}

/// What a control shows by passing.
fn control(rows: &[Row]) -> Option<Reason> {
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.must_fail)
        .map(|row| row.text.clone())
        .collect();
    (!failed.is_empty()).then_some(Reason::Control { failed })
}

#[cfg(test)]
mod tests;
