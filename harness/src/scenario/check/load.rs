//! Loads and their steps.

use super::{positive, shell, template, unknown_variable};
use crate::scenario::diagnostic::{Diagnostic, Severity, nearest};
use crate::scenario::model::{Arrivals, Document, Load, StageText, Step, texts};
use crate::scenario::read::Reader;
use crate::scenario::source::Span;
use crate::scenario::spanned::{OptionalKey as _, Spanned};
use crate::scenario::stages::{MOST_STEPS, StepsError, step_rates};
use crate::scenario::template::{Call, Template};
use crate::scenario::value::RateRange;
use crate::sut;

pub(super) fn one_load(name: &Spanned<String>, load: &Load, document: &Document, cx: &mut Reader) {
    match (&load.arrivals, &load.users) {
        (Some(_), Some(users)) => cx.report(
            Diagnostic::error(
                users.span,
                format!("`{}` has both `arrivals` and `users`", name.value),
            )
            .help("write two loads, one with each"),
        ),
        (None, None) if load.complete => cx.report(
            Diagnostic::error(
                name.span,
                format!("`{}` has neither `arrivals` nor `users`", name.value),
            )
            .help("add arrivals: { rate: 10/s, for: 30s }"),
        ),
        (None, None) => {}
        (Some(open), None) => arrivals(open, cx),
        (None, Some(users)) => {
            let open_ones = document
                .load
                .iter()
                .any(|(_, load)| load.arrivals.is_some());
            if users.r#for.is_none() && !open_ones && users.complete {
                cx.report(
                    Diagnostic::error(
                        users.span,
                        "`for` is missing: no other load says how long the users stay",
                    )
                    .help("add for: 30s"),
                );
            }
            if let (Some(stay), Some(up)) = (users.r#for.placed(), users.ramp_up.placed())
                && stay.value < up.value
            {
                cx.report(
                    Diagnostic::error(up.span, "`ramp_up` is longer than `for`")
                        .help("`for` counts from the start, ramp_up included"),
                );
            }
        }
    }
    positive(load.timeout.placed(), "a timeout", cx);
    if load.steps.is_empty() && load.complete {
        cx.report(
            Diagnostic::error(load.span, format!("`{}` has no steps", name.value))
                .help("add steps: [ { get: / } ]"),
        );
    }
    let mut captured: Vec<&str> = Vec::new();
    for (index, step) in load.steps.iter().enumerate() {
        let later: Vec<&str> = load.steps[index..]
            .iter()
            .flat_map(|step| step.capture.iter())
            .map(|(name, _)| name.value.as_str())
            .collect();
        one_step(step, &captured, &later, cx);
        captured.extend(step.capture.iter().map(|(name, _)| name.value.as_str()));
    }
}

fn arrivals(arrivals: &Arrivals, cx: &mut Reader) {
    if arrivals.stages.is_empty() {
        if (arrivals.rate.is_none() || arrivals.r#for.is_none()) && arrivals.complete {
            cx.report(
                Diagnostic::error(arrivals.span, "arrivals need `rate` and `for`, or `stages`")
                    .help("write { rate: 10/s, for: 30s }"),
            );
        }
        positive(arrivals.r#for.placed(), "a load", cx);
        if let Some(rate) = arrivals.rate.placed()
            && rate.value.0 <= 0.0
        {
            cx.report(
                Diagnostic::error(rate.span, "the rate must be greater than zero")
                    .help("write 10/s, 30/m"),
            );
        }
        return;
    }
    if let Some(length) = &arrivals.r#for {
        cx.report(
            Diagnostic::error(length.span, "arrivals have either `for` or `stages`")
                .help("leave `for` out: each stage has its own length"),
        );
    }
    let mut rate_known = arrivals.rate.is_some();
    let mut any = false;
    let mut understood = rate_known
        || arrivals
            .stages
            .first()
            .is_some_and(|first| first.hold.is_none());
    for stage in &arrivals.stages {
        one_stage(stage, rate_known, cx);
        rate_known = true;
        let ranges = [&stage.ramp, &stage.steps];
        let [ramp, steps] =
            ranges.map(|range| range.known().map(|RateRange(from, to)| from.max(*to)));
        let [own, all] = [&stage.rate, &arrivals.rate].map(|rate| rate.known().map(|rate| rate.0));
        let rates = [ramp, steps, own, all];
        any |= rates.into_iter().flatten().any(|rate| rate > 0.0);
        understood &= ranges.iter().all(|range| range.understood());
        understood &= stage.rate.understood() && arrivals.rate.understood();
    }
    if !any && understood {
        cx.report(
            Diagnostic::error(arrivals.span, "every stage has a rate of zero")
                .help("write { ramp: 0/s..100/s, over: 5s }"),
        );
    }
}

