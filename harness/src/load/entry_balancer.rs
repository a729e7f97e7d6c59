//! What stands in entry of several nodes that load enters through: requests take turns over those that say that they are
//! ready, as with the balancer that any deployment has there.
//!
//! It is deliberately plain, so that what is measured is the system behind it. Each node is asked for its readiness ten
//! times a second; one that does not say yes in time is passed over. A connection that is refused leads to the next node,
//! because nothing was sent. Nothing is ever sent twice: an answer that breaks off, comes late or says 503 is the
//! system's. When no entry is ready, all of them are asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::http;
use crate::plan::{Plan, ReadyPlan};

/// Between two questions to a node.
const PERIOD: Duration = Duration::from_millis(100);
/// Longest wait for its answer.
const WITHIN: Duration = Duration::from_millis(300);

/// One way in.
#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    ready: AtomicBool,
    condition: Option<ReadyPlan>,
}

/// The ways in of a load.
#[derive(Debug)]
pub(super) struct EntryBalancer {
    backends: Vec<Arc<Backend>>,
    next: AtomicUsize,
}

impl EntryBalancer {
    /// The entry of these links; one that is not there is left out.
    pub(super) fn new(
        plan: &Plan,
        entries: &[String],
        address: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Self {
        let backends = entries.iter().filter_map(|entry| {
            let link = plan.system.links.iter().find(|link| link.name == *entry);
            let node =
                link.and_then(|link| plan.system.nodes.iter().find(|node| node.name == link.to));
            Some(Arc::new(Backend {
                address: address(entry)?,
                ready: AtomicBool::new(true),
                condition: node.map(|node| node.ready.clone()),
            }))
        });
        Self {
            backends: backends.collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Asks every node again and again, where there is more than one; until the set is dropped.
    pub(super) fn watch(&self, checks: &mut JoinSet<()>) {
        if self.backends.len() < 2 {
            return;
        }
        let client = http::client();
        for backend in &self.backends {
            let Some(condition) = backend.condition.clone() else {
                continue;
            };
            let (backend, client) = (backend.clone(), client.clone());
            let url = format!("http://{}{}", backend.address, condition.path);
            checks.spawn(async move {
                let mut ticks = tokio::time::interval(PERIOD);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let answer = client.get(&url).timeout(WITHIN).send().await;
                    let ready = answer.is_ok_and(|answer| answer.status() == condition.status);
                    backend.ready.store(ready, Ordering::Relaxed);
                }
            });
        }
    }

    /// Where to send the next request: the one whose turn it is, then the others for as long as connections are refused.
    /// Those that are ready come first.
    pub(super) fn order(&self) -> Vec<SocketAddr> {
        if let [only] = self.backends.as_slice() {
            return vec![only.address];
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let is_ready = |backend: &&Arc<Backend>| backend.ready.load(Ordering::Relaxed);
        let (mut ready, mut others): (Vec<_>, Vec<_>) = self.backends.iter().partition(is_ready);
        // Turns are taken among those that are ready, or a node that is not would double the share of its neighbour.
        for group in [&mut ready, &mut others] {
            if !group.is_empty() {
                let first = turn % group.len();
                group.rotate_left(first);
            }
        }
        ready
            .into_iter()
            .chain(others)
            .map(|backend| backend.address)
            .collect()
    }

    #[cfg(test)]
    fn set_ready(&self, backend: usize, ready: bool) {
        self.backends[backend].ready.store(ready, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u16) -> EntryBalancer {
        let backends = (1..=n).map(|port| {
            Arc::new(Backend {
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                ready: AtomicBool::new(true),
                condition: None,
            })
        });
        EntryBalancer {
            backends: backends.collect(),
            next: AtomicUsize::new(0),
        }
    }

    fn firsts(entry: &EntryBalancer, n: usize) -> Vec<u16> {
        (0..n).map(|_| entry.order()[0].port()).collect()
    }

    #[test]
    fn nodes_take_turns_and_everyone_is_named_once() {
        let entry = entry(3);
        assert_eq!(firsts(&entry, 6), [1, 2, 3, 1, 2, 3]);
        let mut order = entry.order();
        order.sort();
        order.dedup();
        assert_eq!(order.len(), 3);
    }

    #[test]
    fn who_is_not_ready_comes_last_and_the_rest_share_evenly() {
        let entry = entry(3);
        entry.set_ready(1, false);
        let mut counts = [0_u32; 4];
        for port in firsts(&entry, 100) {
            counts[usize::from(port)] += 1;
        }
        assert_eq!(counts, [0, 50, 0, 50]);
        assert_eq!(entry.order()[2].port(), 2);
    }

    #[test]
    fn nobody_ready_is_everybody_asked() {
        let entry = entry(2);
        entry.set_ready(0, false);
        entry.set_ready(1, false);
        assert_eq!(firsts(&entry, 4), [1, 2, 1, 2]);
    }
}
