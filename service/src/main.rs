//! The `clip-service` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = clip_service::media::worker::answer_worker_verb() {
        return code;
    }
    ExitCode::SUCCESS
}
