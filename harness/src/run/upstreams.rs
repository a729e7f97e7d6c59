//! What gateways have counted of the calls they made, while a run goes on: once a second, and at the moments that
//! expectations begin and end at. Only gateways that an expectation is about are asked, and directly, so that no fault
//! on a link hides their answer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::http;
use crate::plan::Plan;
use crate::runtime::System;
use crate::runtime::emit::Emitter;
use crate::sut::acting;

const PERIOD: Duration = Duration::from_secs(1);

/// Whether counts are wanted as soon as this has happened: a stretch of time begins or ends here.
pub(super) fn is_window_edge(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::LoadStarted
            | EventKind::LoadEnded
            | EventKind::FaultInjected { .. }
            | EventKind::FaultReverted { .. }
    )
}

/// Reports until the run is over. A gateway that does not answer is passed over: what is not known is not counted.
pub(super) async fn watch(
    plan: &Plan,
    system: &System,
    emitter: &Emitter,
    window_edge: &Notify,
    over: &CancellationToken,
) {
    let gateways = plan.counted_gateways();
    if gateways.is_empty() {
        return;
    }
    let Some(acting) = acting::acting(plan.system.sut().kind()) else {
        return;
    };
    let client = http::client();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = window_edge.notified() => {}
            _ = ticks.tick() => {}
        }
        let asked = gateways.iter().map(|name| async {
            let address = *system.node(name).ok()?.address().borrow();
            let (calls, tries) = acting.counts(&client, address?).await?;
            let node = (*name).to_owned();
            emitter.event(EventKind::UpstreamCounts { node, calls, tries });
            Some(())
        });
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = join_all(asked) => {}
        }
    }
}
