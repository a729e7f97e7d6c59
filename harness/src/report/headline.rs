//! The answer in a sentence or two that need no table beside them, put together from the verdict's own facts.

use crate::judge::{Conclusion, FaultRow, Recovered, Row, Status, Verdict};
use crate::plan::{FaultSpec, Plan};

use super::humanize::{capital, count, counted, list, ratio, seconds};

/// What is to be said of a run.
pub(super) fn sentence(plan: &Plan, verdict: &Verdict) -> String {
    let reason = || {
        verdict
            .reason
            .clone()
            .map_or(String::new(), |reason| format!(": {reason}"))
    };
    match verdict.conclusion {
        Conclusion::Pass => {
            let control = verdict.reason.as_ref().map_or(String::new(), |reason| {
                format!(" This is {reason}, and did.")
            });
            format!("{}{}{control}", broke(plan, verdict), held(verdict))
        }
        Conclusion::Fail => format!("{}{}", broke(plan, verdict), failed(verdict)),
        Conclusion::NotExercised => format!(
            "This shows nothing, because what was to be tried was not{}.",
            reason()
        ),
        Conclusion::Inconclusive => match &verdict.reason {
            Some(reason) => format!("This shows nothing: {reason}."),
            None => format!(
                "{}Nothing is known to have gone wrong, but {}.",
                broke(plan, verdict),
                open(verdict)
            ),
        },
        Conclusion::Invalid => format!("The run says nothing about the system{}.", reason()),
        Conclusion::Aborted => format!(
            "The run was stopped early by its own condition{}.",
            reason()
        ),
        Conclusion::Interrupted => {
            let mut hit = verdict
                .faults
                .iter()
                .filter(|fault| fault.injected.is_some());
            let undone = match hit.all(|fault| fault.reverted.is_some()) {
                true => "nothing is left broken",
                false => "that everything was undone is not proved",
            };
            format!("The run was interrupted; {undone}.")
        }
        Conclusion::NotReady => format!("The system did not start{}.", reason()),
        Conclusion::UndoFailed => format!("Something was left broken or behind{}.", reason()),
    }
}

/// `Processor-2 was killed and gateway-1->processor-1 grew slow under load. `
fn broke(plan: &Plan, verdict: &Verdict) -> String {
    let deeds: Vec<_> = verdict
        .faults
        .iter()
        .filter(|fault| fault.exercised)
        .map(|fault| deed(plan, fault))
        .collect();
    if deeds.is_empty() {
        return String::new();
    }
    format!("{} under load. ", capital(&list(&deeds)))
}

fn deed(plan: &Plan, fault: &FaultRow) -> String {
    let targets = list(&fault.targets);
    let were = if fault.targets.len() == 1 {
        "was"
    } else {
        "were"
    };
    let planned = plan
        .faults
        .iter()
        .find(|planned| planned.name == fault.fault);
    match planned.map(|planned| &planned.inject) {
        Some(FaultSpec::Kill) => format!("{targets} {were} killed"),
        Some(FaultSpec::Pause) => format!("{targets} {were} frozen"),
        Some(FaultSpec::Latency(_)) => format!("the link {} grew slow", arrow(&targets)),
        Some(FaultSpec::Down) => format!("the link {} {were} cut", arrow(&targets)),
        Some(FaultSpec::Status(answer)) => format!(
            "the link {} answered {} itself",
            arrow(&targets),
            answer.code
        ),
        Some(FaultSpec::Slow(slow)) => {
            format!("{targets} {were} slowed {} times", slow.factor)
        }
        Some(FaultSpec::Restart(_)) => format!("{targets} {were} restarted"),
        Some(FaultSpec::RollingRestart(_)) => {
            format!("{targets} {were} restarted one after the other")
        }
        None => format!("{targets} {were} hit by {}", fault.fault),
    }
}

/// A link in prose.
fn arrow(link: &str) -> String {
    link.replace("->", "→")
}

fn requests(verdict: &Verdict) -> String {
    let counts = verdict.headline.availability.counts;
    match counts.bad() {
        0 => format!("none of {} failed", counted(counts.offered(), "request")),
        bad => format!(
            "{} of {} failed",
            count(bad),
            counted(counts.offered(), "request")
        ),
    }
}

fn jobs(verdict: &Verdict) -> Option<String> {
    let (accepted, lost) = (verdict.headline.accepted?, verdict.headline.lost?);
    (accepted > 0).then(|| match lost {
        0 => format!("none of {} was lost", counted(accepted, "accepted job")),
        lost => format!(
            "{} of {} {} lost",
            count(lost),
            counted(accepted, "accepted job"),
            if lost == 1 { "was" } else { "were" }
        ),
    })
}

fn recovery(verdict: &Verdict) -> Option<String> {
    let (recovered, fault) = verdict.headline.slowest_recovery.as_ref()?;
    match recovered {
        Recovered::After(after) if after.is_zero() => {
            Some("the system was steady as soon as each fault was over".to_owned())
        }
        Recovered::After(after) => Some(format!(
            "the system was steady again {} later at the latest",
            seconds(*after)
        )),
        Recovered::Never => Some(format!(
            "the system did not become steady again after {fault}"
        )),
        Recovered::Unknown(_) => None,
    }
}

fn held(verdict: &Verdict) -> String {
    let facts = [Some(requests(verdict)), jobs(verdict), recovery(verdict)];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    format!("{}.", capital(&list(&facts)))
}

fn failed(verdict: &Verdict) -> String {
    let failing = verdict
        .rows
        .iter()
        .filter(|row| row.status() == Status::Fail)
        .count() as u64;
    let availability = &verdict.headline.availability;
    let mut facts = vec![requests(verdict)];
    if availability.counts.bad() > 0
        && let Some(share) = availability.counts.success()
    {
        facts[0] = format!("{} (availability {})", facts[0], ratio(share));
    }
    if !availability.longest_outage.is_zero() {
        facts.push(format!(
            "the longest outage took {}",
            seconds(availability.longest_outage)
        ));
    }
    facts.extend(jobs(verdict));
    facts.extend(recovery(verdict).filter(|_| {
        let late = |row: &Row| matches!(row.finding, crate::judge::Finding::Recovery { .. });
        verdict
            .rows
            .iter()
            .any(|row| row.status() == Status::Fail && late(row))
    }));
    let verb = if failing == 1 { "does" } else { "do" };
    format!(
        "{}. {} of {} {verb} not hold.",
        capital(&list(&facts)),
        count(failing),
        counted(verdict.rows.len() as u64, "expectation")
    )
}

fn open(verdict: &Verdict) -> String {
    let open: Vec<_> = verdict
        .rows
        .iter()
        .filter(|row| row.status() != Status::Pass)
        .collect();
    match open.as_slice() {
        [one] => format!("`{}` could not be decided ({})", one.text, one.outcome),
        many => format!(
            "{} of {} could not be decided",
            many.len(),
            counted(verdict.rows.len() as u64, "expectation")
        ),
    }
}