fn one_stage(stage: &StageText, rate_known: bool, cx: &mut Reader) {
    if stage.steps.is_some() || stage.by.is_some() || stage.each.is_some() {
        steps(stage, cx);
        return;
    }
    let problem = match (&stage.ramp, &stage.over, &stage.hold, &stage.rate) {
        (Some(_), Some(over), None, None) => {
            positive(over.placed(), "a ramp", cx);
            return;
        }
        (None, None, Some(hold), rate) => {
            positive(hold.placed(), "a stage", cx);
            if rate.is_some() || rate_known {
                return;
            }
            (
                "`hold` needs a rate",
                "write { rate: 10/s, hold: 30s }, or put a ramp before it",
            )
        }
        (Some(_), None, ..) => ("`ramp` needs `over`", "add over: 5s"),
        _ if !stage.complete => return,
        _ => (
            "a stage has `ramp` with `over`, `steps` with `by` and `each`, or `hold`",
            "write { ramp: 0/s..100/s, over: 5s }, { steps: 50/s..400/s, by: 50/s, each: 5s } or { hold: 30s }",
        ),
    };
    cx.report(Diagnostic::error(stage.span, problem.0).help(problem.1));
}

/// Steps need their height and their length, and a whole number of them must lead from one rate to the other.
fn steps(stage: &StageText, cx: &mut Reader) {
    let (Some(range), Some(by), Some(each), None, None, None, None) = (
        &stage.steps,
        &stage.by,
        &stage.each,
        &stage.ramp,
        &stage.over,
        &stage.hold,
        &stage.rate,
    ) else {
        if !stage.complete {
            return;
        }
        cx.report(
            Diagnostic::error(
                stage.span,
                "`steps` needs `by` and `each`, and takes nothing else",
            )
            .help("write { steps: 50/s..400/s, by: 50/s, each: 5s }"),
        );
        return;
    };
    positive(each.placed(), "a step", cx);
    let (Some(range), Some(by)) = (range.placed(), by.placed()) else {
        return;
    };
    let RateRange(from, to) = *range.value;
    match step_rates(from, to, by.value.0) {
        Ok(_) => {}
        Err(StepsError::Flat) => cx.report(if by.value.0 <= 0.0 {
            Diagnostic::error(by.span, "`by` must be greater than zero").help("write by: 50/s")
        } else {
            Diagnostic::error(range.span, "the steps start and end at the same rate")
                .help("write { rate: 50/s, hold: 30s } for a constant rate")
        }),
        Err(StepsError::Uneven) => cx.report(
            Diagnostic::error(
                by.span,
                format!("no whole number of steps leads from {from}/s to {to}/s"),
            )
            .help("make the distance a multiple of `by`"),
        ),
        Err(StepsError::Many) => cx.report(
            Diagnostic::error(by.span, format!("these are more than {MOST_STEPS} steps"))
                .help("write a greater `by`, or a ramp"),
        ),
    }
}

