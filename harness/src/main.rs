//! The `clip-harness` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    clip_harness::cli::main()
}
