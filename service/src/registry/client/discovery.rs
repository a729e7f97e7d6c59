//! Reading the list: one long poll for ever, and a snapshot that callers read without waiting.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::view::{Beliefs, Peer, Peers};
use crate::env::{Env, SharedRng};
use crate::http::Client;
use crate::registry::wire::Listing;

/// Longest wait of one question. Also how long a connection that died in silence can keep news back, so it is short: a call
/// every few seconds costs a registry nothing. Up to a sixteenth is added at random, so that watchers which were answered
/// together do not ask together for ever.
const WAIT: Duration = Duration::from_secs(3);
/// On top of the asked-for wait: for the network and a busy registry.
const GRACE: Duration = Duration::from_secs(2);
/// Nothing waits for the news while the list serves, so a registry that is down is left in peace.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Which instances a client is interested in: those of a kind that have all of some tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Query {
    /// `None`: of any kind.
    pub kind: Option<String>,
    /// All of these.
    pub tags: BTreeSet<String>,
}

impl Query {
    /// Everybody of this kind.
    pub fn kind(kind: impl Into<String>) -> Self {
        Self {
            kind: Some(kind.into()),
            tags: BTreeSet::new(),
        }
    }

    /// Of these only who has this tag as well.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// The question to the registry on `registry` (`host:port`).
    pub(crate) fn url(&self, registry: &str) -> String {
        let mut url = format!("http://{registry}/v1/services");
        let kind = self.kind.iter().map(|kind| ("kind", kind));
        let mut separator = '?';
        for (name, value) in kind.chain(self.tags.iter().map(|tag| ("tag", tag))) {
            url.extend([separator]);
            url.push_str(name);
            url.push('=');
            escape(value, &mut url);
            separator = '&';
        }
        url
    }
}

impl From<&str> for Query {
    fn from(kind: &str) -> Self {
        Self::kind(kind)
    }
}

/// Writes what is no part of a kind or tag as `%XX`: the registry then says what is wrong with it.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._:=".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").ok(); // writing to a text cannot fail
        }
    }
}

/// The peers of one kind. Cheap to clone. The last good list serves for ever: a registry that is down takes nothing
/// away, it only stops the news.
#[derive(Clone)]
pub struct Discovery(Arc<Inner>);

struct Inner {
    current: ArcSwap<Peers>,
    /// Of `current`, or of the one before for a moment. Every choice of a pool reads it.
    generation: AtomicU64,
    /// Wakes those who wait for another list in the order in which they began to, which `watch` would not.
    changed: Notify,
    /// Since when the registry has not answered; `None` while it does.
    stale_since: watch::Sender<Option<Instant>>,
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

    /// Watches the instances of a kind, or those of a [`Query`], at the registry on `registry` (`host:port`), until
    /// `env.shutdown` or until the returned guard is dropped.
    #[must_use]
    pub fn watch(env: &Env, registry: &str, query: impl Into<Query>) -> (Self, DropGuard) {
        let discovery = Self::with(Peers::default(), Some(Instant::now()));
        let stop = env.shutdown.child_token();
        let watcher = Watcher {
            client: Client::new(env),
            env: env.clone(),
            base: query.into().url(registry),
            into: discovery.clone(),
        };
        let stopped = stop.clone();
        drop(env.exec.spawn(async move { watcher.run(stopped).await }));
        (discovery, stop.drop_guard())
    }

    fn with(peers: Peers, stale_since: Option<Instant>) -> Self {
        Self(Arc::new(Inner {
            generation: AtomicU64::new(peers.generation),
            current: ArcSwap::from_pointee(peers),
            changed: Notify::new(),
            stale_since: watch::Sender::new(stale_since),
        }))
    }

    fn publish(&self, peers: Peers) {
        let generation = peers.generation;
        self.0.current.store(Arc::new(peers));
        self.0.generation.store(generation, Release);
        self.0.changed.notify_waiters();
    }

    /// The list as last known.
    #[must_use]
    pub fn peers(&self) -> Arc<Peers> {
        self.0.current.load_full()
    }

    /// Generation of [`Discovery::peers`], cheaper than the list.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Acquire)
    }

    /// Returns once the generation is another than `seen`.
    pub async fn changed(&self, seen: u64) {
        loop {
            // Listening before looking, so that no change can fall in between.
            let changed = self.0.changed.notified();
            if self.generation() != seen {
                return;
            }
            changed.await;
        }
    }

    /// Since when the registry has not answered, from the first question on; `None` while it does. The list serves all
    /// the same; this says how old it may be.
    #[must_use]
    pub fn stale_since(&self) -> Option<Instant> {
        *self.0.stale_since.borrow()
    }

    /// How long the registry has not answered; zero while it does.
    #[must_use]
    pub fn stale_for(&self, now: Instant) -> Duration {
        self.stale_since()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Returns once the registry has answered, at once while it does. Bound it: the registry may be down.
    pub async fn answered(&self) {
        let mut stale_since = self.0.stale_since.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        stale_since.wait_for(Option::is_none).await.ok();
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
            match self.ask(seen.as_ref(), beliefs.next_release(), &rng).await {
                Ok(listing) => {
                    backoff = FIRST_BACKOFF;
                    seen = Some((listing.incarnation.clone(), listing.revision));
                    if let Some(peers) = beliefs.update(listing, Instant::now()) {
                        self.into.publish(peers);
                    }
                    self.into
                        .0
                        .stale_since
                        .send_if_modified(|since| since.take().is_some());
                    // News come in bursts; and a peer that answers without waiting must not make this loop spin.
                    let pause = Duration::from_millis(10).mul_f64(1.0 + rng.unit());
                    tokio::time::sleep_until(asked + pause).await;
                }
                Err(error) => {
                    self.into.0.stale_since.send_if_modified(|since| {
                        let first = since.is_none();
                        since.get_or_insert(asked);
                        first
                    });
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
        rng: &SharedRng,
    ) -> Result<Listing, crate::http::ClientError> {
        let Some((incarnation, revision)) = seen else {
            return self.client.get_json(&self.base, GRACE).await;
        };
        let longest = WAIT.mul_f64(1.0 + rng.unit() / 16.0);
        let wait = release.map_or(longest, |at| {
            at.saturating_duration_since(Instant::now())
                .clamp(Duration::from_millis(10), WAIT)
        });
        let more = if self.base.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}{more}since={revision}&incarnation={incarnation}&wait={}ms",
            self.base,
            wait.as_millis()
        );
        self.client.get_json(&url, wait + GRACE).await
    }
}
