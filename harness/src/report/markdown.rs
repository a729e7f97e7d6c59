//! `summary.md`, for the page of a CI job or a comment: the answer, the tiles, the two tables.

use super::View;
use super::humanize::time;
use crate::judge::Status;

pub(super) fn text(view: &View) -> String {
    let mark = if view.passed() { "✅" } else { "❌" };
    let mut out = format!(
        "## {mark} {}: {}\n\n{}\n\n",
        view.conclusion,
        cell(&view.name),
        cell(&view.sentence)
    );
    out.push_str(&format!("{}\n\n", cell(&view.meta.join(" · "))));

    let labels: Vec<_> = view.tiles.iter().map(|tile| cell(tile.label)).collect();
    let values: Vec<_> = view
        .tiles
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

    out.push_str("### Expected\n\n| | Expectation | Observed | |\n| --- | --- | ---: | --- |\n");
    for row in &view.rows {
        let evidence: String = row
            .evidence
            .iter()
            .map(|fact| format!("<br>{}", cell(fact)))
            .collect();
        out.push_str(&format!(
            "| {} {} | `{}`, {} | {} | {}{evidence} |\n",
            sign(Some(row.outcome.status())),
            row.outcome,
            code(&row.text),
            cell(&row.scope),
            cell(&row.observed),
            cell(&row.detail)
        ));
    }
    if !view.faults.is_empty() {
        out.push_str("\n### Broken\n\n| Fault | When | Proof | Undone | First impact | Detected | Recovered | Hurt |\n");
        out.push_str("| --- | --- | --- | --- | ---: | ---: | ---: | ---: |\n");
        for fault in &view.faults {
            out.push_str(&format!(
                "| **{}**: {} | {} | {} | {} | {} | {} | {} | {} |\n",
                cell(&fault.name),
                cell(&fault.what),
                fault.when,
                cell(&fault.proof),
                cell(&fault.undo),
                fault.first_impact,
                fault.detected,
                fault.recovered,
                fault.hurt
            ));
        }
    }
    out.push_str("\n### Operations\n\n| Operation | Phase | n | ok | p50 | p95 | p99 | max |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for operation in &view.operations {
        for phase in &operation.phases {
            let q = |q| phase.response.quantile(q).map_or("-".to_owned(), time);
            out.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
                cell(&operation.name),
                cell(&phase.name),
                super::humanize::count(phase.counts.offered()),
                phase.ok(),
                q(0.5),
                q(0.95),
                q(0.99),
                phase.response.max().map_or("-".to_owned(), time)
            ));
        }
    }
    for warning in &view.warnings {
        out.push_str(&format!("\n> {}\n", cell(warning)));
    }
    out.push_str(&format!("\nRepeat: `{}`\n", view.repeat));
    out
}

/// Text between back-ticks in a cell, where nothing but they and the bar means anything.
fn code(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('`', "'")
        .replace(['\n', '\r'], " ")
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
            '|' => safe.push_str("\\|"),
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            _ => safe.push(c),
        }
    }
    safe
}
