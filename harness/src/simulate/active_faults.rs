//! What is broken at this moment, as the seams see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::schedule::{CLIENT, HOSTS, What};

/// Two hosts, the smaller name first.
pub(super) type Pair = (&'static str, &'static str);

/// State of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LinkState {
    #[default]
    Open,
    /// Messages wait.
    Held,
    /// Messages are lost.
    Cut,
}

/// Shared by the loop that steps the simulation, which changes it, and the hosts, which feel it.
#[derive(Debug, Clone, Default)]
pub(super) struct ActiveFaults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Faults under way, by their place in the schedule.
    active: Mutex<BTreeMap<usize, What>>,
    changed: Notify,
}

fn pair(a: &'static str, b: &'static str) -> Pair {
    if a < b { (a, b) } else { (b, a) }
}

/// Every link that a fault can touch.
pub(super) fn pairs() -> Vec<Pair> {
    let hosts: Vec<&'static str> = HOSTS.into_iter().chain([CLIENT]).collect();
    let mut pairs = BTreeSet::new();
    for (i, a) in hosts.iter().enumerate() {
        for b in &hosts[i + 1..] {
            pairs.insert(pair(a, b));
        }
    }
    pairs.into_iter().collect()
}

impl ActiveFaults {
    pub(super) fn begin(&self, index: usize, what: What) {
        self.0.active.lock().insert(index, what);
        self.0.changed.notify_waiters();
    }

    pub(super) fn end(&self, index: usize) {
        self.0.active.lock().remove(&index);
        self.0.changed.notify_waiters();
    }

    fn any(&self, is: impl Fn(&What) -> bool) -> bool {
        self.0.active.lock().values().any(is)
    }

    pub(super) fn down(&self, host: &str) -> bool {
        self.any(|what| matches!(what, What::Crash(it) if *it == host))
    }

    pub(super) fn link(&self, (a, b): Pair) -> LinkState {
        let touches = |host: &str| host == a || host == b;
        let inside = a != CLIENT && b != CLIENT;
        let cut = self.any(|what| match what {
            What::Partition(x, y) => pair(x, y) == (a, b),
            What::Isolate(host) => inside && touches(host),
            _ => false,
        });
        let held = self.any(|what| match what {
            What::Hold(x, y) => pair(x, y) == (a, b),
            What::Hang(host) => touches(host),
            _ => false,
        });
        match (cut, held) {
            (true, _) => LinkState::Cut,
            (false, true) => LinkState::Held,
            (false, false) => LinkState::Open,
        }
    }

    /// The longest latency that a fault puts on the link.
    pub(super) fn latency(&self, link: Pair) -> Option<Duration> {
        let active = self.0.active.lock();
        let on_link = active.values().filter_map(|what| match what {
            What::Latency(x, y, by) if pair(x, y) == link => Some(*by),
            _ => None,
        });
        on_link.max()
    }

    /// How much longer a frame takes on the processor.
    pub(super) fn slower(&self, host: &str) -> Duration {
        let active = self.0.active.lock();
        let on_host = active.values().filter_map(|what| match what {
            What::Slow(it, by) if *it == host => Some(*by),
            _ => None,
        });
        on_host.max().unwrap_or_default()
    }

    /// Returns once `met` says yes. Asks again after every change.
    async fn until(&self, met: impl Fn(&Self) -> bool) {
        loop {
            // Listening before looking, so that no change can fall in between.
            let changed = self.0.changed.notified();
            if met(self) {
                return;
            }
            changed.await;
        }
    }

    /// Returns once the host is down.
    pub(super) async fn until_down(&self, host: &str) {
        self.until(|it| it.down(host)).await;
    }

    /// Returns once packets can pass between the two, if only later.
    pub(super) async fn until_not_cut(&self, a: &'static str, b: &'static str) {
        self.until(|it| it.link(pair(a, b)) != LinkState::Cut).await;
    }

    /// Returns once storage answers the gateway.
    pub(super) async fn until_stored(&self, host: &str) {
        self.until(|it| !it.any(|what| matches!(what, What::Stall(x) if *x == host)))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_on_one_link_end_each_for_itself() {
        let active_faults = ActiveFaults::default();
        let link = pair("processor-1", "gateway-1");
        active_faults.begin(0, What::Hold("gateway-1", "processor-1"));
        active_faults.begin(1, What::Isolate("processor-1"));
        active_faults.begin(2, What::Hang("gateway-1"));
        assert_eq!(active_faults.link(link), LinkState::Cut);
        assert_eq!(
            active_faults.link(pair(CLIENT, "processor-1")),
            LinkState::Open
        );
        assert_eq!(
            active_faults.link(pair(CLIENT, "gateway-1")),
            LinkState::Held
        );
        active_faults.end(1);
        active_faults.end(0);
        assert_eq!(active_faults.link(link), LinkState::Held);
        active_faults.end(2);
        assert_eq!(active_faults.link(link), LinkState::Open);
    }

    #[test]
    fn every_link_is_there_once() {
        assert_eq!(pairs().len(), 21);
    }
}
