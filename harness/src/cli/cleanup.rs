//! `cleanup`: undoes what runs left behind that were killed before they could do it themselves.

use std::io;

use super::{Exit, Terminal};
use crate::journal;
use crate::printable::Text;

pub(super) fn main(terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let cleaned = journal::cleanup(&journal::directory())?;
    for line in &cleaned.undone {
        writeln!(terminal.out, "undone   {}", Text::from(line))?;
    }
    for run in &cleaned.running {
        writeln!(terminal.out, "running  {}: left alone", Text::from(run))?;
    }
    for line in &cleaned.failed {
        writeln!(terminal.err, "failed   {}", Text::from(line))?;
    }
    if cleaned.undone.is_empty() && cleaned.failed.is_empty() {
        writeln!(terminal.out, "nothing was left behind")?;
    }
    Ok(match cleaned.failed.is_empty() {
        true => Exit::Pass,
        false => Exit::UndoFailed,
    })
}

/// The same at the start of a run: says only what it did.
pub(super) fn of_the_dead(terminal: &mut Terminal<'_>) -> io::Result<()> {
    let cleaned = journal::cleanup(&journal::directory())?;
    for line in cleaned.undone {
        writeln!(
            terminal.err,
            "left by an earlier run, undone: {}",
            Text::from(line)
        )?;
    }
    for line in cleaned.failed {
        writeln!(
            terminal.err,
            "left by an earlier run, cannot be undone: {}",
            Text::from(line)
        )?;
    }
    Ok(())
}
