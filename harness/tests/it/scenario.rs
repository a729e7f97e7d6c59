//! From scenario files to plans: what is resolved, drawn and filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clip_harness::plan::{
    LoadModel, NodeStart, Plan, PlanOptions, RateStage, RuntimeKind, TargetPlan,
};
use clip_harness::scenario::Scenario;
use clip_service::units::HumanDuration;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn planned(text: &str, options: &PlanOptions) -> Plan {
    match Plan::prepare_text("test", text, options) {
        Ok(prepared) => prepared.plan,
        Err(problems) => panic!("{problems}"),
    }
}

/// A scenario with the given system, faults and expectations, and one load of ten seconds.
fn scenario(system: &str, faults: &str) -> String {
    format!(
        "version: 1\nname: t\nseed: 7\nvars: {{ rate: 10/s, n: 2 }}\nsystem: {system}\n\
         load: {{ a: {{ arrivals: {{ rate: $(rate), for: 10s }}, steps: [ {{ get: / }} ] }} }}\n\
         faults: {faults}\nexpect: {{ always: [ a.success >= 99% ] }}\n"
    )
}

#[test]
fn a_scenario_with_every_block_becomes_a_plan() {
    let loaded = Scenario::load(&fixture("every-block.yaml"));
    let scenario = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let planned = Plan::new(&scenario, &PlanOptions::default());
    let mut plan = planned.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(
        plan.file.ends_with("tests/fixtures/every-block.yaml"),
        "{}",
        plan.file
    );
    plan.file = "every-block.yaml".to_owned();
    insta::assert_json_snapshot!(plan);
}

#[test]
fn a_plan_survives_its_own_json() {
    let scenario = Scenario::load(&fixture("every-block.yaml")).expect("a sound file");
    let plan = Plan::new(&scenario, &PlanOptions::default()).expect("a plan");
    let text = serde_json::to_string(&plan).expect("json");
    assert_eq!(
        serde_json::from_str::<Plan>(&text).expect("a plan again"),
        plan
    );
}

#[test]
fn every_scenario_of_the_repository_is_sound_and_fits_its_folder() {
    let files = super::scenario_files();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let prepared = Plan::prepare(&file, &PlanOptions::default());
        let prepared = prepared.unwrap_or_else(|problems| panic!("{problems}"));
        assert!(prepared.warnings.is_empty(), "{}", prepared.warnings);
        let plan = prepared.plan;
        assert_eq!(
            Some(plan.name.as_str()),
            file.file_stem().and_then(|stem| stem.to_str())
        );
        assert!(plan.about.is_some(), "{} says what it shows", plan.name);
        let longest = plan.estimate.get() + plan.expect.end.settle.get();
        assert!(
            longest <= Duration::from_secs(75),
            "{} takes {longest:?}",
            plan.name
        );
    }
}

/// A control differs from what it is the control of in the system alone, or it would show something else.
#[test]
fn every_proof_of_a_layer_has_a_control_that_differs_in_the_layer_alone() {
    let folder = super::top().join("scenarios/resilience");
    let of = |inside: bool| -> Vec<Plan> {
        super::scenario_files()
            .iter()
            .filter(|file| file.starts_with(&folder))
            .filter(|file| file.starts_with(folder.join("controls")) == inside)
            .map(|file| {
                let prepared = Plan::prepare(file, &PlanOptions::default());
                prepared
                    .unwrap_or_else(|problems| panic!("{problems}"))
                    .plan
            })
            .collect()
    };
    let (proofs, controls) = (of(false), of(true));
    assert!(!proofs.is_empty() && !controls.is_empty());
    let mut controlled = std::collections::BTreeSet::new();
    for control in &controls {
        let mut proof = proofs
            .iter()
            .filter(|proof| control.name.starts_with(&format!("{}-", proof.name)));
        let proof = proof
            .next()
            .unwrap_or_else(|| panic!("{} is the control of nothing", control.name));
        assert_eq!(control.load, proof.load, "{}", control.name);
        assert_eq!(control.faults, proof.faults, "{}", control.name);
        assert_eq!(control.steady, proof.steady, "{}", control.name);
        assert_ne!(control.system, proof.system, "{}", control.name);
        assert!(
            control.expect.expressions().any(|one| one.must_fail),
            "{}",
            control.name
        );
        assert!(control.tags.contains(&"control".to_owned()));
        controlled.insert(proof.name.as_str());
    }
    let without: Vec<_> = proofs
        .iter()
        .filter(|proof| !controlled.contains(proof.name.as_str()))
        .map(|proof| proof.name.as_str())
        .collect();
    // Its file and the guide say why.
    assert_eq!(without, ["registry-killed"]);
    for proof in &proofs {
        assert!(
            !proof.expect.expressions().any(|one| one.must_fail),
            "{}",
            proof.name
        );
        assert!(!proof.tags.contains(&"control".to_owned()));
    }
}

