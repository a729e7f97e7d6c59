//! Rows of a verdict as expectations of a report.

use std::time::Duration;

use super::context::{Context, recovery, request};
use super::{Base, Evidence, Expectation, Found, Measured, Scope};
use crate::event::EventKind;
use crate::judge::{self, Finding, Recovered, Row};
use crate::printable::Text;
use crate::scenario::expr::Expr;
use crate::series::{Observation, Window};

pub(super) fn expectation(cx: &Context<'_>, row: &Row) -> Expectation {
    Expectation {
        id: Text::from(row.id.as_str()),
        scope: scope(&row.scope),
        text: Text::from(&row.text),
        metric: match &row.expr {
            Some(Expr::Measure(measure)) => Some(measure.metric),
            _ => None,
        },
        must_fail: row.must_fail,
        outcome: row.outcome,
        found: found(cx, &row.finding),
        evidence: row.evidence.iter().map(|fact| evidence(cx, fact)).collect(),
        took: took(cx, row),
    }
}

fn scope(scope: &judge::Scope) -> Scope {
    match scope {
        judge::Scope::Steady => Scope::Steady,
        judge::Scope::Always => Scope::Always,
        judge::Scope::During(fault) => Scope::During(Text::from(fault)),
        judge::Scope::Stage(stage) => Scope::Stage(Text::from(stage)),
        judge::Scope::Recover(fault) => Scope::Recover(Text::from(fault)),
        judge::Scope::End => Scope::End,
    }
}

fn found(cx: &Context<'_>, finding: &Finding) -> Found {
    match finding {
        Finding::Measure(found) => Found::Measure(measured(cx, found)),
        Finding::Change {
            word,
            within,
            after,
            source,
            reason,
        } => {
            let said = |text: &Option<String>| {
                let text = text.as_ref().filter(|text| !text.is_empty());
                text.map(Text::from)
            };
            Found::Change {
                word: Text::from(word),
                within: *within,
                after: *after,
                source: said(source),
                reason: said(reason),
            }
        }
        Finding::Ratio(found) => Found::Ratio {
            observed: found.observed,
            limit: found.limit,
            counted: found.counted,
            per: found.per,
            unit: found.unit(),
            stretch: cx.stretch(found.window),
            missing: found.missing.as_ref().map(Text::from),
        },
        Finding::Recovery { within, recovered } => Found::Recovery {
            within: *within,
            recovery: recovery(recovered),
        },
        Finding::Ledger(found) => Found::Ledger {
            check: found.check,
            accepted: found.accepted,
            bad: found.bad,
            unverified: found.unverified,
            results: found.results,
        },
        Finding::Nothing(gap) => Found::Nothing(gap.clone()),
    }
}

fn measured(cx: &Context<'_>, found: &Observation) -> Measured {
    let timeline = cx.timeline;
    let whole = timeline.load == Some(found.window);
    let fault =
        |span: &crate::record::timeline::FaultSpan| span.window(timeline.end) == Some(found.window);
    let stage = |(_, stage): &(String, Window)| *stage == found.window;
    let named = whole || timeline.faults.iter().any(fault) || timeline.stages.iter().any(stage);
    Measured {
        observed: found.observed,
        limit: found.limit,
        base: found.base.as_ref().map(|base| Base {
            name: Text::from(&base.name),
            other_load: base.name.contains('.'),
            reading: base.reading,
        }),
        n: found.n,
        ok: found.ok,
        stretch: cx.stretch(found.window),
        worst_window: !named,
        missing: found.missing.clone().filter(|_| found.holds.is_none()),
    }
}

fn evidence(cx: &Context<'_>, fact: &judge::Evidence) -> Evidence {
    match fact {
        judge::Evidence::WorstStretch { window, bad } => Evidence::WorstStretch {
            stretch: cx.stretch(*window),
            bad: *bad,
        },
        judge::Evidence::TopError { class, count } => Evidence::TopError {
            class: Text::from(class),
            count: *count,
        },
        judge::Evidence::SlowestRequest(kept) => Evidence::SlowestRequest(request(cx, kept)),
        judge::Evidence::LogLine { at, node, line } => Evidence::LogLine {
            at: cx.at(*at),
            node: Text::from(node),
            line: Text::from(line),
        },
        judge::Evidence::Exit { at, node, how } => Evidence::Exit {
            at: cx.at(*at),
            node: Text::from(node),
            how: Text::from(how),
        },
        judge::Evidence::Work { id, trouble } => Evidence::Work {
            id: Text::from(id),
            trouble: Text::from(trouble),
        },
    }
}

/// How long the system was watched for the sake of an expectation.
fn took(cx: &Context<'_>, row: &Row) -> Duration {
    let timeline = cx.timeline;
    let window = match &row.scope {
        judge::Scope::Steady => timeline.steady,
        judge::Scope::Always => timeline.load,
        judge::Scope::During(fault) => timeline
            .fault(fault)
            .and_then(|fault| fault.window(timeline.end)),
        judge::Scope::Stage(stage) => {
            let mut stages = timeline.stages.iter();
            stages.find(|(name, _)| name == stage).map(|(_, w)| *w)
        }
        judge::Scope::Recover(fault) => {
            let end = timeline.fault(fault).and_then(|fault| fault.reverted());
            end.zip(timeline.load)
                .map(|(end, load)| match &row.finding {
                    Finding::Recovery {
                        recovered: Recovered::After(after),
                        ..
                    } => Window::starting(end, *after),
                    Finding::Measure(found) => Window::new(end, found.window.to),
                    _ => Window::new(end, load.to),
                })
        }
        judge::Scope::End => return settled(cx),
    };
    window.map(Window::length).unwrap_or_default()
}

/// How long accepted work was waited for.
fn settled(cx: &Context<'_>) -> Duration {
    let events = cx.record.events.iter();
    let took = events.rev().find_map(|event| match event.kind {
        EventKind::Settled { took_us } => Some(Duration::from_micros(took_us)),
        _ => None,
    });
    took.unwrap_or_default()
}
