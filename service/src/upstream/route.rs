//! What is kept per kind of call ("frame", "task"): how long its tries take, its throttle, its counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use super::config::ThrottleConfig;
use super::latency::Latency;
use super::throttle::Throttle;
use crate::telemetry::Latencies;

/// How a call ended, as its caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Answered, and not with a server error.
    Answered,
    /// Answered with a server error.
    ErrorStatus,
    /// Refused by the instances.
    Shed,
    /// No try was answered.
    Failed,
    /// Its time was up.
    Expired,
    /// There was nobody to ask.
    Empty,
    /// Refused by the throttle.
    Throttled,
    /// The caller went away.
    Cancelled,
}

const ENDINGS: [Ending; 8] = [
    Ending::Answered,
    Ending::ErrorStatus,
    Ending::Shed,
    Ending::Failed,
    Ending::Expired,
    Ending::Empty,
    Ending::Throttled,
    Ending::Cancelled,
];

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ErrorStatus => "error_status",
            Self::Shed => "shed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Empty => "no_instance",
            Self::Throttled => "throttled",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One kind of call.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) latency: Latency,
    pub(super) throttle: Throttle,
    /// From the call to its answer's head, retries and hedges included; answered calls only.
    pub(super) calls: Latencies,
    /// One try that was answered.
    pub(super) tries: Latencies,
    endings: [AtomicU64; ENDINGS.len()],
}

impl Route {
    fn new(name: &'static str, throttle: &ThrottleConfig, now: Instant) -> Self {
        Self {
            name,
            latency: Latency::new(now),
            throttle: Throttle::new(throttle, now),
            calls: Latencies::default(),
            tries: Latencies::default(),
            endings: Default::default(),
        }
    }

    pub(super) fn count(&self, ending: Ending) {
        self.endings[ending as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, ending: Ending) -> u64 {
        self.endings[ending as usize].load(Relaxed)
    }

    /// Every ending with its name and count.
    pub(super) fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDINGS.map(|e| (e.as_str(), self.ended(e))).into_iter()
    }
}

/// One kind of call as it went lately.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteView {
    /// What the callers name it.
    pub route: &'static str,
    /// Calls since the start, by how they ended.
    pub endings: std::collections::BTreeMap<&'static str, u64>,
    /// Answered tries of the last half to whole minute, which the quantiles rest on.
    pub samples: u32,
    /// Half of the tries take at most this, milliseconds.
    pub p50_ms: f64,
    /// 95 % of the tries.
    pub p95_ms: f64,
    /// 99.9 % of the tries.
    pub p999_ms: f64,
    /// How long a read waits before it is hedged; `None` while it is not hedged.
    pub hedge_after_ms: Option<f64>,
    /// Share of calls that the throttle refuses.
    pub throttled: f64,
}

/// All kinds of calls that were made so far. There are as many as the code names.
#[derive(Debug)]
pub(super) struct Routes {
    throttle: ThrottleConfig,
    known: ArcSwap<Vec<Arc<Route>>>,
    growing: Mutex<()>,
}

impl Routes {
    pub(super) fn new(throttle: &ThrottleConfig) -> Self {
        Self {
            throttle: throttle.clone(),
            known: ArcSwap::default(),
            growing: Mutex::new(()),
        }
    }

    pub(super) fn of(&self, name: &'static str, now: Instant) -> Arc<Route> {
        let find = |routes: &[Arc<Route>]| routes.iter().find(|r| r.name == name).cloned();
        if let Some(route) = find(&self.known.load()) {
            return route;
        }
        let _growing = self.growing.lock();
        let known = self.known.load_full();
        find(&known).unwrap_or_else(|| {
            let route = Arc::new(Route::new(name, &self.throttle, now));
            let mut routes = Vec::clone(&known);
            routes.push(Arc::clone(&route));
            self.known.store(Arc::new(routes));
            route
        })
    }

    pub(super) fn all(&self) -> Arc<Vec<Arc<Route>>> {
        self.known.load_full()
    }
}
