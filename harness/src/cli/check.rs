//! `check`: every problem of every file, and nothing started.

use std::io;
use std::path::{Path, PathBuf};

use super::{CheckArgs, Exit, Terminal};
use crate::plan::{Plan, PlanOptions};
use crate::printable::{Text, printable_json};
use crate::scenario::Diagnostics;

pub(super) fn main(args: CheckArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let options = PlanOptions::from(args.choices);
    let mut found: Vec<Diagnostics> = Vec::new();
    let mut nothing_in = Vec::new();
    for path in &args.paths {
        let files = scenario_files(path);
        if files.is_empty() {
            nothing_in.push(path);
        }
        for file in files {
            found.push(match Plan::prepare(&file, &options) {
                Ok(prepared) => prepared.warnings,
                Err(problems) => problems,
            });
        }
    }
    let sound = nothing_in.is_empty() && !found.iter().any(Diagnostics::has_errors);
    let exit = if sound {
        Exit::Pass
    } else {
        Exit::InvalidScenario
    };
    if args.json {
        let files: Vec<_> = found.iter().map(Diagnostics::to_json).collect();
        let json = format!("{:#}", serde_json::Value::from(files));
        writeln!(terminal.out, "{}", printable_json(&json))?;
    }
    for path in nothing_in {
        writeln!(
            terminal.err,
            "error: no scenario files in {}",
            Text::of(path.display())
        )?;
    }
    if args.json {
        return Ok(exit);
    }
    for problems in &found {
        if problems.is_empty() {
            writeln!(terminal.out, "{}", problems.summary())?;
        } else {
            write!(terminal.err, "{}", problems.render(terminal.colours))?;
        }
    }
    Ok(exit)
}

/// The file itself, or every `*.yaml` and `*.yml` below a folder, by name.
pub(super) fn scenario_files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is =
                |kind: fn(&std::fs::FileType) -> bool| entry.file_type().is_ok_and(|t| kind(&t));
            // Links to folders may lead in circles.
            if is(std::fs::FileType::is_dir) {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ext| ext == "yaml" || ext == "yml")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
