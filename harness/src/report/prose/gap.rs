//! Why there is no answer, in words.

use std::time::Duration;

use clip_service::units::HumanDuration;

use crate::judge::{Gap, Interference, Invalidity, Reason};
use crate::printable::printable;
use crate::report::model::Report;

/// Why there was nothing to look at, or why what was seen is no answer.
#[must_use]
pub fn gap(why: &Gap) -> String {
    let text = match why {
        Gap::SteadyNotReached => "the steady state was not reached".to_owned(),
        Gap::SteadyBroken => {
            "the steady window did not hold once all its requests were answered".to_owned()
        }
        Gap::NoLoad => "no load was driven".to_owned(),
        Gap::StageCutShort => "load ended before the stage did".to_owned(),
        Gap::NeverInjected => "the fault was never injected".to_owned(),
        Gap::InjectFailed { target, error } => format!("not injected into {target}: {error}"),
        Gap::UndoNotProved { error } => match error {
            Some(error) => error.clone(),
            None => "its undo was not proved".to_owned(),
        },
        Gap::TouchedNothing => "it touched nothing while it was in place".to_owned(),
        Gap::NodeEnded { how, times } => match times {
            1 => how.clone(),
            many => format!("{how} (the first of {many} times)"),
        },
        Gap::NoProbe { name } => format!("no system has a probe `{name}`"),
        Gap::NoChange { word, thing } => format!("`{word}` is not a change of {thing}"),
        Gap::NoFault { thing } => format!("{thing} is expected to change under a fault"),
        Gap::OtherForm { name } => format!("`{name}` is compared in another form"),
        Gap::WorkNotRead => "the run did not get to reading accepted work back".to_owned(),
        Gap::NoEnd => "the fault has no proved end".to_owned(),
        Gap::NoSteady => "the scenario does not say what steady is".to_owned(),
        Gap::LoadEnded => "load ended less than one steady window after the fault".to_owned(),
        Gap::FewSamples => {
            "not enough samples after the fault to say that it was steady".to_owned()
        }
        Gap::NotSteadyAgain => "it was not steady again".to_owned(),
        Gap::WindowCutShort { by, window } => format!(
            "{}, before one steady window of {} was over",
            interference(by),
            HumanDuration(*window)
        ),
        Gap::LateBeside { by, took } => format!(
            "steady again {} after the fault, but {}",
            tenths(*took),
            interference(by)
        ),
        Gap::NotYetBeside { by } => format!("not steady yet, but {}", interference(by)),
        Gap::BrokenBeside { by } => format!("it did not stay steady, but {}", interference(by)),
    };
    printable(&text).into_owned()
}

fn interference(other: &Interference) -> String {
    let (fault, after) = (&other.fault, tenths(other.after));
    match other.already {
        true => format!("`{fault}` was in place until {after} after it"),
        false => format!("`{fault}` began {after} after it"),
    }
}

fn tenths(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Why a run says nothing about the system.
#[must_use]
pub fn invalidity(why: &Invalidity) -> String {
    const REMEDY: &str = "raise `ulimit -n`, or lower the rate";
    let text = match why {
        Invalidity::Behind { lag, limit } => format!(
            "the load generator fell behind: 99 % of requests were sent at most {:.0} ms late, {:.0} ms are allowed",
            lag.as_secs_f64() * 1e3,
            limit.as_secs_f64() * 1e3
        ),
        Invalidity::LagUnknown => "the load generator did not say how late it was".to_owned(),
        Invalidity::Stalled { length, until } => format!(
            "the harness itself stood still for {} until second {:.1} of the run (stopped, suspended, or starved of CPU time)",
            tenths(*length),
            until.seconds()
        ),
        Invalidity::LinksExhausted { connections } => format!(
            "the links ran out of file descriptors or ports for {connections} connections; {REMEDY}"
        ),
        Invalidity::GeneratorExhausted { load, requests } => format!(
            "the load generator ran out of file descriptors or ports: {requests} requests of `{load}` were not sent because of that; {REMEDY}"
        ),
        Invalidity::NoRequests { load } => format!("load `{load}` offered no request"),
    };
    printable(&text).into_owned()
}

/// Why a run ended as it did, where its expectations do not say it.
#[must_use]
pub fn reason(report: &Report) -> Option<String> {
    let text = match report.reason.as_ref()? {
        Reason::Told(text) => text.clone(),
        Reason::Leftovers(left) => left.join("; "),
        Reason::NotUndone { target, error } => format!("{target}: {error}"),
        Reason::Invalid => {
            let problems = report.validity.problems.iter().map(invalidity);
            problems.collect::<Vec<_>>().join("; ")
        }
        Reason::Untouched { fault } => format!("{fault} touched nothing"),
        Reason::NothingExpected => "the scenario expects nothing".to_owned(),
        Reason::Control { failed } => {
            let failed: Vec<_> = failed.iter().map(|text| format!("`{text}`")).collect();
            format!("a control, in which {} had to fail", failed.join(", "))
        }
    };
    Some(printable(&text).into_owned())
}
