//! Runs the real roles on a simulated network under faults drawn from seeds, and says which seeds broke what must hold.
//! `cargo run --release -p clip-harness --example simulate -- --help`

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use clip_harness::simulate::{Flaw, Options, Run, SHORTEST, Schedule, Summary, Sweep, What, sweep};
use clip_service::units::HumanDuration;
use parking_lot::Mutex;
use tokio::time::Instant;

const BROKEN: u8 = 1;
const USAGE: u8 = 2;
const INTERRUPTED: u8 = 130;
/// Between two progress lines.
const PROGRESS: Duration = Duration::from_secs(5);
const PROGRESS_ON_TERMINAL: Duration = Duration::from_millis(200);

/// Runs the real roles on a simulated network in virtual time, and breaks them as seeds say.
///
/// Each seed is one run: a registry, two gateways and three processors, a client that asks on its own schedule, and
/// faults that follow from the seed: hosts crash and come back, links hold back or lose what is sent, messages are late,
/// processors slow, storage silent, several at a time. All of it ends before a quiet tail. After each run must hold: every
/// accepted job is completed, once; every answer was the right one; in the quiet tail every request succeeds; every
/// gateway sees all processors passing, with closed breakers; retries stayed within their budget.
///
/// A seed always gives the same run, to the last line of its log.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    after_help = "Exit status: 0 all held, 1 something did not, 2 wrong usage, 130 interrupted (the summary covers what was run).\n\n\
                  Examples:\n  simulate --seeds 1000\n  simulate --seeds 100 --from 5000 --for 60s\n  \
                  simulate --seed 42 --schedule\n  simulate --seed 42 --log run.log"
)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "seed")]
    seeds: u64,
    /// The first of them
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        conflicts_with = "seed"
    )]
    from: u64,
    /// Run this one seed only
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Simulated time during which load is offered; faults take all of it but 2 s to start in and 11 s to recover in
    #[arg(long = "for", value_name = "DURATION", default_value = "20s")]
    length: HumanDuration,
    /// Frames asked for per simulated second
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Runs at a time [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Run each seed twice and compare the logs
    #[arg(long)]
    twice: bool,
    /// Print what the seed breaks when, and run nothing
    #[arg(long, requires = "seed", conflicts_with_all = ["log", "twice"])]
    schedule: bool,
    /// Write the log of the run here, every transition, request and job
    #[arg(long, value_name = "FILE", requires = "seed")]
    log: Option<PathBuf>,
    /// Build a mistake in, to see that it is found
    #[arg(long, hide = true, value_parser = flaw)]
    flaw: Option<Flaw>,
}

