//! Breakers by name: one for each dependency of a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::event::{Event, Listeners, Transition};
use super::{Breaker, BreakerConfig, Snapshot};
use crate::env::SharedRng;

/// Breakers by name. A handle: clones are the same manager.
///
/// ```
/// use clip_service::breaker::{BreakerConfig, Breakers, State};
/// use clip_service::env::SharedRng;
/// use tokio::time::Instant;
///
/// let breakers = Breakers::new(SharedRng::seeded(1));
/// breakers.on_transition(|moved| println!("{}: {} -> {}", moved.breaker, moved.from, moved.to));
///
/// let database = breakers.get_or_create("database", BreakerConfig::default());
/// // Whoever asks for the same name gets the same breaker.
/// let same = breakers.get_or_create("database", BreakerConfig::default());
/// same.force_open();
/// assert_eq!(database.state(), State::ForcedOpen);
///
/// // Orders by name, for an admin API.
/// assert!(breakers.release("database"));
/// assert!(!breakers.force_open("no such breaker"));
/// let names: Vec<_> = breakers.list(Instant::now()).into_iter().map(|one| one.name).collect();
/// assert_eq!(names, ["database"]);
/// ```
#[derive(Debug, Clone)]
pub struct Breakers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rng: SharedRng,
    by_name: RwLock<BTreeMap<Arc<str>, Breaker>>,
    listeners: Arc<Listeners>,
}

impl Breakers {
    /// Without any breaker. Each takes a generator of its own from `rng`, by its name.
    #[must_use]
    pub fn new(rng: SharedRng) -> Self {
        Self {
            shared: Arc::new(Shared {
                rng,
                by_name: RwLock::default(),
                listeners: Arc::default(),
            }),
        }
    }

    /// The breaker of that name, made with `config` if there is none. One that exists keeps its own settings.
    #[must_use]
    pub fn get_or_create(&self, name: &str, config: BreakerConfig) -> Breaker {
        if let Some(known) = self.get(name) {
            return known;
        }
        let shared = &self.shared;
        let mut by_name = shared.by_name.write();
        let make = || {
            let rng = shared.rng.fork(&format!("breaker/{name}"));
            Breaker::builder(name, config, rng)
                .manager(Arc::clone(&shared.listeners))
                .build(Instant::now())
        };
        by_name.entry(Arc::from(name)).or_insert_with(make).clone()
    }

    /// The breaker of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Breaker> {
        self.shared.by_name.read().get(name).cloned()
    }

    /// Forgets the breaker of that name, and says whether there was one. Who has it goes on using it.
    pub fn remove(&self, name: &str) -> bool {
        self.shared.by_name.write().remove(name).is_some()
    }

    /// All, by name.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Snapshot> {
        let by_name = self.shared.by_name.read();
        by_name.values().map(|one| one.snapshot(now)).collect()
    }

    /// [`Breaker::force_open`] by name; whether there is such a breaker.
    #[must_use]
    pub fn force_open(&self, name: &str) -> bool {
        self.order(name, Breaker::force_open)
    }

    /// [`Breaker::force_close`] by name; whether there is such a breaker.
    #[must_use]
    pub fn force_close(&self, name: &str) -> bool {
        self.order(name, Breaker::force_close)
    }

    /// [`Breaker::observe`] by name; whether there is such a breaker.
    #[must_use]
    pub fn observe(&self, name: &str) -> bool {
        self.order(name, Breaker::observe)
    }

    /// [`Breaker::release`] by name; whether there is such a breaker.
    #[must_use]
    pub fn release(&self, name: &str) -> bool {
        self.order(name, Breaker::release)
    }

    /// [`Breaker::reset`] by name; whether there is such a breaker.
    #[must_use]
    pub fn reset(&self, name: &str) -> bool {
        self.order(name, Breaker::reset)
    }

    fn order(&self, name: &str, order: impl Fn(&Breaker) -> Option<Arc<Transition>>) -> bool {
        // Looked up first: a callback may want the manager.
        let known = self.get(name);
        known.as_ref().map(order).is_some()
    }

    /// Calls `callback` after each transition of every breaker, of those still to be made as well.
    pub fn on_transition(&self, callback: impl Fn(&Transition) + Send + Sync + 'static) {
        self.shared.listeners.on_transition(callback);
    }

    /// Like [`Breakers::on_transition`], and told of what breakers that only observe would do.
    pub fn on_event(&self, callback: impl Fn(&Event) + Send + Sync + 'static) {
        self.shared.listeners.on_event(callback);
    }

    /// Events of all breakers from now on, as [`Breaker::events`].
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.listeners.subscribe()
    }
}
