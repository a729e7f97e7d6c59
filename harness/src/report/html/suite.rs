//! `index.html` of a suite: its runs with their tiles in small, failing first, then what was skipped and why.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::{class, frame, heading, sign};
use crate::judge::Status;
use crate::printable::printable;
use crate::report::humanize::{counted, time};
use crate::report::model::Report;
use crate::report::prose;

/// A run of a suite.
#[derive(Debug, Clone, Copy)]
pub struct SuiteRun<'a> {
    /// What its report says.
    pub report: &'a Report,
    /// Its page, relative to the index.
    pub page: &'a str,
}

/// A scenario that was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// What is missing.
    pub reason: String,
}

/// The page.
#[must_use]
pub fn index(title: &str, runs: &[SuiteRun<'_>], skipped: &[Skipped]) -> String {
    let title = printable(title);
    // A suite in which nothing ran has not passed.
    let statuses = runs.iter().map(|run| run.report.status());
    let worst = statuses.max().unwrap_or(Status::Inconclusive);
    let word = match worst {
        Status::Pass => "PASS",
        Status::Inconclusive => "INCONCLUSIVE",
        Status::Fail => "FAIL",
    };
    let mut sorted = runs.to_vec();
    sorted.sort_by_key(|run| Reverse(run.report.status()));
    let body = html! {
        header {
            (heading(worst, word, &title))
            p class="sentence" { (sentence(runs, skipped)) }
        }
        @for run in sorted { (entry(run)) }
        @if !skipped.is_empty() {
            section aria-labelledby="skipped" {
                h2 id="skipped" { "Skipped" }
                ul {
                    @for skipped in skipped {
                        li { strong { (printable(&skipped.name)) } ": " (printable(&skipped.reason)) }
                    }
                }
            }
        }
    };
    frame(&format!("{word}: {title}"), &body, &html! {})
}

/// `3 scenarios: 1 passed, 1 failed, 1 skipped.`
fn sentence(runs: &[SuiteRun<'_>], skipped: &[Skipped]) -> String {
    let of = |status| {
        runs.iter()
            .filter(|run| run.report.status() == status)
            .count()
    };
    let counts = [
        (of(Status::Fail), "failed"),
        (of(Status::Inconclusive), "undecided"),
        (skipped.len(), "skipped"),
    ];
    let more = counts.into_iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = std::iter::once((of(Status::Pass), "passed"))
        .chain(more)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    let all = counted((runs.len() + skipped.len()) as u64, "scenario");
    format!("{all}: {}.", parts.join(", "))
}

fn entry(run: SuiteRun<'_>) -> Markup {
    let report = run.report;
    let status = report.status();
    html! {
        section class="run" {
            h2 {
                span class={ "word " (class(status)) } { (sign(status)) " " (report.conclusion.to_string()) }
                " " a href=(printable(run.page)) { (report.name) }
            }
            p class="about" { (prose::sentence(report)) }
            dl class="tiles mini" {
                @for tile in prose::tiles(report) {
                    @let bad = tile.status.filter(|status| *status != Status::Pass);
                    div class={ "tile " (bad.map_or("", class)) } {
                        dt {
                            (tile.label)
                            @if let Some(status) = bad {
                                " " span class={ "badge " (class(status)) } { (sign(status)) }
                            }
                        }
                        dd { strong { (tile.value) } }
                    }
                }
            }
            p class="help" { (time(report.took)) ", seed " (report.seed) }
        }
    }
}
