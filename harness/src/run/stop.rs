//! Why a run ends early. The first reason stays; every wait in a run is also a wait for this.

use std::time::Duration;

use clip_service::units::HumanDuration;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::event::RunOutcome;

/// The end of a run before its time.
#[derive(Debug, Default)]
pub(super) struct StopReason {
    token: CancellationToken,
    reason: Mutex<Option<RunOutcome>>,
}

impl StopReason {
    /// Ends the run. A reason given before stays.
    pub(super) fn set(&self, reason: RunOutcome) {
        self.reason.lock().get_or_insert(reason);
        self.token.cancel();
    }

    /// Cancelled when the run ends early.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// How the run ended.
    pub(super) fn outcome(&self) -> RunOutcome {
        self.reason.lock().clone().unwrap_or(RunOutcome::Completed)
    }

    /// Ends the run on request and at its time limit, until it is over by itself.
    pub(super) async fn guard(
        &self,
        cancel: &CancellationToken,
        limit: Duration,
        over: &CancellationToken,
    ) {
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = cancel.cancelled() => self.set(RunOutcome::Interrupted),
            () = tokio::time::sleep(limit) => self.set(RunOutcome::Broken {
                reason: format!("the run took longer than its limit of {}", HumanDuration(limit)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_reason_stays() {
        let stop = StopReason::default();
        assert_eq!(stop.outcome(), RunOutcome::Completed);
        let (cancel, over) = (CancellationToken::new(), CancellationToken::new());
        stop.guard(&cancel, Duration::from_secs(60), &over).await;
        assert!(matches!(stop.outcome(), RunOutcome::Broken { .. }));
        stop.set(RunOutcome::Interrupted);
        assert!(matches!(stop.outcome(), RunOutcome::Broken { .. }));
        assert!(stop.token().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_over_is_not_ended_by_its_limit() {
        let stop = StopReason::default();
        let (cancel, over) = (CancellationToken::new(), CancellationToken::new());
        over.cancel();
        stop.guard(&cancel, Duration::ZERO, &over).await;
        assert_eq!(stop.outcome(), RunOutcome::Completed);
    }
}
