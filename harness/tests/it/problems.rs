//! Problems as their author sees them: all at once, each with its place and a remedy.

use clip_harness::plan::{Plan, PlanOptions};
use clip_harness::scenario::Diagnostics;

fn problems(text: &str) -> Diagnostics {
    match Plan::prepare_text("scenarios/broken.yaml", text, &PlanOptions::default()) {
        Ok(prepared) => prepared.warnings,
        Err(problems) => problems,
    }
}

const HEAD: &str = "version: 1\nname: t\nsystem: { service: { processors: 2 } }\n";
const LOAD: &str = "load: { a: { arrivals: { rate: 10/s, for: 20s }, steps: [ { get: / } ] } }\n";
const EXPECT: &str = "expect: { always: [ a.success >= 99% ] }\n";

#[test]
fn all_at_once() {
    insta::assert_snapshot!(problems(include_str!("../fixtures/all-wrong.yaml")).render(false));
}

#[test]
fn five_mistakes_are_five_problems() {
    let text = "version: 1
name: broken
sytem: { runtime: process }
system: { runtime: embedded, service: { processors: 2 } }
load:
  frames:
    arrivals: { rate: 10/s, for: 5s }
    steps: [ { get: /health } ]
faults:
  - { name: a, at: 5parsecs, for: 2s, target: processor-9, inject: kil }
expect:
  always: [ frame.success >= 99% ]
";
    insta::assert_snapshot!(problems(text).render(false));
    insta::assert_json_snapshot!(problems(text).to_json());
}

#[test]
fn a_misspelt_key_is_read_as_what_it_was_meant_for() {
    let text = format!(
        "{HEAD}{LOAD}{EXPECT}faluts: [ {{ name: f, at: 2s, for: 1s, target: x, inject: kill }} ]\n"
    );
    let found = problems(&text);
    let messages: Vec<_> = found
        .items()
        .iter()
        .map(|item| item.message.clone())
        .collect();
    assert_eq!(
        messages,
        ["unknown key `faluts`", "the system has no node `x`"]
    );
}

