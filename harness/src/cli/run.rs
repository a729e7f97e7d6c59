//! `run`: scenarios from the first node to the report, one after the other. The only verb that starts anything.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clip_service::env::WallClock;
use serde_json::json;

use super::check::scenario_files;
use super::{Exit, RunArgs, Terminal, cleanup};
use crate::file_limit::FileLimit;
use crate::judge::judge;
use crate::plan::{Format, Plan, PlanOptions};
use crate::printable::{Text, printable_json};
use crate::record::{Environment, Record, Recorder, run_dir, save};
use crate::report::progress::{Progress, Tee};
use crate::report::suite::{self, Skipped, SuiteRun};
use crate::report::terminal::{Look, summary};
use crate::report::{Report, file_name, humanize, prose, write_all};
use crate::run::signals::{self, Signals};
use crate::run::{Options, run};

/// What one scenario came to.
pub(super) struct Done {
    view: Report,
    pub(super) exit: Exit,
    report: PathBuf,
}

pub(super) fn main(args: RunArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let Some(plans) = plans(&args, terminal)? else {
        return Ok(Exit::InvalidScenario);
    };
    // Before anything is started: the load generator would install a handler of its own, which leaves faults in place.
    let signals = match signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            writeln!(terminal.err, "error: cannot take over Ctrl-C: {error}")?;
            return Ok(Exit::NotReady);
        }
    };
    cleanup::of_the_dead(terminal)?;
    // Load and links need a file for each connection. What the runs start keeps the limit there was.
    let files = FileLimit::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            writeln!(terminal.err, "error: {error}")?;
            return Ok(Exit::NotReady);
        }
    };
    let several = plans.len() > 1;
    let mut done: Vec<Done> = Vec::new();
    let mut unsaved = false;
    for plan in plans {
        if signals.cancel.is_cancelled() {
            break;
        }
        let result = runtime.block_on(one(plan, &args, &signals, files, terminal))?;
        done.push(result);
        if several {
            writeln!(terminal.out)?;
        }
    }
    // Whatever a run could not end within its bounds must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_secs(2));
    if several {
        let index = write_index(&args.reports, &done);
        if !args.json {
            write!(terminal.out, "{}", table(&done))?;
        }
        match index {
            Ok(index) if !args.json => {
                writeln!(terminal.out, "\n suite    {}", Text::of(index.display()))?;
            }
            Ok(_) => {}
            Err(error) => {
                say_unsaved(&[error.to_string()], terminal)?;
                unsaved = true;
            }
        }
    }
    let worst = done
        .iter()
        .map(|done| done.exit)
        .max_by_key(|exit| severity(*exit))
        .map(|exit| if unsaved { exit.or_unsaved() } else { exit });
    Ok(match worst {
        _ if signals.cancel.is_cancelled() => Exit::Interrupted,
        Some(exit) => exit,
        None => Exit::Skipped,
    })
}

/// Every scenario asked for, resolved; `None` when one cannot be, all problems having been said. Nothing is started
/// unless everything is sound.
fn plans(args: &RunArgs, terminal: &mut Terminal<'_>) -> io::Result<Option<Vec<Plan>>> {
    let options = PlanOptions::from(args.choices.clone());
    let (mut plans, mut sound) = (Vec::new(), true);
    let usual = [PathBuf::from("scenarios")];
    let paths = if args.paths.is_empty() {
        &usual[..]
    } else {
        &args.paths
    };
    for path in paths {
        let files = scenario_files(path);
        if files.is_empty() {
            writeln!(
                terminal.err,
                "error: no scenario files in {}",
                Text::of(path.display())
            )?;
            sound = false;
        }
        for file in files {
            match super::prepared(&file, &options, terminal)? {
                Some(plan) => plans.push(plan),
                None => sound = false,
            }
        }
    }
    if !sound {
        return Ok(None);
    }
    if !args.tags.is_empty() {
        plans.retain(|plan| plan.tags.iter().any(|tag| args.tags.contains(tag)));
    }
    if plans.is_empty() {
        let tags = args.tags.join(", ");
        writeln!(
            terminal.err,
            "error: no scenario has a tag of: {}",
            Text::of(tags)
        )?;
        return Ok(None);
    }
    Ok(Some(plans))
}

/// Standard output while a run goes on: nowhere. The load generator prints a line of its own there, which would spoil
/// what programs read from us.
struct Muted(Option<OwnedFd>);

impl Muted {
    fn stdout() -> Self {
        let muted = || {
            let ours = nix::unistd::dup(io::stdout())?;
            let nowhere = File::options().write(true).open("/dev/null")?;
            nix::unistd::dup2_stdout(nowhere)?;
            Ok::<_, io::Error>(ours)
        };
        Self(muted().ok())
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        if let Some(ours) = self.0.take() {
            nix::unistd::dup2_stdout(ours).ok();
        }
    }
}

