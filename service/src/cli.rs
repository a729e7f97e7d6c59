//! The command line of `clip-service`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this module is what talks to a terminal"
)]

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clip_cmd::{ClipArgs, clip};
use crate::config::Config;
use crate::config_error::{ConfigError, ConfigErrors};
use crate::error::{RoleError, RoleResult};
use crate::lines::Lines;
use crate::media::MediaConfig;
use crate::media::worker::WorkerPool;
use crate::observe::{LineObserver, Notices};
use crate::services_cmd::{ServicesArgs, services};
use crate::shortage::raise_file_limit;
use crate::telemetry::{LogFormat, log_to_stderr};
use crate::world::{self, Needs};

const EXAMPLES: &str = "\
Examples:
  clip-service clip talk.mp4                  clips of one file, in talk-clips/
  clip-service serve                          everything in one process, on http://127.0.0.1:8080
  curl -F file=@talk.mp4 http://127.0.0.1:8080/api/v1/upload
                                              upload a video; the answer names the job
  curl http://127.0.0.1:8080/api/v1/jobs/JOB/clips
                                              its clips, with links to download them

  clip-service registry                       the same as separate processes, on one machine:
  clip-service processor --node processor-1 --listen 127.0.0.1:7501
  clip-service gateway
  clip-service services list                  which processors are there, and how they are

Configuration, later ones win:
  --config FILE       TOML or JSON; `clip-service config` prints every key with its default
  CLIP_KEY=VALUE      one key each, `__` between levels: CLIP_LISTEN=0.0.0.0:80 CLIP_JOBS__LEASE=10s
  --set KEY=VALUE     one key each, dots between levels: --set jobs.lease=10s
  --listen, --data …  the commonest keys as flags

Exit codes:
  0    done, or asked to stop (SIGTERM, SIGINT) and drained
  1    failed: the address is taken, the data folder cannot be used, …
  2    the command line or the configuration is wrong
  130  told to stop a second time while draining";

/// Turns long videos into short clips: a service, its roles, and a command for single files.
#[derive(Debug, Parser)]
#[command(name = "clip-service", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process
    Serve(RoleArgs),
    /// Run a gateway: the HTTP API, and the dispatcher of jobs
    Gateway(RoleArgs),
    /// Run a processor: decodes, cuts and encodes for gateways
    Processor(RoleArgs),
    /// Run the registry: knows which processors are alive
    Registry(RoleArgs),
    /// Make clips of one video file, without a server
    Clip(ClipArgs),
    /// Show and manage what the registry knows: list, register, drain, maintenance, weight
    Services(ServicesArgs),
    /// Print the configuration as it would be used, as TOML
    Config {
        #[command(flatten)]
        args: RoleArgs,
        /// Print the JSON Schema of the file instead
        #[arg(long)]
        schema: bool,
    },
}

#[derive(Debug, Args)]
struct RoleArgs {
    /// Configuration file, TOML or JSON
    #[arg(long, env = "CLIP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Address under which others reach this node
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Name of this node, unique in the system
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Folder for jobs, sources and clips
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where the registry is
    #[arg(long, value_name = "HOST:PORT")]
    registry_url: Option<String>,
    /// Set any key of the configuration
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, Value)>,
    /// Write state transitions on stdout, one JSON object per line; the default when stdout is no terminal
    #[arg(long, env = "CLIP_NOTICES", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    notices: Option<bool>,
    /// What to log: error, warn, info, debug, or a list like clip_service=debug,info
    #[arg(long, env = "CLIP_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How log lines look on stderr
    #[arg(
        long,
        env = "CLIP_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: LogFormat,
}

fn key_and_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write KEY=VALUE, like jobs.lease=10s")?;
    let value = match serde_json::from_str(value) {
        Ok(value) => value,
        Err(_) => Value::String(value.to_owned()),
    };
    Ok((key.trim().to_owned(), value))
}

impl RoleArgs {
    fn config(&self) -> Result<Config, RoleError> {
        let named = [
            ("listen", &self.listen),
            ("advertise", &self.advertise),
            ("node", &self.node),
            ("data", &self.data),
            ("registry_url", &self.registry_url),
        ];
        let flags = named
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), Value::String(value.clone()?))))
            .chain(self.set.iter().cloned());
        // Variables that are not Unicode cannot be one of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Ok(Config::load(self.config.as_deref(), variables, flags)?)
    }

    /// Where transitions go, by way of `out`.
    fn notices(&self, out: Lines) -> Notices {
        if self.notices.unwrap_or(!std::io::stdout().is_terminal()) {
            Notices::new(LineObserver(out))
        } else {
            Notices::silent()
        }
    }
}

