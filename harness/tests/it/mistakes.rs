//! Mistakes that authors make, each with exactly the problems it is: where, what, and what to write instead. Nothing that
//! only follows from the first.

use clip_harness::plan::{Plan, PlanOptions};
use clip_harness::scenario::{Diagnostics, Severity};

/// A sound scenario of programs, in parts that a mistake replaces.
struct Shop {
    nodes: &'static str,
    links: &'static str,
    load: &'static str,
    faults: &'static str,
    rest: &'static str,
}

const SHOP: Shop = Shop {
    nodes: "{ db: { run: [ db ] }, app: { run: [ app ], replicas: 2, after: [ db ] } }",
    links: "{ app->db: {} }",
    load: "{ visit: { arrivals: { rate: 20/s, for: 30s }, steps: [ { get: /health } ] } }",
    faults: "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill } ]",
    rest: "",
};

impl Shop {
    fn text(&self) -> String {
        format!(
            "version: 1\nname: shop\nsystem:\n  entry: app\n  nodes: {}\n  links: {}\nload: {}\n\
             steady: {{ window: 2s, hold: [ visit.success >= 99% ] }}\nfaults: {}\n\
             expect: {{ always: [ visit.success >= 99% ] }}\n{}\n",
            self.nodes, self.links, self.load, self.faults, self.rest
        )
    }
}

fn found(text: &str) -> Diagnostics {
    match Plan::prepare_text("shop.yaml", text, &PlanOptions::default()) {
        Ok(prepared) => prepared.warnings,
        Err(problems) => problems,
    }
}

