//! `summary.md`, for the page of a CI job or a comment: the answer, the tiles, the two tables.

use super::humanize::{count, share, time};
use super::model::{Expectation, Fault, Report};
use super::prose::{self, FaultWords};
use crate::judge::Status;

pub(super) fn text(report: &Report) -> String {
    let mark = if report.passed() { "✅" } else { "❌" };
    let mut out = format!(
        "## {mark} {}: {}\n\n{}\n\n{}\n\n",
        report.conclusion,
        cell(&report.name),
        cell(&prose::sentence(report)),
        cell(&prose::meta(report).join(" · "))
    );
    tiles(&mut out, report);
    out.push_str("### Expected\n\n| | Expectation | Observed | |\n| --- | --- | ---: | --- |\n");
    for expectation in report.failing_first() {
        expected(&mut out, report, expectation);
    }
    if !report.faults.is_empty() {
        out.push_str("\n### Broken\n\n| Fault | When | Proof | Undone | First impact | Detected | Recovered | Hurt |\n");
        out.push_str("| --- | --- | --- | --- | ---: | ---: | ---: | ---: |\n");
        for fault in &report.faults {
            broken(&mut out, fault);
        }
    }
    operations(&mut out, report);
    for warning in &report.warnings {
        out.push_str(&format!("\n> {}\n", cell(&prose::warning(warning))));
    }
    let repeat = prose::repeat(report).replace('`', "'");
    out.push_str(&format!("\nRepeat: `{repeat}`\n"));
    out
}

fn tiles(out: &mut String, report: &Report) {
    let tiles = prose::tiles(report);
    let labels: Vec<_> = tiles.iter().map(|tile| cell(&tile.label)).collect();
    let values: Vec<_> = tiles
        .iter()
        .map(|tile| {
            format!(
                "{} **{}**<br>{}",
                sign(tile.status),
                cell(&tile.value),
                cell(&tile.note)
            )
        })
        .collect();
    out.push_str(&format!(
        "| {} |\n|{}\n| {} |\n\n",
        labels.join(" | "),
        " --- |".repeat(labels.len()),
        values.join(" | ")
    ));
}

fn expected(out: &mut String, report: &Report, expectation: &Expectation) {
    let facts = expectation.evidence.iter().map(prose::fact);
    let evidence: String = facts.map(|fact| format!("<br>{}", cell(&fact))).collect();
    out.push_str(&format!(
        "| {} {} | `{}`, {} | {} | {}{evidence} |\n",
        sign(Some(expectation.status())),
        expectation.outcome,
        code(&prose::what(expectation)),
        cell(&prose::scope(&expectation.scope)),
        cell(&prose::observed(&expectation.found)),
        cell(&prose::detail(report, &expectation.found))
    ));
}

fn broken(out: &mut String, fault: &Fault) {
    let words = FaultWords::of(fault);
    out.push_str(&format!(
        "| **{}**: {} | {} | {} | {} | {} | {} | {} | {} |\n",
        cell(&fault.name),
        cell(&words.what),
        words.when,
        cell(&words.proof),
        cell(&words.undo),
        words.impact(),
        words.detected,
        words.recovered,
        words.hurt
    ));
}

fn operations(out: &mut String, report: &Report) {
    out.push_str("\n### Operations\n\n| Operation | Phase | n | ok | p50 | p95 | p99 | max |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for operation in &report.operations {
        for phase in &operation.phases {
            let q = |q| phase.response.quantile(q).map_or("-".to_owned(), time);
            out.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
                cell(&prose::operation(operation)),
                cell(&prose::phase(&phase.kind)),
                count(phase.counts.offered()),
                share(phase.counts),
                q(0.5),
                q(0.95),
                q(0.99),
                phase.response.max().map_or("-".to_owned(), time)
            ));
        }
    }
}

/// Text between back-ticks in a cell, where nothing but they and the bar means anything.
fn code(text: &str) -> String {
    text.replace('|', "\\|").replace('`', "'")
}

fn sign(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Pass) => "✅",
        Some(Status::Inconclusive) => "❔",
        Some(Status::Fail) => "❌",
        None => "",
    }
}

/// Text that neither ends a cell nor starts markup.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '[' | ']' => safe.extend(['\\', c]),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            _ => safe.push(c),
        }
    }
    safe
}
