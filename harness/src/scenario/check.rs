//! What the values of a scenario must be together. One function per rule; each leaves unsound values alone.

use super::diagnostic::{Diagnostic, nearest};
use super::expr::{Expectation, Expr, Limit};
use super::model::{
    Arrivals, Document, Inject, Json, Load, Moment, Program, StageText, Step, System,
};
use super::read::{Entries, Placed, Reader};
use super::source::Span;
use super::template::{Call, Template, TemplateError};
use super::value::check_name;
use super::{FIXTURES, config};

/// Applies every rule.
pub(crate) fn document(document: &Document, cx: &mut Reader) {
    version(document, cx);
    names(document, cx);
    system(&document.system, cx);
    for (name, load) in document.load.iter() {
        one_load(name, load, document, cx);
    }
    if document.load.is_empty() {
        cx.report(
            Diagnostic::error(document.span, "there is no load")
                .help("add one under `load:`; a system that is asked nothing shows nothing"),
        );
    }
    faults(document, cx);
    steady(document, cx);
    expectations(document, cx);
    ledger(document, cx);
    without_effect(document, cx);
}

fn version(document: &Document, cx: &mut Reader) {
    let version = &document.version;
    if version.sound && version.value != 1 {
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
                    format!("`$({})` has a meaning of its own", name.value),
                )
                .help("choose another name"),
            );
        }
    }
    if let Some((name, _)) = document
        .load
        .iter()
        .find(|(name, _)| name.value == "breaker")
    {
        cx.report(
            Diagnostic::error(
                name.span,
                "`breaker` has a meaning of its own in expectations",
            )
            .help("choose another name"),
        );
    }
}

fn system(system: &System, cx: &mut Reader) {
    let settings = system
        .service
        .as_ref()
        .and_then(|service| service.config.as_ref());
    if let Some(node) = settings.and_then(|settings| settings.node.as_ref()) {
        config::check(node, cx);
    }
    for (_, program) in system.nodes.iter() {
        environment(program, cx);
    }
}

fn environment(program: &Program, cx: &mut Reader) {
    for (_, value) in program.env.iter().filter(|(_, value)| value.sound) {
        let template = template(&value.value.0, value.span, cx);
        for call in template.iter().flat_map(Template::calls) {
            match call {
                Call::Link(_) => {}
                Call::Capture(name) => unknown_variable(name, &[], value.span, cx),
                other => cx.report(
                    Diagnostic::error(value.span, format!("`$({other})` is not known at start-up"))
                        .help("an environment may hold variables and $(link.NODE)"),
                ),
            }
        }
    }
}

fn one_load(name: &Placed<String>, load: &Load, document: &Document, cx: &mut Reader) {
    match (&load.arrivals, &load.users) {
        (Some(_), Some(users)) => cx.report(
            Diagnostic::error(
                users.span,
                format!("`{}` has both arrivals and users", name.value),
            )
            .help("make two loads of them"),
        ),
        (None, None) => cx.report(
            Diagnostic::error(
                name.span,
                format!("`{}` has neither arrivals nor users", name.value),
            )
            .help("add arrivals: { rate: 10/s, for: 30s }"),
        ),
        (Some(open), None) => arrivals(open, cx),
        (None, Some(users)) => {
            let open_ones = document
                .load
                .iter()
                .any(|(_, load)| load.arrivals.is_some());
            if users.r#for.is_none() && !open_ones {
                cx.report(
                    Diagnostic::error(users.span, "how long do the users stay?")
                        .help("add for: 30s"),
                );
            }
            if let (Some(stay), Some(up)) = (&users.r#for, &users.ramp_up)
                && stay.sound
                && up.sound
                && stay.value < up.value
            {
                cx.report(
                    Diagnostic::error(up.span, "the users leave before all of them have come")
                        .help("`for` counts from the start, ramp_up included"),
                );
            }
        }
    }
    if let Some(timeout) = &load.timeout {
        positive(
            timeout.value.get().is_zero() && timeout.sound,
            "a timeout",
            timeout.span,
            cx,
        );
    }
    if load.steps.is_empty() {
        cx.report(
            Diagnostic::error(load.span, format!("`{}` does nothing", name.value))
                .help("add steps: [ { get: / } ]"),
        );
    }
    let mut captured: Vec<&str> = Vec::new();
    for step in &load.steps {
        one_step(step, &captured, cx);
        captured.extend(step.capture.iter().map(|(name, _)| name.value.as_str()));
    }
}

