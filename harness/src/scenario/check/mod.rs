//! What the values of a scenario must be together. One function per rule; each leaves alone what could not be understood.

mod expect;
mod faults;
mod load;
pub(super) mod stages;

use clip_service::units::HumanDuration;

use super::config;
use super::expr::is_reserved;
use super::model::{Document, Json, Settings, System};
use super::read::Reader;
use super::shell;
use super::template::{Call, Template};
use super::text::diagnostic::{Diagnostic, Severity};
use super::text::spanned::{OptionalKey as _, Spanned};
use super::value::{TemplateText, check_name};

/// Applies every rule.
pub(crate) fn document(document: &Document, cx: &mut Reader) {
    version(document, cx);
    names(document, cx);
    system(&document.system, cx);
    for (name, load) in document.load.iter() {
        load::one_load(name, load, document, cx);
    }
    if document.load.is_empty() && document.complete {
        cx.report(
            Diagnostic::error(document.span, "there is no load")
                .help("add one: load: { NAME: { arrivals: { rate: 10/s, for: 30s }, steps: [ { get: / } ] } }"),
        );
    }
    faults::faults(document, cx);
    stages::names(document, cx);
    expect::steady(document, cx);
    expect::expectations(document, cx);
    expect::control(document, cx);
    expect::ledger(document, cx);
    without_effect(document, cx);
}

fn version(document: &Document, cx: &mut Reader) {
    if let Some(version) = document.version.placed()
        && *version.value != 1
    {
        cx.report(
            Diagnostic::error(
                version.span,
                format!("version {} is not known", version.value),
            )
            .help("this harness reads version 1"),
        );
    }
}

/// Names the author chose stand in expressions and file names.
fn names(document: &Document, cx: &mut Reader) {
    let loads = document.load.iter().map(|(name, _)| name);
    let nodes = document.system.nodes.iter().map(|(name, _)| name);
    let mut captures = Vec::new();
    for (_, load) in document.load.iter() {
        for step in &load.steps {
            captures.extend(step.capture.iter().map(|(name, _)| name));
        }
    }
    let vars = document.vars.iter().map(|(name, _)| name);
    for name in loads
        .chain(nodes)
        .chain(captures.iter().copied())
        .chain(vars)
    {
        check_name(&name.value, name.span, cx);
    }
    for name in document.vars.iter().map(|(name, _)| name).chain(captures) {
        if matches!(name.value.as_str(), "uuid" | "random") {
            cx.report(
                Diagnostic::error(
                    name.span,
                    format!(
                        "`{}` is reserved: $({0}) is filled in by the harness",
                        name.value
                    ),
                )
                .help("choose another name"),
            );
        }
    }
    for (name, _) in document.load.iter() {
        if is_reserved(&name.value) {
            cx.report(
                Diagnostic::error(
                    name.span,
                    format!("`{}` is reserved in expectations", name.value),
                )
                .help("choose another name"),
            );
        }
    }
}

fn system(system: &System, cx: &mut Reader) {
    let before = cx.problems.len();
    let settings = system
        .service
        .as_ref()
        .and_then(|service| service.config.known())
        .map(|settings| &settings.node);
    if let Some(node) = settings {
        config::check(node, cx);
    }
    for (_, own) in system
        .service
        .iter()
        .flat_map(|service| service.nodes.iter())
    {
        let Some(Settings { node: own }) = own.known() else {
            continue;
        };
        config::check(own, cx);
        // What is right by itself may still not go together.
        if let Some(shared) = settings
            && cx.problems.len() == before
        {
            config::check(&shared.merged(own), cx);
        }
    }
    for (_, program) in system.nodes.iter() {
        for value in program.env.iter().filter_map(|(_, value)| value.placed()) {
            at_start_up(value, "an environment", cx);
            if let Some((written, name)) = shell::variable(&value.value.0) {
                let problem = shell::not_filled_in(&written, &name, value.span, cx);
                cx.report(Diagnostic {
                    severity: Severity::Warning,
                    ..problem
                });
            }
        }
        if let Some(command) = program.run.known() {
            for word in &command.0 {
                at_start_up(Spanned::new(&word.value, word.span), "a command", cx);
            }
            shell::without_a_shell(command, cx);
        }
    }
}

/// What is filled in when a node is started: variables of the scenario, and addresses of links.
fn at_start_up(value: Spanned<&TemplateText>, place: &str, cx: &mut Reader) {
    let template = cx.template(&value.value.0, value.span);
    for call in template.iter().flat_map(Template::calls) {
        match call {
            Call::Link(_) => {}
            Call::Capture(name) if name.eq_ignore_ascii_case("port") => cx.report(
                Diagnostic::error(
                    cx.call_in(value.span, name),
                    "the port of a node is in its environment variable PORT",
                )
                .help("write run: [ sh, -c, \"exec program --port $PORT\" ]"),
            ),
            Call::Capture(name) => cx.report_unknown(name, None, value.span),
            other => cx.report(
                Diagnostic::error(
                    value.span,
                    format!("`$({other})` cannot be used in {place}"),
                )
                .help("variables and $(link.NODE) can"),
            ),
        }
    }
}

/// Whether a name that no fault and no stage has is wrong: it may be one that could not be read.
fn every_name_is_known(document: &Document) -> bool {
    let mut faults = document.faults.iter();
    let mut stages = stages::all(document);
    faults.all(|fault| fault.name.known().is_some()) && stages.all(|stage| stage.name.understood())
}

/// Nothing takes no time.
fn positive(given: Option<Spanned<&HumanDuration>>, what: &str, cx: &mut Reader) {
    if let Some(given) = given
        && given.value.get().is_zero()
    {
        cx.report(
            Diagnostic::error(given.span, format!("{what} must be longer than zero"))
                .help("write a number and a unit: 300ms, 15s, 2m"),
        );
    }
}

/// Keys that are understood and do nothing yet.
fn without_effect(document: &Document, cx: &mut Reader) {
    for (_, load) in document.load.iter() {
        if let Some(down) = load
            .users
            .as_ref()
            .and_then(|users| users.ramp_down.as_ref())
        {
            cx.report(
                Diagnostic::warning(down.span, "`ramp_down` has no effect yet")
                    .help("users leave together when their time is over"),
            );
        }
    }
    if let Some(baseline) = document
        .report
        .as_ref()
        .and_then(|report| report.baseline.as_ref())
        .filter(|baseline| baseline.complete)
    {
        cx.report(
            Diagnostic::warning(baseline.span, "`baseline` has no effect yet")
                .help("runs are not compared with earlier ones"),
        );
    }
    for (name, value) in document.vars.iter() {
        if matches!(value.known(), Some(Json(serde_json::Value::Null))) {
            cx.report(
                Diagnostic::error(name.span, format!("`{}` has no value", name.value))
                    .help("a variable needs a default; --var overrides it"),
            );
        }
    }
}
