//! How many requests a tenant may send: GCRA, a token bucket without a timer.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::config::RateLimitConfig;

/// A tenant's secret.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A tenant's name, believed where there is no key.
pub const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");

/// Tenants remembered before idle ones are looked for.
const MANY: usize = 10_000;
/// More are not told apart any longer: names are free to make up.
const MOST: usize = 100_000;
/// How often idle tenants are forgotten.
const PRUNE: Duration = Duration::from_secs(60);
const PRUNE_MANY: Duration = Duration::from_secs(1);

/// Who sent a request, without keeping what they sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant([u8; 16]);

impl Tenant {
    /// All who do not say who they are.
    pub const ANONYMOUS: Self = Self([0; 16]);
    /// All who came when too many were known.
    const OTHERS: Self = Self([1; 16]);

    /// The sender of a request: by key, else by name, else nobody in particular.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let (kind, value) = match (headers.get(X_API_KEY), headers.get(X_TENANT)) {
            (Some(key), _) => (b"k", key),
            (None, Some(name)) => (b"t", name),
            (None, None) => return Self::ANONYMOUS,
        };
        let mut hash = Sha256::new();
        hash.update(kind);
        hash.update(value.as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Self(short)
    }
}

/// tokio's clock, which can be paused. Counts from the limiter's beginning.
#[derive(Debug, Clone, Copy)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

type Gcra = RateLimiter<Tenant, HashMapStateStore<Tenant>, TokioClock, StateInformationMiddleware>;

/// What a tenant has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// Requests at once for a tenant who was quiet.
    pub limit: u32,
    /// Requests that would be taken now.
    pub remaining: u32,
    /// Time until all of them would be.
    pub reset: Duration,
}

/// A tenant has sent too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimited {
    /// Requests at once for a tenant who was quiet.
    pub limit: u32,
    /// When the next request would be taken.
    pub wait: Duration,
}

/// Limits per tenant.
pub struct RateLimit {
    gcra: Gcra,
    clock: TokioClock,
    burst: u32,
    /// Time in which one more request is earned.
    each: Duration,
    pruned: Mutex<Instant>,
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("burst", &self.burst)
            .field("each", &self.each)
            .field("tenants", &self.gcra.len())
            .finish_non_exhaustive()
    }
}

impl RateLimit {
    /// The limits of `config`; `None` when it sets none.
    #[must_use]
    pub fn new(config: &RateLimitConfig) -> Option<Self> {
        if config.per_second <= 0.0 {
            return None;
        }
        let each = Duration::try_from_secs_f64(1.0 / config.per_second).ok()?;
        let burst = NonZeroU32::new(config.burst)?;
        let quota = Quota::with_period(each)?.allow_burst(burst);
        let now = Instant::now();
        let clock = TokioClock(now);
        let plain: RateLimiter<_, _, _, NoOpMiddleware<Duration>> =
            RateLimiter::new(quota, HashMapStateStore::default(), clock);
        Some(Self {
            gcra: plain.with_middleware(),
            clock,
            burst: burst.get(),
            each,
            pruned: Mutex::new(now),
        })
    }

    /// Takes one request of `tenant` into account.
    ///
    /// # Errors
    /// It is one too many.
    pub fn check(&self, tenant: Tenant) -> Result<Allowed, RateLimited> {
        self.prune();
        let tenant = if self.gcra.len() < MOST {
            tenant
        } else {
            Tenant::OTHERS
        };
        match self.gcra.check_key(&tenant) {
            Ok(left) => {
                let remaining = left.remaining_burst_capacity();
                Ok(Allowed {
                    limit: self.burst,
                    remaining,
                    reset: self.each * self.burst.saturating_sub(remaining),
                })
            }
            Err(until) => Err(RateLimited {
                limit: self.burst,
                wait: until.wait_time_from(self.clock.now()),
            }),
        }
    }

