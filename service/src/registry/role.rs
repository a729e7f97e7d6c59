//! The registry as a role: its server, the sweeper, and whoever asks instances.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::MissedTickBehavior;

use super::checks::{self, probe};
use super::config::RegistryConfig;
use super::machine::{Machine, Probe, Times};
use super::routes::{Shared, router};
use crate::config_error::ConfigError;
use crate::env::{Env, Scoped};
use crate::http::{Client, Drain, Patience, serve};
use crate::net::Acceptor;
use crate::observe::Notice;

/// Why the registry could not run.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its settings make no sense; every problem is listed.
    #[error("registry: {}", each(.0))]
    Config(Vec<ConfigError>),
    /// It cannot listen.
    #[error("registry cannot listen on {address}: {source}")]
    Listen {
        /// Where it tried.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

fn each(problems: &[ConfigError]) -> String {
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    said.join("; ")
}

/// Runs a registry until `env.shutdown`.
///
/// # Errors
/// When its settings are unusable or the address cannot be bound.
pub async fn registry(env: Env, config: RegistryConfig) -> Result<(), RegistryError> {
    let (acceptor, _) = bind(&env, &config).await?;
    run(env, config, acceptor).await;
    Ok(())
}

/// A registry that runs beside its caller, until `env.shutdown` or until this is dropped.
#[derive(Debug)]
pub struct ServiceRegistry {
    address: SocketAddr,
    running: Scoped<()>,
}

impl ServiceRegistry {
    /// Starts one; it listens when this returns.
    ///
    /// # Errors
    /// As [`registry`].
    pub async fn start(env: &Env, config: RegistryConfig) -> Result<Self, RegistryError> {
        let (acceptor, address) = bind(env, &config).await?;
        let running = env.exec.scoped(run(env.clone(), config, acceptor));
        Ok(Self { address, running })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its end, after `env.shutdown`.
    pub async fn ended(self) {
        // A registry that panicked has ended as well; the panic was reported where it happened.
        self.running.await.ok();
    }
}

async fn bind(
    env: &Env,
    config: &RegistryConfig,
) -> Result<(Box<dyn Acceptor>, SocketAddr), RegistryError> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(RegistryError::Config(problems));
    }
    let listen = |source| RegistryError::Listen {
        address: config.listen,
        source,
    };
    let acceptor = env.net.bind(config.listen).await.map_err(listen)?;
    let address = acceptor.local_addr().map_err(listen)?;
    Ok((acceptor, address))
}

async fn run(env: Env, config: RegistryConfig, acceptor: Box<dyn Acceptor>) {
    let times = Times {
        ttl: config.ttl.get(),
        deregister_after: config.deregister_after.get(),
        hold_down: config.hold_down.clone(),
    };
    let sweep_every = times.sweep_every();
    let incarnation = env
        .rng
        .fork("incarnation")
        .uuid(env.clock.now())
        .to_string();
    let now = tokio::time::Instant::now();
    let machine = Machine::new(times, config.max_instances, incarnation, now);
    let shared = Shared::new(env.clone(), machine);

    if let Ok(address) = acceptor.local_addr() {
        env.notices.send(Notice::Listening {
            role: "registry".to_owned(),
            address: address.to_string(),
        });
    }
    let drain = Drain {
        stop: env.shutdown.clone(),
        limit: config.drain.get(),
    };
    let serving = serve(
        &env,
        acceptor,
        router(Arc::clone(&shared)),
        Patience::default(),
        drain,
    );
    let sweeping = sweep(&env, &shared, sweep_every);
    let checking = checks::run(&env, &shared);
    tokio::select! {
        biased;
        _ = serving => {}
        () = sweeping => {}
        () = checking => {}
    }
}

/// Sweeps for ever. Probes run beside the sweeps: a hung suspect must not make a sweep late.
async fn sweep(env: &Env, shared: &Shared, every: Duration) {
    let client = Client::new(env);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probing = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                let swept = shared.with(|machine, now| machine.sweep(now));
                shared.report(swept.changes);
                // One round at a time, so that a suspect has at most one probe on its way.
                if probing.is_empty() && !swept.probes.is_empty() {
                    let round = swept.probes.into_iter().map(|suspect| probe(&client, suspect));
                    probing.push(join_all(round));
                }
            }
            Some(round) = probing.next() => {
                for (suspect, alive) in round {
                    let Probe { name, epoch, .. } = suspect;
                    let changes =
                        shared.with(|machine, now| machine.probed(&name, epoch, alive, now));
                    shared.report(changes);
                }
            }
        }
    }
}
