//! Everything in one process: a registry, processors and a gateway that talk over loopback, as they would over a
//! network. The default way to run the service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, GatewayConfig, ProcessorConfig};
use crate::env::{Env, Scoped};
use crate::error::{RoleError, RoleResult};
use crate::gateway::gateway;
use crate::observe::{Notice, Subject};
use crate::processor::processor;
use crate::registry::{RegistryConfig, registry};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What the whole is called.
pub const ROLE: &str = "serve";

/// Runs the whole service until `env.shutdown`; then its roles drain, the gateway first.
///
/// # Errors
/// A role cannot start, or ends by itself.
pub async fn serve(env: Env, config: Config) -> RoleResult {
    let mut list = Part::start(&env, "registry-1", |env| {
        let config = RegistryConfig {
            listen: ANY_PORT,
            ..config.registry()
        };
        async move {
            registry(env, config)
                .await
                .map_err(|e| RoleError::Failed(e.to_string()))
        }
    });
    let registry_address = list.listening().await?;

    let mut fleet = Fleet::new(&env, &config, registry_address.clone());
    let (wanted, mut wishes) = watch::channel(fleet.size());
    let mut front = {
        let notices = env.notices.clone();
        // What the gateway wants is done here, and told to whoever listens as well.
        let env = Env {
            notices: env.notices.through(move |notice: Notice| {
                if let Notice::Transition(it) = &notice
                    && it.subject == Subject::Scale
                    && let Ok(count) = it.to.parse()
                {
                    wanted.send_replace(count);
                }
                notices.send(notice);
            }),
            ..env.clone()
        };
        Part::start(&env, "gateway-1", |env| {
            let config = GatewayConfig {
                registry: registry_address.clone(),
                ..config.gateway()
            };
            gateway(env, config)
        })
    };
    let address = front.listening().await?;
    env.notices.send(Notice::Listening {
        role: ROLE.to_owned(),
        address,
    });

    loop {
        tokio::select! {
            biased;
            () = env.shutdown.cancelled() => break,
            ended = front.ended_early() => return ended,
            ended = list.ended_early() => return ended,
            ended = fleet.ended_early() => return ended,
            Ok(()) = wishes.changed() => fleet.resize(*wishes.borrow_and_update()),
        }
    }
    // Whoever asks others goes first, so that those it asks are still there while it finishes.
    for stage in [vec![front], fleet.all(), vec![list]] {
        for part in &stage {
            part.stop.cancel();
        }
        for part in stage {
            part.end().await?;
        }
    }
    Ok(())
}

/// The processors of this process. Their number follows what the gateway wants.
struct Fleet {
    env: Env,
    config: ProcessorConfig,
    /// Oldest first.
    parts: Vec<Part>,
    /// Asked to go; they finish what they have, or give it back, first.
    leaving: Vec<Part>,
    started: usize,
}

impl Fleet {
    fn new(env: &Env, config: &Config, registry: String) -> Self {
        let first = if config.scale.enabled() {
            config.processors.clamp(config.scale.min, config.scale.max)
        } else {
            config.processors
        };
        let mut fleet = Self {
            env: env.clone(),
            config: ProcessorConfig {
                listen: ANY_PORT,
                advertise: None,
                registry,
                ..config.processor()
            },
            parts: Vec::new(),
            leaving: Vec::new(),
            started: 0,
        };
        fleet.resize(first);
        fleet
    }

    fn size(&self) -> usize {
        self.parts.len()
    }

    /// Starts or stops as many as it takes, the youngest first: the others have more in their caches. A name is never
    /// used twice, so that whoever is still leaving keeps its own.
    fn resize(&mut self, wanted: usize) {
        while self.parts.len() < wanted {
            self.started += 1;
            let name = format!("processor-{}", self.started);
            let config = self.config.clone();
            let part = Part::start(&self.env, &name, |env| processor(env, config));
            self.parts.push(part);
        }
        while self.parts.len() > wanted
            && let Some(part) = self.parts.pop()
        {
            part.stop.cancel();
            self.leaving.push(part);
        }
    }

