//! A part of a node's capacity for one kind of work, so that no kind can take all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Reason, Refused};

/// Places for one kind of work. A place is there at once or not at all: whoever has to wait for a file transfer to end
/// is better told. Cheap to clone; clones share the places.
#[derive(Debug, Clone)]
pub struct Bulkhead {
    name: &'static str,
    size: usize,
    places: Arc<Semaphore>,
    refused: Arc<AtomicU64>,
}

impl Bulkhead {
    /// `size` places under a name for metrics.
    #[must_use]
    pub fn new(name: &'static str, size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            name,
            size,
            places: Arc::new(Semaphore::new(size)),
            refused: Arc::default(),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A place, until the permit is dropped.
    ///
    /// # Errors
    /// Every place is taken.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Refused(Reason::Bulkhead)
        })
    }

    /// Places taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.size - self.places.available_permits()
    }

    /// Requests refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_there_or_not() {
        let bulkhead = Bulkhead::new("upload", 2);
        let clone = bulkhead.clone();
        let (first, _second) = (bulkhead.enter().unwrap(), clone.enter().unwrap());
        assert_eq!(bulkhead.enter().unwrap_err(), Refused(Reason::Bulkhead));
        assert_eq!((bulkhead.taken(), clone.refused()), (2, 1));
        drop(first);
        assert!(clone.enter().is_ok());
    }
}
