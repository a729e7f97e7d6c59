//! The `clip-service` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before anything else: this program is also its own worker process.
    if let Some(code) = clip_service::media::worker::answer_worker_verb() {
        return code;
    }
    clip_service::cli::main()
}
