//! The loop that leases tasks and sees each through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::patience::Patience;
use super::queue::Queue;
use super::wire::{Lines, TaskEvent};
use crate::config::JobsConfig;
use crate::env::Env;
use crate::media::{Analysis, MediaError, MediaErrorCode, RenderSpec};
use crate::model::{ClipId, Job, JobStatus, Task, TaskId, TaskKind, TaskResult};
use crate::observe::Subject;
use crate::store::{Finished, StoreError, StoreResult, TaskLease};
use crate::telemetry::{Metric, Metrics};
use crate::upstream::{Call, Timeouts, TryError, Upstream, UpstreamError};

/// Leases tasks, hands them to processors and records the outcome.
#[derive(Debug)]
pub struct Dispatcher {
    env: Env,
    config: JobsConfig,
    timeouts: Timeouts,
    upstream: Upstream,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    /// Cancelled when tasks still in flight shall be given back.
    cut: CancellationToken,
    /// Tasks of ours by the processor that works on them.
    busy: Mutex<BTreeMap<String, usize>>,
}

/// One task at a processor.
struct Seat<'d> {
    dispatcher: &'d Dispatcher,
    instance: String,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(tasks) = self.dispatcher.busy.lock().get_mut(&self.instance) {
            *tasks = tasks.saturating_sub(1);
        }
    }
}

/// How a processor's work on a task ended.
#[derive(Debug)]
enum Outcome {
    Result(TaskResult),
    /// The processor worked and said why it failed.
    Failed(MediaError),
    /// It was not (wholly) done, for reasons that lie outside the task; try again after a while.
    NotDone {
        why: String,
        after: Duration,
    },
    /// It was begun, and then nothing more was heard; the task may be what brought the processor down.
    Lost {
        why: String,
    },
    /// Someone else holds the task by now.
    Fenced,
}

const STATS_EVERY: Duration = Duration::from_secs(1);
/// A machine that has run out of something needs a moment; work that it cannot finish would only be begun again and again.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(2);
/// The longest wait before a task is tried again.
const LONGEST_WAIT: Duration = Duration::from_millis(3200);
/// Held tasks looked at in one turn; as many as there may be open jobs by default.
const HELD: usize = 10_000;
/// Tries to record an outcome before the lease is left to run out.
const RECORD_TRIES: u32 = 4;

impl Dispatcher {
    /// A dispatcher for one gateway. `timeouts` bound the start and the silences of a processor's answer.
    #[must_use]
    pub fn new(
        env: Env,
        config: JobsConfig,
        timeouts: Timeouts,
        upstream: Upstream,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let cut = CancellationToken::new();
        Self {
            env,
            config,
            timeouts,
            upstream,
            queue,
            metrics,
            cut,
            busy: Mutex::default(),
        }
    }

