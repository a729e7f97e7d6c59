//! Scenario files as authors write them: what is read, what is refused, and where the finger points.

use std::path::Path;

use clip_harness::plan::{Plan, PlanOptions};
use clip_harness::scenario::Scenario;

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn a_scenario_with_every_block_becomes_a_plan() {
    let scenario = Scenario::load(&fixture("every-block.yaml"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    let plan = Plan::new(&scenario, &PlanOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    println!("{}", serde_json::to_string_pretty(&plan).unwrap());
    assert_eq!(plan.seed, 42);
}
