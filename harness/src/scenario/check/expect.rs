//! What must hold: the steady state, expectations, and the ledger of accepted work.

use super::faults::unknown_fault;
use super::{every_name_is_known, faults, positive, stages};
use crate::scenario::expr::{ALL, Claim, Expectation, Expr, Limit, ProbeExpr};
use crate::scenario::model::Document;
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::{Diagnostic, nearest};
use crate::scenario::text::source::Span;
use crate::scenario::text::spanned::{Spanned, Written};

pub(super) fn steady(document: &Document, cx: &mut Reader) {
    let Some(steady) = &document.steady else {
        if let Some(recover) = document
            .expect
            .as_ref()
            .and_then(|expect| expect.recover.as_ref())
        {
            cx.report(
                Diagnostic::error(recover.span, "`recover` needs a steady state")
                    .help("add steady: { window: 5s, hold: [ LOAD.success >= 99.9% ] }"),
            );
        }
        return;
    };
    positive(steady.window.placed(), "a window", cx);
    if steady.hold.is_empty() && steady.complete {
        cx.report(
            Diagnostic::error(
                steady.span,
                "`hold` is empty, so the steady state always holds",
            )
            .help("add hold: [ LOAD.success >= 99.9% ]"),
        );
    }
    for expectation in steady.hold.iter().filter_map(Written::placed) {
        match &expectation.value.expr {
            Expr::Measure(measure) => {
                if measure.limit.is_against_steady() {
                    cx.report(
                        Diagnostic::error(
                            expectation.span,
                            "the steady state cannot be compared with itself",
                        )
                        .help("write a duration: 250ms"),
                    );
                } else if matches!(measure.limit, Limit::TimesStage { .. }) {
                    cx.report(
                        Diagnostic::error(
                            expectation.span,
                            "the steady state cannot be compared with a stage, which may come later",
                        )
                        .help("write a percentage, a rate or a duration"),
                    );
                }
                if measure.over.is_some() {
                    cx.report(
                        Diagnostic::error(
                            expectation.span,
                            "`over` has no place in `steady`, which has a window",
                        )
                        .help("leave `over` out; `window:` says how long it holds"),
                    );
                }
            }
            Expr::Probe(probe) => cx.report(misplaced(probe, expectation.span)),
        }
    }
}

/// A probe where it has nothing to say.
fn misplaced(probe: &ProbeExpr, span: Span) -> Diagnostic {
    let name = &probe.probe;
    let (message, help) = match probe.claim {
        Claim::Change { .. } => (
            format!("`{name}` is counted from the start of a fault"),
            "write it under expect: during: FAULT:",
        ),
        Claim::Ratio { .. } => (
            format!("`{name}` is known only when the run is over"),
            "write it under expect: always:, or during: FAULT:",
        ),
    };
    Diagnostic::error(span, message).help(help)
}

/// The probe that is about a change, where an expectation is one.
fn change(expectation: &Expectation) -> Option<&ProbeExpr> {
    match &expectation.expr {
        Expr::Probe(probe) if probe.is_change() => Some(probe),
        _ => None,
    }
}

/// What must hold over the whole of the load.
fn always(document: &Document) -> impl Iterator<Item = Spanned<&Expectation>> {
    let expect = document.expect.iter();
    let all = expect.flat_map(|expect| &expect.always);
    all.filter_map(Written::placed)
}

/// What must hold for a part of it.
fn during(document: &Document) -> impl Iterator<Item = Spanned<&Expectation>> {
    let expect = document.expect.iter();
    let all = expect.flat_map(|expect| expect.during.iter().flat_map(|(_, each)| each));
    all.filter_map(Written::placed)
}

fn abort(document: &Document) -> impl Iterator<Item = Spanned<&Expectation>> {
    document.abort.iter().filter_map(Written::placed)
}

pub(super) fn expectations(document: &Document, cx: &mut Reader) {
    let steady = document.steady.iter();
    let steady = steady.flat_map(|steady| &steady.hold);
    for one in always(document)
        .chain(during(document))
        .chain(abort(document))
        .chain(steady.filter_map(Written::placed))
    {
        of_a_load(one, document, cx);
    }
    for one in always(document).chain(during(document)) {
        against_a_stage(one, document, cx);
    }
    parts(document, cx);
    for one in always(document).chain(abort(document)) {
        if let Some(probe) = change(one.value) {
            cx.report(misplaced(probe, one.span));
        }
    }
    for one in abort(document) {
        match &one.value.expr {
            Expr::Probe(probe) if !probe.is_change() => cx.report(misplaced(probe, one.span)),
            Expr::Measure(measure) if matches!(measure.limit, Limit::TimesStage { .. }) => cx
                .report(
                    Diagnostic::error(one.span, "`abort` cannot be compared with a stage")
                        .help("write a percentage, a rate or a duration"),
                ),
            _ => {}
        }
    }
    against_steady(document, cx);
    promises(document, cx);
}