/// Runs the command line. The caller has answered [`crate::media`]'s worker verb before.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            // By a thread, because a pipe that nobody reads must not keep the program from ending.
            if let Ok(last) = Lines::to("last-words", std::io::stderr()) {
                last.send(format!("clip-service: {error}\n").into_bytes());
                last.flush(LAST_LINES);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, RoleError> {
    match command {
        Command::Serve(args) => run(&args, crate::serve::ROLE, Needs::SERVE, crate::serve::serve),
        Command::Gateway(args) => run(&args, "gateway-1", Needs::GATEWAY, |env, config| {
            crate::gateway::gateway(env, config.gateway())
        }),
        Command::Processor(args) => run(&args, "processor-1", Needs::PROCESSOR, |env, config| {
            crate::processor::processor(env, config.processor())
        }),
        Command::Registry(args) => run(
            &args,
            "registry-1",
            Needs::REGISTRY,
            async |env, config: Config| {
                let ended = crate::registry::registry(env, config.registry()).await;
                ended.map_err(|e| RoleError::Failed(e.to_string()))
            },
        ),
        Command::Clip(args) => runtime()?.block_on(async {
            let pool = WorkerPool::new(MediaConfig::default());
            let pool = pool.map_err(|e| RoleError::Failed(e.to_string()))?;
            Ok(clip(args, Arc::new(pool)).await)
        }),
        Command::Services(args) => runtime()?.block_on(async {
            let stop = CancellationToken::new();
            stop_on_signal(stop.clone())?;
            Ok(services(args, stop).await)
        }),
        Command::Config { args, schema } => {
            let failed = |e: &dyn std::fmt::Display| RoleError::Failed(e.to_string());
            let text = if schema {
                serde_json::to_string_pretty(&schemars::schema_for!(Config))
                    .map_err(|e| failed(&e))?
            } else {
                toml::to_string(&args.config()?).map_err(|e| failed(&e))?
            };
            println!("{}", text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, RoleError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| RoleError::Failed(format!("cannot start the runtime: {e}")))
}

/// After the role has returned, how long blocking calls may still take.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// How long whoever reads a pipe may take to read the last of it.
const LAST_LINES: Duration = Duration::from_secs(1);

fn run<F>(
    args: &RoleArgs,
    name: &str,
    needs: Needs,
    role: impl FnOnce(crate::env::Env, Config) -> F,
) -> Result<ExitCode, RoleError>
where
    F: Future<Output = RoleResult>,
{
    let config = args.config()?;
    let no_thread = |e: std::io::Error| RoleError::Failed(format!("cannot start a thread: {e}"));
    let log = Lines::to("log", std::io::stderr()).map_err(no_thread)?;
    let out = Lines::to("notices", std::io::stdout()).map_err(no_thread)?;
    log_to_stderr(args.log_format, &args.log, log.clone())
        .map_err(|e| RoleError::Config(ConfigErrors(vec![ConfigError::general(e)])))?;
    raise_file_limit();
    let outputs = vec![("stderr", log.clone()), ("stdout", out.clone())];
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signal(shutdown.clone())?;
        let notices = args.notices(out.clone()).with_outputs(outputs);
        let env = world::open(&config, name, needs, notices, shutdown).await?;
        if args.notices != Some(true) && std::io::stdout().is_terminal() {
            let address = config.listen.map(|a| a.to_string());
            let address = address.as_deref().unwrap_or("its default address");
            eprintln!("{name} starts on {address}; Ctrl-C stops it");
        }
        role(env, config).await
    });
    runtime.shutdown_timeout(LAST_CALLS);
    out.flush(LAST_LINES);
    log.flush(LAST_LINES);
    ended.map(|()| ExitCode::SUCCESS)
}

/// The first SIGTERM or SIGINT asks for a drain, the second ends the process at once.
fn stop_on_signal(shutdown: CancellationToken) -> Result<(), RoleError> {
    let failed = |e: std::io::Error| RoleError::Failed(format!("cannot wait for signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                #[expect(clippy::exit, reason = "a second signal means: now")]
                std::process::exit(130);
            }
            tracing::info!("draining; a second signal ends at once");
            shutdown.cancel();
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_is_worth_reading() {
        let mut command = Cli::command().term_width(100);
        insta::assert_snapshot!(command.render_help());
    }

    #[test]
    fn keys_can_be_set() {
        assert_eq!(key_and_value("jobs.lease=10s").unwrap().1, "10s");
        assert_eq!(
            key_and_value("processors=3").unwrap(),
            ("processors".to_owned(), 3.into())
        );
        assert!(key_and_value("jobs").is_err());
    }
}
