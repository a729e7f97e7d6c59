//! A second front door: Gherkin features whose steps write a scenario, have it run on the embedded runtime, and read its
//! verdict; or use the service over HTTP, as its users do. Not an engine of its own: scenario text goes through the same
//! reader, plan, run and judge as every file.
//!
//! The steps are in `checking` (is a scenario sound), `breaking` (what a system does when something breaks) and
//! `clipping` (what someone with a video gets); the values in them in `params`. `features/README.md` lists them all
//! for writers of features, and a test holds that list to the code. The words of faults and expectations are those of
//! the scenario format: `"kill"`, `"frames.success >= 99.9%"`.
//!
//! Scenarios run one after the other (the load generator is one for the process) and leave nothing behind: a service or
//! a child process that outlives its scenario fails it. `cargo test --test bdd -- --tags @fault` and `--name …` choose
//! among them; where no flag can be given, as with cargo-nextest, `CLIP_HARNESS_FEATURE_TAGS` does.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test program: it reports to its terminal"
)]

mod arguments;
mod breaking;
mod checked;
mod checking;
mod clipping;
mod draft;
mod params;
mod ran;
mod service;
mod story;
#[cfg(test)]
mod tests;
mod visit;
mod waiting;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clip_service::media::worker::answer_worker_verb;
use cucumber::cli::{Empty, Opts, Parser as _};
use cucumber::{StatsWriter as _, World as _, WriterExt as _, writer};

use crate::cli::log_to_stderr;
use crate::judge::Exit;
use crate::run::signals::{self, Signals};
use arguments::Asked;
use draft::Draft;
use story::Story;

/// The report for machines, in the folder of reports.
const JUNIT: &str = "junit.xml";

/// Tasks that could not be ended must not keep the program from ending.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// Runs the features in a folder as the arguments of this process ask; a JUnit file goes to `reports`. Fails when a
/// step failed or has no definition, and when no step ran.
#[must_use]
pub fn main(features: &Path, reports: &Path) -> ExitCode {
    // Embedded processors start their media workers as children of this program.
    if let Some(code) = answer_worker_verb() {
        return code;
    }
    let tags = std::env::var_os(arguments::TAGS);
    let arguments = match arguments::read(std::env::args().skip(1), tags.as_deref()) {
        Asked::Run(arguments) => arguments,
        Asked::List(names) => {
            for name in names {
                println!("{name}: test");
            }
            return ExitCode::SUCCESS;
        }
        Asked::NotThis => {
            println!("the features were not asked for");
            return ExitCode::SUCCESS;
        }
    };
    log_to_stderr();
    // Before anything is started: the load generator would install a handler of its own, which leaves faults in place.
    let signals = match signals::install() {
        Ok(signals) => signals,
        Err(error) => return broken(&format!("cannot take over Ctrl-C: {error}")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return broken(&error.to_string()),
    };
    let passed = runtime.block_on(all(features, reports, arguments, &signals));
    runtime.shutdown_timeout(LAST_TASKS);
    match passed {
        _ if signals.cancel.is_cancelled() => Exit::Interrupted.into(),
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => broken(&reason),
    }
}

fn broken(reason: &str) -> ExitCode {
    eprintln!("error: {reason}");
    ExitCode::FAILURE
}

async fn all(
    features: &Path,
    reports: &Path,
    arguments: Vec<String>,
    signals: &Signals,
) -> Result<(), String> {
    let naming = |error: std::io::Error| format!("{}: {error}", reports.display());
    std::fs::create_dir_all(reports).map_err(naming)?;
    let junit = File::create(reports.join(JUNIT)).map_err(naming)?;
    let features = features
        .canonicalize()
        .map_err(|error| format!("{}: {error}", features.display()))?;
    let writer = writer::Basic::stdout()
        .summarized()
        .tee::<Story, _>(writer::JUnit::for_tee(junit, 0))
        .normalized();
    let signals = signals.clone();
    let done = Story::cucumber()
        .max_concurrent_scenarios(1)
        .with_writer(writer)
        .fail_on_skipped()
        .before(move |_, _, scenario, story: &mut Story| {
            let signals = signals.clone();
            let title = scenario.name.clone();
            Box::pin(async move {
                assert!(!signals.cancel.is_cancelled(), "interrupted");
                story.draft = Draft::titled(&title);
                story.signals = signals;
            })
        })
        .after(|_, _, _, _, story| {
            Box::pin(async move {
                let left = match story {
                    Some(story) => story.clear().await,
                    None => Vec::new(),
                };
                assert!(left.is_empty(), "left behind: {}", left.join("; "));
            })
        })
        // Clap ends the program here when an argument is wrong: nothing is started yet.
        .with_cli(Opts::<_, _, _, Empty>::parse_from(arguments))
        .run(features)
        .await;
    if done.execution_has_failed() {
        return Err(format!(
            "{} steps failed, {} hooks failed, {} features could not be read",
            done.failed_steps(),
            done.hook_errors(),
            done.parsing_errors()
        ));
    }
    // What asks for nothing must not look like a success.
    match done.passed_steps() {
        0 => Err("no step ran: no scenario has that name or those tags".to_owned()),
        _ => Ok(()),
    }
}
