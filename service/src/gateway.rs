//! The gateway role: serves the API, keeps jobs going. Composition only.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::api::{Api, admission, router};
use crate::config::GatewayConfig;
use crate::env::Env;
use crate::error::{RoleError, RoleResult};
use crate::http::{Drain, serve};
use crate::jobs::{Dispatcher, Queue, sweep_until, watch_storage};
use crate::observe::Notice;
use crate::processor::KIND;
use crate::registry::client::Discovery;
use crate::scale;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;

/// What the role is called.
pub const ROLE: &str = "gateway";

/// Runs a gateway until `env.shutdown`, then drains: `/ready` says no, a moment later new requests are refused, what is
/// in flight ends within a bound, tasks that would take longer are given back for others, and it returns.
///
/// # Errors
/// The address cannot be listened on.
pub async fn gateway(env: Env, config: GatewayConfig) -> RoleResult {
    let bound = |reason| RoleError::Bind {
        address: config.listen,
        reason,
    };
    let acceptor = env.net.bind(config.listen).await.map_err(bound)?;
    let address = acceptor.local_addr().map_err(bound)?;

    let (discovery, _watching) = Discovery::watch(&env, &config.registry, KIND);
    let upstream = Upstream::new(&env, discovery, config.upstream.clone());
    let queue = Arc::new(Queue::default());
    let metrics = Arc::new(Metrics::default());
    let gates = Gates::default();
    let api = Arc::new(Api::new(
        env.clone(),
        config.limits.clone(),
        upstream.clone(),
        Arc::clone(&queue),
        Arc::clone(&metrics),
        admission(&config.admission, &env.rng),
        gates.refusing.clone(),
    ));
    let limit = config.drain.limit.get();
    let scaling = {
        let (env, upstream, metrics) = (env.clone(), upstream.clone(), Arc::clone(&metrics));
        let (scale, slots) = (config.scale.clone(), config.jobs.per_processor);
        async move {
            let watching = scale::watch(&env, scale, slots, &upstream, &metrics);
            tokio::select! {
                biased;
                () = env.shutdown.cancelled() => {}
                () = watching => {}
            }
        }
    };
    let sweeping = {
        let env = env.clone();
        async move { sweep_until(&env, env.shutdown.clone()).await }
    };
    let watching = {
        let (env, queue) = (env.clone(), Arc::clone(&queue));
        async move { watch_storage(&env, &queue, env.shutdown.clone()).await }
    };
    let dispatcher = Dispatcher::new(
        env.clone(),
        config.jobs.clone(),
        config.upstream.timeouts.clone(),
        upstream,
        queue,
        metrics,
    );
    env.notices.send(Notice::Listening {
        role: ROLE.to_owned(),
        address: address.to_string(),
    });

    let drain = Drain {
        stop: gates.stopping.clone(),
        limit,
    };
    let serving = async {
        let served = serve(&env, acceptor, router(api), config.limits.patience(), drain).await;
        if served.cut > 0 {
            tracing::warn!(connections = served.cut, "cut off at the end of the drain");
        }
    };
    // Tasks stop being taken as soon as the end is known; they end or are given back while requests drain.
    let dispatching = dispatcher.run(env.shutdown.clone(), limit);
    let leaving = gates.close(&env.shutdown, config.drain.notice.get());
    futures_util::join!(serving, dispatching, sweeping, watching, scaling, leaving);
    Ok(())
}

/// The steps of going away.
#[derive(Debug, Default)]
struct Gates {
    refusing: CancellationToken,
    stopping: CancellationToken,
}

impl Gates {
    async fn close(&self, shutdown: &CancellationToken, notice: Duration) {
        shutdown.cancelled().await;
        tokio::time::sleep(notice).await;
        self.refusing.cancel();
        self.stopping.cancel();
    }
}
