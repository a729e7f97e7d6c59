//! Loads and their steps.

use super::{positive, template, unknown_variable};
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::model::{Arrivals, Document, Load, StageText, Step};
use crate::scenario::read::{Reader, Spanned};
use crate::scenario::source::Span;
use crate::scenario::stages::{MOST_STEPS, StepsError, step_rates};
use crate::scenario::template::{Call, Template};
use crate::sut;

pub(super) fn one_load(name: &Spanned<String>, load: &Load, document: &Document, cx: &mut Reader) {
    match (&load.arrivals, &load.users) {
        (Some(_), Some(users)) => cx.report(
            Diagnostic::error(
                users.span,
                format!("`{}` has both arrivals and users", name.value),
            )
            .help("make two loads of them"),
        ),
        (None, None) => cx.report(
            Diagnostic::error(
                name.span,
                format!("`{}` has neither arrivals nor users", name.value),
            )
            .help("add arrivals: { rate: 10/s, for: 30s }"),
        ),
        (Some(open), None) => arrivals(open, cx),
        (None, Some(users)) => {
            let open_ones = document
                .load
                .iter()
                .any(|(_, load)| load.arrivals.is_some());
            if users.r#for.is_none() && !open_ones {
                cx.report(
                    Diagnostic::error(users.span, "how long do the users stay?")
                        .help("add for: 30s"),
                );
            }
            if let (Some(stay), Some(up)) = (&users.r#for, &users.ramp_up)
                && stay.sound
                && up.sound
                && stay.value < up.value
            {
                cx.report(
                    Diagnostic::error(up.span, "the users leave before all of them have come")
                        .help("`for` counts from the start, ramp_up included"),
                );
            }
        }
    }
    if let Some(timeout) = &load.timeout {
        positive(
            timeout.value.get().is_zero() && timeout.sound,
            "a timeout",
            timeout.span,
            cx,
        );
    }
    if load.steps.is_empty() {
        cx.report(
            Diagnostic::error(load.span, format!("`{}` does nothing", name.value))
                .help("add steps: [ { get: / } ]"),
        );
    }
    let mut captured: Vec<&str> = Vec::new();
    for step in &load.steps {
        one_step(step, &captured, cx);
        captured.extend(step.capture.iter().map(|(name, _)| name.value.as_str()));
    }
}

