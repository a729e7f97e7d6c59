//! A run as a whole in words: where, when and how it ran, its requests and its accepted work.

use crate::plan::RuntimeKind;
use crate::report::humanize::{bytes, capital, clock, count, counted, moment, time};
use crate::report::model::{
    Ledger, Operation, PhaseKind, Repeat, Report, Request, System, Trouble, TroubledWork, Warning,
};

/// `process runtime · 1 gateway, 3 processors`.
pub fn system(system: &System) -> String {
    let runtime = match system.runtime {
        RuntimeKind::Embedded => "embedded runtime",
        RuntimeKind::Process => "process runtime",
    };
    let programs = ("other program", system.programs);
    let nodes = system.roles.iter().copied().chain([programs]);
    let parts: Vec<String> = nodes
        .filter(|(_, n)| *n > 0)
        .map(|(noun, n)| counted(n, noun))
        .collect();
    match parts.is_empty() {
        true => runtime.to_owned(),
        false => format!("{runtime} · {}", parts.join(", ")),
    }
}

/// Start of the run in UTC, RFC 3339.
pub fn started(report: &Report) -> Option<String> {
    let at = report.started?;
    Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// When, how long, seed, what, where.
pub fn meta(report: &Report) -> Vec<String> {
    let here = &report.environment;
    let started = report
        .started
        .map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
    let commit = here.commit.as_ref().map(|commit| {
        let short: String = commit.chars().take(7).collect();
        format!("commit {short}")
    });
    let machine = format!("{}, {}", counted(here.cores, "core"), bytes(here.memory));
    let always = [
        time(report.took),
        format!("seed {}", report.seed),
        system(&report.system),
    ];
    let all = started.into_iter().chain(always).chain(commit);
    all.chain([machine]).collect()
}

/// Name and value of what a reader should know before comparing numbers.
pub fn environment(report: &Report) -> Vec<(&'static str, String)> {
    let here = &report.environment;
    let some = |text: &Option<crate::printable::Text>| {
        text.as_ref()
            .map_or("unknown".to_owned(), ToString::to_string)
    };
    let mut rows = vec![
        ("host", here.host.to_string()),
        ("system", format!("{}, kernel {}", here.os, here.kernel)),
        (
            "CPU",
            format!("{}, {}", some(&here.cpu), counted(here.cores, "core")),
        ),
        ("memory", bytes(here.memory)),
        (
            "program",
            format!("clip-harness {} ({} build)", here.version, here.profile),
        ),
        ("compiler", some(&here.rustc)),
        ("commit", some(&here.commit)),
        ("seed", report.seed.to_string()),
    ];
    if let Some(generator) = report.generator {
        rows.push((
            "load generator",
            format!(
                "late by {} at p99, {} at most; {} never sent",
                time(generator.lag_p99),
                time(generator.lag_max),
                count(generator.unsent)
            ),
        ));
    }
    rows
}

/// What the reader should know, in a line.
#[must_use]
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Message(message) => capital(message),
        Warning::Exit { node, at, how } => {
            format!("{node} ended by itself at {}: {how}", moment(*at))
        }
    }
}

/// The command that repeats the run.
#[must_use]
pub fn repeat(report: &Report) -> String {
    let Repeat::File(file) = &report.repeat else {
        return format!(
            "the scenario `{}` was built in code; its seed was {}",
            report.name, report.seed
        );
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let file = match file.chars().all(plain) {
        true => file.to_string(),
        false => format!("'{}'", file.replace('\'', r"'\''")),
    };
    format!("clip-harness run {file} --seed {}", report.seed)
}

/// The name of an operation: its load, and its step where there are several.
pub fn operation(operation: &Operation) -> String {
    stepped(&operation.load, operation.step)
}

fn stepped(load: &str, step: Option<usize>) -> String {
    match step {
        Some(step) => format!("{load} / {step}"),
        None => load.to_owned(),
    }
}

/// The name of a phase.
#[must_use]
pub fn phase(kind: &PhaseKind) -> String {
    match kind {
        PhaseKind::Whole => "whole run".to_owned(),
        PhaseKind::Steady => "steady".to_owned(),
        PhaseKind::Stage(name) | PhaseKind::Fault(name) => name.to_string(),
        PhaseKind::Recovery(fault) => format!("recovery from {fault}"),
        PhaseKind::Rest => "rest".to_owned(),
    }
}

/// What a request was of.
pub fn request(request: &Request) -> String {
    stepped(&request.load, request.step)
}

/// How a request ended.
pub fn outcome(request: &Request) -> String {
    match (&request.failure, request.status) {
        (Some(class), _) => class.to_string(),
        (None, Some(status)) => format!("ok {status}"),
        (None, None) => "ok".to_owned(),
    }
}

/// Name and number of what became of accepted work.
pub fn counts(ledger: &Ledger) -> [(&'static str, u64); 7] {
    [
        ("accepted", ledger.accepted),
        ("finished", ledger.finished),
        ("lost", ledger.lost),
        ("failed", ledger.failed),
        ("not finished", ledger.open),
        ("refused", ledger.refused),
        ("without a definite answer", ledger.unknown),
    ]
}

/// A piece of work, and what is wrong with it.
pub fn trouble(work: &TroubledWork) -> [String; 2] {
    let id = work.id.as_ref().map_or_else(
        || format!("submitted {}", clock(work.due)),
        ToString::to_string,
    );
    let what = match &work.trouble {
        Trouble::NoAnswer => "no definite answer to the submit".to_owned(),
        Trouble::Lost => "lost".to_owned(),
        Trouble::Failed(reason) => format!("failed: {reason}"),
        Trouble::Open(state) => format!("still {state}"),
        Trouble::Unreadable(reason) => format!("could not be read back: {reason}"),
        Trouble::Result(trouble) => trouble.to_string(),
    };
    [id, what]
}
