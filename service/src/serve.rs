//! Everything in one process: a registry, processors and a gateway that talk over loopback, as they would over a
//! network. The default way to run the service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, GatewayConfig, ProcessorConfig};
use crate::env::{Env, Scoped};
use crate::error::{RoleError, RoleResult};
use crate::gateway::gateway;
use crate::observe::{Notice, Notices};
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

    let workers: Vec<Part> = (1..=config.processors)
        .map(|number| {
            let config = ProcessorConfig {
                listen: ANY_PORT,
                advertise: None,
                registry: registry_address.clone(),
                ..config.processor()
            };
            Part::start(&env, &format!("processor-{number}"), |env| {
                processor(env, config)
            })
        })
        .collect();
    let mut front = Part::start(&env, "gateway-1", |env| {
        let config = GatewayConfig {
            registry: registry_address.clone(),
            ..config.gateway()
        };
        gateway(env, config)
    });
    let address = front.listening().await?;
    env.notices.send(Notice::Listening {
        role: ROLE.to_owned(),
        address,
    });

    // Whoever asks others goes first, so that those it asks are still there while it finishes.
    let mut stages = vec![vec![front], workers, vec![list]];
    tokio::select! {
        biased;
        () = env.shutdown.cancelled() => {}
        ended = first_end(&mut stages) => return ended,
    }
    for stage in stages {
        for part in &stage {
            part.stop.cancel();
        }
        for part in stage {
            part.end().await?;
        }
    }
    Ok(())
}

async fn first_end(stages: &mut [Vec<Part>]) -> RoleResult {
    let parts = stages.iter_mut().flatten();
    let mut ends: FuturesUnordered<_> = parts.map(|part| part.ended_early()).collect();
    ends.next().await.unwrap_or(Ok(()))
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
        let notices = Notices::new(move |notice: Notice| match notice {
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
