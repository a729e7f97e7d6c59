//! `clip-service services`: what the registry knows, and what operators order of it.
//!
//! Answers go to stdout, notes and errors to stderr. Exit codes are the program's: 0 done, 1 the registry does not
//! answer or refuses, 2 the command line is wrong.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people speaks on its terminal"
)]

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::env::Env;
use crate::http::{ClientError, Problem};
use crate::observe::Notices;
use crate::registry::client::{Membership, Query, ServiceClient};
use crate::registry::{Check, CheckState, Lease, Listing, Registration, Status, USUAL_WEIGHT};
use crate::world::{self, Needs};

/// How long a new registration may take before the command says that it still waits.
const SLOW: Duration = Duration::from_secs(3);
/// Longest wait of one question of `list --watch`.
const WAIT: Duration = Duration::from_secs(10);
/// Between questions to a registry that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What to do with the registry.
#[derive(Debug, Clone, Args)]
pub struct ServicesArgs {
    #[command(subcommand)]
    verb: Verb,
    /// Where the registry is
    #[arg(
        long,
        global = true,
        env = "CLIP_REGISTRY_URL",
        default_value = "127.0.0.1:7400",
        value_name = "HOST:PORT",
        value_parser = registry_address
    )]
    registry_url: String,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Show who is there, and whether they can take work
    List {
        /// Only of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only with this tag; again for more, all must be there
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// As JSON; with --watch one document per line
        #[arg(long)]
        json: bool,
        /// Show again whenever something changes, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Register a service, and keep it registered until Ctrl-C
    Register(RegisterArgs),
    /// Give an instance no new work; it finishes what it has
    Drain {
        /// Name of the instance
        name: String,
    },
    /// Take an instance out until --off, whatever it does, restarts included
    Maintenance {
        /// Name of the instance
        name: String,
        /// Take the order back
        #[arg(long)]
        off: bool,
        /// Why, for whoever reads the list
        #[arg(
            long,
            default_value = "",
            hide_default_value = true,
            conflicts_with = "off"
        )]
        reason: String,
    },
    /// Take an instance off the list, with all that was ordered of it; one that is alive comes back by itself
    Deregister {
        /// Name of the instance
        name: String,
    },
    /// Change an instance's share of work, until it starts anew; 100 is the usual one
    Weight {
        /// Name of the instance
        name: String,
        /// 1 to 1000
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        weight: u32,
    },
}

#[derive(Debug, Clone, Args)]
struct RegisterArgs {
    /// Name, unique among all instances
    name: String,
    /// What it is one of, like `processor`
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Where it answers
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// A label to find it by; again for more
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Anything else worth showing; again for more
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_text)]
    meta: Vec<(String, String)>,
    /// Failure domain
    #[arg(long)]
    zone: Option<String>,
    /// Share of work
    #[arg(long, default_value_t = USUAL_WEIGHT)]
    weight: u32,
    /// Version of what runs there
    #[arg(long)]
    version: Option<String>,
    /// Path that the registry asks to see if it works, like /ready
    #[arg(long, value_name = "PATH")]
    check: Option<String>,
    /// Register once and return; the lease then ends by itself
    #[arg(long)]
    once: bool,
}

fn key_and_text(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn registry_address(text: &str) -> Result<String, String> {
    let address = text.trim().trim_start_matches("http://");
    let address = address.trim_end_matches('/');
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(address.to_owned())
        }
        _ => Err("write host:port, like 127.0.0.1:7400".to_owned()),
    }
}

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(
        "the registry on {registry} does not answer: {reason}\n  start one with `clip-service registry`, or say where it is with --registry-url"
    )]
    NoRegistry { registry: String, reason: String },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
}

impl CommandError {
    fn of(registry: &str, error: ClientError) -> Self {
        match error {
            ClientError::Status { status, body } => {
                Self::Refused(match Problem::parse(body.as_bytes()) {
                    None => format!("the registry answered {status}: {body}"),
                    Some(problem) if problem.errors.len() > 1 => problem
                        .errors
                        .iter()
                        .map(|error| format!("{}: {}", error.pointer, error.detail))
                        .collect::<Vec<_>>()
                        .join("\n  "),
                    Some(problem) => problem.detail.clone(),
                })
            }
            other => Self::NoRegistry {
                registry: registry.to_owned(),
                reason: other.to_string(),
            },
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NoRegistry { .. } | Self::Refused(_) | Self::Failed(_) => 1,
        }
    }
}

