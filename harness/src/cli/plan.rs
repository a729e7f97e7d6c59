//! `plan`: the resolved timeline, as a chart or as JSON.

use std::io;

use super::{Exit, PlanArgs, Terminal, chart};
use crate::plan::{Plan, PlanOptions};

pub(super) fn main(args: PlanArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let prepared = match Plan::prepare(&args.path, &PlanOptions::from(args.choices)) {
        Ok(prepared) => prepared,
        Err(problems) => {
            write!(terminal.err, "{}", problems.render(terminal.colours))?;
            return Ok(Exit::InvalidScenario);
        }
    };
    if !prepared.warnings.is_empty() {
        write!(
            terminal.err,
            "{}",
            prepared.warnings.render(terminal.colours)
        )?;
    }
    if args.json {
        let plan = serde_json::to_value(&prepared.plan)?;
        writeln!(terminal.out, "{plan:#}")?;
    } else {
        write!(
            terminal.out,
            "{}",
            chart::render(&prepared.plan, terminal.width)
        )?;
    }
    Ok(Exit::Pass)
}
