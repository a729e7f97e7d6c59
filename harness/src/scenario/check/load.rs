//! Loads and their steps.

use super::positive;
use crate::scenario::model::{Arrivals, Document, Load, StageText};
use crate::scenario::read::Reader;
use crate::scenario::stages::{MOST_STEPS, StepsError, step_rates};
use crate::scenario::step;
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::spanned::{OptionalKey as _, Spanned};
use crate::scenario::value::RateRange;

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
        step::check(step, &captured, &later, cx);
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
