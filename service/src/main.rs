//! The `clip-service` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    clip_service::cli::main()
}
