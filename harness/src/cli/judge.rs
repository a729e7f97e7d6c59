//! `judge`: a verdict and reports from a saved record, at any later time.

use std::io;

use super::{Exit, JudgeArgs, Terminal, run};
use crate::printable::Text;
use crate::record::open;

pub(super) fn main(args: &JudgeArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let record = match open(&args.directory) {
        Ok(record) => record,
        Err(error) => {
            writeln!(terminal.err, "error: {}", Text::of(&error))?;
            return Ok(Exit::InvalidScenario);
        }
    };
    let directory = match args.directory.is_dir() {
        true => args.directory.as_path(),
        false => args.directory.parent().unwrap_or(&args.directory),
    };
    Ok(run::conclude(&record, directory, Vec::new(), args.json, terminal)?.exit)
}
