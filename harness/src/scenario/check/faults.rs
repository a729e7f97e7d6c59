//! Faults: each in itself, and what they wait for.

use super::positive;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::model::{Document, Inject, Moment};
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
                Diagnostic::error(after.span, "a fault begins `at` a time or `after` another")
                    .help("keep one of them"),
            ),
            (None, None) if fault.span != Span::default() => cx.report(
                Diagnostic::error(fault.span, "when does the fault begin?")
                    .help("add at: 15s, or after: OTHER.recovered + 5s"),
            ),
            _ => {}
        }
        positive(
            fault.r#for.sound && fault.r#for.value.get().is_zero(),
            "a fault",
            fault.r#for.span,
            cx,
        );
        if let Inject::Latency(latency) = &fault.inject.value
            && let Some(jitter) = &latency.jitter
            && jitter.sound
            && latency.add.sound
            && jitter.value > latency.add.value
        {
            cx.report(
                Diagnostic::error(jitter.span, "the jitter is longer than what it varies")
                    .help(format!("at most {}", latency.add.value)),
            );
        }
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
                Diagnostic::error(after.span, "nothing says what recovered means")
                    .help("add `steady:`; a fault is recovered from when it holds again"),
            );
        }
    }
    circles(document, cx);
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
        None => format!("there are {}", known.join(", ")),
    })
}
