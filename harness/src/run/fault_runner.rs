//! The faults of a plan, each from its moment to its recovery. They run side by side; what one waits for of another goes
//! through [`Moments`].

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::monitor::LiveMonitor;
use super::stop::StopReason;
use crate::event::{EventKind, Offset, RunOutcome};
use crate::fault::{self, Injected};
use crate::plan::{FaultPlan, Moment, Plan, StartPlan, TargetPlan};
use crate::runtime::emit::Emitter;
use crate::testbed::Testbed;

/// Where faults are performed.
pub(super) struct FaultRunner<'a> {
    plan: &'a Plan,
    testbed: &'a Testbed,
    pub(super) emitter: &'a Emitter,
    pub(super) stop: &'a StopReason,
    moments: BTreeMap<&'a str, Moments>,
    /// Faults in place, by the order they were injected in.
    active: Mutex<BTreeMap<u64, InPlace>>,
    next: Mutex<u64>,
}

struct InPlace {
    fault: String,
    target: TargetPlan,
    injected: Injected,
}

/// When a fault passed its moments.
struct Moments {
    start: watch::Sender<Option<Passed>>,
    end: watch::Sender<Option<Passed>>,
    recovered: watch::Sender<Option<Passed>>,
}

/// A moment that was reached, or never will be.
#[derive(Debug, Clone, Copy)]
enum Passed {
    At(Instant),
    Never,
}

impl Moments {
    fn new() -> Self {
        Self {
            start: watch::Sender::new(None),
            end: watch::Sender::new(None),
            recovered: watch::Sender::new(None),
        }
    }

    fn of(&self, moment: Moment) -> &watch::Sender<Option<Passed>> {
        match moment {
            Moment::Start => &self.start,
            Moment::End => &self.end,
            Moment::Recovered => &self.recovered,
        }
    }

    /// Whatever has not been reached by now never will be.
    fn close(&self) {
        for moment in [Moment::Start, Moment::End, Moment::Recovered] {
            self.of(moment).send_if_modified(|passed| {
                let open = passed.is_none();
                passed.get_or_insert(Passed::Never);
                open
            });
        }
    }

    fn pass(&self, moment: Moment) {
        self.of(moment)
            .send_replace(Some(Passed::At(Instant::now())));
    }
}