async fn one(
    plan: Plan,
    args: &RunArgs,
    signals: &Signals,
    files: Option<FileLimit>,
    terminal: &mut Terminal<'_>,
) -> io::Result<Done> {
    let started = WallClock::system().now().as_millisecond();
    let recorder = || Recorder::new(plan.clone(), Environment::here());
    let mut unsaved = Vec::new();
    let mut directory = run_dir(&args.reports, &plan.name, started, plan.seed);
    let streaming = recorder().stream_to(&directory).or_else(|error| {
        unsaved.push(naming(&directory, &error).to_string());
        let elsewhere = std::env::temp_dir().join("clip-harness-reports");
        directory = run_dir(&elsewhere, &plan.name, started, plan.seed);
        recorder().stream_to(&directory)
    });
    // What happens is judged from memory, whether or not it can be kept.
    let recorder = streaming.unwrap_or_else(|error| {
        unsaved.push(naming(&directory, &error).to_string());
        recorder()
    });
    say_unsaved(&unsaved, terminal)?;
    let mut watchers = Tee(recorder, (!args.quiet).then(|| Progress::stderr(&plan)));
    let mut options = Options::new(
        format!("{}-{started}-{}", plan.name, std::process::id()),
        directory.join("logs"),
    );
    options.force = signals.force.clone();
    options.skip = !args.no_skip;
    options.files = files;
    let muted = Muted::stdout();
    // The outcome is also the last event, so the record has it.
    run(&plan, &mut watchers, options, signals.cancel.clone()).await;
    drop(muted);
    let Tee(recorder, _) = watchers;
    let record = recorder.finish();
    unsaved.extend(
        save(&record, &directory)
            .err()
            .map(|error| error.to_string()),
    );
    conclude(&record, &directory, unsaved, args.json, terminal)
}

fn say_unsaved(unsaved: &[String], terminal: &mut Terminal<'_>) -> io::Result<()> {
    for why in unsaved {
        writeln!(terminal.err, "error: not saved: {}", Text::from(why))?;
    }
    Ok(())
}

/// Judges a record, writes its reports into its directory and says what came of it, and what could not be saved.
pub(super) fn conclude(
    record: &Record,
    directory: &Path,
    mut unsaved: Vec<String>,
    as_json: bool,
    terminal: &mut Terminal<'_>,
) -> io::Result<Done> {
    let verdict = judge(record);
    let view = Report::new(record, &verdict);
    let mut written = Vec::new();
    for format in &record.plan.formats {
        match write_all(&view, directory, std::slice::from_ref(format)) {
            Ok(paths) => written.extend(paths),
            Err(error) => {
                let file = directory.join(file_name(*format));
                unsaved.push(naming(&file, &error).to_string());
            }
        }
    }
    let html = directory.join(file_name(Format::Html));
    let report = if written.contains(&html) {
        html
    } else {
        directory.to_owned()
    };
    let exit = match unsaved.is_empty() {
        true => verdict.exit(),
        false => verdict.exit().or_unsaved(),
    };
    if as_json {
        let line = json!({
            "scenario": record.plan.name,
            "verdict": view.conclusion.to_string(),
            "sentence": prose::sentence(&view),
            "exit": exit.code(),
            "seconds": view.took.as_secs_f64(),
            "seed": record.plan.seed,
            "directory": directory,
            "files": written,
            "unsaved": unsaved,
        });
        writeln!(terminal.out, "{}", printable_json(&line.to_string()))?;
    } else {
        let look = Look::of(io::IsTerminal::is_terminal(&io::stdout()));
        write!(terminal.out, "{}", summary(&view, Some(&report), look))?;
    }
    say_unsaved(&unsaved, terminal)?;
    Ok(Done { view, exit, report })
}

/// Writes the page that leads to the reports of a suite.
fn write_index(reports: &Path, done: &[Done]) -> io::Result<PathBuf> {
    let now = WallClock::system().now();
    let file = reports.join(now.strftime("suite-%Y%m%dT%H%M%SZ.html").to_string());
    let (skipped, ran): (Vec<&Done>, Vec<&Done>) =
        done.iter().partition(|done| done.exit == Exit::Skipped);
    let links: Vec<String> = ran
        .iter()
        .map(|done| {
            let below = done.report.strip_prefix(reports).unwrap_or(&done.report);
            below.display().to_string()
        })
        .collect();
    let runs: Vec<SuiteRun<'_>> = ran
        .iter()
        .zip(&links)
        .map(|(done, report)| SuiteRun {
            report: &done.view,
            page: report,
        })
        .collect();
    let skipped: Vec<Skipped> = skipped
        .iter()
        .map(|done| Skipped {
            name: done.view.name.to_string(),
            reason: prose::reason(&done.view).unwrap_or_default(),
        })
        .collect();
    let page = suite::index("suite", &runs, &skipped);
    std::fs::write(&file, page).map_err(|error| naming(&file, &error))?;
    Ok(file)
}

/// The runs of a suite, a line each, failing ones first.
fn table(done: &[Done]) -> String {
    let mut rows: Vec<&Done> = done.iter().collect();
    rows.sort_by_key(|done| std::cmp::Reverse(severity(done.exit)));
    let width = rows
        .iter()
        .map(|done| done.view.name.len())
        .max()
        .unwrap_or(0);
    let passed = rows.iter().filter(|done| done.exit == Exit::Pass).count();
    let skipped = rows
        .iter()
        .filter(|done| done.exit == Exit::Skipped)
        .count();
    let skipped = match skipped {
        0 => String::new(),
        some => format!(", {some} skipped"),
    };
    let mut text = format!("{passed} of {} scenarios passed{skipped}\n\n", rows.len());
    for done in rows {
        let took = humanize::time(done.view.took);
        // Writing into a string cannot fail.
        writeln!(
            text,
            " {:>3}  {:<width$}  {took:>8}  {}  {}",
            done.exit.code(),
            done.view.name,
            done.exit.meaning(),
            Text::of(done.report.display()),
        )
        .ok();
    }
    text
}

/// Which of several endings a suite has: what is left on the machine weighs most.
fn severity(exit: Exit) -> u8 {
    match exit {
        // What was skipped does not spoil what passed; where nothing else ran it is all there is to say.
        Exit::Skipped => 0,
        Exit::Pass => 1,
        Exit::Unsaved => 2,
        Exit::Inconclusive => 3,
        Exit::Failed => 4,
        Exit::Aborted => 5,
        Exit::NotReady => 6,
        Exit::InvalidScenario => 7,
        Exit::Interrupted => 8,
        Exit::UndoFailed => 9,
    }
}

fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
