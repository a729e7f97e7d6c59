//! The tables of a run's page. On a phone each row becomes a block, its cells named by `data-th`.

use std::time::Duration;

use maud::{Markup, html};

use super::{class, sign};
use crate::report::humanize::{capital, count, moment, share, time};
use crate::report::model::{ErrorCount, Expectation, Fault, Operation, Phase, Report, Request};
use crate::report::prose::{self, FaultWords};
use crate::series::Times;

/// Text with names of links and changes of state in it, whose arrows may be drawn here.
fn arrows(text: &str) -> String {
    text.replace(" -> ", " → ").replace("->", " → ")
}

pub(super) fn expected(report: &Report) -> Markup {
    let expectations = report.failing_first();
    html! {
        section aria-labelledby="expected" {
            h2 id="expected" { "What was expected" }
            div class="scroll" {
                table class="stack rows" {
                    thead {
                        tr {
                            th scope="col" { span class="sr" { "Verdict" } }
                            th scope="col" { "Expectation" }
                            th scope="col" class="num" { "Observed" }
                        }
                    }
                    tbody {
                        @for expectation in &expectations { (expectation_row(report, expectation)) }
                        @if expectations.is_empty() {
                            tr { td {} td { "Nothing was expected." } td {} }
                        }
                    }
                }
            }
        }
    }
}

fn expectation_row(report: &Report, expectation: &Expectation) -> Markup {
    let status = expectation.status();
    html! {
        tr class=(class(status)) id=(expectation.id) {
            td {
                span class={ "word " (class(status)) } { (sign(status)) " " (expectation.outcome.to_string()) }
            }
            th scope="row" {
                (prose::what(expectation))
                small { (prose::scope(&expectation.scope)) }
                @if !expectation.evidence.is_empty() {
                    ul class="facts" {
                        @for fact in &expectation.evidence { li { (prose::fact(fact)) } }
                    }
                }
            }
            td class="num" {
                (prose::observed(&expectation.found))
                small { (prose::detail(report, &expectation.found)) }
            }
        }
    }
}

pub(super) fn broken(faults: &[Fault]) -> Markup {
    if faults.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="broken" {
            h2 id="broken" { "What was broken" }
            div class="scroll" {
                table class="stack" {
                    thead {
                        tr {
                            th scope="col" { "Fault" }
                            th scope="col" { "Proof that it bit" }
                            th scope="col" class="num" { "First impact" }
                            th scope="col" class="num" { "Detected" }
                            th scope="col" class="num" { "Recovered" }
                            th scope="col" class="num" { "Requests hurt" }
                        }
                    }
                    tbody {
                        @for fault in faults { (fault_row(fault)) }
                    }
                }
            }
        }
    }
}

fn fault_row(fault: &Fault) -> Markup {
    let words = FaultWords::of(fault);
    html! {
        tr class=[(!fault.sound()).then_some("fail")] {
            th scope="row" { (fault.name) small { (arrows(&words.what)) ", " (words.when) } }
            td data-th="Proof that it bit" { (arrows(&words.proof)) small { (arrows(&words.undo)) } }
            td class="num" data-th="First impact" { (words.impact()) }
            td class="num" data-th="Detected" {
                (words.detected)
                @if !words.detected_by.is_empty() { small { (arrows(&words.detected_by)) } }
            }
            td class="num" data-th="Recovered" { (words.recovered) }
            td class="num" data-th="Requests hurt" { (words.hurt) }
        }
    }
}

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