/// Small mistakes, each with the one problem that it is.
pub(super) fn small_mistakes() -> Vec<(String, &'static str)> {
    let fault = |fault: &str| {
        format!(
            "{HEAD}{LOAD}{EXPECT}steady: {{ window: 2s, hold: [ a.success > 9% ] }}\nfaults: {fault}\n"
        )
    };
    let load = |load: &str| format!("{HEAD}{EXPECT}load: {{ a: {load} }}\n");
    let stages = |stages: &str| {
        load(&format!(
            "{{ arrivals: {{ stages: [ {stages} ] }}, steps: [ {{ get: / }} ] }}"
        ))
    };
    let step = |step: &str| {
        load(&format!(
            "{{ arrivals: {{ rate: 1/s, for: 9s }}, steps: [ {step} ] }}"
        ))
    };
    let expect = |expect: &str| format!("{HEAD}{LOAD}expect: {expect}\n");
    let system = |system: &str| format!("version: 1\nname: t\n{LOAD}{EXPECT}system: {system}\n");
    vec![
        (
            format!("{HEAD}{LOAD}{EXPECT}").replace("version: 1", "version: 3"),
            "version 3 is not known",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}").replace("name: t", "name: a b"),
            "`a b` is not a name",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}name: u\n"),
            "`name` is given twice",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}limit: 5s\n"),
            "the run takes longer than 5s",
        ),
        (format!("{HEAD}{EXPECT}"), "there is no load"),
        (
            format!("{LOAD}{EXPECT}version: 1\nname: t\n"),
            "`system` is missing",
        ),
        (
            system("{ runtime: container, service: {} }"),
            "runtime `container` is not supported yet",
        ),
        (system("{}"), "the system has no nodes"),
        (
            system("{ service: { processors: 0 } }"),
            "`0` is not a whole number of at least 1",
        ),
        (
            system("{ service: { config: { brekaer: {} } } }"),
            "unknown key `brekaer`",
        ),
        (
            system("{ service: { config: { breaker: { open: soon } } } }"),
            "`soon` is not a duration: write a number and a unit, like 300ms, 15s, 2m or 1h30m",
        ),
        (
            system("{ service: { config: { breaker: { opn: 1s } } } }"),
            "unknown key `opn`",
        ),
        (
            system("{ service: { config: { data: /tmp } } }"),
            "`data` is set by the harness",
        ),
        (
            system("{ service: { config: { limits: { probe: 0s } } } }"),
            "must be above 0s",
        ),
        (
            system("{ runtime: embedded, nodes: { w: { run: [ ./w ] } } }"),
            "a program cannot run in the embedded runtime",
        ),
        (
            system("{ nodes: { w: { run: [ ./w ], after: [ w ] } } }"),
            "`w` waits for itself",
        ),
        (
            system("{ nodes: { w: { run: [] } } }"),
            "the command is empty",
        ),
        (
            system("{ nodes: { w: { run: [ w ], image: x } } }"),
            "unknown key `image`",
        ),
        (
            system("{ nodes: { w: { run: [ ./w ], env: { A: $(link.x) } } } }"),
            "there is no link from w to `x`",
        ),
        (
            system("{ nodes: { v: { run: [ v ] }, w: { run: [ w ] } } }"),
            "`entry` is missing",
        ),
        (
            system("{ service: {}, links: { gateway-1->x: {} } }"),
            "the system has no node `x`",
        ),
        (
            load("{ arrivals: { rate: 1/s, for: 9s } }"),
            "`a` has no steps",
        ),
        (
            load("{ steps: [ { get: / } ] }"),
            "`a` has neither `arrivals` nor `users`",
        ),
        (
            load("{ arrivals: { rate: 1, for: 9s }, steps: [ { get: / } ] }"),
            "`1` is not a rate",
        ),
        (
            load("{ arrivals: { rate: 1/s }, steps: [ { get: / } ] }"),
            "arrivals need `rate` and `for`, or `stages`",
        ),
        (
            load("{ arrivals: { stages: [ { hold: 9s } ] }, steps: [ { get: / } ] }"),
            "`hold` needs a rate",
        ),
        (
            stages("{ steps: 50/s..60/s, by: 4/s, each: 1s }"),
            "no whole number of steps leads from 50/s to 60/s",
        ),
        (
            stages("{ steps: 50/s..60/s, by: 0/s, each: 1s }"),
            "`by` must be greater than zero",
        ),
        (
            stages("{ steps: 0/s..10000/s, by: 1/s, each: 1s }"),
            "these are more than 1000 steps",
        ),
        (
            stages("{ steps: 50/s..60/s, by: 5/s, each: 0s }"),
            "a step must be longer than zero",
        ),
        (
            stages("{ steps: 50/s..60/s, by: 5/s, hold: 5s }"),
            "`steps` needs `by` and `each`, and takes nothing else",
        ),
        (
            stages("{ name: s, rate: 5/s, hold: 5s }, { name: s, hold: 5s }"),
            "there is already a stage `s`",
        ),
        (
            stages("{ name: steady, rate: 5/s, hold: 5s }"),
            "`steady` is reserved in expectations",
        ),
        (
            format!(
                "{HEAD}{EXPECT}load: {{ a: {{ arrivals: {{ rate: 1/s, for: 9s }}, entry: gateway-9, steps: [ {{ get: / }} ] }} }}\n"
            ),
            "the system has no node `gateway-9`",
        ),
        (
            system("{ entry: gateway-9*, service: {} }"),
            "the system has no node `gateway-9*`",
        ),
        (
            system("{ service: { nodes: { gateway-2: { balance: random } } } }"),
            "the system has no node `gateway-2`",
        ),
        (
            system("{ service: { nodes: { gateway-1: { balanse: random } } } }"),
            "unknown key `balanse`",
        ),
        (
            format!(
                "{HEAD}{EXPECT}load: {{ a: {{ arrivals: {{ rate: 1/s, for: 9s }}, steps: [ {{ get: / }} ] }}, all: {{ arrivals: {{ rate: 1/s, for: 9s }}, steps: [ {{ get: / }} ] }} }}\n"
            ),
            "`all` is reserved in expectations",
        ),
        (
            expect(
                "{ recover: { within: 2s, stays: perhaps } }\nsteady: { window: 1s, hold: [ a.success > 9% ] }",
            ),
            "`perhaps` is not true or false",
        ),
        (
            load("{ arrivals: { rate: 0/s, for: 9s }, steps: [ { get: / } ] }"),
            "the rate must be greater than zero",
        ),
        (
            load(
                "{ arrivals: { stages: [ { ramp: 0/s..0/s, over: 9s } ] }, steps: [ { get: / } ] }",
            ),
            "every stage has a rate of zero",
        ),
        (
            load("{ users: { count: 3 }, steps: [ { get: / } ] }"),
            "`for` is missing: no other load says how long the users stay",
        ),
        (step("{ get: health }"), "`health` is not a path"),
        (step("{ get: /, post: / }"), "the step has more than one request"),
        (step("{ json: {} }"), "the step has no request"),
        (step("{ get: /$(jbo) }"), "unknown variable `jbo`"),
        (
            step("{ get: /$(fixture.tlak) }"),
            "there is no fixture `tlak`",
        ),
        (step("{ get: \"/$(uuid\" }"), "`$(` is not closed"),
        (
            step("{ get: /, expect: { status: 99 } }"),
            "`99` is not a status code",
        ),
        (
            step("{ get: /, ledger: accepted }"),
            "`ledger` needs a `capture`",
        ),
        (
            step("{ get: /, capture: { id: job } }"),
            "`job` is not a JSON path",
        ),
        (
            step("{ get: /, capture: { id: \"$.jobs[x].id\" } }"),
            "`x` is not an index",
        ),
        (
            step("{ get: /, capture: { id: \"$.jobs[0].\" } }"),
            "a name is expected after `.`",
        ),
        (
            expect(
                "{ end: { ledger: [ no_lost ], read: { get: \"/x/{id}\", state: \"$.state[\", done: [ d ], failed: [ f ] } } }\nload: { a: { arrivals: { rate: 1/s, for: 9s }, steps: [ { post: /, capture: { id: $.id }, ledger: accepted } ] } }",
            )
            .replace(LOAD, ""),
            "`[` is not closed",
        ),
        (
            fault("[ { name: f, for: 1s, target: processor-1, inject: kill } ]"),
            "`at` or `after` is missing",
        ),
        (
            fault("[ { name: f, at: 3s, for: 0s, target: processor-1, inject: kill } ]"),
            "a fault must be longer than zero",
        ),
        (
            fault("[ { name: f, at: 30s, for: 1s, target: processor-1, inject: kill } ]"),
            "`f` begins after the load has ended",
        ),
        (
            fault("[ { name: f, after: g.end, for: 1s, target: processor-1, inject: kill } ]"),
            "there is no fault `g`",
        ),
        (
            fault("[ { name: f, after: f.end, for: 1s, target: processor-1, inject: kill } ]"),
            "these faults wait for each other",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: processor-1, inject: latency } ]"),
            "`latency` needs settings",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: processor-1, inject: { kill: {} } } ]"),
            "`kill` has no settings",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: gateway-1->processor-1, inject: kill } ]"),
            "`kill` needs a node, and `gateway-1->processor-1` is a link",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: processor-1, inject: down } ]"),
            "`down` needs a link, and `processor-1` is a node",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { latency: { add: 1s, jitter: 2s } } } ]",
            ),
            "`jitter` must not be greater than `add`",
        ),
        (
            fault("[ { name: f, at: 3s, target: processor-1, inject: kill } ]"),
            "`kill` needs `for`",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: processor-*, inject: rolling-restart } ]"),
            "`rolling-restart` has no `for`: it ends when the last node is ready again",
        ),
        (
            fault(
                "[ { name: f, at: 3s, target: processor-1, inject: { restart: { drain: 0s } } } ]",
            ),
            "`drain` must be longer than zero",
        ),
        (
            fault(
                "[ { name: f, at: 3s, target: [processor-1, gatway-*], inject: rolling-restart } ]",
            ),
            "the system has no node `gatway-*`",
        ),
        (
            fault("[ { name: f, at: 3s, target: [], inject: restart } ]"),
            "the list of targets is empty",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: any, inject: status } ]"),
            "`status` needs settings",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { status: { code: 600 } } } ]",
            ),
            "`600` is not a status code",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { status: { code: 100 } } } ]",
            ),
            "100 is an interim status",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { status: { code: 503, share: 0% } } } ]",
            ),
            "`share` must be greater than 0%",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { status: { code: 503, share: 120% } } } ]",
            ),
            "`120%` is not a percentage",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { status: { code: 503, retry_after: 1500ms } } } ]",
            ),
            "`retry_after` must be whole seconds, not 1500ms",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: \"*->processor-7\", inject: { status: { code: 503 } } } ]",
            ),
            "the system has no link `*->processor-7`",
        ),
        (
            fault("[ { name: f, at: 3s, for: 1s, target: any, inject: { slow: { factor: 1 } } } ]"),
            "a factor must be greater than 1",
        ),
        (
            fault(
                "[ { name: f, at: 3s, for: 1s, target: any, inject: { slow: { factor: 10x } } } ]",
            ),
            "`10x` is not a factor",
        ),
        (
            fault("[ { name: f, draw: [] } ]"),
            "a source of random faults is not supported yet",
        ),
        (expect("{}"), "the scenario has no expectations, so it cannot fail"),
        (
            expect("{ always: [ b.success >= 9% ] }"),
            "there is no load `b`",
        ),
        (
            expect("{ always: [ a.p99 <= 2x steady ] }"),
            "there is no steady state to compare with",
        ),
        (
            expect("{ always: [ a.p99 <= 9s ], during: { f: [] } }"),
            "there is no fault `f`",
        ),
        (
            expect("{ always: [ breaker(processor-1) opened within 1s ] }"),
            "`breaker` is counted from the start of a fault",
        ),
        (
            expect("{ always: [ a.p99 <= 2x peek ] }"),
            "there is no stage `peek`",
        ),
        (
            expect("{ always: [ a.p95 <= 0.5x b.p95 ] }"),
            "there is no load `b`",
        ),
        (
            expect("{ always: [ amplification(processor-1) <= 1.2 ] }"),
            "the system has no gateway `processor-1`",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}control: [ a.success >= 98% ]\n"),
            "`a.success >= 98%` is not an expectation of this scenario",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}abort: [ amplification(gateway-1) > 2 ]\n"),
            "`amplification` is known only when the run is over",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}abort: [ a.p99 > 2x peak ]\n"),
            "`abort` cannot be compared with a stage",
        ),
        (
            format!("{HEAD}{LOAD}{EXPECT}steady: {{ window: 1s, hold: [ a.p99 <= 2x peak ] }}\n"),
            "the steady state cannot be compared with a stage, which may come later",
        ),
        (
            expect("{ recover: { within: 2s } }"),
            "`recover` needs a steady state",
        ),
        (
            expect("{ end: { ledger: [ no_lost ] } }"),
            "no step has `ledger: accepted`, so the ledger stays empty",
        ),
    ]
}