#[test]
fn the_same_seed_gives_the_same_plan_and_a_fault_more_moves_no_other() {
    let one = "{ name: a, at: 2s, for: 1s, target: one of processor-*, inject: kill }";
    let system = "{ runtime: embedded, service: { processors: 50 } }";
    let options = PlanOptions::default();
    let first = planned(&scenario(system, &format!("[ {one} ]")), &options);
    assert_eq!(
        first,
        planned(&scenario(system, &format!("[ {one} ]")), &options)
    );
    let other = "{ name: z, at: 1s, for: 1s, target: any, inject: kill }";
    let more = planned(&scenario(system, &format!("[ {other}, {one} ]")), &options);
    assert_eq!(more.faults[1], first.faults[0]);
    let seeds = (0..20).map(|seed| {
        let options = PlanOptions {
            seed: Some(seed),
            ..PlanOptions::default()
        };
        planned(&scenario(system, &format!("[ {one} ]")), &options).faults[0]
            .targets
            .clone()
    });
    let distinct: std::collections::BTreeSet<String> =
        seeds.map(|targets| targets[0].name().to_owned()).collect();
    assert!(distinct.len() > 5, "seeds draw differently: {distinct:?}");
}

#[test]
fn an_omitted_seed_is_drawn() {
    let text = scenario("{ service: {} }", "[]").replace("seed: 7\n", "");
    let seeds: std::collections::BTreeSet<u64> = (0..8)
        .map(|_| planned(&text, &PlanOptions::default()).seed)
        .collect();
    assert!(seeds.len() > 1, "{seeds:?}");
}

#[test]
fn selectors_hit_what_they_name() {
    let system = "{ service: { gateways: 2, processors: $(n) } }";
    let targets = |target: &str, inject: &str| {
        let fault =
            format!("[ {{ name: a, at: 2s, for: 1s, target: \"{target}\", inject: {inject} }} ]");
        planned(&scenario(system, &fault), &PlanOptions::default()).faults[0]
            .targets
            .clone()
    };
    let node = |name: &str| TargetPlan::Node(name.to_owned());
    let link = |name: &str| TargetPlan::Link(name.to_owned());
    assert_eq!(targets("processor-2", "kill"), [node("processor-2")]);
    assert_eq!(
        targets("processor-*", "pause"),
        [node("processor-1"), node("processor-2")]
    );
    assert_eq!(
        targets("gateway-*->processor-1", "down"),
        [
            link("gateway-1->processor-1"),
            link("gateway-2->processor-1")
        ]
    );
    assert_eq!(targets("one of gateway-*", "kill").len(), 1);
    assert_eq!(targets("any", "down").len(), 1);
}

#[test]
fn the_command_line_overrides_the_file() {
    let text = scenario("{ service: {} }", "[]");
    let plan = planned(
        &text,
        &PlanOptions {
            seed: Some(99),
            vars: vec![("rate".into(), "30/m".into())],
            rate_scale: Some(4.0),
            runtime: Some(RuntimeKind::Embedded),
        },
    );
    assert_eq!(
        (plan.seed, plan.system.runtime),
        (99, RuntimeKind::Embedded)
    );
    let LoadModel::Arrivals { stages, .. } = &plan.load[0].model else {
        panic!("arrivals");
    };
    let length = HumanDuration::secs(10);
    assert_eq!(
        stages.as_slice(),
        [RateStage {
            from: 2.0,
            to: 2.0,
            length,
            name: None,
        }]
    );

    let scenario = Scenario::parse("test", &text).expect("a sound text");
    let options = PlanOptions {
        vars: vec![("rate".into(), "5 pigs".into())],
        ..PlanOptions::default()
    };
    let problems = Plan::new(&scenario, &options).expect_err("no rate");
    assert!(
        problems.to_string().contains("`5 pigs` is not a rate"),
        "{problems}"
    );
    let options = PlanOptions {
        vars: vec![("rat".into(), "5/s".into())],
        ..PlanOptions::default()
    };
    let problems = Plan::new(&scenario, &options).expect_err("no such variable");
    assert!(
        problems.to_string().contains("did you mean `rate`?"),
        "{problems}"
    );
}

#[test]
fn other_programs_get_waves_links_and_addresses() {
    let system = "
  entry: web
  nodes:
    db: { run: [ ./db, --fast ], ready: { get: /up, status: 204, within: 5s } }
    web: { run: [ ./web ], replicas: 2, after: [ db ], env: { DB: http://$(link.db)/x, N: 3 } }
  links: { web->db: {} }";
    let plan = planned(&scenario(system, "[]"), &PlanOptions::default());
    let names: Vec<_> = plan
        .system
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.wave))
        .collect();
    assert_eq!(names, [("db", 0), ("web-1", 1), ("web-2", 1)]);
    let links: Vec<_> = plan
        .system
        .links
        .iter()
        .map(|link| link.name.as_str())
        .collect();
    assert_eq!(links, ["client->web-1", "web-1->db", "web-2->db"]);
    assert_eq!(plan.system.entry, "client->web-1");
    let NodeStart::Run { env, .. } = &plan.system.nodes[2].start else {
        panic!("a program");
    };
    assert_eq!(env["DB"], "http://$(link.web-2->db)/x");
    assert_eq!(env["N"], "3");
    assert_eq!(plan.system.nodes[0].ready.status, 204);
}

