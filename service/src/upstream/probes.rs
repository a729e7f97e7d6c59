//! Asking an instance how it is, so that no user pays for the answer. Probes feed breakers and penalties, never the
//! average latency: they are cheaper than calls and would make it look fast.

use std::sync::Weak;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use tokio::time::Instant;

use super::instance::Instance;

/// Between probes of an instance whose last call failed.
const DOUBT_EVERY: Duration = Duration::from_millis(50);

/// An instance that no call has said anything of for this long is asked how it is. Of three instances the slowest is
/// hardly chosen while load is low, so calls alone may take seconds to learn that it has died.
const IDLE_AFTER: Duration = Duration::from_millis(500);

/// A probe in doubt that is not answered within so long, or within four times what calls usually take, has failed: the call
/// that gave reason for doubt has waited long already, and one probe after the other takes time that callers pay for.
const DOUBT_TIMEOUT: Duration = Duration::from_millis(100);
const DOUBT_FACTOR: f32 = 4.0;

async fn probe(instance: &Instance, timeout: Duration) -> bool {
    let url = format!("http://{}/health", instance.address);
    let Ok(request) = Request::get(url).body(Full::default()) else {
        return false;
    };
    let asked = instance.client.request(request);
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(response)) => response.status().is_success(),
        _ => false,
    }
}

fn about(pause: Duration, instance: &Instance) -> Duration {
    pause.mul_f64(0.9 + 0.2 * instance.rng.unit())
}

/// Asks an instance that nobody calls how it is, for as long as it lives.
pub(super) async fn while_idle(instance: Weak<Instance>) {
    loop {
        let Some(known) = instance.upgrade() else {
            return;
        };
        let pause = about(IDLE_AFTER, &known);
        drop(known);
        tokio::time::sleep(pause).await;
        let Some(known) = instance.upgrade() else {
            return;
        };
        if known.idle(Instant::now(), IDLE_AFTER) && !probe(&known, known.probe_timeout).await {
            known.missed(Instant::now());
        }
    }
}

/// Probes an instance until one probe passes, a call succeeds, or its breaker opens.
pub(super) async fn in_doubt(instance: Weak<Instance>) {
    loop {
        let Some(known) = instance.upgrade() else {
            return;
        };
        if !known.breaker.in_doubt() {
            return;
        }
        let usual = Duration::try_from_secs_f32(known.usual_latency() * DOUBT_FACTOR);
        let timeout = DOUBT_TIMEOUT.max(usual.unwrap_or_default());
        let passed = probe(&known, timeout.min(known.probe_timeout)).await;
        if !known.looked(passed, Instant::now()) {
            return;
        }
        let pause = about(DOUBT_EVERY, &known);
        drop(known);
        tokio::time::sleep(pause).await;
    }
}

/// Probes an instance until its breaker is no longer open. Holds no reference while it waits, so that an instance that
/// nobody else knows can go.
pub(super) async fn while_open(instance: Weak<Instance>) {
    loop {
        let due = instance
            .upgrade()
            .and_then(|known| known.breaker.probe_at());
        let Some(due) = due else { return };
        tokio::time::sleep_until(due).await;
        let Some(known) = instance.upgrade() else {
            return;
        };
        let passed = probe(&known, known.probe_timeout).await;
        known.probed(passed, Instant::now());
    }
}
