//! `report.html`: one file that needs nothing but a browser. Text is laid out here; the chart is drawn by the script from
//! the numbers that travel in the page.

use std::fmt::Write as _;

use super::View;
use super::humanize::{count, time};
use super::operations::Phase;
use super::view::{FaultView, RequestView, RowView, Tile};
use crate::judge::Status;
use crate::series::Times;

pub(super) const STYLE: &str = include_str!("assets/report.css");
const SCRIPT: &str = include_str!("assets/report.js");

/// Text with every character that means something in HTML replaced.
pub(super) fn esc(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// Text with names of links and changes of state in it, whose arrows may be drawn here.
fn link(text: &str) -> String {
    esc(text).replace(" -&gt; ", " → ").replace("-&gt;", " → ")
}

pub(super) fn class(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Inconclusive => "open",
        Status::Fail => "fail",
    }
}

pub(super) fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Inconclusive => "?",
        Status::Fail => "✗",
    }
}

pub(super) fn page(view: &View) -> String {
    let mut out = String::with_capacity(256 * 1024);
    head(&mut out, view);
    tiles(&mut out, &view.tiles);
    chart(&mut out, view);
    expected(&mut out, &view.rows);
    broken(&mut out, &view.faults);
    operations(&mut out, view);
    errors(&mut out, view);
    requests(&mut out, "slowest", "Slowest good requests", &view.slowest);
    requests(&mut out, "failed", "Failed requests", &view.failed);
    ledger(&mut out, view);
    events(&mut out, view);
    environment(&mut out, view);
    definitions(&mut out);
    out.push_str("</main>\n");
    // `<` cannot end the script element when it is written as an escape, which JSON allows.
    let data = serde_json::to_string(&view.chart).unwrap_or_else(|_| "null".to_owned());
    let data = data.replace('<', "\\u003c");
    put(
        &mut out,
        format_args!("<script type=\"application/json\" id=\"data\">{data}</script>\n"),
    );
    put(
        &mut out,
        format_args!("<script>\n{SCRIPT}</script>\n</body>\n</html>\n"),
    );
    out
}

/// Writing to a string cannot fail.
pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).ok();
}

fn head(out: &mut String, view: &View) {
    let status = view.status();
    let name = esc(&view.name);
    put(
        out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{word}: {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n\
         <h1><span class=\"verdict {class}\"><span aria-hidden=\"true\">{sign}</span> {word}</span> {name}</h1>\n\
         <p class=\"sentence\">{sentence}</p>\n",
            word = view.conclusion,
            class = class(status),
            sign = sign(status),
            sentence = esc(&view.sentence),
        ),
    );
    if let Some(about) = &view.about {
        put(
            out,
            format_args!("<p class=\"about\">The question: {}</p>\n", esc(about)),
        );
    }
    let meta: String = view
        .meta
        .iter()
        .map(|item| format!("<li>{}</li>", esc(item)))
        .collect();
    put(
        out,
        format_args!("<ul class=\"meta\" aria-label=\"About this run\">{meta}</ul>\n</header>\n"),
    );
    if !view.warnings.is_empty() {
        let items: String = view
            .warnings
            .iter()
            .map(|item| format!("<li>{}</li>", esc(item)))
            .collect();
        put(
            out,
            format_args!(
                "<aside class=\"warnings\" aria-label=\"Warnings\"><ul>{items}</ul></aside>\n"
            ),
        );
    }
}

fn tiles(out: &mut String, tiles: &[Tile]) {
    out.push_str("<section aria-label=\"In five numbers\"><dl class=\"tiles\">\n");
    for tile in tiles {
        let (class, badge) = match tile.status {
            None => ("none", String::new()),
            Some(Status::Pass) => ("pass", String::new()),
            Some(status) => {
                let word = if status == Status::Fail {
                    "fails"
                } else {
                    "undecided"
                };
                (
                    class(status),
                    format!(
                        " <span class=\"badge {}\">{} {word}</span>",
                        class(status),
                        sign(status)
                    ),
                )
            }
        };
        put(
            out,
            format_args!(
                "<div class=\"tile {class}\"><dt>{}{badge}</dt><dd><strong>{}</strong><span>{}</span></dd></div>\n",
                esc(tile.label),
                esc(&tile.value),
                esc(&tile.note)
            ),
        );
    }
    out.push_str("</dl></section>\n");
}