fn one_step(step: &Step, captured: &[&str], later: &[&str], cx: &mut Reader) {
    let requests = step.requests();
    match requests.as_slice() {
        [(_, path)] => {
            if let Some(path) = path.placed()
                && !path.value.0.starts_with('/')
            {
                cx.report(
                    Diagnostic::error(path.span, format!("`{}` is not a path", path.value.0))
                        .help(as_path(&path.value.0)),
                );
            }
        }
        [] if step.complete => cx.report(
            Diagnostic::error(step.span, "the step has no request")
                .help("write get: /path, or post, put, patch, delete, head"),
        ),
        [] => {}
        [_, (_, second), ..] => cx.report(
            Diagnostic::error(second.span, "the step has more than one request")
                .help("write one step for each"),
        ),
    }
    for (name, _) in step.headers.iter() {
        // The characters a field name may have by RFC 9110.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.value.is_empty() || !name.value.chars().all(token) {
            cx.report(
                Diagnostic::error(
                    name.span,
                    format!("`{}` is not the name of a header", name.value),
                )
                .help("a name has letters, digits and -, no spaces"),
            );
        }
    }
    not_filled_in(step, cx);
    json_as_text(step, cx);
    let mut found = Vec::new();
    step.templates(|text, span| found.push((text.to_owned(), span)));
    for (text, span) in found {
        let template = template(&text, span, cx);
        for call in template.iter().flat_map(Template::calls) {
            match call {
                Call::Uuid | Call::Random(_) => {}
                Call::Fixture(name) => fixture(name, span, cx),
                Call::Capture(name) if captured.contains(&name.as_str()) => {}
                Call::Capture(name) if later.contains(&name.as_str()) => {
                    let span = cx.call_in(span, name);
                    cx.report(
                        Diagnostic::error(span, format!("`{name}` is captured by a later step"))
                            .help("put the step that captures it before this one"),
                    );
                }
                Call::Capture(name) => unknown_variable(name, Some(captured), span, cx),
                Call::Link(_) => cx.report(
                    Diagnostic::error(span, format!("`$({call})` cannot be used in a step"))
                        .help("steps are sent to the entry of the load; write a path"),
                ),
            }
        }
    }
    if let Some(ledger) = &step.ledger
        && step.capture.is_empty()
    {
        cx.report(
            Diagnostic::error(ledger.span, "`ledger` needs a `capture`")
                .help("add capture: { order: $.id }, the id of the accepted work"),
        );
    }
}

/// A path as it would be written for one that is a URL, or has no slash.
fn as_path(text: &str) -> String {
    match text.split_once("://") {
        Some((_, rest)) => {
            let path = rest.find('/').map_or("/", |at| &rest[at..]);
            format!("write {path}; requests go to the entry of the load")
        }
        None => format!("write /{text}"),
    }
}

/// `${NAME}` is another program's way to write a variable. In a path it cannot be meant as it stands.
fn not_filled_in(step: &Step, cx: &mut Reader) {
    let paths = step.requests().into_iter();
    for path in paths.filter_map(|(_, path)| path.placed()) {
        if let Some((written, name)) = shell::variable(&path.value.0) {
            let problem = shell::not_filled_in(&written, &name, path.span, cx);
            cx.report(problem);
        }
    }
    let mut others: Vec<(String, Span)> = Vec::new();
    let headers = step.headers.iter().filter_map(|(_, value)| value.placed());
    others.extend(headers.map(|value| (value.value.0.clone(), value.span)));
    if let Some(json) = step.json.placed() {
        texts(&json.value.0, &mut |text| {
            others.push((text.to_owned(), json.span))
        });
    }
    for (text, span) in others {
        if let Some((written, name)) = shell::variable(&text) {
            let problem = shell::not_filled_in(&written, &name, span, cx);
            cx.report(Diagnostic {
                severity: Severity::Warning,
                ..problem
            });
        }
    }
}

/// A JSON document in quotes is sent as a string.
fn json_as_text(step: &Step, cx: &mut Reader) {
    let Some(json) = step.json.placed() else {
        return;
    };
    let serde_json::Value::String(text) = &json.value.0 else {
        return;
    };
    if text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde_json::Value>(text).is_ok()
    {
        cx.report(
            Diagnostic::warning(
                json.span,
                "`json` is a text, so it is sent as one JSON string",
            )
            .help(format!(
                "leave the quotes around it out: json: {}",
                text.trim()
            )),
        );
    }
}

fn fixture(name: &str, span: Span, cx: &mut Reader) {
    let known: Vec<_> = sut::fixtures().map(|(_, known)| known.name).collect();
    if known.contains(&name) {
        return;
    }
    cx.report(
        Diagnostic::error(span, format!("there is no fixture `{name}`")).help(
            match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `$(fixture.{meant})`?"),
                None => format!("known: {}", known.join(", ")),
            },
        ),
    );
}