fn flaw(text: &str) -> Result<Flaw, String> {
    let names = Flaw::ALL.map(Flaw::name).join(", ");
    let found = Flaw::ALL.into_iter().find(|flaw| flaw.name() == text);
    found.ok_or_else(|| format!("one of {names}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(); // exits with 2 on wrong usage, as every clap program
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            writeln!(io::stderr(), "simulate: {error}").ok();
            ExitCode::from(USAGE)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, String> {
    let length = arguments.length.get();
    if length < SHORTEST || length > Duration::from_secs(24 * 3600) {
        return Err(format!(
            "--for {}: must be from {} s, or nothing would be left for faults, to 24h",
            arguments.length,
            SHORTEST.as_secs()
        ));
    }
    if let (Some(seed), true) = (arguments.seed, arguments.schedule) {
        writeln!(io::stdout(), "{}", Schedule::draw(seed, length)).ok();
        return Ok(0);
    }
    let (first, count) = match arguments.seed {
        Some(seed) => (seed, 1),
        None => (arguments.from, arguments.seeds),
    };
    let last = count
        .checked_sub(1)
        .ok_or("--seeds 0: at least one seed must be run")?
        .checked_add(first)
        .ok_or("--from and --seeds together exceed the largest seed")?;
    // Opened first: a name that cannot be written is told before the work.
    let log = match &arguments.log {
        Some(path) => Some(std::fs::File::create(path).map_err(|e| unwritable(path, &e))?),
        None => None,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = Sweep {
        seeds: first..=last,
        threads: arguments.threads.map_or(cores, usize::from),
        twice: arguments.twice,
        options: Options {
            length,
            rate: arguments.rate,
            flaw: arguments.flaw,
        },
    };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))
        .map_err(|error| format!("signals cannot be taken: {error}"))?;

    let began = Instant::now();
    let progress = Progress::new(count, began);
    let logged = Mutex::new(Ok(()));
    let summary = sweep(&wanted, &stop, |run, summary| {
        progress.broken(run, arguments);
        if let Some(file) = &log {
            *logged.lock() = write_log(file, run);
        }
        progress.line(summary);
    });
    progress.clear();
    if let (Err(error), Some(path)) = (logged.into_inner(), &arguments.log) {
        return Err(unwritable(path, &error));
    }
    tell(&summary, count, began.elapsed());
    Ok(if !summary.failures.is_empty() {
        BROKEN
    } else if stop.load(Ordering::Relaxed) {
        INTERRUPTED
    } else {
        0
    })
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

fn write_log(file: &std::fs::File, run: &Run) -> io::Result<()> {
    let mut out = io::BufWriter::new(file);
    for line in &run.log {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

/// The command that runs one seed again.
fn command(seed: u64, arguments: &Arguments) -> String {
    let mut text = format!(
        "cargo run --release -p clip-harness --example simulate -- --seed {seed} --for {}",
        arguments.length
    );
    if arguments.rate != 40 {
        text.push_str(&format!(" --rate {}", arguments.rate));
    }
    if arguments.twice {
        text.push_str(" --twice");
    }
    if let Some(flaw) = arguments.flaw {
        text.push_str(&format!(" --flaw {}", flaw.name()));
    }
    text
}

/// What is said while it goes on: broken seeds at once on stdout, how far it is on stderr.
struct Progress {
    count: u64,
    began: Instant,
    terminal: bool,
    said: Mutex<Instant>,
}

impl Progress {
    fn new(count: u64, began: Instant) -> Self {
        Self {
            count,
            began,
            terminal: io::stderr().is_terminal(),
            said: Mutex::new(began),
        }
    }

    fn broken(&self, run: &Run, arguments: &Arguments) {
        if run.broken.is_empty() {
            return;
        }
        self.clear();
        let mut out = io::stdout().lock();
        writeln!(out, "seed {} broke what must hold:", run.seed).ok();
        for text in &run.broken {
            writeln!(out, "  {text}").ok();
        }
        writeln!(out, "  again: {}\n", command(run.seed, arguments)).ok();
    }

    fn line(&self, summary: &Summary) {
        let mut said = self.said.lock();
        let pause = if self.terminal {
            PROGRESS_ON_TERMINAL
        } else {
            PROGRESS
        };
        if said.elapsed() < pause {
            return;
        }
        *said = Instant::now();
        let per_second = summary.seeds as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        let left = (self.count - summary.seeds) as f64 / per_second.max(1e-3);
        let text = format!(
            "{} of {} seeds, {per_second:.1} a second, {left:.0} s left, {} broken",
            summary.seeds,
            self.count,
            summary.failures.len()
        );
        let mut out = io::stderr().lock();
        if self.terminal {
            write!(out, "\r\x1b[K{text}")
                .and_then(|()| out.flush())
                .ok();
        } else {
            writeln!(out, "{text}").ok();
        }
    }

    fn clear(&self) {
        if self.terminal {
            write!(io::stderr(), "\r\x1b[K").ok();
        }
    }
}

fn tell(summary: &Summary, count: u64, took: Duration) {
    let seconds = took.as_secs_f64().max(1e-3);
    let simulated = summary.simulated.as_secs_f64();
    let faults: Vec<String> = What::KINDS
        .iter()
        .map(|kind| format!("{kind} {}", summary.faults_of(kind)))
        .collect();
    let share = 100.0 * summary.right as f64 / summary.asked.max(1) as f64;
    let worst = match summary.worst {
        Some((took, seed)) => format!("{} ms (seed {seed})", took.as_millis()),
        None => "none".to_owned(),
    };
    let verdict = match summary.failures.as_slice() {
        [] => "none".to_owned(),
        failures => {
            let seeds: Vec<String> = failures.iter().map(|f| f.seed.to_string()).collect();
            format!("{} (seeds {})", failures.len(), seeds.join(", "))
        }
    };
    let lines = [
        format!(
            "seeds      {} of {count} in {seconds:.1} s, {:.1} a second",
            summary.seeds,
            summary.seeds as f64 / seconds
        ),
        format!(
            "simulated  {simulated:.0} s in {} runs, {:.0} times real time",
            summary.runs,
            simulated / seconds
        ),
        format!(
            "faults     {}: {}",
            summary.faults.values().sum::<u64>(),
            faults.join(", ")
        ),
        format!(
            "requests   {}, {share:.2} % answered, faults included; slowest answer {worst}",
            summary.asked
        ),
        format!(
            "jobs       {} accepted; {} tasks leased again, {} late results refused",
            summary.jobs, summary.leased_again, summary.fenced
        ),
        format!("broken     {verdict}"),
    ];
    writeln!(io::stdout(), "{}", lines.join("\n")).ok();
}