fn chart(out: &mut String, view: &View) {
    out.push_str(
        "<section aria-labelledby=\"happened\">\n<h2 id=\"happened\">What happened</h2>\n\
         <div class=\"bar\" id=\"controls\"></div>\n\
         <figure class=\"chart\" id=\"chart\" tabindex=\"0\" role=\"img\" aria-label=\"Latency, rate and states over time; \
         the tables below hold the same figures\" aria-describedby=\"chart-help\">\n\
         <noscript><p>The chart is drawn by a script, which is switched off here. The tables below hold its figures.</p></noscript>\n\
         </figure>\n<p class=\"readout\" id=\"readout\" aria-live=\"polite\"></p>\n\
         <p class=\"help\" id=\"chart-help\">Time counts from the start of load. Hatched: a fault, from injection to proved undo. \
         Tinted: the steady window. Lines: response time from the intended start, log scale. Cells: seconds in which the objective \
         held (filled), was missed (crossed) or nothing was due (empty). Move over the chart or use the arrow keys for values, drag \
         to zoom, double-click or Escape to see all again, click the name of a lane to fold it.</p>\n",
    );
    let faults: Vec<_> = view
        .faults
        .iter()
        .map(|fault| format!("{} ({})", fault.name, fault.when))
        .collect();
    if !faults.is_empty() {
        put(
            out,
            format_args!("<p class=\"sr\">Faults: {}.</p>\n", esc(&faults.join(", "))),
        );
    }
    out.push_str("</section>\n");
}

