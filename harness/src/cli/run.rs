//! `run`: chooses scenarios and refuses what cannot run, all of it, before the first one starts.

use std::io;

use super::check::scenario_files;
use super::{Exit, RunArgs, Terminal};
use crate::plan::{Plan, PlanOptions, Prepared};
use crate::scenario::Diagnostics;

pub(super) fn main(args: RunArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let chosen = match choose(&args) {
        Ok(chosen) => chosen,
        Err(problems) => {
            for problem in problems {
                write!(terminal.err, "{}", problem.render(terminal.colours))?;
            }
            return Ok(Exit::Invalid);
        }
    };
    if chosen.is_empty() {
        writeln!(terminal.err, "error: no scenario was chosen")?;
        return Ok(Exit::Invalid);
    }
    conduct(&chosen, terminal)
}

/// The scenarios of the paths that carry every tag asked for, in the order given.
fn choose(args: &RunArgs) -> Result<Vec<Prepared>, Vec<Diagnostics>> {
    let options = PlanOptions::from(args.choices.clone());
    let mut chosen = Vec::new();
    let mut wrong = Vec::new();
    for file in args.paths.iter().flat_map(|path| scenario_files(path)) {
        match Plan::prepare(&file, &options) {
            Ok(prepared) if args.tags.iter().all(|tag| prepared.plan.tags.contains(tag)) => {
                chosen.push(prepared);
            }
            Ok(_) => {}
            Err(problems) => wrong.push(problems),
        }
    }
    if wrong.is_empty() {
        Ok(chosen)
    } else {
        Err(wrong)
    }
}

/// Hands the plans to the conductor, one after the other.
fn conduct(chosen: &[Prepared], terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    for prepared in chosen {
        writeln!(
            terminal.err,
            "error: this build has no conductor to run {}",
            prepared.plan.name
        )?;
    }
    Ok(Exit::Invalid)
}
