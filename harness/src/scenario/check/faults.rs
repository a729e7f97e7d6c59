//! Faults: each in itself, and what they wait for.

use super::positive;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::fault::DurationRule;
use crate::scenario::model::{Document, Fault, Moment};
use crate::scenario::read::Reader;
use crate::scenario::source::Span;

pub(super) fn faults(document: &Document, cx: &mut Reader) {
    let all = &document.faults;
    for (index, fault) in all.iter().enumerate() {
        let name = &fault.name;
        if name.sound
            && let Some(earlier) = all[..index]
                .iter()
                .find(|earlier| earlier.name.value == name.value)
        {
            let (line, _) = cx.source.line_column(earlier.name.span.start);
            cx.report(
                Diagnostic::error(
                    name.span,
                    format!("there are two faults `{}`", name.value.0),
                )
                .help(format!("the other is on line {line}")),
            );
        }
        match (&fault.at, &fault.after) {
            (Some(_), Some(after)) => cx.report(
                Diagnostic::error(after.span, "a fault has either `at` or `after`")
                    .help("remove one of them"),
            ),
            (None, None) if fault.complete => cx.report(
                Diagnostic::error(fault.span, "`at` or `after` is missing")
                    .help("add at: 15s, or after: OTHER.recovered + 5s"),
            ),
            _ => {}
        }
        length(fault, cx);
    }
    for fault in all {
        let Some(after) = fault.after.as_ref().filter(|after| after.sound) else {
            continue;
        };
        if !all
            .iter()
            .any(|other| other.name.value.0 == after.value.fault)
        {
            cx.report(unknown_fault(&after.value.fault, document, &[], after.span));
        }
        if after.value.moment == Moment::Recovered && document.steady.is_none() {
            cx.report(
                Diagnostic::error(after.span, "`recovered` needs a steady state")
                    .help("add steady: { window: 5s, hold: [ LOAD.success >= 99.9% ] }"),
            );
        }
    }
    circles(document, cx);
}

/// `for`, as the kind wants it.
fn length(fault: &Fault, cx: &mut Reader) {
    let kind = fault.inject.value.kind();
    match &fault.r#for {
        Some(given) if fault.inject.sound && kind.duration == DurationRule::None => cx.report(
            Diagnostic::error(
                given.span,
                format!(
                    "`{}` has no `for`: it ends when the last node is ready again",
                    kind.name
                ),
            )
            .help("leave `for` out; `pause` is the time between two nodes"),
        ),
        Some(given) => positive(
            given.sound && given.value.get().is_zero(),
            "a fault",
            given.span,
            cx,
        ),
        None if fault.inject.sound && kind.duration == DurationRule::Needed && fault.complete => {
            cx.report(
                Diagnostic::error(fault.span, format!("`{}` needs `for`", kind.name))
                    .help("add how long it lasts: for: 10s"),
            );
        }
        None => {}
    }
}

/// Faults that wait for each other would never begin. A circle is reported once, at its first member.
fn circles(document: &Document, cx: &mut Reader) {
    let next = |name: &str| {
        document
            .faults
            .iter()
            .find(|fault| fault.name.value.0 == name)
            .and_then(|fault| fault.after.as_ref())
            .map(|after| after.value.fault.as_str())
    };
    let mut reported: Vec<&str> = Vec::new();
    for fault in &document.faults {
        let start = fault.name.value.0.as_str();
        let mut path = vec![start];
        // A path longer than the list of faults has met one of them twice.
        while let Some(following) = path.last().and_then(|last| next(last)) {
            if following == start || path.contains(&following) || path.len() > document.faults.len()
            {
                if following == start && !path.iter().any(|name| reported.contains(name)) {
                    let span = fault.after.as_ref().map_or(fault.span, |after| after.span);
                    path.push(start);
                    cx.report(
                        Diagnostic::error(span, "these faults wait for each other")
                            .help(path.join(" after ")),
                    );
                    reported.extend(path);
                }
                break;
            }
            path.push(following);
        }
    }
}

/// Reports a name that is none of a fault; nor of one of these stages, where a stage would do.
pub(super) fn unknown_fault(
    name: &str,
    document: &Document,
    stages: &[&str],
    span: Span,
) -> Diagnostic {
    let faults = document.faults.iter();
    let known: Vec<_> = faults
        .map(|fault| fault.name.value.0.as_str())
        .chain(stages.iter().copied())
        .collect();
    let what = if stages.is_empty() {
        "fault"
    } else {
        "fault or stage"
    };
    let problem = Diagnostic::error(span, format!("there is no {what} `{name}`"));
    problem.help(match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "the scenario has no faults".to_owned(),
        None => format!("known: {}", known.join(", ")),
    })
}
