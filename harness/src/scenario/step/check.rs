//! What a step must be by itself.

use super::{Step, texts};
use crate::scenario::read::Reader;
use crate::scenario::shell;
use crate::scenario::template::{Call, Template};
use crate::scenario::text::diagnostic::{Diagnostic, Severity, nearest};
use crate::scenario::text::source::Span;
use crate::scenario::text::spanned::OptionalKey as _;
use crate::sut;

/// Reports what a step cannot mean. `captured` are the names of earlier steps, `later` those of this one and of later ones.
pub(in crate::scenario) fn check(step: &Step, captured: &[&str], later: &[&str], cx: &mut Reader) {
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
        let template = cx.template(&text, span);
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
                Call::Capture(name) => cx.report_unknown(name, Some(captured), span),
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
