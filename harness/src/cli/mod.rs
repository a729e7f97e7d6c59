//! The command line. Reads arguments, calls the stages, says what came of it; decides nothing itself.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod chart;
mod check;
mod cleanup;
mod judge;
mod list;
mod new;
mod outlet;
mod plan;
mod run;

use crate::judge::exit::{EXITS, Exit};

use crate::plan::{Plan, PlanOptions, RuntimeKind};
use crate::printable::{Text, printable_lines};
use crate::scenario::model::Vocabulary as _;

/// Breaks a system on purpose, under load, and judges what its users would have noticed.
#[derive(Debug, Parser)]
#[command(name = "clip-harness", version, about, after_help = exit_codes())]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Looks for mistakes in scenario files; starts nothing
    Check(CheckArgs),
    /// Shows what a scenario would do, and when; starts nothing
    Plan(PlanArgs),
    /// Runs scenarios: starts the system, drives load, breaks things, judges and reports
    Run(RunArgs),
    /// Judges a saved run again and writes its reports anew
    Judge(JudgeArgs),
    /// Lists what a scenario can use
    List(ListArgs),
    /// Prints the JSON Schema of scenario files, for editors; or that of report.json, for programs that read it
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t)]
        what: SchemaOf,
    },
    /// Writes a first scenario of your own
    New(NewArgs),
    /// Undoes what killed runs left behind: stopped processes, children, folders
    Cleanup,
}

/// What to run.
#[derive(Debug, Args)]
struct RunArgs {
    /// Scenario files, or folders of them; several are run one after the other
    #[arg(required_unless_present = "tags")]
    paths: Vec<PathBuf>,
    /// Only scenarios with this tag (of the folder scenarios, unless others are given); may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Folder for reports
    #[arg(long, default_value = "reports")]
    reports: PathBuf,
    /// No progress, only the result
    #[arg(long, short)]
    quiet: bool,
    /// One JSON line per run instead of the summary
    #[arg(long)]
    json: bool,
    /// Take a scenario that this machine lacks something for as failed (exit 3) instead of skipped: for CI that must run all
    #[arg(long)]
    no_skip: bool,
    #[command(flatten)]
    choices: Choices,
}

#[derive(Debug, Args)]
struct JudgeArgs {
    /// Folder of a run (reports/SCENARIO/TIME-SEED)
    directory: PathBuf,
    /// One JSON line instead of the summary
    #[arg(long)]
    json: bool,
}

/// Files to look at.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Scenario files, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choices: Choices,
}

#[derive(Debug, Args)]
struct PlanArgs {
    /// Scenario file
    path: PathBuf,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    choices: Choices,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// What to list
    what: list::What,
    /// Folder to look for scenarios in
    #[arg(long, default_value = "scenarios")]
    folder: PathBuf,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Name of the scenario; also of its file
    name: String,
    /// Folder to write it to
    #[arg(long, default_value = "scenarios")]
    folder: PathBuf,
}

/// What may be chosen on the command line instead of in the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Choices {
    /// Seed of everything random
    #[arg(long)]
    seed: Option<u64>,
    /// Value of a variable of the scenario
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    vars: Vec<(String, String)>,
    /// Multiplies every rate and every count of users
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    rate_scale: Option<f64>,
    /// Where the system runs
    #[arg(long, value_parser = runtime)]
    runtime: Option<RuntimeKind>,
}

impl From<Choices> for PlanOptions {
    fn from(choices: Choices) -> Self {
        Self {
            seed: choices.seed,
            vars: choices.vars,
            rate_scale: choices.rate_scale,
            runtime: choices.runtime,
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE, for instance rate=200/s".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 && factor <= 1000.0 => Ok(factor),
        _ => Err("write a number above 0, at most 1000".to_owned()),
    }
}

fn runtime(text: &str) -> Result<RuntimeKind, String> {
    RuntimeKind::find(text).ok_or_else(|| format!("one of {}", RuntimeKind::words().join(", ")))
}

/// Where results and errors go, and what the terminal there can do.
pub(crate) struct Terminal<'t> {
    pub(crate) out: &'t mut dyn Write,
    pub(crate) err: &'t mut dyn Write,
    /// Whether errors may be coloured.
    pub(crate) colours: bool,
    /// Columns of the output.
    pub(crate) width: usize,
}

