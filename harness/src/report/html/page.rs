//! The page of a run, from top to bottom.

use maud::{Markup, PreEscaped, html};

use super::tables::{broken, errors, expected, ledger, operations, requests};
use super::{SCRIPTS, class, frame, heading, sign};
use crate::judge::Status;
use crate::report::humanize::{count, moment};
use crate::report::model::Report;
use crate::report::prose::{self, FaultWords, Tile, event_text};

/// Events listed, the last of them cut away.
const MOST_EVENTS: usize = 400;

pub(in crate::report) fn page(report: &Report) -> String {
    let word = report.conclusion.to_string();
    let body = html! {
        (head(report, &word))
        (tiles(&prose::tiles(report)))
        (chart(report))
        (expected(report))
        (broken(&report.faults))
        (operations(&report.operations))
        (errors(&report.errors))
        (requests("slowest", "Slowest good requests", &report.slowest))
        (requests("failed", "Failed requests", &report.failed))
        (ledger(report))
        (events(report))
        (environment(report))
        (definitions(report))
    };
    frame(&format!("{word}: {}", report.name), &body, &scripts(report))
}

fn head(report: &Report, word: &str) -> Markup {
    html! {
        header {
            (heading(report.status(), word, &report.name))
            p class="sentence" { (prose::sentence(report)) }
            @if let Some(about) = &report.about {
                p class="about" { "The question: " (about) }
            }
            ul class="meta" aria-label="About this run" {
                @for item in prose::meta(report) { li { (item) } }
            }
        }
        @if !report.warnings.is_empty() {
            aside class="warnings" aria-label="Warnings" {
                ul {
                    @for warning in &report.warnings { li { (prose::warning(warning)) } }
                }
            }
        }
    }
}

fn tiles(tiles: &[Tile]) -> Markup {
    html! {
        section aria-label="In five numbers" {
            dl class="tiles" {
                @for tile in tiles {
                    div class={ "tile " (tile.status.map_or("none", class)) } {
                        dt { (tile.label) (badge(tile.status)) }
                        dd {
                            strong { (tile.value) }
                            span { (tile.note) }
                        }
                    }
                }
            }
        }
    }
}

fn badge(status: Option<Status>) -> Markup {
    let word = match status {
        None | Some(Status::Pass) => return html! {},
        Some(Status::Inconclusive) => "undecided",
        Some(Status::Fail) => "fails",
    };
    html! {
        @if let Some(status) = status {
            " " span class={ "badge " (class(status)) } { (sign(status)) " " (word) }
        }
    }
}

fn chart(report: &Report) -> Markup {
    let faults: Vec<String> = report
        .faults
        .iter()
        .map(|fault| format!("{} ({})", fault.name, FaultWords::of(fault).when))
        .collect();
    html! {
        section class="happened" aria-labelledby="happened" {
            h2 id="happened" { "What happened" }
            div class="bar" id="controls" {}
            figure class="chart" id="chart" tabindex="0" role="img" aria-describedby="chart-help"
                aria-label="Latency, rate and states over time; the tables below hold the same figures" {
                noscript {
                    p { "The chart is drawn by a script, which is switched off here. The tables below hold its figures." }
                }
            }
            p class="readout" id="readout" aria-live="polite" {}
            p class="help" id="chart-help" {
                "Time counts from the start of load. Hatched: a fault, from injection to proved undo. \
                 Tinted: the steady window. Lines: response time from the intended start, log scale. Cells: seconds in which \
                 the objective held (filled), was missed (crossed) or nothing was due (empty)."
                span class="screen" {
                    " Move over the chart or use the arrow keys for values, drag to zoom, double-click or Escape to see all \
                     again, click the name of a lane to fold it."
                }
            }
            @if !faults.is_empty() {
                p class="sr" { "Faults: " (faults.join(", ")) "." }
            }
        }
    }
}

fn events(report: &Report) -> Markup {
    let told: Vec<_> = report
        .events
        .iter()
        .filter_map(|event| Some((event.at, event_text(&event.kind)?)))
        .collect();
    let more = told.len().saturating_sub(MOST_EVENTS);
    html! {
        section aria-labelledby="events" {
            details {
                summary {
                    h2 id="events" { "Events" }
                    " " span { (told.len().min(MOST_EVENTS)) }
                }
                ol class="events" {
                    @for (at, [who, what]) in told.iter().take(MOST_EVENTS) {
                        li { time { (moment(report.moment(*at))) } " " (who) "  " (what) }
                    }
                }
                @if more > 0 {
                    p class="help" { (count(more as u64)) " more in events.jsonl." }
                }
            }
        }
    }
}

fn environment(report: &Report) -> Markup {
    html! {
        section aria-labelledby="again" {
            h2 id="again" { "Do it again" }
            pre class="command" { code { (prose::repeat(report)) } }
            p class="help" {
                "Exit code " (report.exit.code()) ": " (report.exit.meaning()) ". The files of this run: "
                @for (index, file) in report.files.iter().enumerate() {
                    @if index > 0 { ", " }
                    a href=(file) { (file) }
                }
                ". " code { "clip-harness judge" } " on this directory judges it again."
            }
            dl class="environment" {
                @for (name, value) in prose::environment(report) {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

/// Terms and what is meant by them.
const DEFINITIONS: &[(&str, &str)] = &[
    (
        "Success, availability",
        "Requests that ended as expected, of all that were offered. Late, unanswered and unsent ones count against it.",
    ),
    (
        "Outage",
        "The longest run of seconds in which a load missed its success objective. A short outage is invisible in a ratio over minutes; both are shown.",
    ),
    (
        "Response and service",
        "Response counts from the moment a request was due, service from the moment it was sent. When a system stalls, work piles up in front of it: only response shows that.",
    ),
    (
        "Failed requests in percentiles",
        "Count as at least their timeout, so that quick errors cannot improve a percentile.",
    ),
    (
        "Not enough samples",
        "A quantile q needs at least 1 / (1 - q) requests. No data is never a pass.",
    ),
    ("Phase of a request", "The phase in which it was due."),
    (
        "First impact, detected",
        "From the injection to the first bad request; to the first change that the system itself reports about what was hit.",
    ),
    (
        "Recovered",
        "From the end of a fault to the start of the first full window in which the steady state held.",
    ),
    (
        "Must fail",
        "Said of a control, a run with a layer switched off: what it names passes by failing, and shows what the layer is for.",
    ),
    (
        "Lost",
        "Definitely accepted, and unknown to the system at the end. A submit without a definite answer proves nothing either way.",
    ),
];

fn definitions(report: &Report) -> Markup {
    html! {
        section aria-labelledby="definitions" {
            details {
                summary { h2 id="definitions" { "What the words mean" } }
                dl class="definitions" {
                    @for (term, meaning) in DEFINITIONS.iter().chain(&report.terms) {
                        div { dt { (term) } dd { (meaning) } }
                    }
                }
            }
        }
    }
}

/// The numbers of the chart, and the program that draws them.
fn scripts(report: &Report) -> Markup {
    // `<` cannot end the script element when it is written as an escape, which JSON allows.
    let data = serde_json::to_string(&report.chart).unwrap_or_else(|_| "null".to_owned());
    let data = data.replace('<', "\\u003c");
    let program: String = SCRIPTS.iter().map(|(_, text)| *text).collect();
    html! {
        script type="application/json" id="data" { (PreEscaped(data)) }
        script { (PreEscaped(format!("(function () {{\n\"use strict\";\n{program}}})();\n"))) }
    }
}
