//! `plan`: the resolved timeline, as a chart or as JSON.

use std::io;

use super::{Exit, PlanArgs, Terminal, chart};
use crate::plan::PlanOptions;
use crate::printable::printable_lines;

pub(super) fn main(args: PlanArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let options = PlanOptions::from(args.choices);
    let Some(plan) = super::prepared(&args.path, &options, terminal)? else {
        return Ok(Exit::InvalidScenario);
    };
    if args.json {
        let json = serde_json::to_value(&plan)?;
        writeln!(terminal.out, "{json:#}")?;
    } else {
        write!(
            terminal.out,
            "{}",
            printable_lines(&chart::render(&plan, terminal.width))
        )?;
    }
    Ok(Exit::Pass)
}
