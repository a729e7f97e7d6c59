//! `make bench-peers`: the kill and hang scenarios of `scenarios/resilience`, run three times each: through the gateway,
//! through HAProxy and through nginx, in front of the same processors, and printed side by side. Then the cost of the way
//! itself: the same cached frame through the gateway and through one nginx worker.
//!
//! It only composes: a proxy becomes a node of the scenario, the run and its report are those of `clip-harness run`. What
//! is not installed is left out, with the reason.
#![expect(clippy::print_stdout, reason = "figures are for whoever runs this")]
#![expect(clippy::print_stderr, reason = "so are problems")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use clip_harness::event::Offset;
use clip_harness::record::{self, Record};
use clip_harness::series::Window;
use tempfile::TempDir;

mod path;
mod peer_proxy;

use peer_proxy::PeerProxy;

/// Answers later than this have not come in time: what a person notices, and what the scenarios ask for.
const IN_TIME: Duration = Duration::from_millis(250);

/// Runs the same fault scripts with the gateway, HAProxy and nginx in front of the same processors.
#[derive(Debug, Parser)]
#[command(name = "peers", max_term_width = 110)]
struct Args {
    /// Scenarios to run with each proxy
    #[arg(default_values = ["scenarios/resilience/kill.yaml", "scenarios/resilience/hang.yaml"], value_name = "FILE")]
    scenarios: Vec<PathBuf>,
    /// Where runs and their reports are kept
    #[arg(long, default_value = "reports", value_name = "DIR")]
    reports: PathBuf,
    /// Value of a variable of the scenarios, for all proxies alike
    #[arg(long = "var", value_name = "NAME=VALUE")]
    vars: Vec<String>,
    /// Only these proxies
    #[arg(long = "proxy", value_enum, value_name = "PROXY")]
    proxies: Vec<PeerProxy>,
    /// Leave out the cost of a cached frame
    #[arg(long)]
    no_path: bool,
    /// Only the cost of a cached frame
    #[arg(long, conflicts_with = "no_path")]
    only_path: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match compare(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(7), // as `run`: what it needs is missing
        Err(reason) => {
            eprintln!("peers: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there was a peer to compare with.
fn compare(args: &Args) -> Result<bool, String> {
    let wanted: &[PeerProxy] = if args.proxies.is_empty() {
        &PeerProxy::ALL
    } else {
        &args.proxies
    };
    let (mut proxies, mut peers) = (Vec::new(), 0);
    for proxy in wanted {
        match proxy.installed() {
            Ok(version) => {
                peers += usize::from(*proxy != PeerProxy::Gateway);
                println!("{:<8} {version}", proxy.name());
                proxies.push(*proxy);
            }
            Err(reason) => println!("{:<8} skipped: {reason}", proxy.name()),
        }
    }
    if peers == 0 {
        println!("nothing to compare with; install haproxy or nginx");
        return Ok(false);
    }
    let scratch =
        tempfile::tempdir().map_err(|e| format!("cannot make a temporary folder: {e}"))?;
    if !args.only_path {
        for scenario in &args.scenarios {
            let rows: Result<Vec<Row>, String> = proxies
                .iter()
                .map(|proxy| run(args, scenario, *proxy, &scratch))
                .collect();
            table(scenario, &rows?);
        }
    }
    if !args.no_path {
        path::compare(&proxies, &scratch)?;
    }
    Ok(true)
}

/// What one proxy made of one scenario.
struct Row {
    proxy: PeerProxy,
    offered: u64,
    sent: u64,
    failed: u64,
    in_time: u64,
    p50: Duration,
    p99: Duration,
    worst: Duration,
    report: PathBuf,
}

fn run(args: &Args, scenario: &Path, proxy: PeerProxy, scratch: &TempDir) -> Result<Row, String> {
    let text =
        std::fs::read_to_string(scenario).map_err(|e| format!("{}: {e}", scenario.display()))?;
    let text = proxy.put_before(&text, scratch.path())?;
    let stem = scenario.file_stem().unwrap_or_default().to_string_lossy();
    let file = scratch.path().join(format!("{stem}-{}.yaml", proxy.name()));
    std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut command = Command::new(beside("clip-harness")?);
    command
        .args(["run", "--json"])
        .arg(&file)
        .arg("--reports")
        .arg(&args.reports)
        .stderr(Stdio::inherit())
        .stdout(Stdio::piped());
    for var in &args.vars {
        command.args(["--var", var]);
    }
    // Ctrl-C reaches it as well, as a member of the same group of the terminal, and it undoes what it did.
    let output = command
        .output()
        .map_err(|e| format!("cannot start clip-harness: {e}"))?;
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|_| {
        format!(
            "{} with {} did not run ({})",
            scenario.display(),
            proxy.name(),
            output.status
        )
    })?;
    let directory = line["directory"].as_str().ok_or("the run left no report")?;
    let record = record::open(Path::new(directory)).map_err(|e| e.to_string())?;
    row(proxy, &record, PathBuf::from(directory))
}

/// Figures of the first load, over all that it was to send.
fn row(proxy: PeerProxy, record: &Record, report: PathBuf) -> Result<Row, String> {
    let all = Window::new(Offset(0), record.end());
    let counts = record.series.counts(0, all);
    if counts.offered() == 0 {
        return Err(format!(
            "{}: nothing was asked; see {}",
            proxy.name(),
            report.display()
        ));
    }
    let points = || record.series.points(0, all);
    let times = record.series.responses(0, all);
    let count = |wanted: &dyn Fn(&clip_harness::series::Point) -> bool| {
        points().filter(|point| wanted(point)).count() as u64
    };
    Ok(Row {
        proxy,
        offered: counts.offered(),
        sent: count(&|point| !point.unsent()),
        failed: counts.bad(),
        in_time: count(&|point| point.ok() && point.response() <= IN_TIME),
        p50: times.quantile(0.5).unwrap_or_default(),
        p99: times.quantile(0.99).unwrap_or_default(),
        worst: times.max().unwrap_or_default(),
        report,
    })
}

fn table(scenario: &Path, rows: &[Row]) {
    println!("\n{}", scenario.display());
    println!(
        " {:<8} {:>9} {:>9} {:>7} {:>18} {:>9} {:>9} {:>10}",
        "proxy", "scheduled", "sent", "failed", "ok within 250 ms", "p50", "p99", "worst"
    );
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    for row in rows {
        println!(
            " {:<8} {:>9} {:>9} {:>7} {:>16.3} % {:>9} {:>9} {:>10}",
            row.proxy.name(),
            row.offered,
            row.sent,
            row.failed,
            row.in_time as f64 / row.offered as f64 * 100.0,
            ms(row.p50),
            ms(row.p99),
            ms(row.worst),
        );
    }
    for row in rows {
        println!(" {:<8} {}", row.proxy.name(), row.report.display());
    }
}

/// A program that is built into the same folder as this one, or one above.
fn beside(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not built; run `cargo build --release --bins`"))
}
