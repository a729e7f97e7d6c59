//! What the machine is doing while a run goes on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::procfs::machine::{CpuTime, memory_available};
use crate::runtime::emit::Emitter;

const PERIOD: Duration = Duration::from_secs(1);

/// Reports once a second until the run is over. Silent where there is no `/proc`.
pub(super) async fn watch(emitter: &Emitter, over: &CancellationToken) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<CpuTime> = None;
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (Some(now), Some(memory_available)) = (CpuTime::now(), memory_available()) else {
            continue;
        };
        if let Some(before) = before.replace(now) {
            emitter.event(EventKind::Host {
                cpu: now.busy_since(before),
                memory_available,
            });
        }
    }
}
