//! The answer in a sentence or two that need no table beside them, put together from the report's own facts.

use super::faults::{deed, factor};
use crate::judge::{Conclusion, Status};
use crate::report::humanize::{capital, count, counted, list, ratio, seconds};
use crate::report::model::{Expectation, Found, Recovery, Report};

/// What is to be said of a run.
#[must_use]
pub fn sentence(report: &Report) -> String {
    let reason = || {
        let reason = super::reason(report);
        reason.map_or(String::new(), |reason| format!(": {reason}"))
    };
    match report.conclusion {
        Conclusion::Pass => {
            let control = super::reason(report).map_or(String::new(), |reason| {
                format!(" This is {reason}, and did.")
            });
            format!("{}{}{control}", broke(report), held(report))
        }
        Conclusion::Fail => format!("{}{}", broke(report), failed(report)),
        Conclusion::NotExercised => format!(
            "This shows nothing, because what was to be tried was not{}.",
            reason()
        ),
        Conclusion::Inconclusive => match super::reason(report) {
            Some(reason) => format!("This shows nothing: {reason}."),
            None => format!(
                "{}Nothing is known to have gone wrong, but {}.",
                broke(report),
                open(report)
            ),
        },
        Conclusion::Invalid => format!("The run says nothing about the system{}.", reason()),
        Conclusion::Aborted => format!(
            "The run was stopped early by its own condition{}.",
            reason()
        ),
        Conclusion::Interrupted => {
            let mut hit = report
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
        Conclusion::Skipped => format!("Nothing was started{}.", reason()),
        Conclusion::UndoFailed => format!("Something was left broken or behind{}.", reason()),
    }
}

/// `Processor-2 was killed and gateway-1->processor-1 grew slow under load. `
fn broke(report: &Report) -> String {
    let deeds: Vec<_> = report
        .faults
        .iter()
        .filter(|fault| fault.exercised)
        .map(deed)
        .collect();
    if deeds.is_empty() {
        return String::new();
    }
    format!("{} under load. ", capital(&list(&deeds)))
}

fn requests(report: &Report) -> String {
    let counts = report.headline.counts;
    match counts.bad() {
        0 => format!("none of {} failed", counted(counts.offered(), "request")),
        bad => format!(
            "{} of {} failed",
            count(bad),
            counted(counts.offered(), "request")
        ),
    }
}

fn work(report: &Report) -> Option<String> {
    let work = report.headline.work?;
    let (accepted, lost) = (work.accepted, work.lost);
    (accepted > 0).then(|| match lost {
        0 => format!(
            "none of {} was lost",
            counted(accepted, &format!("accepted {}", report.words.work))
        ),
        lost => format!(
            "{} of {} {} lost",
            count(lost),
            counted(accepted, &format!("accepted {}", report.words.work)),
            if lost == 1 { "was" } else { "were" }
        ),
    })
}

fn recovery(report: &Report) -> Option<String> {
    let (recovered, fault) = report.headline.slowest_recovery.as_ref()?;
    match recovered {
        Recovery::After(after) if after.is_zero() => {
            Some("the system was steady as soon as each fault was over".to_owned())
        }
        Recovery::After(after) => Some(format!(
            "the system was steady again {} later at the latest",
            seconds(*after)
        )),
        Recovery::Never => Some(format!(
            "the system did not become steady again after {fault}"
        )),
        Recovery::Unknown(_) => None,
    }
}

fn held(report: &Report) -> String {
    let facts = [
        Some(requests(report)),
        slowed(report),
        work(report),
        recovery(report),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    format!("{}.", capital(&list(&facts)))
}

/// What the fault that slowed most did to latency.
fn slowed(report: &Report) -> Option<String> {
    let each = report
        .faults
        .iter()
        .filter_map(|fault| fault.slowed.as_ref());
    let slowed = each.max_by(|a, b| a.factor.total_cmp(&b.factor))?;
    Some(format!(
        "{} of `{}` took {} times as long as usual",
        counted(slowed.requests, "request"),
        slowed.load,
        factor(slowed)
    ))
}

fn failed(report: &Report) -> String {
    let failing = report
        .expectations
        .iter()
        .filter(|one| one.status() == Status::Fail)
        .count() as u64;
    let headline = &report.headline;
    let mut facts = vec![requests(report)];
    if headline.counts.bad() > 0
        && let Some(share) = headline.counts.success()
    {
        facts[0] = format!("{} (availability {})", facts[0], ratio(share));
    }
    if !headline.longest_outage.is_zero() {
        facts.push(format!(
            "the longest outage took {}",
            seconds(headline.longest_outage)
        ));
    }
    facts.extend(slowed(report));
    facts.extend(work(report));
    facts.extend(recovery(report).filter(|_| {
        let late = |one: &Expectation| matches!(one.found, Found::Recovery { .. });
        report
            .expectations
            .iter()
            .any(|one| one.status() == Status::Fail && late(one))
    }));
    let verb = if failing == 1 { "does" } else { "do" };
    format!(
        "{}. {} of {} {verb} not hold.",
        capital(&list(&facts)),
        count(failing),
        counted(report.expectations.len() as u64, "expectation")
    )
}

fn open(report: &Report) -> String {
    let open: Vec<_> = report
        .expectations
        .iter()
        .filter(|one| one.status() != Status::Pass)
        .collect();
    match open.as_slice() {
        [one] => format!("`{}` could not be decided ({})", one.text, one.outcome),
        many => format!(
            "{} of {} could not be decided",
            many.len(),
            counted(report.expectations.len() as u64, "expectation")
        ),
    }
}
