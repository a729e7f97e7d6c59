//! Making a plan of a scenario file, of a text, or of a scenario that was read before: reading, resolving, and looking for
//! what it needs on this machine, with the problems of all together.

use std::path::Path;
use std::sync::Arc;

use super::{Plan, RuntimeKind, build, descriptors, machine};
use crate::file_limit::FileLimit;
use crate::scenario::{self, Diagnostics, Scenario};

/// What the command line may say about a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanOptions {
    /// Instead of the scenario's seed.
    pub seed: Option<u64>,
    /// Instead of the scenario's values, by name.
    pub vars: Vec<(String, String)>,
    /// Multiplies every rate and every count of users.
    pub rate_scale: Option<f64>,
    /// Instead of the scenario's runtime.
    pub runtime: Option<RuntimeKind>,
}

/// A plan with what its author should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// Keeps nothing from running.
    pub warnings: Diagnostics,
}

impl Plan {
    /// Resolves a scenario: expands presets, draws what is random, fills in defaults, and refuses what cannot be.
    ///
    /// # Errors
    /// Every problem that comes to light.
    pub fn new(scenario: &Scenario, options: &PlanOptions) -> Result<Self, Diagnostics> {
        let reading = if options.vars.is_empty() {
            scenario::Reading {
                scenario: Some(scenario.clone()),
                problems: Diagnostics::new(scenario.source.clone()),
            }
        } else {
            Scenario::read(&scenario.source, scenario.from_file, &options.vars)
        };
        finish(reading, options).map(|prepared| prepared.plan)
    }

    /// Reads a file and resolves it, and looks for its programs on this machine; problems of all are found together.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn prepare(path: &Path, options: &PlanOptions) -> Result<Prepared, Diagnostics> {
        let source = scenario::open(path)?;
        finish(Scenario::read(&source, true, &options.vars), options)
    }

    /// As [`Plan::prepare`], for text that comes from elsewhere.
    ///
    /// # Errors
    /// Every problem there is.
    pub fn prepare_text(
        name: &str,
        text: &str,
        options: &PlanOptions,
    ) -> Result<Prepared, Diagnostics> {
        let source = Arc::new(scenario::Source::new(name, text));
        finish(Scenario::read(&source, false, &options.vars), options)
    }
}

fn finish(reading: scenario::Reading, options: &PlanOptions) -> Result<Prepared, Diagnostics> {
    let mut problems = reading.problems;
    let Some(scenario) = reading.scenario else {
        return Err(problems);
    };
    let (plan, found) = build::build(&scenario, options);
    problems.extend(found);
    if scenario.from_file {
        let machine = machine::Machine::here();
        problems.extend(machine::check(&scenario.document.system, &machine));
        if let (Some(plan), Some(limit)) = (&plan, FileLimit::here()) {
            let found = descriptors::check(&scenario.document, plan, limit);
            problems.extend(found.into_iter().collect());
        }
    }
    problems.extend(scenario.warnings);
    match plan {
        Some(plan) if !problems.has_errors() => Ok(Prepared {
            plan,
            warnings: problems,
        }),
        _ => Err(problems),
    }
}