/// The parts of a load's time that expectations are about are faults or stages, and a probe counts from a fault.
fn parts(document: &Document, cx: &mut Reader) {
    let stages = stages::words(document);
    for (name, each) in document
        .expect
        .iter()
        .flat_map(|expect| expect.during.iter())
    {
        let is_stage = stages.contains(&name.value.as_str());
        let is_fault = faults::named(&document.faults, &name.value).is_some();
        if !is_fault && !is_stage && every_name_is_known(document) {
            cx.report(unknown_fault(&name.value, document, &stages, name.span));
        }
        for one in each.iter().filter_map(Written::placed) {
            if let Some(probe) = change(one.value).filter(|_| is_stage) {
                cx.report(misplaced(probe, one.span));
            }
        }
    }
}

/// A comparison with the steady state needs one.
fn against_steady(document: &Document, cx: &mut Reader) {
    let mut all = always(document)
        .chain(during(document))
        .chain(abort(document));
    let compared = all.find(|one| {
        matches!(&one.value.expr, Expr::Measure(measure) if measure.limit.is_against_steady())
    });
    if let (Some(one), None) = (compared, &document.steady) {
        cx.report(
            Diagnostic::error(one.span, "there is no steady state to compare with")
                .help("add `steady:`, or write a duration"),
        );
    }
}

/// A scenario that expects nothing cannot fail.
fn promises(document: &Document, cx: &mut Reader) {
    let expect = document.expect.as_ref();
    let promises = expect.is_some_and(|expect| {
        let end = expect.end.as_ref();
        !expect.always.is_empty()
            || expect.recover.is_some()
            || expect.during.iter().any(|(_, each)| !each.is_empty())
            || end.is_some_and(|end| !end.ledger.is_empty())
    });
    let complete = document.complete && expect.is_none_or(|expect| expect.complete);
    if !promises && complete {
        cx.report(
            Diagnostic::error(
                document.span,
                "the scenario has no expectations, so it cannot fail",
            )
            .help("add expect: { always: [ LOAD.success >= 99.9% ] }"),
        );
    }
}

/// An expectation measures a load that is there, and compares with one that is there.
fn of_a_load(expectation: Spanned<&Expectation>, document: &Document, cx: &mut Reader) {
    let Expr::Measure(measure) = &expectation.value.expr else {
        return;
    };
    let loads = &document.load;
    if loads.is_empty() {
        return;
    }
    let known: Vec<_> = loads.iter().map(|(name, _)| name.value.as_str()).collect();
    let other = match &measure.limit {
        Limit::TimesLoad { load, .. } => Some(load),
        _ => None,
    };
    for load in std::iter::once(&measure.load).chain(other) {
        if load == ALL || known.contains(&load.as_str()) {
            continue;
        }
        cx.report(
            Diagnostic::error(
                word_in(expectation, load, cx),
                format!("there is no load `{load}`"),
            )
            .help(match nearest(load, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", known.join(", ")),
            }),
        );
    }
}

/// What an expectation is compared with is a stage that is there.
fn against_a_stage(expectation: Spanned<&Expectation>, document: &Document, cx: &mut Reader) {
    let Expr::Measure(measure) = &expectation.value.expr else {
        return;
    };
    let Limit::TimesStage { stage, .. } = &measure.limit else {
        return;
    };
    let stages = stages::words(document);
    if stages.contains(&stage.as_str()) || !every_name_is_known(document) {
        return;
    }
    let known = stages.iter().copied().chain(["steady"]);
    cx.report(
        Diagnostic::error(
            word_in(expectation, stage, cx),
            format!("there is no stage `{stage}`"),
        )
        .help(match nearest(stage, known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if stages.is_empty() => {
                "give one a name: stages: [ { name: peak, rate: 100/s, hold: 10s } ]".to_owned()
            }
            None => format!("known: {}", stages.join(", ")),
        }),
    );
}

/// Where a word stands in an expectation; the whole of it where that cannot be said.
fn word_in(expectation: Spanned<&Expectation>, word: &str, cx: &Reader) -> Span {
    let written = cx.source.slice(expectation.span);
    written.find(word).map_or(expectation.span, |at| {
        let start = expectation.span.start + at;
        Span::new(start..start + word.len())
    })
}

/// A control says which of its expectations must fail, in the words in which they are written.
pub(super) fn control(document: &Document, cx: &mut Reader) {
    let written: Vec<_> = always(document)
        .chain(during(document))
        .map(|one| one.value.text.as_str())
        .collect();
    for one in document.control.iter().filter_map(Written::placed) {
        let text = one.value.text.as_str();
        if !written.contains(&text) {
            cx.report(
                Diagnostic::error(
                    one.span,
                    format!("`{text}` is not an expectation of this scenario"),
                )
                .help(match nearest(text, written.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "write it under expect: always: or during: as well".to_owned(),
                }),
            );
        }
    }
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
            Diagnostic::error(
                span,
                "no step has `ledger: accepted`, so the ledger stays empty",
            )
            .help(
                "add ledger: accepted and capture: { order: $.id } to the step that submits work",
            ),
        );
    }
    if let Some(read) = &end.read {
        let gets =
            std::iter::once(&read.get).chain(read.results.iter().map(|results| &results.get));
        let gets = gets.filter_map(Written::placed);
        for get in gets.filter(|get| !get.value.contains("{id}")) {
            cx.report(
                Diagnostic::error(get.span, "the path has no `{id}`")
                    .help("write {id} in place of the captured id: /orders/{id}"),
            );
        }
    }
}