fn positive(zero: bool, what: &str, span: Span, cx: &mut Reader) {
    if zero {
        cx.report(
            Diagnostic::error(span, format!("{what} must be longer than nothing"))
                .help("write a number and a unit: 300ms, 15s, 2m"),
        );
    }
}

fn arrivals(arrivals: &Arrivals, cx: &mut Reader) {
    if arrivals.stages.is_empty() {
        if arrivals.rate.is_none() || arrivals.r#for.is_none() {
            cx.report(
                Diagnostic::error(arrivals.span, "arrivals need a rate and a length")
                    .help("write rate: 10/s with for: 30s, or stages"),
            );
        }
        if let Some(length) = &arrivals.r#for {
            positive(
                length.sound && length.value.get().is_zero(),
                "a load",
                length.span,
                cx,
            );
        }
        if let Some(rate) = &arrivals.rate
            && rate.sound
            && rate.value.0 <= 0.0
        {
            cx.report(
                Diagnostic::error(rate.span, "nothing ever arrives").help("write 10/s, 30/m"),
            );
        }
        return;
    }
    if let Some(length) = &arrivals.r#for {
        cx.report(
            Diagnostic::error(length.span, "stages have lengths of their own")
                .help("leave `for` out, or write rate and for instead of stages"),
        );
    }
    let mut rate_known = arrivals.rate.is_some();
    let mut any = false;
    let mut sound = rate_known
        || arrivals
            .stages
            .first()
            .is_some_and(|first| first.hold.is_none());
    for stage in &arrivals.stages {
        one_stage(stage, rate_known, cx);
        rate_known = true;
        let rates = [
            stage
                .ramp
                .as_ref()
                .map(|ramp| ramp.value.0.max(ramp.value.1)),
            stage.rate.as_ref().map(|rate| rate.value.0),
            arrivals.rate.as_ref().map(|rate| rate.value.0),
        ];
        any |= rates.into_iter().flatten().any(|rate| rate > 0.0);
        sound &= stage.ramp.as_ref().is_none_or(|ramp| ramp.sound);
        sound &= stage.rate.as_ref().is_none_or(|rate| rate.sound);
    }
    if !any && sound {
        cx.report(
            Diagnostic::error(arrivals.span, "nothing ever arrives")
                .help("write { ramp: 0/s..100/s, over: 5s }"),
        );
    }
}

fn one_stage(stage: &StageText, rate_known: bool, cx: &mut Reader) {
    let problem = match (&stage.ramp, &stage.over, &stage.hold, &stage.rate) {
        (Some(_), Some(over), None, None) => {
            positive(
                over.sound && over.value.get().is_zero(),
                "a ramp",
                over.span,
                cx,
            );
            return;
        }
        (None, None, Some(hold), rate) => {
            positive(
                hold.sound && hold.value.get().is_zero(),
                "a stage",
                hold.span,
                cx,
            );
            if rate.is_some() || rate_known {
                return;
            }
            (
                "at which rate?",
                "write { rate: 10/s, hold: 30s }, or a ramp before it",
            )
        }
        (Some(_), None, ..) => ("how long does the ramp take?", "add over: 5s"),
        _ => (
            "a stage is a ramp or a hold",
            "write { ramp: 0/s..100/s, over: 5s } or { hold: 30s }",
        ),
    };
    cx.report(Diagnostic::error(stage.span, problem.0).help(problem.1));
}

