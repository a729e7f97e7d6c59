//! Reading the list: one long poll for ever, and a snapshot that callers read without waiting.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::view::{Beliefs, Peer, Peers};
use crate::env::Env;
use crate::http::Client;
use crate::registry::wire::Listing;

/// How long one poll waits for news. Also how long a connection that died in silence can keep them back, so it is short: a
/// call every few seconds costs a registry nothing.
const WAIT: Duration = Duration::from_secs(3);
/// On top of the asked-for wait: for the network and a busy registry.
const GRACE: Duration = Duration::from_secs(2);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The peers of one kind. Cheap to clone. The last good list serves for ever: a registry that is down takes nothing
/// away, it only stops the news.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    current: ArcSwap<Peers>,
    changed: watch::Sender<u64>,
    /// Since when the registry has not answered; `None` while it does.
    stale_since: Mutex<Option<Instant>>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discovery").field(&self.peers()).finish()
    }
}

impl Discovery {
    /// A list that never changes by itself.
    #[must_use]
    pub fn fixed(peers: Vec<Peer>) -> Self {
        Self::with(
            Peers {
                generation: 1,
                peers,
            },
            None,
        )
    }

    /// Replaces a fixed list.
    pub fn replace(&self, peers: Vec<Peer>) {
        let generation = self.peers().generation + 1;
        self.publish(Peers { generation, peers });
    }

    /// Watches the instances of `kind` at the registry on `registry` (`host:port`), until `env.shutdown` or until the
    /// returned guard is dropped.
    #[must_use]
    pub fn watch(env: &Env, registry: &str, kind: &str) -> (Self, DropGuard) {
        let discovery = Self::with(Peers::default(), Some(Instant::now()));
        let stop = env.shutdown.child_token();
        let watcher = Watcher {
            client: Client::new(env),
            env: env.clone(),
            base: format!("http://{registry}/v1/services?kind={kind}"),
            into: discovery.clone(),
        };
        let stopped = stop.clone();
        drop(env.exec.spawn(async move { watcher.run(stopped).await }));
        (discovery, stop.drop_guard())
    }

    fn with(peers: Peers, stale_since: Option<Instant>) -> Self {
        let changed = watch::Sender::new(peers.generation);
        Self(Arc::new(Inner {
            current: ArcSwap::from_pointee(peers),
            changed,
            stale_since: Mutex::new(stale_since),
        }))
    }

    fn publish(&self, peers: Peers) {
        let generation = peers.generation;
        self.0.current.store(Arc::new(peers));
        self.0.changed.send_replace(generation);
    }

    /// The list as last known.
    #[must_use]
    pub fn peers(&self) -> Arc<Peers> {
        self.0.current.load_full()
    }

    /// Generation of [`Discovery::peers`], cheaper than the list.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.current.load().generation
    }

    /// Returns once the generation is another than `seen`.
    pub async fn changed(&self, seen: u64) {
        let mut changed = self.0.changed.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        changed
            .wait_for(|generation| *generation != seen)
            .await
            .ok();
    }

    /// How long the registry has not answered; zero while it does.
    #[must_use]
    pub fn stale_for(&self, now: Instant) -> Duration {
        self.0
            .stale_since
            .lock()
            .map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

struct Watcher {
    client: Client,
    env: Env,
    base: String,
    into: Discovery,
}

impl Watcher {
    async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        let rng = self.env.rng.fork(&self.base);
        let mut beliefs = Beliefs::default();
        let mut seen: Option<(String, u64)> = None;
        let mut backoff = FIRST_BACKOFF;
        loop {
            let asked = Instant::now();
            match self.ask(seen.as_ref(), beliefs.next_release()).await {
                Ok(listing) => {
                    *self.into.0.stale_since.lock() = None;
                    backoff = FIRST_BACKOFF;
                    seen = Some((listing.incarnation.clone(), listing.revision));
                    if let Some(peers) = beliefs.update(listing, Instant::now()) {
                        self.into.publish(peers);
                    }
                    // News come in bursts; and a peer that answers without waiting must not make this loop spin.
                    let pause = Duration::from_millis(10).mul_f64(1.0 + rng.unit());
                    tokio::time::sleep_until(asked + pause).await;
                }
                Err(error) => {
                    self.into.0.stale_since.lock().get_or_insert(asked);
                    tracing::debug!(%error, "registry does not answer");
                    tokio::time::sleep(backoff.mul_f64(0.5 + 0.5 * rng.unit())).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    async fn ask(
        &self,
        seen: Option<&(String, u64)>,
        release: Option<Instant>,
    ) -> Result<Listing, crate::http::ClientError> {
        let Some((incarnation, revision)) = seen else {
            return self.client.get_json(&self.base, GRACE).await;
        };
        let wait = release.map_or(WAIT, |at| {
            at.saturating_duration_since(Instant::now())
                .clamp(Duration::from_millis(10), WAIT)
        });
        let url = format!(
            "{}&since={revision}&incarnation={incarnation}&wait={}ms",
            self.base,
            wait.as_millis()
        );
        self.client.get_json(&url, wait + GRACE).await
    }
}