/// Parses the arguments of this process and does what they ask for.
#[must_use]
pub fn main() -> ExitCode {
    // Nodes in this process may start their helpers as children of this program.
    if let Some(code) = crate::sut::acting::answer_helper_verb() {
        return code;
    }
    log_to_stderr();
    let colours =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let width = match crossterm::terminal::size() {
        Ok((columns, _)) if io::stdout().is_terminal() => Some(usize::from(columns)),
        _ => std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok()),
    }
    .unwrap_or(100);
    let mut terminal = Terminal {
        out: &mut io::stdout(),
        err: &mut io::stderr(),
        colours,
        width,
    };
    run_with(std::env::args_os(), &mut terminal).into()
}

/// Logs of the harness and of embedded nodes, off unless `CLIP_HARNESS_LOG` asks for them (`info`, `clip_harness=debug`).
/// Set up in any case: the load generator would otherwise install a logger of its own.
pub(crate) fn log_to_stderr() {
    let filter = std::env::var("CLIP_HARNESS_LOG").unwrap_or_else(|_| "off".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .try_init()
        .ok();
}

/// Does what the arguments ask for.
pub(crate) fn run_with(
    args: impl IntoIterator<Item = OsString>,
    terminal: &mut Terminal<'_>,
) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Errors say again what was given, which may be anything.
            let text = match terminal.colours && !error.use_stderr() {
                true => error.render().ansi().to_string(),
                false => printable_lines(&error.render().to_string()),
            };
            // Help and version are results, everything else is an error.
            return match error.use_stderr() {
                true => {
                    terminal.err.write_all(text.as_bytes()).ok();
                    Exit::InvalidScenario
                }
                false => {
                    let lost = terminal.out.write_all(text.as_bytes());
                    unless_lost(Exit::Pass, lost.err(), terminal.err)
                }
            };
        }
    };
    let err: &mut dyn Write = &mut *terminal.err;
    let errors = RefCell::new(err);
    let mut out = outlet::Output {
        inner: &mut *terminal.out,
        errors: &errors,
        verdict: matches!(cli.verb, Verb::Run(_) | Verb::Judge(_)),
        lost: None,
    };
    let exit = dispatch(
        cli.verb,
        &mut Terminal {
            out: &mut out,
            err: &mut outlet::Errors(&errors),
            colours: terminal.colours,
            width: terminal.width,
        },
    );
    // A verdict went elsewhere.
    let lost = out.lost.take().filter(|_| !out.verdict);
    unless_lost(exit, lost, &mut outlet::Errors(&errors))
}

fn dispatch(verb: Verb, terminal: &mut Terminal<'_>) -> Exit {
    let result = match verb {
        Verb::Check(args) => check::main(args, terminal),
        Verb::Plan(args) => plan::main(args, terminal),
        Verb::Run(args) => run::main(args, terminal),
        Verb::Judge(args) => judge::main(&args, terminal),
        Verb::Cleanup => cleanup::main(terminal),
        Verb::List(args) => list::main(&args, terminal),
        Verb::Schema { what } => schema(what, terminal),
        Verb::New(args) => new::main(&args, terminal),
    };
    result.unwrap_or_else(|error| {
        writeln!(terminal.err, "error: {}", Text::of(&error)).ok();
        Exit::InvalidScenario
    })
}

/// A scenario file as a plan; `None` when it cannot be one. Every problem has been said then.
fn prepared(
    path: &Path,
    options: &PlanOptions,
    terminal: &mut Terminal<'_>,
) -> io::Result<Option<Plan>> {
    let (plan, said) = match Plan::prepare(path, options) {
        Ok(prepared) => (Some(prepared.plan), prepared.warnings),
        Err(problems) => (None, problems),
    };
    if !said.is_empty() {
        write!(terminal.err, "{}", said.render(terminal.colours))?;
    }
    Ok(plan)
}

/// The table of exit codes for `--help`.
fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in EXITS {
        text.push_str(&format!("  {:>3}  {meaning}\n", exit.code()));
    }
    text
}

/// A reader that has seen enough closes its end; that is not a failure of the command. Output that is lost for another
/// reason is, unless something worse is to be told.
fn unless_lost(exit: Exit, lost: Option<io::Error>, err: &mut dyn Write) -> Exit {
    match lost {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            writeln!(err, "error: standard output: {error}").ok();
            exit.or_unsaved()
        }
        _ => exit,
    }
}

/// What has a schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum SchemaOf {
    /// Scenario files
    #[default]
    Scenario,
    /// report.json
    Report,
}

/// As it is committed.
fn schema(what: SchemaOf, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let schema = match what {
        SchemaOf::Scenario => crate::scenario::schema(),
        SchemaOf::Report => crate::report::schema(),
    };
    writeln!(terminal.out, "{:#}", schema.as_value())?;
    Ok(Exit::Pass)
}