/// Runs the command until it is done or `stop` is cancelled, which is a good end for those that last.
pub async fn services(args: ServicesArgs, stop: CancellationToken) -> ExitCode {
    match run(args, &stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clip-service services: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(args: ServicesArgs, stop: &CancellationToken) -> Result<(), CommandError> {
    let config = Config::default();
    let env = world::open(
        &config,
        "operator",
        Needs::REGISTRY,
        Notices::silent(),
        stop.clone(),
    )
    .await
    .map_err(|error| CommandError::Failed(error.to_string()))?;
    let registry = args.registry_url;
    let client = ServiceClient::new(&env, &registry);
    let failed = |error| CommandError::of(&registry, error);
    match args.verb {
        Verb::List {
            kind,
            tags,
            json,
            watch,
        } => {
            let query = Query {
                kind,
                tags: tags.into_iter().collect(),
            };
            let listing = client.list(&query).await.map_err(failed)?;
            show(&listing, json, watch);
            if watch {
                follow(&client, &query, listing, json, stop).await;
            }
            Ok(())
        }
        Verb::Register(args) => register(&env, &client, &registry, args, stop).await,
        Verb::Drain { name } => {
            let lease = client.drain(named(&name)?).await.map_err(failed)?;
            done(&name, &lease);
            Ok(())
        }
        Verb::Maintenance { name, off, reason } => {
            let reason = (!off).then_some(reason.as_str());
            let lease = client.maintenance(named(&name)?, reason).await;
            done(&name, &lease.map_err(failed)?);
            Ok(())
        }
        Verb::Deregister { name } => {
            let lease = client.deregister(named(&name)?).await.map_err(failed)?;
            done(&name, &lease);
            Ok(())
        }
        Verb::Weight { name, weight } => {
            client.weight(named(&name)?, weight).await.map_err(failed)?;
            println!("{name}: weight {weight}");
            Ok(())
        }
    }
}

/// Names go into paths; one that cannot be registered is not asked for.
fn named(name: &str) -> Result<&str, CommandError> {
    let sample = Registration::new(name, "a", "a:1", 0);
    match sample.problems().first() {
        None => Ok(name),
        Some(problem) => Err(CommandError::Usage(format!("NAME: {}", problem.detail))),
    }
}

fn done(name: &str, lease: &Lease) {
    println!("{name}: {}", lease.status.as_str());
}

async fn register(
    env: &Env,
    client: &ServiceClient,
    registry: &str,
    args: RegisterArgs,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    let registration = Registration {
        ready: true,
        weight: args.weight,
        tags: args.tags.into_iter().collect(),
        meta: args.meta.into_iter().collect(),
        zone: args.zone,
        version: args.version,
        check: args.check.map(Check::http),
        ..Registration::new(args.name, args.kind, args.address, Membership::epoch(env))
    };
    let problems = registration.problems();
    if !problems.is_empty() {
        let lines = problems
            .iter()
            .map(|p| format!("{}: {}", p.pointer.trim_start_matches('/'), p.detail));
        return Err(CommandError::Usage(lines.collect::<Vec<_>>().join("\n  ")));
    }
    let failed = |error| CommandError::of(registry, error);
    let name = registration.name.clone();
    // What would never work is told at once; from then on the membership waits for a registry that is away.
    let lease = client.register_once(&registration).await.map_err(failed)?;
    done(&name, &lease);
    if args.once {
        eprintln!("without heartbeats its lease ends in {} ms", lease.ttl_ms);
        return Ok(());
    }
    let membership = client.register(registration);
    eprintln!("{name} stays registered until Ctrl-C");
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = notes(&membership) => {}
    }
    membership.drain().await;
    membership.leave().await;
    Ok(())
}

/// Never ends; says when the registry takes long.
async fn notes(membership: &Membership) {
    if tokio::time::timeout(SLOW, membership.registered())
        .await
        .is_err()
    {
        eprintln!("the registry does not answer; trying on");
    }
    std::future::pending().await
}

/// Shows each change until `stop`.
async fn follow(
    client: &ServiceClient,
    query: &Query,
    mut seen: Listing,
    json: bool,
    stop: &CancellationToken,
) {
    let mut silent = false;
    loop {
        let asked = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            asked = client.list_after(query, &seen, WAIT) => asked,
        };
        match asked {
            Ok(listing) => {
                let news =
                    (&listing.incarnation, listing.revision) != (&seen.incarnation, seen.revision);
                // Ages move on in a table that somebody looks at; a program wants news only.
                if news || silent || !json {
                    show(&listing, json, true);
                }
                silent = false;
                seen = listing;
            }
            Err(error) => {
                if !std::mem::replace(&mut silent, true) {
                    eprintln!("the registry does not answer ({error}); trying on");
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

fn show(listing: &Listing, json: bool, again: bool) {
    if json {
        let text = if again {
            serde_json::to_string(listing)
        } else {
            serde_json::to_string_pretty(listing)
        };
        println!("{}", text.unwrap_or_default()); // plain data can always be written
        return;
    }
    if again && std::io::stdout().is_terminal() {
        print!("\x1b[2J\x1b[H"); // clear, and home
    }
    println!("{}", table(listing));
}

/// The list for people.
fn table(listing: &Listing) -> String {
    if listing.instances.is_empty() {
        let hint = if listing.settling {
            "; the registry has just started and may not have heard of everybody"
        } else {
            ""
        };
        return format!("no services match{hint}");
    }
    let mut rows: Vec<[String; 9]> = vec![
        [
            "NAME", "TYPE", "ADDRESS", "ZONE", "STATUS", "WEIGHT", "TAGS", "SEEN", "CHECK",
        ]
        .map(str::to_owned),
    ];
    let dash = || "-".to_owned();
    let mut notes = Vec::new();
    for instance in &listing.instances {
        let well = matches!(instance.status, Status::Passing) && !instance.suspect;
        if !well {
            let suspect = if instance.suspect { " (suspect)" } else { "" };
            notes.push(format!("{}: {}{suspect}", instance.name, instance.reason));
        }
        let tags: Vec<&str> = instance.tags.iter().map(String::as_str).collect();
        rows.push([
            instance.name.clone(),
            instance.kind.clone(),
            instance.address.clone(),
            instance.zone.clone().unwrap_or_else(dash),
            instance.status.as_str().to_owned(),
            instance.weight.to_string(),
            if tags.is_empty() {
                dash()
            } else {
                tags.join(",")
            },
            instance.heartbeat_age_ms.map_or_else(dash, age),
            instance
                .check
                .map_or_else(dash, |check: CheckState| check.as_str().to_owned()),
        ]);
    }
    let widths: Vec<usize> = (0..9)
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines.join("\n")
}

fn age(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms ago"),
        1000..120_000 => format!("{}s ago", ms / 1000),
        _ => format!("{}m ago", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Instance;

    fn listing(instances: Vec<Instance>, settling: bool) -> Listing {
        Listing {
            incarnation: "one".to_owned(),
            revision: 7,
            settling,
            ttl_ms: 3000,
            instances,
        }
    }

    #[test]
    fn the_table_says_who_is_there_and_why_not() {
        let a = Registration::new("processor-1", "processor", "10.0.0.1:7500", 1)
            .zone("rack-1")
            .tag("gpu")
            .tag("4k");
        let b = Registration::new("processor-22", "processor", "10.0.0.22:7500", 1).weight(50);
        let passing = Instance {
            heartbeat_age_ms: Some(412),
            check: Some(CheckState::Passing),
            ..Instance::new(&a, Status::Passing)
        };
        let out = Instance {
            heartbeat_age_ms: Some(61_000),
            reason: "in maintenance: new disks".to_owned(),
            ..Instance::new(&b, Status::Maintenance)
        };
        insta::assert_snapshot!(table(&listing(vec![passing, out], false)), @r"
        NAME          TYPE       ADDRESS         ZONE    STATUS       WEIGHT  TAGS    SEEN       CHECK
        processor-1   processor  10.0.0.1:7500   rack-1  passing      100     4k,gpu  412ms ago  passing
        processor-22  processor  10.0.0.22:7500  -       maintenance  50      -       61s ago    -

        processor-22: in maintenance: new disks
        ");
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(table(&listing(Vec::new(), false)), "no services match");
        assert!(table(&listing(Vec::new(), true)).contains("just started"));
    }

    #[test]
    fn refusals_are_told_in_words_and_silence_with_a_remedy() {
        let body = r#"{"type":"t","title":"T","status":422,"code":"c","detail":"d","retryable":false,
            "errors":[{"pointer":"/a","detail":"x"},{"pointer":"/b","detail":"y"}]}"#;
        let refused = ClientError::Status {
            status: http::StatusCode::UNPROCESSABLE_ENTITY,
            body: body.to_owned(),
        };
        let error = CommandError::of("r:1", refused);
        assert_eq!(
            (error.to_string().as_str(), error.exit_code()),
            ("/a: x\n  /b: y", 1)
        );
        let silent = CommandError::of("r:1", ClientError::Connect("refused".to_owned()));
        assert!(
            silent
                .to_string()
                .contains("r:1 does not answer: cannot connect: refused")
        );
        assert_eq!(silent.exit_code(), 1);
        assert_eq!(named("a b").unwrap_err().exit_code(), 2);
        assert_eq!(registry_address("http://r:7400/").unwrap(), "r:7400");
        assert!(registry_address("nowhere").is_err());
    }
}
