//! Being listed: register, heartbeat, and a goodbye.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::env::{Env, SharedRng};
use crate::http::{Client, ClientError};
use crate::registry::wire::{Goodbye, Heartbeat, Lease, Registration};

const CALL: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Also the longest wait between tries while the registry is down: well inside a lease, so that a registry which came
/// back has heard everybody before it stops settling.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// An instance's place in the registry. Dropping it stops the heartbeats without a goodbye, as a crash would.
pub struct Membership {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

struct Shared {
    client: Client,
    base: String,
    registration: Mutex<Registration>,
    wanted: watch::Sender<Wanted>,
    standing: watch::Sender<Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    ready: bool,
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unregistered,
    Registered,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("base", &self.shared.base)
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// Starts to register at the registry on `registry` (`host:port`), and to send heartbeats ever after. Returns at
    /// once: an instance works whether or not its registry does.
    #[must_use]
    pub fn join(env: &Env, registry: &str, registration: Registration) -> Self {
        let wanted = Wanted {
            ready: registration.ready,
            draining: registration.draining,
        };
        let shared = Arc::new(Shared {
            client: Client::new(env),
            base: format!("http://{registry}/v1/instances/{}", registration.name),
            registration: Mutex::new(registration),
            wanted: watch::Sender::new(wanted),
            standing: watch::Sender::new(Standing::Unregistered),
        });
        let stop = CancellationToken::new();
        let (heart, stopped) = (Arc::clone(&shared), stop.clone());
        let rng = env.rng.fork("heartbeat");
        drop(env.exec.spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = heart.beat(rng) => {}
            }
        }));
        Self {
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// Epoch for a registration made now: later starts have later clocks.
    #[must_use]
    pub fn epoch(env: &Env) -> u64 {
        u64::try_from(env.clock.now().as_millisecond()).unwrap_or_default()
    }

    /// Returns once the registry has listed it. Bound it: the registry may be down.
    pub async fn registered(&self) {
        let mut standing = self.shared.standing.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        standing
            .wait_for(|standing| *standing == Standing::Registered)
            .await
            .ok();
    }

    /// Says whether it takes work.
    pub fn set_ready(&self, ready: bool) {
        self.shared
            .wanted
            .send_if_modified(|wanted| std::mem::replace(&mut wanted.ready, ready) != ready);
    }

    /// Asks for no new work. Returns when the registry knows, or has not answered in a second.
    pub async fn drain(&self) {
        self.shared
            .wanted
            .send_modify(|wanted| wanted.draining = true);
        if let Err(error) = self.shared.say_goodbye().await {
            tracing::debug!(%error, "the registry did not take the drain");
        }
    }

    /// Says goodbye. Bounded like [`Membership::drain`]; without an answer the lease ends by itself.
    pub async fn leave(self) {
        let Self {
            shared,
            _stop: stop,
        } = self;
        drop(stop); // No heartbeat may come after the goodbye.
        let path = format!("?epoch={}", shared.heartbeat().epoch);
        if let Err(error) = shared.send(Method::DELETE, &path, None::<&()>).await {
            tracing::debug!(%error, "the registry did not take the goodbye");
        }
    }
}

impl Shared {
    fn heartbeat(&self) -> Heartbeat {
        let Wanted { ready, draining } = *self.wanted.borrow();
        Heartbeat {
            epoch: self.registration.lock().epoch,
            ready: ready && !draining,
        }
    }

    async fn send<B: serde::Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Lease, ClientError> {
        self.client
            .json(method, &format!("{}{path}", self.base), body, CALL)
            .await
    }

    async fn say_goodbye(&self) -> Result<Lease, ClientError> {
        let epoch = Some(self.registration.lock().epoch);
        self.send(Method::POST, "/drain", Some(&Goodbye { epoch }))
            .await
    }

    async fn register(&self) -> Result<Lease, ClientError> {
        let Wanted { ready, draining } = *self.wanted.borrow();
        let mut registration = self.registration.lock().clone();
        registration.ready = ready;
        registration.draining = draining;
        self.client
            .json(Method::PUT, &self.base, Some(&registration), CALL)
            .await
    }

    /// This start was told that it is older than one that is gone: the clock went back in between. Only at the first
    /// registration: whoever was listed before and is refused now really is the older one, and must not come back.
    fn overtake(&self, error: &ClientError) {
        #[derive(serde::Deserialize)]
        struct Conflict {
            current_epoch: u64,
        }
        let ClientError::Status { body, .. } = error else {
            return;
        };
        if let Ok(Conflict { current_epoch }) = serde_json::from_str(body) {
            self.registration.lock().epoch = current_epoch.saturating_add(1);
        }
    }

    async fn beat(&self, rng: SharedRng) {
        let mut backoff = FIRST_BACKOFF;
        let mut wanted = self.wanted.subscribe();
        let mut listed_before = false;
        loop {
            let standing = *self.standing.borrow();
            let asked = *wanted.borrow_and_update();
            let outcome = match standing {
                Standing::Unregistered => self.register().await,
                Standing::Registered if asked.draining => self.say_goodbye().await,
                Standing::Registered => {
                    self.send(Method::POST, "/heartbeat", Some(&self.heartbeat()))
                        .await
                }
            };
            let pause = match outcome {
                Ok(lease) => {
                    listed_before = true;
                    self.standing.send_replace(Standing::Registered);
                    backoff = FIRST_BACKOFF;
                    // For a registry that starts anew and does not know it.
                    self.registration.lock().orders = lease.orders;
                    // A third of the lease +-20 %: two may be lost, and many instances do not beat as one.
                    Duration::from_millis(lease.ttl_ms / 3).mul_f64(0.8 + 0.4 * rng.unit())
                }
                Err(error) => {
                    tracing::debug!(%error, "heartbeat not taken");
                    match error.status() {
                        Some(StatusCode::NOT_FOUND) => {
                            self.standing.send_replace(Standing::Unregistered);
                        }
                        Some(StatusCode::CONFLICT) if listed_before => {
                            tracing::warn!("a later start of this instance took over its name");
                            return;
                        }
                        Some(StatusCode::CONFLICT) => self.overtake(&error),
                        _ => {}
                    }
                    let pause = backoff.mul_f64(0.5 + 0.5 * rng.unit());
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                    pause
                }
            };
            tokio::select! {
                biased;
                // What the instance wants has changed: say so now. The sender lives in `self`.
                _ = wanted.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
