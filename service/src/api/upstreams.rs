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
    metrics.set(Metric::Retries, &[], totals.retries as f64);
    metrics.set(Metric::RetriesRefused, &[], totals.retries_refused as f64);
    metrics.set(Metric::RetryBudget, &[], totals.budget_left as f64);
}