/// What must be said: the text it points at, the message, the remedy; its beginning where it ends in `…`.
type Said = (Severity, &'static str, &'static str, &'static str);

fn check(cases: Vec<(Shop, Vec<Said>)>) {
    let mut wrong = String::new();
    for (shop, said) in cases {
        let text = shop.text();
        let found = found(&text);
        let actual: Vec<_> = found
            .items()
            .into_iter()
            .map(|item| {
                (
                    item.severity,
                    item.span.map_or("", |span| found.source().slice(span)),
                    item.message.as_str(),
                    item.help.as_deref().unwrap_or_default(),
                )
            })
            .collect();
        let as_said = actual.len() == said.len()
            && actual.iter().zip(&said).all(|(actual, said)| {
                let help = match said.3.strip_suffix('…') {
                    Some(start) => actual.3.starts_with(start),
                    None => actual.3 == said.3,
                };
                help && (actual.0, actual.1, actual.2) == (said.0, said.1, said.2)
            });
        if !as_said {
            wrong.push_str(&format!("{text}{actual:#?}\nshould be {said:#?}\n\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn error(at: &'static str, message: &'static str, help: &'static str) -> Said {
    (Severity::Error, at, message, help)
}

fn warning(at: &'static str, message: &'static str, help: &'static str) -> Said {
    (Severity::Warning, at, message, help)
}

#[test]
fn the_scenario_they_are_made_in_is_sound() {
    check(vec![(SHOP, vec![])]);
}

#[test]
fn programs() {
    let nodes = |nodes| Shop {
        nodes,
        links: "{}",
        ..SHOP
    };
    check(vec![
        (
            nodes("{ app: { run: python3 app.py --port 80, replicas: 2 } }"),
            vec![error(
                "python3 app.py --port 80",
                "`run` is a list, not one text",
                "write run: [ python3, app.py, --port, 80 ]",
            )],
        ),
        (
            nodes("{ app: { run: \"app --port $PORT | tee log\", replicas: 2 } }"),
            vec![error(
                "\"app --port $PORT | tee log\"",
                "`run` is a list, not one text",
                "write run: [ sh, -c, \"app --port $PORT | tee log\" ]",
            )],
        ),
        (
            nodes("{ app: { run: [ app, --port, $PORT ], replicas: 2 } }"),
            vec![warning(
                "$PORT",
                "no shell expands `$PORT` here",
                "write run: [ sh, -c, \"exec app --port $PORT\" ]",
            )],
        ),
        (
            nodes(
                "{ app: { run: [ sh, -c, 'exec app --port $PORT --home ${HOME:-/}' ], replicas: 2 } }",
            ),
            vec![],
        ),
        (
            nodes("{ app: { run: [ app, --port, $(port) ], replicas: 2 } }"),
            vec![error(
                "$(port)",
                "the port of a node is in its environment variable PORT",
                "write run: [ sh, -c, \"exec program --port $PORT\" ]",
            )],
        ),
        (
            nodes("{ app: { run: [ sh, -c, 'cd $(dirname x) && app' ], replicas: 2 } }"),
            vec![error(
                "$(dirname x)",
                "unknown variable `dirname x`",
                "$(…) holds the name of a variable; for a shell's own substitution use backquotes",
            )],
        ),
        (
            nodes("{ app: { run: [ app ], replicas: 2, env: { T: $(env.TOKEN), U: '${USER}' } } }"),
            vec![
                error(
                    "$(env.TOKEN)",
                    "unknown variable `env.TOKEN`",
                    "environment variables are not read: define `TOKEN` under `vars:`, write $(TOKEN), and run with --var TOKEN=\"$TOKEN\"",
                ),
                warning(
                    "${USER}",
                    "`${USER}` is not filled in",
                    "write $(USER) and define `USER` under `vars:`; --var USER=\"$USER\" passes an environment variable",
                ),
            ],
        ),
        // What stands in place of a command is not taken for a missing command.
        (
            nodes("{ app: { image: app:7, replicas: 2 } }"),
            vec![error("image", "unknown key `image`", "known here: run, …")],
        ),
        (
            nodes("{ app: { run: [ app ], replicas: 2, ready: { tcp: 80 } } }"),
            vec![error(
                "tcp",
                "unknown key `tcp`",
                "known here: get, status, within",
            )],
        ),
        (
            nodes("{ app: { run: [ app ], replicas: 2, ready: /up } }"),
            vec![error(
                "/up",
                "expected a mapping, found text",
                "write { get: /up }",
            )],
        ),
        (
            nodes(
                "{ db: { run: [ db ], after: [ app ] }, app: { run: [ app ], replicas: 2, after: [ db ] }, web: { run: [ web ], after: [ app ] } }",
            ),
            vec![error(
                "app",
                "`db` waits for itself",
                "remove one `after` of db after app after db",
            )],
        ),
    ]);
}

/// A link's address may stand in a command as well as in an environment.
#[test]
fn links_are_filled_into_commands() {
    let linked = Shop {
        nodes: "{ db: { run: [ db ] }, app: { run: [ app, --db, $(link.db) ], replicas: 2 } }",
        ..SHOP
    };
    let plan = Plan::prepare_text("shop.yaml", &linked.text(), &PlanOptions::default());
    let plan = plan.expect("a plan").plan;
    let commands: Vec<_> = plan
        .system
        .nodes
        .iter()
        .filter_map(|node| match &node.start {
            clip_harness::plan::NodeStart::Run { command, .. } => Some(command.join(" ")),
            clip_harness::plan::NodeStart::Service { .. } => None,
        })
        .collect();
    assert_eq!(
        commands,
        [
            "db",
            "app --db $(link.app-1->db)",
            "app --db $(link.app-2->db)"
        ]
    );
    check(vec![(
        Shop {
            links: "{}",
            ..linked
        },
        vec![
            error(
                "$(link.db)",
                "there is no link from app-1 to `db`",
                "add `app-1->db: {}` under `links:`",
            ),
            error(
                "$(link.db)",
                "there is no link from app-2 to `db`",
                "add `app-2->db: {}` under `links:`",
            ),
        ],
    )]);
}

#[test]
fn settings_without_their_key() {
    let inject = |faults| Shop { faults, ..SHOP };
    check(vec![
        (
            inject(
                "[ { name: f, at: 5s, for: 1s, target: app-1->db, inject: { latency: 200ms } } ]",
            ),
            vec![error(
                "200ms",
                "expected a mapping, found text",
                "write { add: 200ms }",
            )],
        ),
        (
            inject("[ { name: f, at: 5s, for: 1s, target: app-1->db, inject: { status: 503 } } ]"),
            vec![error(
                "503",
                "expected a mapping, found a number",
                "write { code: 503 }",
            )],
        ),
        (
            inject("[ { name: f, at: 5s, for: 1s, target: db, inject: { slow: 10 } } ]"),
            vec![error(
                "10",
                "expected a mapping, found a number",
                "write { factor: 10 }",
            )],
        ),
        (
            inject("[ { name: f, at: 5s, target: app-1, inject: { restart: 5s } } ]"),
            vec![error(
                "5s",
                "expected a mapping, found text",
                "write { drain: 5s }",
            )],
        ),
        (
            Shop {
                load: "{ visit: { arrivals: 20/s, steps: [ { get: / } ] } }",
                ..SHOP
            },
            vec![error(
                "20/s",
                "expected a mapping, found text",
                "write { rate: 20/s }",
            )],
        ),
        (
            Shop {
                load: "{ visit: { arrivals: { rate: 20/s, for: 30s }, steps: [ /health ] } }",
                ..SHOP
            },
            vec![error(
                "/health",
                "expected a mapping, found text",
                "write { get: /health }",
            )],
        ),
        (
            Shop {
                load: "{ visit: { arrivals: { rate: 20/s, for: 30s }, steps: { get: /health } } }",
                ..SHOP
            },
            vec![error(
                "{ get",
                "expected a list, found a mapping",
                "put it in brackets, or begin it with `-`",
            )],
        ),
        (
            inject("{ crash: { at: 3s, for: 2s, target: app-1, inject: kill } }"),
            vec![error(
                "{ crash",
                "expected a list, found a mapping",
                "begin each entry with `-`: - { name: crash, … }",
            )],
        ),
        (
            Shop {
                links: "{ app->db: { latency: 10ms } }",
                ..SHOP
            },
            vec![error(
                "latency",
                "unknown key `latency`",
                "there are no settings here yet: write {}",
            )],
        ),
    ]);
}

#[test]
fn steps() {
    macro_rules! step {
        ($step:literal) => {
            Shop {
                load: concat!(
                    "{ visit: { arrivals: { rate: 20/s, for: 30s }, steps: [ ",
                    $step,
                    " ] } }"
                ),
                ..SHOP
            }
        };
    }
    check(vec![
        (
            step!("{ get: 'http://localhost:80/health?x=1' }"),
            vec![error(
                "'http://localhost:80/health?x=1'",
                "`http://localhost:80/health?x=1` is not a path",
                "write /health?x=1; requests go to the entry of the load",
            )],
        ),
        (
            step!("{ get: health }"),
            vec![error("health", "`health` is not a path", "write /health")],
        ),
        (
            step!("{ get: '/u?n=${USER}' }"),
            vec![error(
                "${USER}",
                "`${USER}` is not filled in",
                "write $(USER) and define `USER` under `vars:`; --var USER=\"$USER\" passes an environment variable",
            )],
        ),
        (
            step!("{ post: /, json: { user: '${USER}' } }"),
            vec![warning(
                "{ user",
                "`${USER}` is not filled in",
                "write $(USER) and define `USER` under `vars:`; --var USER=\"$USER\" passes an environment variable",
            )],
        ),
        (
            step!("{ post: /, json: '{\"user\": \"ann\"}' }"),
            vec![warning(
                "'{\"user\": \"ann\"}'",
                "`json` is a text, so it is sent as one JSON string",
                "leave the quotes around it out: json: {\"user\": \"ann\"}",
            )],
        ),
        (
            step!("{ get: /items/$(item) }, { post: /items, capture: { item: $.id } }"),
            vec![error(
                "$(item)",
                "`item` is captured by a later step",
                "put the step that captures it before this one",
            )],
        ),
        (
            step!("{ get: / }, { pause: 1s }"),
            vec![error(
                "pause",
                "unknown key `pause`",
                "known here: get, post, …",
            )],
        ),
        (
            step!("{ get: /, expect: { status: 2xx } }"),
            vec![error(
                "2xx",
                "`2xx` is not a status code",
                "any 2xx is the default: leave `status` out, or list codes: [200, 201]",
            )],
        ),
        (
            step!("{ get: '/?n=$(random ann|bob)' }"),
            vec![error(
                "'/?n=$(random ann|bob)'",
                "`$(random ann|bob)` has no range of numbers",
                "write $(random 0..59) or $(random 0.0..59.9)",
            )],
        ),
    ]);
}

#[test]
fn faults_that_overlap() {
    let faults = |faults| Shop { faults, ..SHOP };
    let overlap = |at| {
        error(
            at,
            "`crash` and `b` overlap on app-1",
            "kill from 5s to 7s, pause from 6s: write after: crash.end + 1s, or choose another node",
        )
    };
    check(vec![
        (
            faults(
                "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill }, { name: b, at: 6s, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![overlap("b")],
        ),
        // In whatever order they are written, and by whatever selector they find the node.
        (
            faults(
                "[ { name: b, at: 6s, for: 3s, target: \"app-*\", inject: pause }, { name: crash, at: 5s, for: 2s, target: [ db, app-1 ], inject: kill } ]",
            ),
            vec![overlap("b")],
        ),
        (
            faults(
                "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill }, { name: b, after: crash.start + 1s, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![overlap("b")],
        ),
        (
            faults(
                "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill }, { name: b, at: 6s, for: 3s, target: app-2, inject: pause } ]",
            ),
            vec![],
        ),
        (
            faults(
                "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill }, { name: b, after: crash.end, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![],
        ),
        // A link is no process.
        (
            faults(
                "[ { name: crash, at: 5s, for: 2s, target: app-1, inject: kill }, { name: b, at: 6s, for: 3s, target: app-1->db, inject: down } ]",
            ),
            vec![],
        ),
        // One begins at a time, the other when the run says: it may be over by then.
        (
            faults(
                "[ { name: a, at: 5s, for: 9s, target: app-1, inject: kill }, { name: c, at: 5s, for: 1s, target: db, inject: pause }, { name: b, after: c.recovered, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![warning(
                "b",
                "`a` and `b` may overlap on app-1",
                "kill from 5s to 14s, pause from 8s: write after: a.end + 1s, or choose another node",
            )],
        ),
        // A restart is over when the node is ready.
        (
            faults(
                "[ { name: a, at: 5s, target: app-1, inject: restart }, { name: b, at: 9s, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![warning(
                "b",
                "`a` and `b` may overlap on app-1",
                "restart from 5s until the node is ready again, pause from 9s: write after: a.end + 1s, or choose another node",
            )],
        ),
        (
            faults(
                "[ { name: a, at: 5s, target: app-*, inject: rolling-restart }, { name: c, after: a.end, for: 1s, target: db, inject: kill }, { name: b, after: c.end, for: 3s, target: app-1, inject: pause } ]",
            ),
            vec![],
        ),
    ]);
}

#[test]
fn faults_and_the_end_of_load() {
    let faults = |faults| Shop { faults, ..SHOP };
    check(vec![
        (
            faults("[ { name: f, at: 29s, for: 20s, target: app-1, inject: kill } ]"),
            vec![error(
                "f",
                "`f` ends after the load",
                "it ends at 49s at the earliest, the load at 30s; make the load longer or the fault shorter",
            )],
        ),
        (
            faults(
                "[ { name: f, at: 5s, for: 10s, target: app-1, inject: kill }, { name: g, after: f.recovered, for: 20s, target: app-1->db, inject: down } ]",
            ),
            vec![error(
                "g",
                "`g` ends after the load",
                "it ends at 37s at the earliest, the load at 30s; make the load longer or the fault shorter",
            )],
        ),
        (
            faults("[ { name: f, at: 40s, for: 2s, target: app-1, inject: kill } ]"),
            vec![error(
                "f",
                "`f` begins after the load has ended",
                "it begins at 40s at the earliest; the load ends at 30s",
            )],
        ),
        (
            faults("[ { name: f, at: 5s, for: 2s, target: app, inject: kill } ]"),
            vec![error(
                "app",
                "the system has no node `app`",
                "write app-1 for one of its 2 replicas, app-* for all",
            )],
        ),
    ]);
}

/// Between two faults there must be time for a whole steady window, or "steady again" means nothing.
#[test]
fn gaps_too_short_for_recovery() {
    const FAULTS: [&str; 3] = [
        "[ { name: slow, at: 5s, for: 2s, target: app-1->db, inject: down }, { name: cut, at: 9s, for: 2s, target: app-2->db, inject: down } ]",
        "[ { name: slow, at: 5s, for: 2s, target: app-1->db, inject: down }, { name: cut, at: 10s, for: 2s, target: app-2->db, inject: down } ]",
        "[ { name: slow, at: 5s, for: 2s, target: app-1->db, inject: down }, { name: cut, after: slow.recovered, for: 2s, target: app-2->db, inject: down } ]",
    ];
    let recover = |faults| Shop {
        faults,
        rest: "",
        ..SHOP
    };
    let text = |faults| {
        recover(faults)
            .text()
            .replace("expect: {", "expect: { recover: { within: 3s },")
    };
    let said = |faults| {
        let found = found(&text(faults));
        found
            .items()
            .into_iter()
            .map(|item| (item.severity, item.message.clone(), item.help.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        said(FAULTS[0]),
        [(
            Severity::Warning,
            "`slow` cannot be seen to recover before `cut` begins".to_owned(),
            Some("it ends at 7s at the earliest, a steady window takes 2s, `cut` begins at 9s; write after: slow.recovered + 1s there".to_owned()),
        )]
    );
    assert_eq!(said(FAULTS[1]), []);
    assert_eq!(said(FAULTS[2]), []);
    // Nothing asks for recovery.
    check(vec![(recover(FAULTS[0]), vec![])]);
}

#[test]
fn limits() {
    let limited = |load, rest| Shop { load, rest, ..SHOP };
    let hour = "{ visit: { arrivals: { rate: 20/s, for: 1h }, steps: [ { get: / } ] } }";
    let plan = |shop: Shop| {
        Plan::prepare_text("shop.yaml", &shop.text(), &PlanOptions::default())
            .expect("a plan")
            .plan
    };
    assert_eq!(plan(SHOP).limit.to_string(), "10m");
    let long = plan(limited(hour, ""));
    assert!(
        long.limit > long.estimate,
        "{} {}",
        long.limit,
        long.estimate
    );
    assert_eq!(long.limit.to_string(), "62m");
    assert_eq!(plan(limited(hour, "limit: 2h")).limit.to_string(), "2h");
    check(vec![
        (
            limited(hour, "limit: 30m"),
            vec![error(
                "30m",
                "the run takes longer than 30m",
                "load and faults take 1h, start-up and stopping come on top: write at least 62m, or leave `limit` out",
            )],
        ),
        (
            limited(SHOP.load, "limit: 30s"),
            vec![error(
                "30s",
                "the run takes longer than 30s",
                "load and faults take 30s, start-up and stopping come on top: write at least 3m, or leave `limit` out",
            )],
        ),
        (limited(SHOP.load, "limit: 1m"), vec![]),
    ]);
}

#[test]
fn what_is_no_scenario_is_told_once() {
    let found = found("services:\n  redis:\n    image: redis:7\n");
    let items = found.items();
    assert_eq!(items.len(), 1, "{found}");
    assert_eq!(items[0].message, "unknown key `services`");
}

#[test]
fn what_depends_on_an_unreadable_value_is_left_alone() {
    check(vec![
        // `app-2` may be there: how many there are is not known. What cannot be hit by `down` is no link in any case.
        (
            Shop {
                nodes: "{ db: { run: [ db ] }, app: { run: [ app ], replicas: two, after: [ db ] } }",
                faults: "[ { name: crash, at: 5s, for: 2s, target: app-2, inject: kill }, \
                         { name: cut, at: 10s, for: 2s, target: db, inject: down } ]",
                ..SHOP
            },
            vec![
                error(
                    "two",
                    "`two` is not a whole number of at least 1",
                    "write it in digits, without a unit",
                ),
                error(
                    "db",
                    "`down` needs a link, and `db` is a node",
                    "write for example app-1->db",
                ),
            ],
        ),
        // The load may be long enough.
        (
            Shop {
                load: "{ visit: { arrivals: { rate: 20/s, for: 10s }, steps: [ { get: / } ] }, \
                         more: { arrivals: { rate: 20/s, for: 1min }, steps: [ { get: / } ] } }",
                faults: "[ { name: crash, at: 20s, for: 2s, target: app-1, inject: kill } ]",
                ..SHOP
            },
            vec![error("1min", "`1min` is not a duration", "write 1m")],
        ),
        // A step that cannot be read says nothing of how long its load takes.
        (
            Shop {
                load: "{ visit: { arrivals: { rate: 20/s, for: 10s }, steps: [ { get: [] } ] } }",
                faults: "[ { name: crash, at: 20s, for: 2s, target: app-1, inject: kill } ]",
                ..SHOP
            },
            vec![
                error("[", "expected text, found a list", ""),
                error(
                    "crash",
                    "`crash` begins after the load has ended",
                    "it begins at 20s at the earliest; the load ends at 10s",
                ),
            ],
        ),
        // The fault that is waited for may be the one whose name is wrong, and so may the part of an expectation.
        (
            Shop {
                faults: "[ { name: a crash, at: 5s, for: 2s, target: app-1, inject: kill }, \
                         { name: again, after: a crash.end + 1s, for: 2s, target: app-1, inject: kill } ]",
                ..SHOP
            },
            vec![error(
                "a crash",
                "`a crash` is not a name",
                "use up to 64 letters, digits, - and _, beginning with a letter or digit",
            )],
        ),
    ]);
}
