//! Integration tests of the harness, one binary for all of them.

mod command;
mod guide;
mod hostile;
mod mistakes;
mod problems;
mod run;
mod scenario;
mod schema;
mod sim;
mod strays;
mod suite;
mod tidy;
mod tidy_files;
mod unsaved;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The top folder of the repository.
fn top() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder
        .parent()
        .expect("the crate has a parent")
        .to_owned()
}

/// Runs the command from the top folder, as people do.
fn harness(args: &[&str]) -> Output {
    harness_command(args).output().expect("the command starts")
}

/// The command as it is run by [`harness`], not started yet.
fn harness_command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clip-harness"));
    command
        .args(args)
        .current_dir(top())
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1");
    command
}

/// Every scenario file of the repository.
fn scenario_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![top().join("scenarios")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
