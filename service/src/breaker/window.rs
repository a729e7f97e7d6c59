//! Recent outcomes, counted without locks: by time in ten buckets, or the last N calls in a ring. And all successes since the
//! beginning, which would cost each call that goes well a second count elsewhere.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};

use serde::Serialize;

use super::config::BreakerConfig;

const BUCKETS: u64 = 10;

/// Calls in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Succeeded.
    pub ok: u32,
    /// Failed, in whatever way.
    pub failed: u32,
    /// Took longer than `slow_after`; they are among `ok` or `failed` as well.
    pub slow: u32,
}

impl Counts {
    /// All.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.ok.saturating_add(self.failed)
    }

    /// Share that failed, 0 of none.
    #[must_use]
    pub fn failure_rate(&self) -> f64 {
        f64::from(self.failed) / f64::from(self.total().max(1))
    }

    /// Share that was slow, 0 of none.
    #[must_use]
    pub fn slow_rate(&self) -> f64 {
        f64::from(self.slow) / f64::from(self.total().max(1))
    }
}

/// One call, as the window sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) ok: bool,
    pub(super) slow: bool,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and there is one per breaker"
)]
pub(super) enum Window {
    Time(TimeWindow),
    Count(CountWindow),
}

impl Window {
    pub(super) fn new(config: &BreakerConfig) -> Self {
        match config.window_calls {
            Some(calls) => Self::Count(CountWindow::new(calls)),
            None => Self::Time(TimeWindow::new(super::nanos(config.window.get()))),
        }
    }

    /// `now`: nanoseconds on a clock that the window is always told by.
    pub(super) fn add(&self, call: Call, now: u64) {
        match self {
            Self::Time(window) => window.add(call, now),
            Self::Count(window) => window.add(call),
        }
    }

    pub(super) fn counts(&self, now: u64) -> Counts {
        match self {
            Self::Time(window) => window.counts(now),
            Self::Count(window) => window.counts(),
        }
    }

    pub(super) fn clear(&self) {
        match self {
            Self::Time(window) => window.clear(),
            Self::Count(window) => window.clear(),
        }
    }

    /// Calls that succeeded since the beginning, whether they are in the window still or not. Only rises.
    pub(super) fn succeeded(&self) -> u64 {
        match self {
            Self::Time(window) => window.succeeded(),
            Self::Count(window) => window.succeeded.load(Relaxed),
        }
    }
}

/// Ten buckets, each a tenth of the window long.
#[derive(Debug)]
pub(super) struct TimeWindow {
    /// Length of a bucket, nanoseconds.
    width: u64,
    /// Which bucket is now, counted from the beginning of the clock.
    tick: AtomicU64,
    /// Held while buckets are emptied. No call waits for it: who does not get it counts into the bucket that was.
    rolling: AtomicBool,
    shards: [Shard; SHARDS],
}

/// What some of the threads count, on cache lines of its own: threads that all count in one place wait for each other
/// longer than the rest of a call takes.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    buckets: [Bucket; BUCKETS as usize],
    /// Successes that were in buckets and are not any more.
    succeeded: AtomicU64,
}

const SHARDS: usize = 4;

/// The place of this thread. Threads take them in turns.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
    }
    OWN.try_with(|own| *own).unwrap_or(0)
}

#[derive(Debug, Default)]
struct Bucket {
    ok: AtomicU32,
    failed: AtomicU32,
    slow: AtomicU32,
}

impl Shard {
    fn clear(&self, bucket: usize) {
        let bucket = &self.buckets[bucket];
        let ok = bucket.ok.swap(0, Relaxed);
        self.succeeded.fetch_add(u64::from(ok), Relaxed);
        bucket.failed.store(0, Relaxed);
        bucket.slow.store(0, Relaxed);
    }
}

impl TimeWindow {
    fn new(window: u64) -> Self {
        Self {
            width: (window / BUCKETS).max(1),
            tick: AtomicU64::new(0),
            rolling: AtomicBool::new(false),
            shards: Default::default(),
        }
    }

