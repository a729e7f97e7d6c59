//! What a gateway publishes about its processors.

use crate::telemetry::{Metric, Metrics};
use crate::upstream::Upstream;

/// Brings the numbers of the client stack into `metrics`. They are counted there; here they are only shown.
pub(super) fn publish(metrics: &Metrics, upstream: &Upstream) {
    let gauges = [
        Metric::UpstreamCalls,
        Metric::UpstreamFailures,
        Metric::UpstreamInFlight,
        Metric::BreakerState,
    ];
    for metric in gauges {
        metrics.clear(metric); // instances come and go
    }
    for view in upstream.snapshot() {
        let labels = [("instance", view.name.as_str())];
        let calls = view.succeeded + view.failed;
        metrics.set(Metric::UpstreamCalls, &labels, calls as f64);
        metrics.set(Metric::UpstreamFailures, &labels, view.failed as f64);
        metrics.set(Metric::UpstreamInFlight, &labels, f64::from(view.in_flight));
        let state = match view.breaker {
            "closed" | "observe" => 0.0,
            "half-open" => 1.0,
            _ => 2.0,
        };
        metrics.set(Metric::BreakerState, &labels, state);
    }
    let totals = upstream.metrics();
    for (metric, value) in [
        (Metric::Tries, totals.tries),
        (Metric::Retries, totals.retries),
        (Metric::RetriesRefused, totals.retries_refused),
        (Metric::RetryBudget, totals.budget_left),
        (Metric::RetriesActive, u64::from(totals.active_retries)),
        (Metric::Hedges, totals.hedges),
        (Metric::HedgesWon, totals.hedges_won),
        (Metric::HedgesRefused, totals.hedges_refused),
        (Metric::HedgeBudget, totals.hedge_budget_left),
        (Metric::LastResorts, totals.last_resorts),
        (Metric::PanicPicks, totals.panic_picks),
        (Metric::Ejections, totals.ejections),
        (Metric::EjectionsOverflow, totals.ejections_overflow),
        (Metric::RegistryStale, totals.registry_stale_ms),
        (Metric::CallsActive, u64::from(totals.active)),
    ] {
        metrics.set(metric, &[], value as f64);
    }
    for view in upstream.routes() {
        let kind = ("kind", view.route);
        for (ending, count) in view.endings {
            metrics.set(Metric::Calls, &[kind, ("ending", ending)], count as f64);
        }
        metrics.set(Metric::ThrottleShare, &[kind], view.throttled);
    }
    upstream.latencies(|route, calls, tries| {
        let kind = [("kind", route)];
        metrics.show(Metric::CallSeconds, &kind, calls);
        metrics.show(Metric::TrySeconds, &kind, tries);
    });
}
