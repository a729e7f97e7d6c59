//! What must hold: the steady state, expectations, and the ledger of accepted work.

use super::faults::unknown_fault;
use super::load::json_path;
use super::positive;
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::expr::{Expectation, Expr, Limit};
use crate::scenario::model::{Document, Load};
use crate::scenario::read::{Entries, Placed, Reader};
use crate::scenario::source::Span;

pub(super) fn steady(document: &Document, cx: &mut Reader) {
    let Some(steady) = &document.steady else {
        if let Some(recover) = document
            .expect
            .as_ref()
            .and_then(|expect| expect.recover.as_ref())
        {
            cx.report(
                Diagnostic::error(recover.span, "nothing says what recovered means")
                    .help("add `steady:`; a fault is recovered from when it holds again"),
            );
        }
        return;
    };
    let window = &steady.window;
    positive(
        window.sound && window.value.get().is_zero(),
        "a window",
        window.span,
        cx,
    );
    if steady.hold.is_empty() && steady.span != Span::default() {
        cx.report(
            Diagnostic::error(
                steady.span,
                "a steady state that holds nothing is always met",
            )
            .help("add hold: [ LOAD.success >= 99.9% ]"),
        );
    }
    for expectation in steady.hold.iter().filter(|expectation| expectation.sound) {
        match &expectation.value.expr {
            Expr::Measure(measure) => {
                if matches!(measure.limit, Limit::TimesSteady(_)) {
                    cx.report(
                        Diagnostic::error(
                            expectation.span,
                            "the steady state cannot be its own measure",
                        )
                        .help("write a duration: 250ms"),
                    );
                }
                if measure.over.is_some() {
                    cx.report(
                        Diagnostic::error(expectation.span, "the steady state has its own window")
                            .help("leave `over` out; `window:` says how long it holds"),
                    );
                }
            }
            Expr::Breaker { .. } => cx.report(misplaced_breaker(expectation.span)),
        }
    }
}

fn misplaced_breaker(span: Span) -> Diagnostic {
    Diagnostic::error(span, "a breaker is watched during a fault")
        .help("write it under expect: during: FAULT:")
}

pub(super) fn expectations(document: &Document, cx: &mut Reader) {
    let expect = document.expect.as_ref();
    let always = expect
        .map(|expect| expect.always.as_slice())
        .unwrap_or_default();
    let during = expect.map(|expect| &expect.during);
    for (fault, each) in during.iter().flat_map(|during| during.iter()) {
        if !document
            .faults
            .iter()
            .any(|known| known.name.value.0 == fault.value)
        {
            cx.report(unknown_fault(&fault.value, document, fault.span));
        }
        each.iter()
            .for_each(|one| of_a_load(one, &document.load, cx));
    }
    for one in always.iter().chain(&document.abort) {
        if one.sound && matches!(one.value.expr, Expr::Breaker { .. }) {
            cx.report(misplaced_breaker(one.span));
        }
        of_a_load(one, &document.load, cx);
    }
    for one in document.steady.iter().flat_map(|steady| &steady.hold) {
        of_a_load(one, &document.load, cx);
    }
    let against_steady = always
        .iter()
        .chain(
            during
                .iter()
                .flat_map(|during| during.iter())
                .flat_map(|(_, each)| each),
        )
        .chain(&document.abort)
        .find(|one| {
            matches!(&one.value.expr, Expr::Measure(measure)
                if matches!(measure.limit, Limit::TimesSteady(_)))
        });
    if let (Some(one), None) = (against_steady, &document.steady) {
        cx.report(
            Diagnostic::error(one.span, "there is no steady state to compare with")
                .help("add `steady:`, or write a duration"),
        );
    }
    let promises = expect.is_some_and(|expect| {
        !expect.always.is_empty()
            || expect.recover.is_some()
            || expect.during.iter().any(|(_, each)| !each.is_empty())
            || expect
                .end
                .as_ref()
                .is_some_and(|end| !end.ledger.is_empty())
    });
    if !promises {
        cx.report(
            Diagnostic::error(document.span, "nothing is expected, so nothing can fail")
                .help("add expect: { always: [ LOAD.success >= 99.9% ] }"),
        );
    }
}

/// An expectation measures a load that is there.
fn of_a_load(expectation: &Placed<Expectation>, loads: &Entries<Load>, cx: &mut Reader) {
    let Expr::Measure(measure) = &expectation.value.expr else {
        return;
    };
    if !expectation.sound || loads.is_empty() || loads.get(&measure.load).is_some() {
        return;
    }
    let known: Vec<_> = loads.iter().map(|(name, _)| name.value.as_str()).collect();
    let start = cx
        .source
        .slice(expectation.span)
        .find(&measure.load)
        .map_or(expectation.span, |at| {
            let start = expectation.span.start + at;
            Span::new(start..start + measure.load.len())
        });
    cx.report(
        Diagnostic::error(start, format!("there is no load `{}`", measure.load)).help(
            match nearest(&measure.load, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("there are {}", known.join(", ")),
            },
        ),
    );
}

/// A ledger that nothing is entered in would pass every check.
pub(super) fn ledger(document: &Document, cx: &mut Reader) {
    let end = document
        .expect
        .as_ref()
        .and_then(|expect| expect.end.as_ref());
    let Some(end) = end.filter(|end| !end.ledger.is_empty()) else {
        return;
    };
    let entered = document
        .load
        .iter()
        .any(|(_, load)| load.steps.iter().any(|step| step.ledger.is_some()));
    if !entered {
        let span = end.ledger.first().map_or(end.span, |check| check.span);
        cx.report(
            Diagnostic::error(span, "no step enters anything in the ledger")
                .help("add `ledger: accepted` with a capture to the step that submits work"),
        );
    }
    if let Some(read) = &end.read {
        let results = read
            .results
            .iter()
            .flat_map(|results| [&results.items, &results.url, &results.rank]);
        for path in std::iter::once(&read.state).chain(results) {
            json_path(path, cx);
        }
        let gets =
            std::iter::once(&read.get).chain(read.results.iter().map(|results| &results.get));
        for get in gets.filter(|get| get.sound && !get.value.contains("{id}")) {
            cx.report(
                Diagnostic::error(get.span, "which piece of work is read?")
                    .help("write {id} where the captured id belongs"),
            );
        }
    }
}