    fn add(&self, call: Call, now: u64) {
        let mut tick = self.tick.load(Acquire);
        if now >= (tick + 1).saturating_mul(self.width) {
            tick = self.roll(now);
        }
        let bucket = &self.shards[shard()].buckets[(tick % BUCKETS) as usize];
        if call.ok { &bucket.ok } else { &bucket.failed }.fetch_add(1, Relaxed);
        if call.slow {
            bucket.slow.fetch_add(1, Relaxed);
        }
    }

    /// Empties the buckets whose time is over and moves on. They are emptied before anybody is sent to them, so no call
    /// that is counted is lost.
    #[cold]
    fn roll(&self, now: u64) -> u64 {
        let target = now / self.width;
        if self.rolling.swap(true, Acquire) {
            return self.tick.load(Acquire);
        }
        let tick = self.tick.load(Acquire);
        if tick < target {
            let passed = (target - tick).min(BUCKETS);
            for old in target + 1 - passed..=target {
                for shard in &self.shards {
                    shard.clear((old % BUCKETS) as usize);
                }
            }
            self.tick.store(target, Release);
        }
        self.rolling.store(false, Release);
        tick.max(target)
    }

    fn counts(&self, now: u64) -> Counts {
        if now >= (self.tick.load(Acquire) + 1).saturating_mul(self.width) {
            self.roll(now);
        }
        let mut counts = Counts::default();
        for bucket in self.shards.iter().flat_map(|shard| &shard.buckets) {
            counts.ok = counts.ok.saturating_add(bucket.ok.load(Relaxed));
            counts.failed = counts.failed.saturating_add(bucket.failed.load(Relaxed));
            counts.slow = counts.slow.saturating_add(bucket.slow.load(Relaxed));
        }
        counts
    }

    fn clear(&self) {
        self.hold();
        for shard in &self.shards {
            (0..BUCKETS as usize).for_each(|bucket| shard.clear(bucket));
        }
        self.rolling.store(false, Release);
    }

    fn succeeded(&self) -> u64 {
        // While a bucket is emptied its successes are in neither place.
        self.hold();
        let in_window = |shard: &Shard| {
            let ok = shard.buckets.iter().map(|bucket| bucket.ok.load(Relaxed));
            ok.map(u64::from).sum::<u64>()
        };
        let all = |shard: &Shard| shard.succeeded.load(Relaxed) + in_window(shard);
        let sum = self.shards.iter().map(all).sum();
        self.rolling.store(false, Release);
        sum
    }

    /// Waits until nobody empties buckets. Whoever does is done within a microsecond, unless it is interrupted.
    fn hold(&self) {
        while self.rolling.swap(true, Acquire) {
            std::thread::yield_now();
        }
    }
}

const OK: u8 = 1;
const FAILED: u8 = 2;
const SLOW: u8 = 4;

/// The last N calls, each in a place of its own until a later call takes it.
#[derive(Debug)]
pub(super) struct CountWindow {
    next: AtomicU64,
    calls: Box<[AtomicU8]>,
    /// Signed: who empties a place may be faster than who has just filled it.
    ok: AtomicI64,
    failed: AtomicI64,
    slow: AtomicI64,
    /// Since the beginning.
    succeeded: AtomicU64,
}

impl CountWindow {
    fn new(calls: u32) -> Self {
        Self {
            next: AtomicU64::new(0),
            calls: (0..calls.max(1)).map(|_| AtomicU8::new(0)).collect(),
            ok: AtomicI64::new(0),
            failed: AtomicI64::new(0),
            slow: AtomicI64::new(0),
            succeeded: AtomicU64::new(0),
        }
    }

    fn add(&self, call: Call) {
        let new = if call.ok { OK } else { FAILED } | if call.slow { SLOW } else { 0 };
        let at = self.next.fetch_add(1, Relaxed) % self.calls.len() as u64;
        let old = self.calls[at as usize].swap(new, Relaxed);
        if call.ok {
            self.succeeded.fetch_add(1, Relaxed);
        }
        self.replace(old, new);
    }

