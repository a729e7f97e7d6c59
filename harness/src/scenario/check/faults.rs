//! Faults: each in itself, and what they wait for.

use super::{every_name_is_known, positive};
use crate::scenario::fault::{DurationRule, Injection};
use crate::scenario::model::{Document, Fault, Moment, Name};
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::{Diagnostic, nearest};
use crate::scenario::text::source::Span;
use crate::scenario::text::spanned::OptionalKey as _;

pub(super) fn faults(document: &Document, cx: &mut Reader) {
    let all = &document.faults;
    for (index, fault) in all.iter().enumerate() {
        if let Some(name) = fault.name.placed()
            && let Some(earlier) = named(&all[..index], &name.value.0)
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
        let Some(after) = fault.after.placed() else {
            continue;
        };
        if named(all, &after.value.fault).is_none() && every_name_is_known(document) {
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

/// The fault of a name.
pub(super) fn named<'d>(faults: &'d [Fault], name: &str) -> Option<&'d Fault> {
    let is_it = |fault: &&Fault| fault.name.known().is_some_and(|known| known.0 == name);
    faults.iter().find(is_it)
}

/// `for`, as the kind wants it.
fn length(fault: &Fault, cx: &mut Reader) {
    let Some(kind) = fault.inject.known().map(Injection::kind) else {
        positive(fault.r#for.placed(), "a fault", cx);
        return;
    };
    match &fault.r#for {
        Some(given) if kind.duration == DurationRule::None => cx.report(
            Diagnostic::error(
                given.span,
                format!(
                    "`{}` has no `for`: it ends when the last node is ready again",
                    kind.name
                ),
            )
            .help("leave `for` out; `pause` is the time between two nodes"),
        ),
        Some(given) => positive(given.placed(), "a fault", cx),
        None if kind.duration == DurationRule::Needed && fault.complete => {
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
        let after = named(&document.faults, name)?.after.known()?;
        Some(after.fault.as_str())
    };
    let mut reported: Vec<&str> = Vec::new();
    for fault in &document.faults {
        let Some(Name(start)) = fault.name.known() else {
            continue;
        };
        let start = start.as_str();
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
        .filter_map(|fault| fault.name.known())
        .map(|name| name.0.as_str())
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
