//! How many processors there should be: looked at by every gateway, exported as a number and told as a transition.
//!
//! This decides and says; it starts nothing. `serve` and test harnesses follow what is said, other platforms scale on the
//! metric `clip_processors_desired`. The decision itself is pure and in `policy`.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior};

mod config;
mod policy;

pub use config::ScaleConfig;
pub use policy::{Change, Measured, Scaler};

use crate::env::Env;
use crate::observe::Subject;
use crate::registry::Status;
use crate::telemetry::{Metric, Metrics};
use crate::upstream::Upstream;

/// What is scaled.
pub const SCALED: &str = "processor";

/// Looks for as long as it is polled. `slots` are the tasks a processor works on at a time.
pub async fn watch(
    env: &Env,
    config: ScaleConfig,
    slots: usize,
    upstream: &Upstream,
    metrics: &Arc<Metrics>,
) {
    let mut ticks = tokio::time::interval(config.every.get());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut scaler = None;
    loop {
        ticks.tick().await;
        let Some(measured) = measure(env, slots, upstream).await else {
            continue; // Without numbers there is nothing to decide.
        };
        metrics.set(Metric::ProcessorsUsable, &[], measured.usable as f64);
        metrics.set(Metric::QueueAge, &[], measured.queue_age.as_secs_f64());
        let scaler = scaler.get_or_insert_with(|| Scaler::new(config.clone(), measured.usable));
        if let Some(Change { from, to, reason }) = scaler.look(measured, Instant::now()) {
            let (from, to) = (from.to_string(), to.to_string());
            env.transition(Subject::Scale, SCALED, &from, &to, reason);
        }
        metrics.set(Metric::ProcessorsDesired, &[], scaler.desired() as f64);
    }
}

async fn measure(env: &Env, slots: usize, upstream: &Upstream) -> Option<Measured> {
    let stats = match env.store.stats(env.clock.now()).await {
        Ok(stats) => stats,
        Err(error) => {
            tracing::warn!(%error, "cannot measure the queue");
            return None;
        }
    };
    let instances = upstream.snapshot();
    let usable = instances
        .iter()
        .filter(|it| matches!(it.status, Status::Passing | Status::Warning))
        .count();
    let in_flight: u64 = instances.iter().map(|it| u64::from(it.in_flight)).sum();
    Some(Measured {
        usable,
        waiting: stats.tasks_waiting,
        queue_age: stats.queue_age,
        running: stats.tasks_leased,
        slots,
        // A task in flight is a streamed answer, and so in flight as well.
        reads: in_flight.saturating_sub(stats.tasks_leased),
    })
}
