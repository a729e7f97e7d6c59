//! JPEGs already made, by the stretch of time each is shown for. Least recently used ones go when the bytes run out.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::wire::SourceKey;

/// Time stamps are fractions that a request's decimal number cannot hit exactly, seconds.
const ROUNDING: f64 = 1e-6;

/// Source, width, and the bits of the picture's time: for times from zero on they sort like the times.
type Key = (SourceKey, u32, u64);

struct Entry {
    until: f64,
    jpeg: Bytes,
    used: u64,
}

/// Pictures of all sources, at most so many bytes.
pub(super) struct FrameCache {
    capacity: usize,
    bytes: usize,
    entries: BTreeMap<Key, Entry>,
    /// Entries by when they were last used.
    order: BTreeMap<u64, Key>,
    clock: u64,
}

impl FrameCache {
    /// A cache for `capacity` bytes; 0 keeps nothing.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            bytes: 0,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            clock: 0,
        }
    }

    /// The picture shown at `at`.
    pub(super) fn get(&mut self, source: SourceKey, width: u32, at: f64) -> Option<Bytes> {
        if at.is_nan() || at < 0.0 {
            return None;
        }
        let at = at + ROUNDING;
        let first = (source, width, 0);
        let (key, entry) = self
            .entries
            .range_mut(first..=(source, width, at.to_bits()))
            .next_back()?;
        if at >= entry.until {
            return None;
        }
        self.order.remove(&entry.used);
        self.clock += 1;
        entry.used = self.clock;
        self.order.insert(self.clock, *key);
        Some(entry.jpeg.clone())
    }

    /// Keeps a picture that is shown from `from` until `until`.
    pub(super) fn put(
        &mut self,
        source: SourceKey,
        width: u32,
        from: f64,
        until: f64,
        jpeg: Bytes,
    ) {
        if jpeg.len() > self.capacity {
            return;
        }
        let key = (source, width, from.max(0.0).to_bits());
        self.clock += 1;
        self.bytes += jpeg.len();
        if let Some(old) = self.entries.insert(
            key,
            Entry {
                until,
                jpeg,
                used: self.clock,
            },
        ) {
            self.bytes -= old.jpeg.len();
            self.order.remove(&old.used);
        }
        self.order.insert(self.clock, key);
        while self.bytes > self.capacity {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            if let Some(old) = self.entries.remove(&oldest) {
                self.bytes -= old.jpeg.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jpeg(size: usize) -> Bytes {
        Bytes::from(vec![0; size])
    }

    #[test]
    fn a_picture_answers_for_the_time_it_is_shown() {
        let source = SourceKey::numbered(1);
        let mut cache = FrameCache::new(1000);
        cache.put(source, 640, 1.0, 1.04, jpeg(10));
        for at in [1.0, 1.0 - 1e-7, 1.03] {
            assert!(cache.get(source, 640, at).is_some(), "{at}");
        }
        for at in [0.5, 1.04, 2.0, -1.0, f64::NAN] {
            assert!(cache.get(source, 640, at).is_none(), "{at}");
        }
        assert!(cache.get(source, 320, 1.0).is_none());
        assert!(cache.get(SourceKey::numbered(2), 640, 1.0).is_none());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let source = SourceKey::numbered(1);
        let mut cache = FrameCache::new(100);
        for second in 0..3 {
            cache.put(
                source,
                640,
                f64::from(second),
                f64::from(second) + 1.0,
                jpeg(40),
            );
            assert!(
                cache.get(source, 640, 0.0).is_some(),
                "0 is used all the time"
            );
        }
        assert!(cache.get(source, 640, 1.0).is_none());
        assert!(cache.get(source, 640, 2.0).is_some());
        cache.put(source, 640, 5.0, 6.0, jpeg(101));
        assert!(cache.get(source, 640, 5.0).is_none(), "too large to keep");
        assert_eq!(
            (cache.bytes, cache.entries.len(), cache.order.len()),
            (80, 2, 2)
        );
    }

    #[test]
    fn the_same_picture_again_takes_no_more_room() {
        let source = SourceKey::numbered(1);
        let mut cache = FrameCache::new(100);
        for _ in 0..10 {
            cache.put(source, 640, 1.0, 2.0, jpeg(40));
        }
        assert_eq!((cache.bytes, cache.order.len()), (40, 1));
    }
}