fn arrivals(arrivals: &Arrivals, cx: &mut Reader) {
    if arrivals.stages.is_empty() {
        if arrivals.rate.is_none() || arrivals.r#for.is_none() {
            cx.report(
                Diagnostic::error(arrivals.span, "arrivals need a rate and a length")
                    .help("write rate: 10/s with for: 30s, or stages"),
            );
        }
        if let Some(length) = &arrivals.r#for {
            positive(
                length.sound && length.value.get().is_zero(),
                "a load",
                length.span,
                cx,
            );
        }
        if let Some(rate) = &arrivals.rate
            && rate.sound
            && rate.value.0 <= 0.0
        {
            cx.report(
                Diagnostic::error(rate.span, "nothing ever arrives").help("write 10/s, 30/m"),
            );
        }
        return;
    }
    if let Some(length) = &arrivals.r#for {
        cx.report(
            Diagnostic::error(length.span, "stages have lengths of their own")
                .help("leave `for` out, or write rate and for instead of stages"),
        );
    }
    let mut rate_known = arrivals.rate.is_some();
    let mut any = false;
    let mut sound = rate_known
        || arrivals
            .stages
            .first()
            .is_some_and(|first| first.hold.is_none());
    for stage in &arrivals.stages {
        one_stage(stage, rate_known, cx);
        rate_known = true;
        let ranges = [&stage.ramp, &stage.steps];
        let [ramp, steps] =
            ranges.map(|range| range.as_ref().map(|range| range.value.0.max(range.value.1)));
        let rates = [
            ramp,
            steps,
            stage.rate.as_ref().map(|rate| rate.value.0),
            arrivals.rate.as_ref().map(|rate| rate.value.0),
        ];
        any |= rates.into_iter().flatten().any(|rate| rate > 0.0);
        sound &= ranges
            .iter()
            .all(|range| range.as_ref().is_none_or(|range| range.sound));
        sound &= stage.rate.as_ref().is_none_or(|rate| rate.sound);
    }
    if !any && sound {
        cx.report(
            Diagnostic::error(arrivals.span, "nothing ever arrives")
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
            positive(
                over.sound && over.value.get().is_zero(),
                "a ramp",
                over.span,
                cx,
            );
            return;
        }
        (None, None, Some(hold), rate) => {
            positive(
                hold.sound && hold.value.get().is_zero(),
                "a stage",
                hold.span,
                cx,
            );
            if rate.is_some() || rate_known {
                return;
            }
            (
                "at which rate?",
                "write { rate: 10/s, hold: 30s }, or a ramp before it",
            )
        }
        (Some(_), None, ..) => ("how long does the ramp take?", "add over: 5s"),
        _ => (
            "a stage is a ramp, steps or a hold",
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
        cx.report(
            Diagnostic::error(
                stage.span,
                "steps have a height and a length, and nothing else",
            )
            .help("write { steps: 50/s..400/s, by: 50/s, each: 5s }"),
        );
        return;
    };
    positive(
        each.sound && each.value.get().is_zero(),
        "a step",
        each.span,
        cx,
    );
    if !(range.sound && by.sound) {
        return;
    }
    let (from, to) = (range.value.0, range.value.1);
    match step_rates(from, to, by.value.0) {
        Ok(_) => {}
        Err(StepsError::Flat) => cx.report(
            Diagnostic::error(by.span, "such steps lead nowhere")
                .help("each step adds or takes away something: by: 50/s"),
        ),
        Err(StepsError::Uneven) => cx.report(
            Diagnostic::error(
                by.span,
                format!("no whole number of steps leads from {from}/s to {to}/s"),
            )
            .help("make the distance a multiple of `by`"),
        ),
        Err(StepsError::Many) => cx.report(
            Diagnostic::error(by.span, format!("more than {MOST_STEPS} steps"))
                .help("make the steps higher"),
        ),
    }
}

fn one_step(step: &Step, captured: &[&str], cx: &mut Reader) {
    let requests = step.requests();
    match requests.as_slice() {
        [(_, path)] => {
            if path.sound && !path.value.0.starts_with('/') {
                cx.report(
                    Diagnostic::error(path.span, format!("`{}` is not a path", path.value.0))
                        .help("begin with `/`; the host is the link that load enters through"),
                );
            }
        }
        [] => cx.report(
            Diagnostic::error(step.span, "a step asks for something")
                .help("write get: /path, or post, put, patch, delete, head"),
        ),
        [_, (_, second), ..] => cx.report(
            Diagnostic::error(second.span, "a step is one request").help("write one step for each"),
        ),
    }
    for (name, _) in step.headers.iter() {
        // The characters a field name may have by RFC 9110.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.value.is_empty() || !name.value.chars().all(token) {
            cx.report(Diagnostic::error(
                name.span,
                format!("`{}` is not the name of a header", name.value),
            ));
        }
    }
    let mut found = Vec::new();
    step.templates(|text, span| found.push((text.to_owned(), span)));
    for (text, span) in found {
        let template = template(&text, span, cx);
        for call in template.iter().flat_map(Template::calls) {
            match call {
                Call::Uuid | Call::Random(_) => {}
                Call::Fixture(name) => fixture(name, span, cx),
                Call::Capture(name) if captured.contains(&name.as_str()) => {}
                Call::Capture(name) => unknown_variable(name, captured, span, cx),
                Call::Link(_) => cx.report(
                    Diagnostic::error(span, format!("`$({call})` has no meaning in a step"))
                        .help("steps go through the link that load enters by"),
                ),
            }
        }
    }
    if let Some(ledger) = &step.ledger
        && step.capture.is_empty()
    {
        cx.report(
            Diagnostic::error(ledger.span, "what is the id of the accepted work?")
                .help("add capture: { job: $.job_id }"),
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
                None => format!("there are {}", known.join(", ")),
            },
        ),
    );
}