fn one_step(step: &Step, captured: &[&str], cx: &mut Reader) {
    let requests = step.requests();
    match requests.as_slice() {
        [(_, path)] => {
            if path.sound && !path.value.0.starts_with('/') {
                cx.report(
                    Diagnostic::error(path.span, format!("`{}` is not a path", path.value.0))
                        .help("begin with `/`; the host is the link that load enters through"),
                );
            }
        }
        [] => cx.report(
            Diagnostic::error(step.span, "a step asks for something")
                .help("write get: /path, or post, put, patch, delete, head"),
        ),
        [_, (_, second), ..] => cx.report(
            Diagnostic::error(second.span, "a step is one request").help("write one step for each"),
        ),
    }
    for (name, _) in step.headers.iter() {
        // The characters a field name may have by RFC 9110.
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.value.is_empty() || !name.value.chars().all(token) {
            cx.report(Diagnostic::error(
                name.span,
                format!("`{}` is not the name of a header", name.value),
            ));
        }
    }
    let mut found = Vec::new();
    step.templates(|text, span| found.push((text.to_owned(), span)));
    for (text, span) in found {
        let template = template(&text, span, cx);
        for call in template.iter().flat_map(Template::calls) {
            match call {
                Call::Uuid | Call::Random(_) => {}
                Call::Fixture(name) => fixture(name, span, cx),
                Call::Capture(name) if captured.contains(&name.as_str()) => {}
                Call::Capture(name) => unknown_variable(name, captured, span, cx),
                Call::Link(_) => cx.report(
                    Diagnostic::error(span, format!("`$({call})` has no meaning in a step"))
                        .help("steps go through the link that load enters by"),
                ),
            }
        }
    }
    for (_, path) in step.capture.iter() {
        json_path(path, cx);
    }
    if let Some(ledger) = &step.ledger
        && step.capture.is_empty()
    {
        cx.report(
            Diagnostic::error(ledger.span, "what is the id of the accepted work?")
                .help("add capture: { job: $.job_id }"),
        );
    }
}

/// `$`, then names with points before them and indices in brackets.
fn json_path(path: &Placed<String>, cx: &mut Reader) {
    let sound = path.value.strip_prefix('$').is_some_and(|rest| {
        rest.is_empty()
            || (rest.starts_with(['.', '[']) && !rest.ends_with('.') && !rest.contains(".."))
    });
    if path.sound && !sound {
        cx.report(
            Diagnostic::error(path.span, format!("`{}` is not a JSON path", path.value))
                .help("write $.job_id, $.clips[0].id"),
        );
    }
}

fn template(text: &str, span: Span, cx: &mut Reader) -> Option<Template> {
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            let problem = Diagnostic::error(span, error.to_string());
            cx.report(match error {
                TemplateError::Unclosed => problem.help("add `)`"),
                TemplateError::NotARange(_) | TemplateError::Unknown(_) => problem,
            });
            None
        }
    }
}

fn fixture(name: &str, span: Span, cx: &mut Reader) {
    if FIXTURES.iter().any(|(known, _)| *known == name) {
        return;
    }
    let known: Vec<_> = FIXTURES.iter().map(|(known, _)| *known).collect();
    cx.report(
        Diagnostic::error(span, format!("there is no fixture `{name}`")).help(
            match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `$(fixture.{meant})`?"),
                None => format!("there are {}", known.join(", ")),
            },
        ),
    );
}

fn unknown_variable(name: &str, captured: &[&str], span: Span, cx: &mut Reader) {
    let vars = cx.vars.clone();
    let known = vars
        .iter()
        .map(String::as_str)
        .chain(captured.iter().copied())
        .chain(["uuid"]);
    let help = match nearest(name, known) {
        Some(meant) => format!("did you mean `$({meant})`?"),
        None => "define it under `vars:`, or capture it in an earlier step".to_owned(),
    };
    cx.report(Diagnostic::error(span, format!("unknown variable `{name}`")).help(help));
}

fn faults(document: &Document, cx: &mut Reader) {
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
            cx.report(unknown_fault(&after.value.fault, document, after.span));
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

fn unknown_fault(name: &str, document: &Document, span: Span) -> Diagnostic {
    let known: Vec<_> = document
        .faults
        .iter()
        .map(|fault| fault.name.value.0.as_str())
        .collect();
    let problem = Diagnostic::error(span, format!("there is no fault `{name}`"));
    problem.help(match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if known.is_empty() => "the scenario has no faults".to_owned(),
        None => format!("there are {}", known.join(", ")),
    })
}

fn steady(document: &Document, cx: &mut Reader) {
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

fn expectations(document: &Document, cx: &mut Reader) {
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
fn ledger(document: &Document, cx: &mut Reader) {
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

/// Words that are understood and do nothing yet.
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
    {
        cx.report(
            Diagnostic::warning(baseline.span, "`baseline` has no effect yet")
                .help("runs are not compared with earlier ones"),
        );
    }
    for (name, value) in document.vars.iter() {
        if matches!(value.value, Json(serde_json::Value::Null)) {
            cx.report(
                Diagnostic::error(name.span, format!("`{}` has no value", name.value))
                    .help("a variable needs a default; --var overrides it"),
            );
        }
    }
}