pub(super) fn operations(operations: &[Operation]) -> Markup {
    html! {
        section aria-labelledby="operations" {
            h2 id="operations" { "By operation and phase" }
            p class="help" {
                "Upper figure: response, from the intended start, a failed request counting as at least its timeout. \
                 Lower figure: service, from the moment of sending."
            }
            div class="scroll" {
                table class="stack figures" {
                    thead {
                        tr {
                            th scope="col" { "Phase" }
                            th scope="col" class="num" { "n" }
                            th scope="col" class="num" { "ok" }
                            @for (name, _) in QUANTILES { th scope="col" class="num" { (name) } }
                            th scope="col" class="num" { "max" }
                        }
                    }
                    @for operation in operations {
                        tbody {
                            tr class="group" {
                                th scope="rowgroup" colspan="7" {
                                    (prose::operation(operation)) " "
                                    code { (operation.request) }
                                }
                            }
                            @for phase in &operation.phases { (phase_row(phase)) }
                        }
                    }
                }
            }
        }
    }
}

fn phase_row(phase: &Phase) -> Markup {
    let bad = phase.counts.bad();
    let cell = |name: &str, read: &dyn Fn(&Times) -> Option<Duration>| {
        let text = |times| read(times).map_or("-".to_owned(), time);
        html! {
            td class="num" data-th=(name) { (text(&phase.response)) small { (text(&phase.service)) } }
        }
    };
    html! {
        tr {
            th scope="row" { (prose::phase(&phase.kind)) }
            td class="num" data-th="n" { (count(phase.counts.offered())) }
            td class="num" data-th="ok" {
                (share(phase.counts))
                @if bad > 0 { small { (count(bad)) " bad" } }
            }
            @for (name, q) in QUANTILES { (cell(name, &|times| times.quantile(q))) }
            (cell("max", &Times::max))
        }
    }
}

pub(super) fn errors(errors: &[ErrorCount]) -> Markup {
    if errors.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="errors" {
            h2 id="errors" { "Errors" }
            div class="scroll" {
                table {
                    thead {
                        tr {
                            th scope="col" { "Load" }
                            th scope="col" { "Class" }
                            th scope="col" class="num" { "How often" }
                        }
                    }
                    tbody {
                        @for error in errors {
                            tr {
                                td { (error.load) }
                                th scope="row" { (error.class) }
                                td class="num" { (count(error.count)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn requests(id: &str, title: &str, requests: &[Request]) -> Markup {
    if requests.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby=(id) {
            details open[id == "failed"] {
                summary { h2 id=(id) { (title) } " " span { (requests.len()) " kept" } }
                div class="scroll" {
                    table class="small wide" {
                        thead {
                            tr {
                                th scope="col" class="num" { "Due (s)" }
                                th scope="col" { "Operation" }
                                th scope="col" { "Outcome" }
                                th scope="col" class="num" { "Response" }
                                th scope="col" class="num" { "Service" }
                                th scope="col" { "Request id" }
                            }
                        }
                        tbody {
                            @for request in requests { (request_row(request)) }
                        }
                    }
                }
            }
        }
    }
}

fn request_row(request: &Request) -> Markup {
    html! {
        tr {
            td class="num" { (moment(request.due)) }
            td { (prose::request(request)) }
            td { (prose::outcome(request)) }
            td class="num" { (time(request.response)) }
            td class="num" { (request.service.map_or("-".to_owned(), time)) }
            td { code { (request.id.as_deref().unwrap_or("-")) } }
        }
    }
}

pub(super) fn ledger(report: &Report) -> Markup {
    let Some(ledger) = &report.ledger else {
        return html! {};
    };
    let counts = prose::counts(ledger);
    let shown = counts.iter().filter(|(name, n)| *n > 0 || *name == "lost");
    html! {
        section aria-labelledby="ledger" {
            h2 id="ledger" { "Accepted work" }
            dl class="counts" {
                @for (name, n) in shown { div { dt { (name) } dd { (count(*n)) } } }
            }
            @if !ledger.troubled.is_empty() {
                div class="scroll" {
                    table class="small" {
                        thead {
                            tr {
                                th scope="col" { (capital(report.words.work)) }
                                th scope="col" { "What became of it" }
                            }
                        }
                        tbody {
                            @for work in &ledger.troubled {
                                @let [id, what] = prose::trouble(work);
                                tr { th scope="row" { code { (id) } } td { (what) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
