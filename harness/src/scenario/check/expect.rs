//! What must hold: the steady state, expectations, and the ledger of accepted work.

use super::faults::unknown_fault;
use super::{positive, stages};
use crate::scenario::diagnostic::{Diagnostic, nearest};
use crate::scenario::expr::{ALL, Claim, Expectation, Expr, Limit, ProbeExpr};
use crate::scenario::model::Document;
use crate::scenario::read::{Reader, Spanned};
use crate::scenario::source::Span;

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
    let window = &steady.window;
    positive(
        window.sound && window.value.get().is_zero(),
        "a window",
        window.span,
        cx,
    );
    if steady.hold.is_empty() && steady.complete {
        cx.report(
            Diagnostic::error(
                steady.span,
                "`hold` is empty, so the steady state always holds",
            )
            .help("add hold: [ LOAD.success >= 99.9% ]"),
        );
    }
    for expectation in steady.hold.iter().filter(|expectation| expectation.sound) {
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
fn change(expectation: &Spanned<Expectation>) -> Option<&ProbeExpr> {
    match &expectation.value.expr {
        Expr::Probe(probe) if expectation.sound && probe.is_change() => Some(probe),
        _ => None,
    }
}

pub(super) fn expectations(document: &Document, cx: &mut Reader) {
    let expect = document.expect.as_ref();
    let always = expect
        .map(|expect| expect.always.as_slice())
        .unwrap_or_default();
    let during = expect.map(|expect| &expect.during);
    let stages: Vec<_> = stages::named(document)
        .map(|name| name.value.0.as_str())
        .collect();
    for (name, each) in during.iter().flat_map(|during| during.iter()) {
        let is_stage = stages.contains(&name.value.as_str());
        let is_fault = document
            .faults
            .iter()
            .any(|known| known.name.value.0 == name.value);
        if !is_fault && !is_stage {
            cx.report(unknown_fault(&name.value, document, &stages, name.span));
        }
        for one in each {
            if let Some(probe) = change(one).filter(|_| is_stage) {
                cx.report(misplaced(probe, one.span));
            }
            of_a_load(one, document, cx);
            against_a_stage(one, &stages, cx);
        }
    }
    for one in always {
        against_a_stage(one, &stages, cx);
    }
    for one in document.abort.iter().filter(|one| one.sound) {
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
    for one in always.iter().chain(&document.abort) {
        if let Some(probe) = change(one) {
            cx.report(misplaced(probe, one.span));
        }
        of_a_load(one, document, cx);
    }
    for one in document.steady.iter().flat_map(|steady| &steady.hold) {
        of_a_load(one, document, cx);
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
                if measure.limit.is_against_steady())
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
fn of_a_load(expectation: &Spanned<Expectation>, document: &Document, cx: &mut Reader) {
    let Expr::Measure(measure) = &expectation.value.expr else {
        return;
    };
    let loads = &document.load;
    if !expectation.sound || loads.is_empty() {
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
fn against_a_stage(expectation: &Spanned<Expectation>, stages: &[&str], cx: &mut Reader) {
    let Expr::Measure(measure) = &expectation.value.expr else {
        return;
    };
    let Limit::TimesStage { stage, .. } = &measure.limit else {
        return;
    };
    if !expectation.sound || stages.contains(&stage.as_str()) {
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
fn word_in(expectation: &Spanned<Expectation>, word: &str, cx: &Reader) -> Span {
    let written = cx.source.slice(expectation.span);
    written.find(word).map_or(expectation.span, |at| {
        let start = expectation.span.start + at;
        Span::new(start..start + word.len())
    })
}

/// A control says which of its expectations must fail, in the words in which they are written.
pub(super) fn control(document: &Document, cx: &mut Reader) {
    let written: Vec<_> = document
        .expect
        .iter()
        .flat_map(|expect| {
            let during = expect.during.iter().flat_map(|(_, each)| each);
            expect.always.iter().chain(during)
        })
        .map(|one| one.value.text.as_str())
        .collect();
    for one in document.control.iter().filter(|one| one.sound) {
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
        for get in gets.filter(|get| get.sound && !get.value.contains("{id}")) {
            cx.report(
                Diagnostic::error(get.span, "the path has no `{id}`")
                    .help("write {id} in place of the captured id: /orders/{id}"),
            );
        }
    }
}