    /// Tenants remembered.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.gcra.len()
    }

    /// Forgets tenants who have everything left: they are as good as new.
    fn prune(&self) {
        let mut pruned = self.pruned.lock();
        let since = pruned.elapsed();
        if since < PRUNE_MANY || (since < PRUNE && self.gcra.len() < MANY) {
            return;
        }
        self.gcra.retain_recent();
        *pruned = Instant::now();
    }
}

/// Whole seconds, rounded up: a client that comes a moment too early comes in vain.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl Allowed {
    /// Tells the client in `RateLimit-…` headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        write(headers, self.limit, self.remaining, self.reset);
    }
}

impl RateLimited {
    /// Tells the client in `RateLimit-…` headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        write(headers, self.limit, 0, self.wait);
    }

    /// Seconds after which to come again, at least 1.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        u32::try_from(seconds(self.wait)).unwrap_or(u32::MAX).max(1)
    }
}

fn write(headers: &mut HeaderMap, limit: u32, remaining: u32, reset: Duration) {
    for (name, value) in [
        ("ratelimit-limit", u64::from(limit)),
        ("ratelimit-remaining", u64::from(remaining)),
        ("ratelimit-reset", seconds(reset)),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: f64, burst: u32) -> RateLimit {
        RateLimit::new(&RateLimitConfig { per_second, burst }).unwrap()
    }

    fn named(name: &str) -> Tenant {
        Tenant::of(&HeaderMap::from_iter([(X_TENANT, name.parse().unwrap())]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_has_its_burst_and_then_its_rate() {
        let limit = limit(2.0, 3);
        let (a, b) = (named("a"), named("b"));
        for remaining in [2, 1, 0] {
            assert_eq!(limit.check(a).unwrap().remaining, remaining);
        }
        let refused = limit.check(a).unwrap_err();
        assert_eq!(refused.wait, Duration::from_millis(500));
        assert_eq!(refused.retry_after(), 1);
        assert!(limit.check(b).is_ok(), "another tenant's is its own");
        tokio::time::advance(refused.wait).await;
        assert!(limit.check(a).is_ok());
        assert!(limit.check(a).is_err());
        // Never more than the rate, over any stretch.
        let mut taken = 0;
        for _ in 0..1000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            taken += u32::from(limit.check(a).is_ok());
        }
        assert_eq!(taken, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_idle_is_forgotten() {
        let limit = limit(1.0, 5);
        for n in 0..100 {
            limit.check(named(&n.to_string())).unwrap();
        }
        assert_eq!(limit.tenants(), 100);
        tokio::time::advance(PRUNE).await;
        limit.check(Tenant::ANONYMOUS).unwrap();
        assert_eq!(limit.tenants(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_names_do_not_fill_the_memory() {
        let limit = limit(0.001, 5);
        for n in 0..MOST + 50 {
            limit.check(Tenant((n as u128 + 2).to_le_bytes())).ok();
        }
        assert!(limit.tenants() <= MOST + 1, "{}", limit.tenants());
        let refused = (0..5).filter(|_| limit.check(named("late")).is_err());
        assert_eq!(refused.count(), 5, "the late ones share what one may send");
    }

    #[test]
    fn keys_come_before_names_and_are_not_kept() {
        let headers = |pairs: &[(HeaderName, &'static str)]| -> HeaderMap {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            pairs.collect()
        };
        let both = headers(&[(X_API_KEY, "secret"), (X_TENANT, "a")]);
        let key = headers(&[(X_API_KEY, "secret")]);
        assert_eq!(Tenant::of(&both), Tenant::of(&key));
        assert_ne!(
            Tenant::of(&headers(&[(X_TENANT, "secret")])),
            Tenant::of(&key)
        );
        assert_eq!(Tenant::of(&headers(&[])), Tenant::ANONYMOUS);
        assert!(!format!("{:?}", Tenant::of(&key)).contains("secret"));
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(RateLimit::new(&RateLimitConfig::default()).is_none());
    }
}