    fn replace(&self, old: u8, new: u8) {
        for (bit, sum) in [(OK, &self.ok), (FAILED, &self.failed), (SLOW, &self.slow)] {
            match (old & bit, new & bit) {
                (0, 0) => {}
                (0, _) => drop(sum.fetch_add(1, Relaxed)),
                (_, 0) => drop(sum.fetch_sub(1, Relaxed)),
                _ => {}
            }
        }
    }

    fn counts(&self) -> Counts {
        let read = |sum: &AtomicI64| u32::try_from(sum.load(Relaxed).max(0)).unwrap_or(u32::MAX);
        Counts {
            ok: read(&self.ok),
            failed: read(&self.failed),
            slow: read(&self.slow),
        }
    }

    fn clear(&self) {
        for place in &self.calls {
            self.replace(place.swap(0, Relaxed), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn call(what: u8) -> Call {
        Call {
            ok: what & 1 == 1,
            slow: what & 2 == 2,
        }
    }

    fn expected<'a>(calls: impl Iterator<Item = &'a u8>) -> Counts {
        calls.fold(Counts::default(), |mut counts, what| {
            let Call { ok, slow } = call(*what);
            counts.ok += u32::from(ok);
            counts.failed += u32::from(!ok);
            counts.slow += u32::from(slow);
            counts
        })
    }

    proptest! {
        #[test]
        fn by_time_is_what_a_list_of_ten_buckets_says(steps in proptest::collection::vec((0_u8..4, 0_u64..4_000), 1..200)) {
            let window = TimeWindow::new(10 * SECOND);
            let mut list: Vec<(u64, u8)> = Vec::new();
            let mut now = 0;
            for (what, wait) in steps {
                now += wait * SECOND / 1000;
                window.add(call(what), now);
                list.push((now / SECOND, what));
                list.retain(|(second, _)| second + 10 > now / SECOND);
                prop_assert_eq!(window.counts(now), expected(list.iter().map(|(_, what)| what)));
            }
            prop_assert_eq!(window.counts(now + 11 * SECOND), Counts::default());
        }

        #[test]
        fn by_count_is_the_last_calls_and_no_other(size in 1_u32..40, calls in proptest::collection::vec(0_u8..4, 1..200)) {
            let window = CountWindow::new(size);
            let mut list = VecDeque::new();
            for what in calls {
                window.add(call(what));
                list.push_back(what);
                if list.len() > size as usize {
                    list.pop_front();
                }
                prop_assert_eq!(window.counts(), expected(list.iter()));
            }
            window.clear();
            prop_assert_eq!(window.counts(), Counts::default());
        }
    }

    #[test]
    fn threads_lose_no_call() {
        const EACH: u32 = 20_000;
        let time = TimeWindow::new(1_000 * SECOND);
        let count = CountWindow::new(64);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (time, count) = (&time, &count);
                scope.spawn(move || {
                    for i in 0..u64::from(EACH) {
                        let what = call((i % 4) as u8);
                        // Through nine buckets, each thread at its own pace.
                        time.add(what, i * (thread + 1) * SECOND / 100);
                        count.add(what);
                    }
                });
            }
        });
        let counts = time.counts(0);
        assert_eq!(counts.total(), 4 * EACH);
        assert_eq!(counts.slow, 2 * EACH);
        let succeeded = u64::from(2 * EACH);
        assert_eq!(
            (time.succeeded(), count.succeeded.load(Relaxed)),
            (succeeded, succeeded)
        );
        time.clear();
        count.clear();
        assert_eq!(
            (time.counts(0), time.succeeded()),
            (Counts::default(), succeeded)
        );
        assert_eq!(count.succeeded.load(Relaxed), succeeded);
        assert_eq!(count.counts(), Counts::default());
        for i in 0..5 {
            time.add(call(3), 10_000 * i * SECOND);
        }
        assert_eq!(time.succeeded(), succeeded + 5);
        for i in 0..64 {
            count.add(call(i));
        }
        assert_eq!(count.counts().total(), 64);
    }
}