#[test]
fn steps_and_names_make_stretches_of_time() {
    let text = "version: 1
name: t
vars: { peak: 100/s }
system: { service: { gateways: 2 } }
load:
  a:
    arrivals:
      stages:
        - { ramp: 0/s..$(peak), over: 2s }
        - { name: peak, hold: 3s }
        - { name: stairs, steps: 100/s..40/s, by: 20/s, each: 2s }
        - { hold: 1s }
    steps: [ { get: / } ]
expect: { during: { stairs: [ a.goodput >= 0.5x peak, amplification(gateway-2) <= 1.2 ] } }
";
    let options = PlanOptions {
        rate_scale: Some(0.5),
        ..PlanOptions::default()
    };
    let plan = planned(text, &options);
    let LoadModel::Arrivals { stages, .. } = &plan.load[0].model else {
        panic!("arrivals");
    };
    let rates: Vec<_> = stages.iter().map(|stage| (stage.from, stage.to)).collect();
    let held = [50.0, 50.0, 40.0, 30.0, 20.0, 20.0].map(|rate| (rate, rate));
    assert_eq!(rates[0], (0.0, 50.0));
    assert_eq!(rates[1..], held);
    let named: Vec<_> = plan
        .stages()
        .iter()
        .map(|stage| {
            (
                stage.name.to_owned(),
                stage.from.as_secs(),
                stage.to.as_secs(),
            )
        })
        .collect();
    assert_eq!(
        named,
        [("peak".to_owned(), 2, 5), ("stairs".to_owned(), 5, 13)]
    );
    assert_eq!(plan.counting_probes(), [("amplification", "gateway-2")]);
}

#[test]
fn loads_have_entries_and_nodes_configurations_of_their_own() {
    let text = "version: 1
name: t
system:
  entry: gateway-*
  service:
    gateways: 2
    processors: 2
    config: { balance: random, breaker: { open: 2s, consecutive_failures: 3 } }
    nodes: { gateway-2: { balance: round-robin, breaker: { open: 5s } }, processor-1: { limits: { probe: 4s } } }
load:
  both: { arrivals: { rate: 1/s, for: 9s }, steps: [ { get: / } ] }
  one: { arrivals: { rate: 1/s, for: 9s }, entry: gateway-2, steps: [ { get: / } ] }
expect: { always: [ both.p50 <= 0.5x one.p50 ] }
";
    let plan = planned(text, &PlanOptions::default());
    let all = ["client->gateway-1", "client->gateway-2"];
    assert_eq!(plan.system.entry, all[0]);
    assert_eq!(plan.entries(&plan.load[0]), all);
    assert_eq!(plan.entries(&plan.load[1]), ["client->gateway-2"]);
    let config = |name: &str| {
        let mut nodes = plan.system.nodes.iter();
        match &nodes.find(|node| node.name == name).expect(name).start {
            NodeStart::Service { config, .. } => serde_json::Value::from(config.clone()),
            NodeStart::Run { .. } => panic!("a role"),
        }
    };
    let json = serde_json::json!({ "balance": "random", "breaker": { "open": "2s", "consecutive_failures": 3 } });
    assert_eq!(config("gateway-1"), json);
    let own = config("gateway-2");
    assert_eq!(own["balance"], "round-robin");
    assert_eq!(
        own["breaker"],
        serde_json::json!({ "open": "5s", "consecutive_failures": 3 })
    );
    assert_eq!(config("processor-1")["limits"]["probe"], "4s");
}

#[test]
fn stages_hold_what_they_reached_and_users_stay_as_long_as_arrivals() {
    let text = "version: 1
name: t
system: { service: {} }
load:
  a:
    arrivals: { stages: [ { ramp: 0/s..60/m, over: 2s }, { hold: 3s }, { rate: 5/s, hold: 1s } ] }
    steps: [ { get: / } ]
  b: { users: { count: 2, think: 1s..2s }, steps: [ { get: / } ] }
expect: { always: [ a.success >= 99% ] }
";
    let plan = planned(text, &PlanOptions::default());
    let LoadModel::Arrivals { stages, .. } = &plan.load[0].model else {
        panic!("arrivals");
    };
    let rates: Vec<_> = stages.iter().map(|stage| (stage.from, stage.to)).collect();
    assert_eq!(rates, [(0.0, 1.0), (1.0, 1.0), (5.0, 5.0)]);
    assert_eq!(plan.load[1].length(), Duration::from_secs(6));
    assert_eq!(plan.estimate, HumanDuration::secs(6));
}