    /// Returns when a processor ends that should not have, or one that leaves ends badly.
    async fn ended_early(&mut self) -> RoleResult {
        loop {
            let staying = self.parts.iter_mut();
            let mut ends: FuturesUnordered<_> = staying.map(Part::ended_early).collect();
            let left = self.leaving.iter_mut().enumerate();
            let mut leaving: FuturesUnordered<_> = left
                .map(|(index, part)| async move { (index, part.result().await) })
                .collect();
            let gone = tokio::select! {
                biased;
                Some(ended) = ends.next() => return ended,
                Some((index, ended)) = leaving.next() => {
                    ended?;
                    index
                }
                else => std::future::pending().await,
            };
            drop((ends, leaving));
            self.leaving.swap_remove(gone);
        }
    }

    /// Everybody, those who are leaving already included.
    fn all(self) -> Vec<Part> {
        self.parts.into_iter().chain(self.leaving).collect()
    }
}

/// One role inside this process.
struct Part {
    name: String,
    stop: CancellationToken,
    listening: Option<oneshot::Receiver<String>>,
    task: Scoped<RoleResult>,
}

impl Part {
    fn start<F>(env: &Env, name: &str, role: impl FnOnce(Env) -> F) -> Self
    where
        F: Future<Output = RoleResult> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (tell, listening) = oneshot::channel();
        let tell = Mutex::new(Some(tell));
        let outer = env.notices.clone();
        // The address of a part is for the parts; the whole has one of its own.
        let notices = env.notices.through(move |notice: Notice| match notice {
            Notice::Listening { address, .. } => {
                if let Some(tell) = tell.lock().take() {
                    tell.send(address).ok(); // nobody asks for a processor's
                }
            }
            other => outer.send(other),
        });
        let inner = Env {
            node: Arc::from(name),
            rng: env.rng.fork(name),
            notices,
            shutdown: stop.clone(),
            ..env.clone()
        };
        let task = env.exec.scoped(role(inner));
        Self {
            name: name.to_owned(),
            stop,
            listening: Some(listening),
            task,
        }
    }

    /// Its address, once it listens.
    async fn listening(&mut self) -> Result<String, RoleError> {
        let address = match self.listening.take() {
            Some(listening) => listening.await.ok(),
            None => None,
        };
        match address {
            Some(address) => Ok(address),
            // The notices are gone, so the role is over.
            None => match self.ended_early().await {
                Err(error) => Err(error),
                Ok(()) => Err(RoleError::Failed(format!("{} did not start", self.name))),
            },
        }
    }

    async fn result(&mut self) -> RoleResult {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => Err(RoleError::Failed(format!("{} broke: {error}", self.name))),
        }
    }

    /// Its end, which nobody asked for.
    async fn ended_early(&mut self) -> RoleResult {
        self.result().await?;
        Err(RoleError::Failed(format!("{} ended by itself", self.name)))
    }

    async fn end(mut self) -> RoleResult {
        self.result().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::testing::{MemoryNet, node};

    /// Waits until the fleet has settled at `count`, and nobody ended who should not have.
    async fn settles(fleet: &mut Fleet, count: usize) {
        let done = tokio::time::timeout(Duration::from_secs(30), async {
            while fleet.size() != count || !fleet.leaving.is_empty() {
                tokio::select! {
                    biased;
                    ended = fleet.ended_early() => panic!("{ended:?}"),
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        });
        assert!(done.await.is_ok(), "{} left", fleet.leaving.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_fleet_follows_what_is_wanted_and_names_are_used_once() {
        let (env, _) = node("serve", Arc::new(MemoryNet::default()), 1);
        let config = Config {
            processors: 2,
            ..Config::default()
        };
        let mut fleet = Fleet::new(&env, &config, "127.0.0.1:7400".to_owned());
        let names = |fleet: &Fleet| -> Vec<String> {
            fleet.parts.iter().map(|part| part.name.clone()).collect()
        };
        assert_eq!(names(&fleet), ["processor-1", "processor-2"]);
        fleet.resize(1);
        fleet.resize(3);
        assert_eq!(names(&fleet), ["processor-1", "processor-3", "processor-4"]);
        settles(&mut fleet, 3).await;
        fleet.resize(1);
        settles(&mut fleet, 1).await;
        assert_eq!(names(&fleet), ["processor-1"]);
    }
}
