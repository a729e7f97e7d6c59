//! What can be said about the load while it runs: steady, recovered, to be stopped.
//!
//! Only windows are judged in which every answer is in: a window that ends before the oldest request under way began
//! will never read differently.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::stop::StopReason;
use crate::event::{EventKind, Offset, RunOutcome};
use crate::load::drive::{Driven, Horizon};
use crate::plan::timeline::steady_from;
use crate::plan::{Plan, SteadyPlan};
use crate::runtime::emit::Emitter;
use crate::scenario::expr::{Expectation, Expr, Measure};
use crate::series::{Marks, Reading, Series, Window, measure};

const PERIOD: Duration = Duration::from_millis(100);

/// The view that decisions during a run are made from.
pub(super) struct LiveMonitor {
    steady: Option<SteadyPlan>,
    series: Arc<Mutex<Series>>,
    emitter: Emitter,
    progress: Arc<dyn Horizon>,
    began: Offset,
    /// Where the search for the steady state begins.
    search_from: Offset,
    /// The steady window, once there was one.
    baseline: watch::Sender<Option<Window>>,
}

impl LiveMonitor {
    pub(super) fn new(
        plan: &Plan,
        series: Arc<Mutex<Series>>,
        emitter: Emitter,
        running: &dyn Driven,
    ) -> Self {
        let began = emitter.at(running.origin());
        let window = plan.steady.as_ref().map(|steady| steady.window.get());
        let search = window.map(|window| steady_from(plan, window));
        Self {
            search_from: began.plus(search.unwrap_or_default()),
            steady: plan.steady.clone(),
            series,
            began,
            emitter,
            progress: running.horizon(),
            baseline: watch::Sender::new(None),
        }
    }

    /// Start of the load.
    pub(super) fn began(&self) -> Offset {
        self.began
    }

    /// When no more work arrives.
    pub(super) fn load_over(&self) -> Instant {
        self.progress.end()
    }

    /// Looks for the steady state, from the end of the ramp-up on where there is time; announces it when it is there. `Err` says why it never was.
    pub(super) async fn reach_steady(&self, stop: &StopReason) -> Result<(), String> {
        let Some(steady) = &self.steady else {
            return Ok(());
        };
        match self.first_holding(steady, self.search_from, stop).await {
            Some(window) => {
                self.baseline.send_replace(Some(window));
                self.emitter
                    .event(EventKind::SteadyReached { from: window.from });
                Ok(())
            }
            None => Err(self.why_not_steady(steady)),
        }
    }

    /// Returns when the steady state has been reached; at once when the plan has none.
    pub(super) async fn steady(&self) {
        if self.steady.is_some() {
            // The sender is `self`: it outlives the wait.
            drop(self.baseline.subscribe().wait_for(Option::is_some).await);
        }
    }

    /// Start of the first full steady window at or after `from`; `None` when load ends without one, or the run does, or
    /// the plan says nothing of a steady state.
    pub(super) async fn recovered(&self, from: Offset, stop: &StopReason) -> Option<Offset> {
        let steady = self.steady.as_ref()?;
        let window = self.first_holding(steady, from, stop).await?;
        Some(window.from)
    }

    async fn first_holding(
        &self,
        steady: &SteadyPlan,
        from: Offset,
        stop: &StopReason,
    ) -> Option<Window> {
        let mut window = Window::starting(from, steady.window.get());
        loop {
            // Asked before the horizon is read: complete then means that nothing can come after it.
            let complete = self.progress.complete();
            let horizon = self.flushed_horizon().await;
            while window.to <= horizon {
                let baseline = *self.baseline.borrow();
                if self.series.lock().holds(&steady.hold, window, baseline) == Some(true) {
                    return Some(window);
                }
                window =
                    Window::starting(window.from.plus(measure::SEARCH_STEP), steady.window.get());
            }
            if complete || stop.token().is_cancelled() {
                return None;
            }
            tokio::select! {
                biased;
                () = stop.token().cancelled() => return None,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Everything due before this is in the series.
    async fn flushed_horizon(&self) -> Offset {
        let horizon = self.emitter.at(self.progress.reached());
        self.emitter.flush().await;
        horizon
    }

    fn why_not_steady(&self, steady: &SteadyPlan) -> String {
        let horizon = self.emitter.at(self.progress.reached());
        let length = steady.window.get();
        let from = Offset(
            horizon
                .0
                .saturating_sub(Window::starting(Offset(0), length).to.0),
        );
        let window = Window::new(from.max(self.began), horizon);
        let series = self.series.lock();
        let unmet: Vec<String> = steady
            .hold
            .iter()
            .filter_map(|expectation| {
                let measure = measured(expectation)?;
                let found = series.evaluate(measure, window, Marks::default());
                let seen = match (found.observed, &found.missing) {
                    (Some(observed), None) => show(observed),
                    (_, Some(missing)) => missing.to_string(),
                    (None, None) => "nothing".to_owned(),
                };
                (found.holds != Some(true))
                    .then(|| format!("{} (last seen {seen})", expectation.text))
            })
            .collect();
        let why = if unmet.is_empty() {
            format!("load was over before it had held for {}", steady.window)
        } else {
            unmet.join(", ")
        };
        format!("the steady state was not reached: {why}")
    }

    /// Ends the run when a stop condition becomes true, until load is over.
    pub(super) async fn watch_stop_conditions(
        &self,
        plan: &Plan,
        stop: &StopReason,
        over: &CancellationToken,
    ) {
        if plan.abort.is_empty() {
            return;
        }
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = stop.token().cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let horizon = self.flushed_horizon().await;
            for condition in &plan.abort {
                if let Some(seen) = self.comes_true(condition, horizon) {
                    stop.set(RunOutcome::Aborted {
                        reason: format!("{} ({seen})", condition.text),
                    });
                    return;
                }
            }
        }
    }

    /// What was seen when a stop condition is true of the latest window.
    fn comes_true(&self, condition: &Expectation, horizon: Offset) -> Option<String> {
        let measure = measured(condition)?;
        let window = match measure.over {
            // The latest window only: an earlier one was looked at when it was the latest.
            Some(length) => {
                let length = Window::starting(Offset(0), length.get()).to.0;
                let from = horizon.0.checked_sub(length)?;
                Window::new(Offset(from), horizon)
            }
            None => Window::new(self.began, horizon),
        };
        if window.from < self.began {
            return None;
        }
        let latest = Measure {
            over: None,
            ..measure.clone()
        };
        let found = self
            .series
            .lock()
            .evaluate(&latest, window, (*self.baseline.borrow()).into());
        (found.holds == Some(true)).then(|| {
            let seen = found.observed.map_or_else(String::new, show);
            format!("{seen}, {} of {} requests ok", found.ok, found.n)
        })
    }
}

fn measured(expectation: &Expectation) -> Option<&Measure> {
    match &expectation.expr {
        Expr::Measure(measure) => Some(measure),
        Expr::Probe(_) => None,
    }
}

fn show(reading: Reading) -> String {
    match reading {
        Reading::Ratio(share) => format!("{:.2} %", share * 100.0),
        Reading::Time(time) => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
        Reading::Rate(rate) => format!("{rate:.1}/s"),
    }
}