    /// Works until `stop`; then takes no more tasks, waits up to `limit` for those in flight and gives the rest back.
    pub async fn run(self, stop: CancellationToken, limit: Duration) {
        let this = Arc::new(self);
        let mut running = FuturesUnordered::new();
        let mut patience = Patience::default();
        let mut stats = tokio::time::interval(STATS_EVERY);
        stats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while !stop.is_cancelled()
                && running.len() < this.capacity()
                && let Some(lease) = this.lease().await
            {
                let task = Arc::clone(&this);
                running.push(
                    this.env
                        .exec
                        .scoped(async move { task.see_through(lease).await }),
                );
            }
            this.queue.running(running.len());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = running.next() => {}
                () = this.queue.woken() => {}
                _ = stats.tick() => {
                    this.count().await;
                    this.free_what_is_over(&mut patience).await;
                }
                () = tokio::time::sleep(this.poll_pause()) => {}
            }
        }
        let all = async { while running.next().await.is_some() {} };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::info!(tasks = running.len(), "giving tasks back");
            this.cut.cancel();
            while running.next().await.is_some() {} // each only writes its release, which is bounded
        }
        this.queue.running(0);
    }

    /// Several gateways that poll one store should not do so in step.
    fn poll_pause(&self) -> Duration {
        self.config
            .poll
            .get()
            .mul_f64(0.8 + 0.4 * self.env.rng.unit())
    }

    fn capacity(&self) -> usize {
        let instances = self.upstream.snapshot();
        let usable = instances.iter().filter(|instance| instance.usable());
        self.config.per_processor * usable.count()
    }

    async fn count(&self) {
        match self.env.store.stats(self.env.clock.now()).await {
            Ok(stats) => self.queue.counted(stats.jobs_open),
            Err(error) => tracing::warn!(%error, "cannot count jobs"),
        }
    }

    /// Trusts no lease or wait for longer than one may last, whatever wall-clock time it names.
    async fn free_what_is_over(&self, patience: &mut Patience) {
        let (store, now) = (&self.env.store, self.env.clock.now());
        let freed = async {
            let held = store.held(now, HELD).await?;
            let longest = self.config.lease.get().max(LONGEST_WAIT);
            match patience.over(held, longest, Instant::now()) {
                over if over.is_empty() => Ok(0),
                over => store.free(over, now).await,
            }
        };
        match freed.await {
            Ok(0) => {}
            Ok(tasks) => {
                tracing::warn!(
                    tasks,
                    "held for longer than a lease lasts, taken back: was the clock set?"
                );
                self.queue.wake();
            }
            Err(error) => {
                let error: StoreError = error;
                tracing::warn!(%error, "cannot look for tasks that are held too long");
            }
        }
    }

    async fn lease(&self) -> Option<TaskLease> {
        let owner = self.env.node.to_string();
        let now = self.env.clock.now();
        match self
            .env
            .store
            .lease(owner, now, self.config.lease.get())
            .await
        {
            Ok(lease) => lease,
            Err(error) => {
                tracing::warn!(%error, "cannot lease a task");
                None
            }
        }
    }

    /// From lease to recorded outcome.
    async fn see_through(&self, lease: TaskLease) {
        let TaskLease { task, strikes, .. } = lease;
        if task.epoch == 1 && matches!(task.kind, TaskKind::Analyse { .. }) {
            self.moved(
                task.job.as_str(),
                "queued",
                JobStatus::Running,
                "first task leased",
            );
        }
        if strikes >= self.config.max_attempts {
            return self
                .give_up(&task, strikes, "its last holder vanished")
                .await;
        }
        let outcome = tokio::select! {
            biased;
            () = self.cut.cancelled() => {
                let why = "this gateway shuts down".to_owned();
                Outcome::NotDone { why, after: Duration::ZERO }
            }
            outcome = self.work(&task) => outcome,
        };
        let last_attempt = strikes + 1 >= self.config.max_attempts;
        match outcome {
            Outcome::Result(result) => self.record(&task, result).await,
            Outcome::Fenced => self.tasks("fenced"),
            Outcome::NotDone { why, after } => {
                tracing::info!(task = %task.id, epoch = task.epoch, why, "task not done");
                self.tasks("not_done");
                self.release(&task, after, false).await;
            }
            Outcome::Lost { why } if last_attempt => self.give_up(&task, strikes + 1, &why).await,
            Outcome::Lost { why } => {
                tracing::warn!(task = %task.id, epoch = task.epoch, why, "task lost");
                self.tasks("lost");
                self.release(&task, self.backoff(strikes), true).await;
            }
            Outcome::Failed(error) if error.code.retryable() && !last_attempt => {
                tracing::warn!(task = %task.id, epoch = task.epoch, %error, "task failed, trying again");
                self.tasks("retried");
                self.release(&task, self.backoff(strikes), true).await;
            }
            Outcome::Failed(error) => self.fail(&task, error).await,
        }
    }

    fn backoff(&self, strikes: u32) -> Duration {
        let most = Duration::from_millis(100) * 2_u32.pow(strikes.min(5));
        most.min(LONGEST_WAIT)
            .mul_f64(0.5 + 0.5 * self.env.rng.unit())
    }

    /// Has a processor work on the task, renewing the lease meanwhile.
    async fn work(&self, task: &Task) -> Outcome {
        let body = match serde_json::to_vec(task) {
            Ok(body) => body,
            Err(e) => {
                return Outcome::Lost {
                    why: format!("the task cannot be sent: {e}"),
                };
            }
        };
        let call = Call::post_streamed(
            "/internal/tasks",
            body,
            Instant::now() + self.config.task_limit.get(),
            self.timeouts.task_try.get(),
            self.timeouts.task_idle.get(),
        );
        let progress = std::sync::atomic::AtomicU64::new(0);
        let renewing = self.keep_lease(task, &progress);
        let working = self.converse(call, |share: f64| {
            progress.store(share.to_bits(), std::sync::atomic::Ordering::Relaxed);
        });
        tokio::select! {
            biased;
            outcome = working => outcome,
            () = renewing => Outcome::Fenced,
        }
    }

    /// Renews the lease for ever; returns when it is no longer ours.
    async fn keep_lease(&self, task: &Task, progress: &std::sync::atomic::AtomicU64) {
        let every = self.config.lease.get() / 5;
        let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let share = f64::from_bits(progress.load(std::sync::atomic::Ordering::Relaxed));
            let renewed = match self.until(self.config.lease.get()) {
                Ok(until) => {
                    self.env
                        .store
                        .renew(&task.id, task.epoch, until, share)
                        .await
                }
                Err(e) => Err(e),
            };
            match renewed {
                Ok(true) => {}
                Ok(false) => return,
                // The lease may yet be renewed by the next tick; if not, finishing is fenced.
                Err(error) => tracing::warn!(task = %task.id, %error, "cannot renew a lease"),
            }
        }
    }

    fn until(&self, length: Duration) -> StoreResult<jiff::Timestamp> {
        let now = self.env.clock.now();
        now.checked_add(length)
            .map_err(|e| StoreError::Failed(e.to_string()))
    }

    /// Processors that have their share of our tasks. The balancer goes by the latency of many short calls; long tasks
    /// are spread by count.
    fn occupied(&self) -> Vec<String> {
        let mut busy = self.busy.lock();
        busy.retain(|_, tasks| *tasks > 0);
        let full = busy
            .iter()
            .filter(|(_, tasks)| **tasks >= self.config.per_processor);
        full.map(|(instance, _)| instance.clone()).collect()
    }

    fn seat(&self, instance: &str) -> Seat<'_> {
        *self.busy.lock().entry(instance.to_owned()).or_default() += 1;
        Seat {
            dispatcher: self,
            instance: instance.to_owned(),
        }
    }

    async fn converse(&self, mut call: Call, progress: impl Fn(f64)) -> Outcome {
        call.prefer_not = self.occupied();
        let reply = match self.upstream.call(call).await {
            Ok(reply) => reply,
            Err(error) => return unanswered(&error),
        };
        let status = reply.response.status();
        let mut body = reply.response.into_body();
        if !status.is_success() {
            let detail = Limited::new(body, 64 * 1024).collect().await;
            let detail = detail.map(|b| b.to_bytes()).unwrap_or_default();
            let detail = String::from_utf8_lossy(&detail);
            let why = format!("{} answered {status}: {detail}", reply.instance);
            return match status {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                    Outcome::NotDone {
                        why,
                        after: self.backoff(1),
                    }
                }
                _ => Outcome::Lost { why },
            };
        }
        let _seat = self.seat(&reply.instance);
        let mut lines = Lines::default();
        loop {
            let lost = |why: String| Outcome::Lost {
                why: format!("{}: {why}", reply.instance),
            };
            let piece = match body.frame().await {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return lost(error.to_string()),
                None => return lost("the answer ended without a result".to_owned()),
            };
            let events = match lines.push(&piece) {
                Ok(events) => events,
                Err(why) => return lost(why),
            };
            for event in events {
                match event {
                    TaskEvent::Progress(share) => progress(share),
                    TaskEvent::Result(result) => return Outcome::Result(result),
                    TaskEvent::Error(error) => return refused(error, self.backoff(1)),
                }
            }
        }
    }

    async fn record(&self, task: &Task, result: TaskResult) {
        let next = match &result {
            TaskResult::Analysed(analysis) => match self.env.store.job(&task.job).await {
                Ok(job) => self.renders(&job, analysis),
                Err(error) => {
                    tracing::warn!(task = %task.id, %error, "cannot read the job of a done task");
                    return self.release(task, self.backoff(0), false).await;
                }
            },
            TaskResult::Rendered { .. } => Vec::new(),
        };
        let now = self.env.clock.now();
        let finish = || {
            self.env
                .store
                .finish(&task.id, task.epoch, result.clone(), next.clone(), now)
        };
        self.conclude(task, "done", finish).await;
    }

    /// One render per highlight.
    fn renders(&self, job: &Job, analysis: &Analysis) -> Vec<(TaskId, TaskKind)> {
        let now = self.env.clock.now();
        let picks = analysis.highlights.iter().take(job.spec.select.max_clips);
        picks
            .zip(0_u32..)
            .map(|(highlight, rank)| {
                let kind = TaskKind::Render {
                    clip: ClipId::from_uuid(self.env.rng.uuid(now)),
                    rank,
                    highlight: highlight.clone(),
                    spec: RenderSpec {
                        start: highlight.start,
                        end: highlight.end,
                        aspect_ratio: job.spec.aspect_ratio,
                        max_height: job.spec.max_height,
                    },
                };
                (TaskId::from_uuid(self.env.rng.uuid(now)), kind)
            })
            .collect()
    }

    async fn give_up(&self, task: &Task, strikes: u32, why: &str) {
        let detail = format!("given up after {strikes} attempts: {why}");
        self.fail(task, MediaError::new(MediaErrorCode::WorkerCrashed, detail))
            .await;
    }

    async fn fail(&self, task: &Task, error: MediaError) {
        tracing::warn!(task = %task.id, job = %task.job, %error, "task failed for good");
        let now = self.env.clock.now();
        let fail = || {
            self.env
                .store
                .fail(&task.id, task.epoch, error.clone(), now)
        };
        self.conclude(task, "failed", fail).await;
    }

    /// Writes an outcome, more than once if storage stumbles.
    async fn conclude<'a>(
        &'a self,
        task: &Task,
        outcome: &str,
        write: impl Fn() -> futures_util::future::BoxFuture<'a, StoreResult<Finished>>,
    ) {
        for attempt in 0..RECORD_TRIES {
            match write().await {
                Ok(Finished::Recorded(job)) => {
                    self.tasks(outcome);
                    if job.status.is_terminal() {
                        let reason = match &job.error {
                            Some(error) => error.to_string(),
                            None => "every task is done".to_owned(),
                        };
                        self.moved(job.id.as_str(), "running", job.status, &reason);
                    }
                    // New renders may be waiting, and a slot is free.
                    self.queue.wake();
                    return;
                }
                Ok(Finished::Fenced) => return self.tasks("fenced"),
                Err(error) => {
                    tracing::warn!(task = %task.id, %error, "cannot record an outcome");
                    tokio::time::sleep(self.backoff(attempt)).await;
                }
            }
        }
        self.tasks("unrecorded"); // the lease runs out, and the task is done again
    }

    async fn release(&self, task: &Task, after: Duration, strike: bool) {
        let released = match self.until(after) {
            Ok(at) => {
                self.env
                    .store
                    .release(&task.id, task.epoch, at, strike)
                    .await
            }
            Err(e) => Err(e),
        };
        match released {
            Ok(_) => self.queue.wake(),
            // The lease runs out by itself.
            Err(error) => tracing::warn!(task = %task.id, %error, "cannot give a task back"),
        }
    }

    fn tasks(&self, outcome: &str) {
        self.metrics.count(Metric::Tasks, &[("outcome", outcome)]);
    }

    fn moved(&self, job: &str, from: &str, to: JobStatus, reason: &str) {
        self.metrics.count(Metric::Jobs, &[("state", to.as_str())]);
        self.env
            .transition(Subject::Job, job, from, to.as_str(), reason);
    }
}

/// A call that no processor answered. Only what may have reached one counts against the task.
fn unanswered(error: &UpstreamError) -> Outcome {
    let why = error.to_string();
    match error {
        UpstreamError::NoInstance | UpstreamError::Throttled => Outcome::NotDone {
            why,
            after: Duration::from_millis(500),
        },
        UpstreamError::Exhausted {
            last: TryError::Connect(_) | TryError::Shortage(_),
            ..
        } => Outcome::NotDone {
            why,
            after: Duration::from_millis(200),
        },
        UpstreamError::Exhausted { .. } | UpstreamError::DeadlineExceeded { .. } => {
            Outcome::Lost { why }
        }
    }
}

/// What a processor's own error means: some say nothing about the task.
fn refused(error: MediaError, after: Duration) -> Outcome {
    match error.code {
        MediaErrorCode::Busy | MediaErrorCode::Cancelled => Outcome::NotDone {
            why: error.detail,
            after,
        },
        MediaErrorCode::Shortage => Outcome::NotDone {
            why: error.detail,
            after: SHORTAGE_PAUSE,
        },
        _ => Outcome::Failed(error),
    }
}

#[cfg(test)]
mod tests;