/// Each small mistake gives exactly one problem, and it says what to do.
#[test]
fn one_mistake_one_problem() {
    let mut wrong = Vec::new();
    for (text, message) in small_mistakes() {
        let found = problems(&text);
        match found.items().as_slice() {
            [only] if only.message == message && only.help.is_some() => {}
            _ => wrong.push(format!("not just `{message}`:\n{text}\n{found}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_pause_needs_a_process() {
    let text = format!(
        "{}{LOAD}{EXPECT}faults: [ {{ name: f, at: 3s, for: 1s, target: processor-1, inject: pause }} ]\n",
        HEAD.replace("system: {", "system: { runtime: embedded,")
    );
    let found = problems(&text);
    let items = found.items();
    assert_eq!(items.len(), 1, "{found}");
    assert!(
        items[0]
            .help
            .as_deref()
            .is_some_and(|help| help.contains("process")),
        "{found}"
    );
}

#[test]
fn an_expectation_is_pointed_at_inside() {
    let found = problems(&format!(
        "{HEAD}{LOAD}expect:\n  always:\n    - \"a.p99 <= 3 pigs\"\n    - a.p98 < 2s\n"
    ));
    insta::assert_snapshot!(found.render(false), @r#"
    error: `3` is not a duration
       ┌─ scenarios/broken.yaml:7:17
     7 │     - "a.p99 <= 3 pigs"
       │                 ^ write 3s or 3ms

    error: unknown measure `p98`
       ┌─ scenarios/broken.yaml:8:9
     8 │     - a.p98 < 2s
       │         ^^^ did you mean `p90`?

    2 problems in scenarios/broken.yaml; nothing was started
    "#);
}

#[test]
fn a_json_path_is_pointed_at_inside() {
    let found = problems(&format!(
        "{HEAD}{EXPECT}load:\n  a:\n    arrivals: {{ rate: 1/s, for: 9s }}\n    steps:\n      - get: /\n        capture: {{ job: \"$.jobs[x].id\", sid: token, all: $..id }}\n"
    ));
    insta::assert_snapshot!(found.render(false));
}

#[test]
fn colours_are_a_second_signal() {
    let found = problems("version: 1");
    let coloured = found.render(true);
    assert!(coloured.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    assert_eq!(plain, found.render(false));
}

/// Where a problem with the service's configuration is shown: the text of its line from its column on.
#[test]
fn a_problem_of_the_services_configuration_is_shown_at_its_value() {
    let cases = [
        // A value of the wrong kind, one out of bounds, one that contradicts its neighbour.
        ("breaker: { open: 5 }", "5", "invalid type"),
        ("breaker: { open: 0s }", "0s", "0s is shorter than 1ms"),
        ("balance: fastest", "fastest", "unknown variant `fastest`"),
        (
            "timeouts: { read_try_min: 90s, read_try: 1s }",
            "90s",
            "90s is longer than read_try (1s)",
        ),
        // `open` is a part of the longer key's name, and of its message.
        (
            "breaker: { open: 2s, max_open: 1s }",
            "1s",
            "1s is shorter than open (2s)",
        ),
        ("registry: { check: { fall: 0 } }", "0", "0 is not within"),
        // The value that is wrong is a default, because of another: the section is shown, with the key.
        (
            "breaker: { window_calls: 3 }",
            "breaker:",
            "breaker.min_calls: 20 calls never fit",
        ),
    ];
    for (config, place, message) in cases {
        let text = format!(
            "version: 1\nname: t\nsystem:\n  service:\n    config:\n      {config}\n{LOAD}{EXPECT}"
        );
        let found = problems(&text).to_json();
        let items: Vec<_> = found["problems"].as_array().into_iter().flatten().collect();
        let [one] = items.as_slice() else {
            panic!("{config}: {found:#}");
        };
        assert!(
            one["message"]
                .as_str()
                .is_some_and(|said| said.starts_with(message)),
            "{config}: {one:#}"
        );
        let column = one["column"]
            .as_u64()
            .and_then(|column| usize::try_from(column).ok());
        let line = text.lines().nth(5).expect("the sixth line");
        let shown = &line[column.expect("a column") - 1..];
        assert!(
            one["line"] == 6 && shown.starts_with(place),
            "{config}: shown at `{shown}`"
        );
    }
}

/// A system of plain programs has no probes, and says so at the expectation; the clip service's take its own nodes only.
#[test]
fn probes_are_those_of_the_system() {
    let of = |system: &str, expectation: &str| {
        let text = format!(
            "version: 1\nname: t\nsystem: {system}\n{LOAD}faults: [ {{ name: f, at: 2s, for: 1s, target: '*-1', inject: kill }} ]\n\
             expect:\n  during:\n    f: [ {expectation} ]\n"
        );
        let found = problems(&text).to_json();
        let items = found["problems"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .filter(|item| item["severity"] == "error")
            .map(|item| format!("{}:{} {}", item["line"], item["column"], item["message"]))
            .collect::<Vec<_>>()
    };
    let programs = "{ nodes: { web: { run: [sh, -c, 'sleep 1'], replicas: 2 } }, entry: web }";
    let service = "{ service: { processors: 2 } }";
    for (system, expectation, problem) in [
        (
            programs,
            "breaker(web-1) opened within 2s",
            Some("`breaker` is a probe of the clip service; this system has none"),
        ),
        (
            programs,
            "amplification(web-1) <= 1.2",
            Some("`amplification` is a probe of the clip service; this system has none"),
        ),
        (service, "breaker(processor-1) opened within 2s", None),
        (service, "amplification(gateway-1) <= 1.2", None),
        (
            service,
            "amplification(processor-1) <= 1.2",
            Some("the system has no gateway `processor-1`"),
        ),
        (
            service,
            "braker(processor-1) opened within 2s",
            Some("there is no probe `braker`"),
        ),
    ] {
        let expected: Vec<_> = problem
            .map(|problem| format!("8:10 \"{problem}\""))
            .into_iter()
            .collect();
        assert_eq!(of(system, expectation), expected, "{expectation}");
    }
}
