//! The registry as a role: its server, the sweeper and the probes of suspects.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::Request;
use http_body_util::Full;
use tokio::time::MissedTickBehavior;

use super::config::RegistryConfig;
use super::machine::{Machine, Probe, Times};
use super::routes::{Shared, router};
use crate::env::Env;
use crate::http::{Client, Drain, serve};
use crate::observe::Notice;

const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// Why the registry could not run.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Its settings make no sense; every problem is listed.
    #[error("registry: {}", .0.join("; "))]
    Config(Vec<String>),
    /// It cannot listen.
    #[error("registry cannot listen on {address}: {source}")]
    Listen {
        /// Where it tried.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Runs a registry until `env.shutdown`.
///
/// # Errors
/// When its settings are unusable or the address cannot be bound.
pub async fn registry(env: Env, config: RegistryConfig) -> Result<(), RegistryError> {
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

    let times = Times {
        ttl: config.ttl.get(),
        deregister_after: config.deregister_after.get(),
    };
    let incarnation = env
        .rng
        .fork("incarnation")
        .uuid(env.clock.now())
        .to_string();
    let now = tokio::time::Instant::now();
    let machine = Machine::new(times, config.max_instances, incarnation, now);
    let shared = Shared::new(env.clone(), machine);

    env.notices.send(Notice::Listening {
        role: "registry".to_owned(),
        address: address.to_string(),
    });
    let drain = Drain {
        stop: env.shutdown.clone(),
        limit: config.drain.get(),
    };
    let serving = serve(&env, acceptor, router(Arc::clone(&shared)), drain);
    let sweeping = sweep(&env, &shared, times.sweep_every());
    tokio::select! {
        biased;
        _ = serving => {}
        () = sweeping => {}
    }
    Ok(())
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

/// Whether the suspect answers at all; what it answers does not matter here.
async fn probe(client: &Client, suspect: Probe) -> (Probe, bool) {
    let request = Request::get(format!("http://{}/health", suspect.address)).body(Full::default());
    let alive = match request {
        Ok(request) => matches!(
            tokio::time::timeout(PROBE_TIMEOUT, client.request(request)).await,
            Ok(Ok(_))
        ),
        Err(_) => false,
    };
    (suspect, alive)
}
