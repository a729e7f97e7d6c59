//! The features, run by cucumber on the embedded runtime: `cargo test --test bdd -- --tags @fault`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let features = Path::new(env!("CARGO_MANIFEST_DIR")).join("../features");
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bdd");
    clip_harness::bdd::main(&features, &reports)
}
