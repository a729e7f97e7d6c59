//! A scenario file and what the command said of it, for steps that ask.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{Terminal, run_with};
use crate::judge::Exit;

/// A scenario file and what `clip-harness` said of it.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) file: Option<(TempDir, PathBuf)>,
    pub(super) exit: Option<Exit>,
    pub(super) problems: Vec<Problem>,
    pub(super) plans: Vec<Value>,
}

/// A problem as `check --json` tells it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
    pub(super) message: String,
    pub(super) help: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |n: Option<u64>| n.map_or("?".to_owned(), |n| n.to_string());
        let (line, column) = (number(self.line), number(self.column));
        write!(f, "{line}:{column}: {} (help: {})", self.message, self.help)
    }
}

impl Checked {
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Runs a verb of the command on the file; what it wrote.
    pub(super) fn command(&mut self, verb: &str) -> Result<(Exit, Value), String> {
        let (_, file) = self.file.as_ref().ok_or("no scenario file was given")?;
        let words = ["clip-harness", verb, "--json"];
        let words = words.iter().map(OsString::from).chain([file.into()]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            out: &mut out,
            err: &mut err,
            colours: false,
            width: 100,
        };
        let exit = run_with(words, &mut terminal);
        let said = serde_json::from_slice(&out).map_err(|error| {
            let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
            format!("`{verb} --json` wrote no JSON ({error}):\n{out}{err}")
        })?;
        Ok((exit, said))
    }

    pub(super) fn problems(&self) -> Result<&[Problem], String> {
        self.exit.ok_or("nothing was checked yet")?;
        Ok(&self.problems)
    }

    /// All problems, a line each.
    pub(super) fn told(&self) -> String {
        let lines = self.problems.iter().map(|problem| format!("\n  {problem}"));
        lines.collect()
    }
}