fn expected(out: &mut String, rows: &[RowView]) {
    out.push_str(
        "<section aria-labelledby=\"expected\">\n<h2 id=\"expected\">What was expected</h2>\n<div class=\"scroll\"><table class=\"rows\">\n\
         <thead><tr><th scope=\"col\"><span class=\"sr\">Verdict</span></th><th scope=\"col\">Expectation</th>\
         <th scope=\"col\" class=\"num\">Observed</th></tr></thead>\n<tbody>\n",
    );
    for row in rows {
        let status = row.outcome.status();
        let evidence: String = row
            .evidence
            .iter()
            .map(|fact| format!("<li>{}</li>", esc(fact)))
            .collect();
        let evidence = match evidence.is_empty() {
            true => evidence,
            false => format!("<ul class=\"facts\">{evidence}</ul>"),
        };
        put(
            out,
            format_args!(
                "<tr class=\"{class}\"><td><span class=\"word {class}\"><span aria-hidden=\"true\">{sign}</span> {outcome}</span></td>\
             <th scope=\"row\">{text}<small>{scope}</small>{evidence}</th><td class=\"num\">{observed}<small>{detail}</small></td></tr>\n",
                class = class(status),
                sign = sign(status),
                outcome = row.outcome,
                text = esc(&row.text),
                scope = esc(&row.scope),
                observed = esc(&row.observed),
                detail = esc(&row.detail),
            ),
        );
    }
    if rows.is_empty() {
        out.push_str("<tr><td></td><td>Nothing was expected.</td><td></td></tr>\n");
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn broken(out: &mut String, faults: &[FaultView]) {
    if faults.is_empty() {
        return;
    }
    out.push_str(
        "<section aria-labelledby=\"broken\">\n<h2 id=\"broken\">What was broken</h2>\n<div class=\"scroll\"><table>\n<thead><tr>\
         <th scope=\"col\">Fault</th><th scope=\"col\">Proof that it bit</th><th scope=\"col\" class=\"num\">First impact</th>\
         <th scope=\"col\" class=\"num\">Detected</th><th scope=\"col\" class=\"num\">Recovered</th>\
         <th scope=\"col\" class=\"num\">Requests hurt</th></tr></thead>\n<tbody>\n",
    );
    for fault in faults {
        let class = if fault.sound { "" } else { " class=\"fail\"" };
        put(
            out,
            format_args!(
                "<tr{class}><th scope=\"row\">{}<small>{}, {}</small></th><td>{}<small>{}</small></td>\
             <td class=\"num\">{}</td><td class=\"num\">{}<small>{}</small></td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>\n",
                esc(&fault.name),
                link(&fault.what),
                esc(&fault.when),
                link(&fault.proof),
                link(&fault.undo),
                esc(&fault.first_impact),
                esc(&fault.detected),
                link(&fault.detected_by),
                esc(&fault.recovered),
                esc(&fault.hurt)
            ),
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn operations(out: &mut String, view: &View) {
    out.push_str(
        "<section aria-labelledby=\"operations\">\n<h2 id=\"operations\">By operation and phase</h2>\n\
         <p class=\"help\">Upper figure: response, from the intended start, a failed request counting as at least its timeout. \
         Lower figure: service, from the moment of sending.</p>\n<div class=\"scroll\"><table>\n",
    );
    const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
    out.push_str("<thead><tr><th scope=\"col\">Phase</th><th scope=\"col\" class=\"num\">n</th><th scope=\"col\" class=\"num\">ok</th>");
    for (name, _) in QUANTILES {
        put(
            out,
            format_args!("<th scope=\"col\" class=\"num\">{name}</th>"),
        );
    }
    out.push_str("<th scope=\"col\" class=\"num\">max</th></tr></thead>\n");
    for operation in &view.operations {
        put(
            out,
            format_args!(
                "<tbody><tr class=\"group\"><th scope=\"rowgroup\" colspan=\"7\">{} <code>{}</code></th></tr>\n",
                esc(&operation.name),
                esc(&operation.request)
            ),
        );
        for phase in &operation.phases {
            phase_row(out, phase, &QUANTILES);
        }
        out.push_str("</tbody>\n");
    }
    out.push_str("</table></div>\n</section>\n");
}

fn phase_row(out: &mut String, phase: &Phase, quantiles: &[(&str, f64)]) {
    let bad = phase.counts.bad();
    let bad = match bad {
        0 => String::new(),
        bad => format!("<small>{} bad</small>", count(bad)),
    };
    put(
        out,
        format_args!(
            "<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td><td class=\"num\">{}{bad}</td>",
            esc(&phase.name),
            count(phase.counts.offered()),
            phase.ok()
        ),
    );
    let cell = |read: &dyn Fn(&Times) -> Option<std::time::Duration>| {
        let text = |times| read(times).map_or("-".to_owned(), time);
        format!(
            "<td class=\"num\">{}<small>{}</small></td>",
            text(&phase.response),
            text(&phase.service)
        )
    };
    for (_, q) in quantiles {
        out.push_str(&cell(&|times| times.quantile(*q)));
    }
    out.push_str(&cell(&Times::max));
    out.push_str("</tr>\n");
}

fn errors(out: &mut String, view: &View) {
    if view.errors.is_empty() {
        return;
    }
    out.push_str(
        "<section aria-labelledby=\"errors\">\n<h2 id=\"errors\">Errors</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">Load</th>\
         <th scope=\"col\">Class</th><th scope=\"col\" class=\"num\">How often</th></tr></thead>\n<tbody>\n",
    );
    for (load, class, n) in &view.errors {
        put(
            out,
            format_args!(
                "<tr><td>{}</td><th scope=\"row\">{}</th><td class=\"num\">{}</td></tr>\n",
                esc(load),
                esc(class),
                count(*n)
            ),
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn requests(out: &mut String, id: &str, title: &str, requests: &[RequestView]) {
    if requests.is_empty() {
        return;
    }
    put(
        out,
        format_args!(
            "<section aria-labelledby=\"{id}\">\n<details{open}><summary><h2 id=\"{id}\">{title}</h2> <span>{n} kept</span></summary>\n\
         <div class=\"scroll\"><table class=\"small\">\n<thead><tr><th scope=\"col\" class=\"num\">Due (s)</th><th scope=\"col\">Operation</th>\
         <th scope=\"col\">Outcome</th><th scope=\"col\" class=\"num\">Response</th><th scope=\"col\" class=\"num\">Service</th>\
         <th scope=\"col\">Request id</th></tr></thead>\n<tbody>\n",
            open = if id == "failed" { " open" } else { "" },
            n = requests.len(),
        ),
    );
    for request in requests {
        put(
            out,
            format_args!(
                "<tr><td class=\"num\">{}</td><td>{}</td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td><code>{}</code></td></tr>\n",
                request.due,
                esc(&request.operation),
                esc(&request.outcome),
                request.response,
                request.service,
                esc(&request.id)
            ),
        );
    }
    out.push_str("</tbody></table></div></details>\n</section>\n");
}

fn ledger(out: &mut String, view: &View) {
    let Some(ledger) = &view.ledger else {
        return;
    };
    out.push_str("<section aria-labelledby=\"ledger\">\n<h2 id=\"ledger\">Accepted work</h2>\n<dl class=\"counts\">\n");
    for (name, n) in ledger
        .counts
        .iter()
        .filter(|(name, n)| *n > 0 || *name == "lost")
    {
        put(
            out,
            format_args!("<div><dt>{name}</dt><dd>{}</dd></div>\n", count(*n)),
        );
    }
    out.push_str("</dl>\n");
    if !ledger.troubled.is_empty() {
        out.push_str("<div class=\"scroll\"><table class=\"small\"><thead><tr><th scope=\"col\">Job</th><th scope=\"col\">What became of it</th></tr></thead>\n<tbody>\n");
        for (id, why) in &ledger.troubled {
            put(
                out,
                format_args!(
                    "<tr><th scope=\"row\"><code>{}</code></th><td>{}</td></tr>\n",
                    esc(id),
                    esc(why)
                ),
            );
        }
        out.push_str("</tbody></table></div>\n");
    }
    out.push_str("</section>\n");
}

fn events(out: &mut String, view: &View) {
    out.push_str(
        "<section aria-labelledby=\"events\">\n<details><summary><h2 id=\"events\">Events</h2>",
    );
    put(
        out,
        format_args!(
            " <span>{}</span></summary>\n<ol class=\"events\">\n",
            view.events.len()
        ),
    );
    for (at, text) in &view.events {
        put(
            out,
            format_args!("<li><time>{at}</time> {}</li>\n", esc(text)),
        );
    }
    out.push_str("</ol>\n");
    if view.events_cut > 0 {
        put(
            out,
            format_args!(
                "<p class=\"help\">{} more in events.jsonl.</p>\n",
                count(view.events_cut as u64)
            ),
        );
    }
    out.push_str("</details>\n</section>\n");
}

fn environment(out: &mut String, view: &View) {
    out.push_str("<section aria-labelledby=\"again\">\n<h2 id=\"again\">Do it again</h2>\n");
    let (command, (code, meaning)) = (esc(&view.repeat), view.exit);
    let files: Vec<_> = view
        .files
        .iter()
        .map(|file| format!("<a href=\"{file}\">{file}</a>"))
        .collect();
    put(
        out,
        format_args!(
            "<pre class=\"command\"><code>{command}</code></pre>\n\
             <p class=\"help\">Exit code {code}: {meaning}. The files of this run: {}. \
             <code>clip-harness judge</code> on this directory judges it again.</p>\n",
            files.join(", ")
        ),
    );
    out.push_str("<dl class=\"environment\">\n");
    for (name, value) in &view.environment {
        put(
            out,
            format_args!("<div><dt>{name}</dt><dd>{}</dd></div>\n", esc(value)),
        );
    }
    out.push_str("</dl>\n</section>\n");
}

/// Terms and what is meant by them.
const DEFINITIONS: [(&str, &str); 11] = [
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
        "From the injection to the first bad request; to the first change of a breaker or of the registry about what was hit.",
    ),
    (
        "Recovered",
        "From the end of a fault to the start of the first full window in which the steady state held.",
    ),
    (
        "Tries per call",
        "Requests that a gateway sent to others for each one it was asked to make, retries and hedges included; as it counts them itself.",
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

fn definitions(out: &mut String) {
    out.push_str("<section aria-labelledby=\"definitions\">\n<details><summary><h2 id=\"definitions\">What the words mean</h2></summary>\n<dl class=\"definitions\">\n");
    for (term, meaning) in DEFINITIONS {
        put(
            out,
            format_args!("<div><dt>{term}</dt><dd>{meaning}</dd></div>\n"),
        );
    }
    out.push_str("</dl></details>\n</section>\n");
}
