//! How many nodes of a role the system asks for. [`super::fleet`] follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// How many of a role are wanted, by who says so: with several gateways, the one that wants most is heard.
#[derive(Debug, Clone)]
pub struct Wanted {
    by_source: Arc<Mutex<BTreeMap<String, usize>>>,
    most: Arc<watch::Sender<usize>>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            by_source: Arc::default(),
            most: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Wanted {
    /// `source` wants so many.
    pub fn say(&self, source: &str, count: usize) {
        let mut by_source = self.by_source.lock();
        by_source.insert(source.to_owned(), count);
        let most = by_source.values().copied().max().unwrap_or_default();
        self.most.send_replace(most);
    }

    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.most.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_most_is_heard() {
        let wanted = Wanted::default();
        let seen = wanted.watch();
        wanted.say("gateway-1", 2);
        wanted.say("gateway-2", 3);
        assert_eq!(*seen.borrow(), 3);
        wanted.say("gateway-2", 1);
        assert_eq!(*seen.borrow(), 2);
    }
}
