//! The world a role runs in. Every effect a role has on the outside goes through [`Env`]; nothing else in the crate
//! touches sockets, clocks, entropy or signals, so embedding, child process and simulation differ only in who fills it.

use std::fmt;
use std::future::Future;
use std::hash::{Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::media::MediaEngine;
use crate::net::SharedNet;
use crate::observe::{Notice, Notices, Subject, Transition};
use crate::store::{Blobs, JobStore};

/// Everything outside a role, handed in by whoever starts it. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Name of this node, unique in the system (`gateway-1`).
    pub node: Arc<str>,
    /// Network.
    pub net: SharedNet,
    /// Where tasks are spawned.
    pub exec: Exec,
    /// Wall clock, for what people and other machines read. Intervals use `tokio::time`.
    pub clock: WallClock,
    /// Randomness.
    pub rng: SharedRng,
    /// Jobs and tasks. Only gateways use it.
    pub store: Arc<dyn JobStore>,
    /// Sources and clips.
    pub blobs: Arc<dyn Blobs>,
    /// What decodes and encodes. Only processors use it.
    pub media: Arc<dyn MediaEngine>,
    /// Receives state transitions.
    pub notices: Notices,
    /// Cancelled when the role shall drain and return.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Env {
    /// Reports a state transition, stamped with this node's name and clock.
    pub fn transition(
        &self,
        subject: Subject,
        name: &str,
        from: &str,
        to: &str,
        reason: impl Into<String>,
    ) {
        let reason = reason.into();
        tracing::info!(?subject, name, from, to, reason, "transition");
        self.notices.send(Notice::Transition(Transition {
            at_ms: self.clock.now().as_millisecond(),
            source: self.node.to_string(),
            subject,
            name: name.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            reason,
        }));
    }
}

/// Where tasks run: on tokio's multi-threaded scheduler, or on the `LocalSet` of a simulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exec {
    /// `tokio::spawn`.
    Tokio,
    /// `tokio::task::spawn_local`: the simulation drops a crashed host's tasks in a fixed order.
    Local,
}

impl Exec {
    /// Spawns a task.
    pub fn spawn<F>(self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self {
            Self::Tokio => tokio::spawn(future),
            Self::Local => tokio::task::spawn_local(future),
        }
    }

    /// Does work that blocks, away from the tasks: on a thread of its own, or at once in a simulation, whose time stands
    /// still meanwhile. A thread would come back at a moment that the simulation does not decide.
    ///
    /// # Errors
    /// The work panicked, or the runtime shuts down.
    pub async fn blocking<T: Send + 'static>(
        self,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self {
            Self::Tokio => tokio::task::spawn_blocking(act).await,
            Self::Local => Ok(act()),
        }
    }

    /// Spawns a task that ends with its handle: a role that is dropped leaves nothing running behind.
    pub fn scoped<F>(self, future: F) -> Scoped<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Scoped(self.spawn(future))
    }
}

/// A task that is aborted when its handle is dropped.
#[derive(Debug)]
pub struct Scoped<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Scoped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Scoped<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<F> hyper::rt::Executor<F> for Exec
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.spawn(future));
    }
}

/// The wall clock as a parameter.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

impl WallClock {
    /// A clock that asks `now` each time.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// Randomness as a parameter: one generator per node, forked by name so that one more draw here moves no other.
#[derive(Clone)]
pub struct SharedRng {
    seed: u64,
    inner: Arc<Mutex<SmallRng>>,
}

impl fmt::Debug for SharedRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRng")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl SharedRng {
    /// A generator whose whole output follows from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            inner: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))),
        }
    }

    /// A generator seeded from the operating system.
    #[must_use]
    pub fn entropy() -> Self {
        Self::seeded(SmallRng::from_os_rng().next_u64())
    }

    /// An independent generator that depends only on this one's seed and `name`, not on draws made so far.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        // FNV-1a: `DefaultHasher` may change between Rust releases and seeds must not.
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325 ^ self.seed);
        name.hash(&mut hasher);
        Self::seeded(hasher.finish())
    }

    /// The next 64 random bits.
    #[must_use]
    pub fn next_u64(&self) -> u64 {
        self.inner.lock().next_u64()
    }

    /// Uniform in `0..bound`; 0 for an empty range.
    #[must_use]
    pub fn below(&self, bound: usize) -> usize {
        if bound < 2 {
            0
        } else {
            self.inner.lock().random_range(0..bound)
        }
    }

    /// Uniform in `[0, 1)`.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.inner.lock().random()
    }

    /// A version-7 UUID from this generator and the given wall-clock time: sortable by time, random in the rest.
    #[must_use]
    pub fn uuid(&self, now: Timestamp) -> uuid::Uuid {
        let mut random = [0_u8; 10];
        self.inner.lock().fill_bytes(&mut random);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        // A final avalanche, so that names differing in the last byte give unrelated seeds.
        let mut x = self.0;
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^ (x >> 33)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_depend_on_the_name_and_not_on_draws() {
        let a = SharedRng::seeded(42);
        let before = a.fork("breaker").next_u64();
        assert_ne!(a.next_u64(), a.next_u64());
        assert_eq!(before, a.fork("breaker").next_u64());
        assert_ne!(before, a.fork("breakes").next_u64());
        assert_ne!(before, SharedRng::seeded(43).fork("breaker").next_u64());
    }

    #[test]
    fn below_stays_inside_its_bound() {
        let rng = SharedRng::seeded(1);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert!((0..1000).all(|_| rng.below(3) < 3));
    }
}