impl<'a> FaultRunner<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        testbed: &'a Testbed,
        emitter: &'a Emitter,
        stop: &'a StopReason,
    ) -> Self {
        let names = plan.faults.iter().map(|fault| fault.name.as_str());
        Self {
            plan,
            testbed,
            emitter,
            stop,
            moments: names.map(|name| (name, Moments::new())).collect(),
            active: Mutex::new(BTreeMap::new()),
            next: Mutex::new(0),
        }
    }

    /// Every fault of the plan from its moment to its recovery.
    pub(super) async fn run_all(&self, monitor: &LiveMonitor) {
        let steady = async {
            if let Err(reason) = monitor.reach_steady(self.stop).await {
                // Without faults the steady state gates nothing; whether it was good enough is not decided here. An
                // early end has its own reason, which came first.
                if self.plan.faults.is_empty() {
                    self.emitter.warn(reason);
                } else {
                    self.stop.set(RunOutcome::Broken { reason });
                }
            }
        };
        let lives = self.plan.faults.iter().map(|fault| async {
            self.run_one(fault, monitor).await;
            if let Some(moments) = self.moments.get(fault.name.as_str()) {
                moments.close();
            }
        });
        tokio::join!(steady, join_all(lives));
    }

    async fn run_one(&self, fault: &FaultPlan, monitor: &LiveMonitor) {
        let begun = tokio::select! {
            biased;
            () = self.stop.token().cancelled() => return,
            begun = self.wait_for_start(fault, monitor) => begun,
        };
        if let Err(reason) = begun {
            self.stop.set(RunOutcome::Broken { reason });
            return;
        }
        let ended = match fault.inject.in_turn() {
            Some(pause) => self.one_by_one(fault, pause, monitor).await,
            None => self.all_at_once(fault).await,
        };
        let Some(ended) = ended else {
            return;
        };
        self.pass(fault, Moment::End);
        if let Some(from) = monitor.recovered(ended, self.stop).await {
            self.emitter.event(EventKind::FaultRecovered {
                fault: fault.name.clone(),
                from,
            });
            self.pass(fault, Moment::Recovered);
        }
    }

    /// Hits all targets together, for as long as the fault lasts; when the last was undone.
    async fn all_at_once(&self, fault: &FaultPlan) -> Option<Offset> {
        let injected = self.inject(fault, &fault.targets).await;
        self.pass(fault, Moment::Start);
        if injected {
            self.sleep(fault.length.get()).await;
        }
        let numbers = self.numbers_of(&fault.name);
        let undone = join_all(numbers.into_iter().map(|number| self.undo(number))).await;
        let ended = undone.into_iter().flatten().max();
        ended.filter(|_| injected)
    }

    /// Hits one target after the other, each when the one before is undone; when the last was. A fault that the run cuts
    /// short has no end.
    async fn one_by_one(
        &self,
        fault: &FaultPlan,
        pause: Duration,
        monitor: &LiveMonitor,
    ) -> Option<Offset> {
        let mut ended = None;
        for (index, target) in fault.targets.iter().enumerate() {
            if index > 0 {
                self.sleep(pause).await;
            }
            if self.stop.token().is_cancelled() {
                return None;
            }
            if Instant::now() >= monitor.load_over() {
                self.stop.set(RunOutcome::Broken {
                    reason: format!(
                        "{} was over after {index} of {} targets: load was over by then",
                        fault.name,
                        fault.targets.len()
                    ),
                });
                return None;
            }
            let injected = self.inject(fault, std::slice::from_ref(target)).await;
            if index == 0 {
                self.pass(fault, Moment::Start);
            }
            for number in self.numbers_of(&fault.name) {
                ended = Some(self.undo(number).await.ok()?);
            }
            if !injected {
                return None;
            }
        }
        ended
    }

    /// Sleeps for so long, or until the run is to end.
    async fn sleep(&self, length: Duration) {
        tokio::select! {
            biased;
            () = self.stop.token().cancelled() => {}
            () = tokio::time::sleep(length) => {}
        }
    }

    fn pass(&self, fault: &FaultPlan, moment: Moment) {
        if let Some(moments) = self.moments.get(fault.name.as_str()) {
            moments.pass(moment);
        }
    }

    async fn wait_for_start(&self, fault: &FaultPlan, monitor: &LiveMonitor) -> Result<(), String> {
        let begins = match &fault.start {
            StartPlan::At(at) => self.emitter.instant(monitor.began()) + at.get(),
            StartPlan::After {
                fault: other,
                moment,
                offset,
            } => {
                let never = || {
                    format!(
                        "{} was never injected: {other} never reached its {}",
                        fault.name,
                        word(*moment)
                    )
                };
                let moments = self.moments.get(other.as_str()).ok_or_else(never)?;
                let mut passed = moments.of(*moment).subscribe();
                let passed = passed.wait_for(Option::is_some).await.map(|passed| *passed);
                match passed {
                    Ok(Some(Passed::At(at))) => at + offset.get(),
                    Ok(Some(Passed::Never) | None) | Err(_) => return Err(never()),
                }
            }
        };
        monitor.steady().await;
        let over = monitor.load_over();
        if begins.max(Instant::now()) >= over {
            return Err(format!(
                "{} was never injected: load is over by then",
                fault.name
            ));
        }
        tokio::time::sleep_until(begins).await;
        Ok(())
    }

    /// Injects a fault into these targets, all together; false when one failed, which ends the run.
    async fn inject(&self, fault: &FaultPlan, targets: &[TargetPlan]) -> bool {
        let each = targets.iter().map(|target| self.inject_one(fault, target));
        join_all(each).await.into_iter().all(|injected| injected)
    }

    async fn inject_one(&self, fault: &FaultPlan, target: &TargetPlan) -> bool {
        let began = Some(self.emitter.now());
        match fault::inject(&fault.name, &fault.inject, target, self.testbed).await {
            Ok(injected) => {
                let detail = injected.detail.clone();
                let number = {
                    let mut next = self.next.lock();
                    *next += 1;
                    *next
                };
                self.active.lock().insert(
                    number,
                    InPlace {
                        fault: fault.name.clone(),
                        target: target.clone(),
                        injected,
                    },
                );
                self.emitter.event(EventKind::FaultInjected {
                    fault: fault.name.clone(),
                    target: target.name().to_owned(),
                    detail,
                    began,
                });
                true
            }
            Err(error) => {
                self.emitter.event(EventKind::FaultFailed {
                    fault: fault.name.clone(),
                    target: target.name().to_owned(),
                    error: error.to_string(),
                    undo: false,
                });
                self.stop.set(RunOutcome::Broken {
                    reason: format!("{} could not be injected: {error}", fault.name),
                });
                false
            }
        }
    }

    fn numbers_of(&self, fault: &str) -> Vec<u64> {
        let active = self.active.lock();
        let of = active.iter().filter(|(_, place)| place.fault == fault);
        of.map(|(number, _)| *number).rev().collect()
    }

    /// Takes one fault away and says so; when that was, or what is left.
    async fn undo(&self, number: u64) -> Result<Offset, String> {
        let place = self.active.lock().remove(&number);
        let Some(place) = place else {
            return Ok(self.emitter.now());
        };
        let target = place.target.name().to_owned();
        let began = Some(self.emitter.now());
        match place.injected.revert(self.testbed).await {
            Ok(undone) => Ok(self.emitter.event(EventKind::FaultReverted {
                fault: place.fault,
                target,
                proof: undone.proof,
                undo: undone.undo,
                began,
            })),
            Err(error) => {
                let left = format!("{} on {target}: {error}", place.fault);
                self.emitter.event(EventKind::FaultFailed {
                    fault: place.fault,
                    target,
                    error: error.to_string(),
                    undo: true,
                });
                self.stop.set(RunOutcome::UndoFailed {
                    leftovers: vec![left.clone()],
                });
                Err(left)
            }
        }
    }

    /// Takes away whatever is still in place, latest first; what could not be.
    pub(super) async fn undo_all(&self) -> Vec<String> {
        let mut left = Vec::new();
        loop {
            let last = self
                .active
                .lock()
                .last_key_value()
                .map(|(number, _)| *number);
            let Some(number) = last else {
                return left;
            };
            left.extend(self.undo(number).await.err());
        }
    }
}

fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::Start => "start",
        Moment::End => "end",
        Moment::Recovered => "recovery",
    }
}
