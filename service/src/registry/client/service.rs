//! The registry under one name: register, discover, get a URL; and what operators order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::DropGuard;

use super::{Discovery, Membership, Peer, Query};
use crate::env::{Env, SharedRng};
use crate::http::{Client, ClientError};
use crate::registry::wire::{Goodbye, Lease, Listing, Maintenance, Registration, Status, Weight};

/// How long the first answer about a kind may take; later ones are at hand.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(2);

/// Why there is nobody to call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The registry has never answered.
    #[error("the registry on {registry} does not answer")]
    NoRegistry {
        /// `host:port`.
        registry: String,
    },
    /// It has, and knows nobody who can take work.
    #[error("no {kind} can take work")]
    Nobody {
        /// What was asked for.
        kind: String,
    },
}

/// A client of one registry. Cheap to clone; clones share what they know.
///
/// What it has discovered it keeps up to date and keeps for ever: once the registry has answered, a registry that is
/// down takes nothing away. It chooses by weight alone; calls that must not fail go through [`crate::upstream`].
#[derive(Clone)]
pub struct ServiceClient(Arc<Inner>);

struct Inner {
    env: Env,
    registry: String,
    client: Client,
    rng: SharedRng,
    watched: Mutex<BTreeMap<Query, (Discovery, DropGuard)>>,
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceClient")
            .field(&self.0.registry)
            .finish()
    }
}

impl ServiceClient {
    /// A client of the registry on `registry` (`host:port`).
    pub fn new(env: &Env, registry: impl fmt::Display) -> Self {
        Self(Arc::new(Inner {
            registry: registry.to_string(),
            client: Client::new(env),
            rng: env.rng.fork("service client"),
            env: env.clone(),
            watched: Mutex::default(),
        }))
    }

    /// Registers an instance and keeps it registered until the membership leaves or is dropped.
    #[must_use]
    pub fn register(&self, registration: Registration) -> Membership {
        Membership::join(&self.0.env, &self.0.registry, registration)
    }

    /// Who can take work now: of a kind, or of a [`Query`] with tags. By name.
    ///
    /// # Errors
    /// The registry does not answer a first question within two seconds.
    pub async fn discover(&self, query: impl Into<Query>) -> Result<Vec<Peer>, ServiceError> {
        let query = query.into();
        let discovery = {
            let mut watched = self.0.watched.lock();
            let (discovery, _) = watched
                .entry(query.clone())
                .or_insert_with(|| Discovery::watch(&self.0.env, &self.0.registry, query));
            discovery.clone()
        };
        // A list that was had before serves, however old.
        if discovery.generation() == 0
            && tokio::time::timeout(FIRST_ANSWER, discovery.answered())
                .await
                .is_err()
        {
            return Err(ServiceError::NoRegistry {
                registry: self.0.registry.clone(),
            });
        }
        let able = |peer: &&Peer| matches!(peer.status, Status::Passing | Status::Warning);
        let peers = discovery.peers();
        Ok(peers.peers.iter().filter(able).cloned().collect())
    }

    /// The URL of `path` on one who can take work, drawn by weight; suspects only when there is nobody else.
    ///
    /// # Errors
    /// As [`ServiceClient::discover`], and when there is nobody.
    pub async fn url(&self, query: impl Into<Query>, path: &str) -> Result<String, ServiceError> {
        let query = query.into();
        let kind = query.kind.clone().unwrap_or_else(|| "instance".to_owned());
        let mut peers = self.discover(query).await?;
        if peers.iter().any(|peer| !peer.suspect) {
            peers.retain(|peer| !peer.suspect);
        }
        let total: u64 = peers.iter().map(|peer| u64::from(peer.weight)).sum();
        let mut drawn = self.0.rng.next_u64().checked_rem(total).unwrap_or(0);
        let chosen = peers.iter().find(|peer| {
            let weight = u64::from(peer.weight);
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        match chosen {
            Some(peer) => Ok(format!("http://{}{path}", peer.address)),
            None => Err(ServiceError::Nobody { kind }),
        }
    }

    /// Everybody the registry lists, whatever their status, as it says right now.
    ///
    /// # Errors
    /// The registry does not answer, or refuses the question.
    pub async fn list(&self, query: &Query) -> Result<Listing, ClientError> {
        let url = query.url(&self.0.registry);
        self.0.client.get_json(&url, CALL).await
    }

    /// As [`ServiceClient::list`], once something differs from `seen`, at the latest after `wait` (at most a minute).
    ///
    /// # Errors
    /// As [`ServiceClient::list`].
    pub async fn list_after(
        &self,
        query: &Query,
        seen: &Listing,
        wait: Duration,
    ) -> Result<Listing, ClientError> {
        let mut url = query.url(&self.0.registry);
        url.push(if url.contains('?') { '&' } else { '?' });
        let (revision, incarnation) = (seen.revision, &seen.incarnation);
        let wait_ms = wait.as_millis();
        url.push_str(&format!(
            "since={revision}&incarnation={incarnation}&wait={wait_ms}ms"
        ));
        self.0.client.get_json(&url, wait + CALL).await
    }

    /// Registers once, without heartbeats: the lease ends by itself.
    ///
    /// # Errors
    /// The registry does not answer, or refuses it.
    pub async fn register_once(&self, registration: &Registration) -> Result<Lease, ClientError> {
        let name = &registration.name;
        self.order(Method::PUT, name, "", Some(registration)).await
    }

    /// Orders that an instance gets no new work, until it starts anew.
    ///
    /// # Errors
    /// The registry does not answer, or does not know it.
    pub async fn drain(&self, name: &str) -> Result<Lease, ClientError> {
        let goodbye = Goodbye { epoch: None };
        self.order(Method::POST, name, "/drain", Some(&goodbye))
            .await
    }

    /// Orders maintenance with a reason, or takes the order back.
    ///
    /// # Errors
    /// As [`ServiceClient::drain`].
    pub async fn maintenance(
        &self,
        name: &str,
        reason: Option<&str>,
    ) -> Result<Lease, ClientError> {
        let order = Maintenance {
            on: reason.is_some(),
            reason: reason.unwrap_or_default().to_owned(),
        };
        self.order(Method::POST, name, "/maintenance", Some(&order))
            .await
    }

    /// Orders another weight (1 to 1000), until the instance starts anew.
    ///
    /// # Errors
    /// As [`ServiceClient::drain`]; a weight out of its range is refused.
    pub async fn weight(&self, name: &str, weight: u32) -> Result<Lease, ClientError> {
        self.order(Method::PUT, name, "/weight", Some(&Weight { weight }))
            .await
    }

    /// Takes an instance off the list, with whatever was ordered of it. One that is alive comes back by itself.
    ///
    /// # Errors
    /// As [`ServiceClient::drain`].
    pub async fn deregister(&self, name: &str) -> Result<Lease, ClientError> {
        self.order(Method::DELETE, name, "", None::<&()>).await
    }

    async fn order<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        name: &str,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let url = format!("http://{}/v1/instances/{name}{path}", self.0.registry);
        self.0.client.json(method, &url, body, CALL).await
    }
}
