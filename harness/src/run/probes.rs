//! What nodes have counted for probes, while a run goes on: once a second, and at the moments that expectations begin and
//! end at. Only nodes that an expectation is about are asked, and directly, so that no fault on a link hides their answer.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::EventKind;
use crate::http;
use crate::plan::Plan;
use crate::runtime::System;
use crate::runtime::emit::Emitter;
use crate::sut::acting::{self, Counts};

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

/// Reports until the run is over. A node that does not answer is passed over: what is not known is not counted.
pub(super) async fn watch(
    plan: &Plan,
    system: &System,
    emitter: &Emitter,
    window_edge: &Notify,
    over: &CancellationToken,
) {
    let wanted = plan.counting_probes();
    if wanted.is_empty() {
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
        let asked = wanted.iter().map(|(probe, name)| async {
            let address = *system.node(name).ok()?.address().borrow();
            let Counts { counted, per } = acting.counts(probe, &client, address?).await?;
            emitter.event(EventKind::ProbeCounts {
                probe: (*probe).to_owned(),
                node: (*name).to_owned(),
                counted,
                per,
            });
            Some(())
        });
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = join_all(asked) => {}
        }
    }
}
