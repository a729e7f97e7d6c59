//! The processor role: works on tasks, probes and frames that gateways ask for. Composition only; the work itself is
//! [`crate::media`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Bulkhead, Priority, Reason, Turn};
use crate::config::ProcessorConfig;
use crate::edge::request::query;
use crate::edge::{self, Access, Class, Endpoint, Operation, StackConfig, Ticket, X_CACHE};
use crate::env::{Env, Exec};
use crate::error::{RoleError, RoleResult};
use crate::http::{Drain, Problem, serve};
use crate::jobs::TaskEvent;
use crate::media::{MediaError, MediaErrorCode, Progress};
use crate::model::{Task, TaskKind, TaskResult};
use crate::observe::Notice;
use crate::registry::Registration;
use crate::registry::client::Membership;
use crate::store::{StoreError, StoreResult};
use crate::telemetry::{Metric, Metrics};
use crate::units::hex;

/// What a processor registers as.
pub const KIND: &str = "processor";

/// The bulkhead of frames and probes.
const READ: &str = "read";

/// How often a task's share is reported, if only as a sign of life.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A task is small; its largest part is a highlight with its reasons.
const TASK_BYTES: usize = 4 << 20;

/// Where a processor's limit on concurrent reads begins: more than any number of frame workers needs, few enough to be
/// in the way of an overload before callers give up.
const INITIAL: u32 = 64;

struct Processor {
    env: Env,
    transcode: Bulkhead,
    admission: Admission,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    /// Cancelled when tasks in flight shall end.
    cut: CancellationToken,
    listed: CancellationToken,
}

/// Runs a processor until `env.shutdown`, then drains: tells the registry, finishes what is in flight within a bound,
/// and returns.
///
/// # Errors
/// The address cannot be listened on.
pub async fn processor(env: Env, config: ProcessorConfig) -> RoleResult {
    let bound = |reason| RoleError::Bind {
        address: config.listen,
        reason,
    };
    let acceptor = env.net.bind(config.listen).await.map_err(bound)?;
    let address = acceptor.local_addr().map_err(bound)?;
    let transcode = Bulkhead::new("transcode", config.at_once);
    let this = Arc::new(Processor {
        admission: Admission::new(
            &config.admission,
            INITIAL,
            &env.rng,
            vec![
                Bulkhead::new(READ, config.admission.bulkheads.read),
                transcode.clone(),
            ],
        ),
        transcode,
        metrics: Arc::new(Metrics::default()),
        draining: CancellationToken::new(),
        cut: CancellationToken::new(),
        listed: CancellationToken::new(),
        env: env.clone(),
    });
    env.notices.send(Notice::Listening {
        role: KIND.to_owned(),
        address: address.to_string(),
    });

    let membership = Membership::join(&env, &config.registry, registration(&env, &config, address));
    let stop = CancellationToken::new();
    let limit = config.drain.limit.get();
    // What is cut off still has its last line to send.
    let drain = Drain {
        stop: stop.clone(),
        limit: limit + Duration::from_secs(1),
    };
    let serving = serve(
        &env,
        acceptor,
        router(&this, &config),
        config.patience,
        drain,
    );
    let listing = async {
        membership.registered().await;
        this.listed.cancel();
    };
    let leaving = async {
        env.shutdown.cancelled().await;
        membership.drain().await;
        tokio::time::sleep(config.drain.notice.get()).await;
        this.draining.cancel();
        stop.cancel();
        tokio::time::sleep(limit).await;
        this.cut.cancel();
    };
    let beside = futures_util::future::join(listing, leaving);
    tokio::select! {
        biased;
        served = serving => {
            if served.cut > 0 {
                tracing::warn!(connections = served.cut, "cut off at the end of the drain");
            }
        }
        _ = beside.then(|_| std::future::pending::<()>()) => {}
    }
    membership.leave().await;
    Ok(())
}

/// What it says of itself to whoever chooses among processors.
fn registration(
    env: &Env,
    config: &ProcessorConfig,
    address: std::net::SocketAddr,
) -> Registration {
    let address = config
        .advertise
        .clone()
        .unwrap_or_else(|| reachable(address));
    Registration {
        ready: true,
        weight: config.labels.weight,
        tags: config.labels.tags.clone(),
        meta: config.labels.meta.clone(),
        zone: config.labels.zone.clone(),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        check: config.check.of("/ready"),
        ..Registration::new(&*env.node, KIND, address, Membership::epoch(env))
    }
}

/// An address others can dial: one that listens everywhere is reached on loopback unless it advertises another.
fn reachable(address: std::net::SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("127.0.0.1:{}", address.port())
    } else {
        address.to_string()
    }
}

/// A frame in the cache costs nothing, so the turn waits until it is known that there is none.
const FRAMES: Class = Class {
    name: "frame",
    priority: Priority::High,
    turn: Turn::Later,
    bulkhead: Some(READ),
};
const PROBES: Class = Class {
    name: "probe",
    priority: Priority::Normal,
    turn: Turn::Needed,
    bulkhead: Some(READ),
};
/// Their bulkhead's place is taken by the handler, which knows whether the task can be read.
const TASKS: Class = Class {
    name: "task",
    priority: Priority::Normal,
    turn: Turn::None,
    bulkhead: None,
};

/// Everything that a processor can be asked, one row each.
fn endpoints() -> Vec<Endpoint<Arc<Processor>>> {
    let internal = |method, path, id, summary, class| Operation {
        access: Access::Internal,
        class,
        ..Operation::new(method, path, id, summary)
    };
    let operational = |path, id, summary| Operation {
        access: Access::Operational,
        ..Operation::new(Method::GET, path, id, summary)
    };
    let health = |path, id| operational(path, id, "Whether the process answers.");
    let is_ready = |path, id| operational(path, id, "Whether new work is welcome.");
    vec![
        Endpoint::new(
            internal(
                Method::POST,
                "/internal/tasks",
                "runTask",
                "Works on a task, and says line by line how far it is.",
                TASKS,
            ),
            post(tasks),
        ),
        Endpoint::new(
            internal(
                Method::GET,
                "/internal/frame",
                "frame",
                "A single frame of a source.",
                FRAMES,
            ),
            get(frame),
        ),
        Endpoint::new(
            internal(
                Method::GET,
                "/internal/probe",
                "probe",
                "What a source is, from its headers.",
                PROBES,
            ),
            get(probe),
        ),
        Endpoint::new(health("/health", "health"), get(self::health)),
        Endpoint::new(health("/livez", "livez"), get(self::health)),
        Endpoint::new(is_ready("/ready", "ready"), get(ready)),
        Endpoint::new(is_ready("/readyz", "readyz"), get(ready)),
        Endpoint::new(operational("/metrics", "metrics", "Numbers."), get(metrics)),
    ]
}

fn router(this: &Arc<Processor>, config: &ProcessorConfig) -> Router {
    let stack = StackConfig {
        env: this.env.clone(),
        metrics: Arc::clone(&this.metrics),
        draining: this.draining.clone(),
        request: config.request.get(),
        upload: config.request.get(),
        body_bytes: TASK_BYTES,
        admission: this.admission.clone(),
    };
    edge::router(endpoints(), Arc::clone(this), stack)
}

async fn health(State(this): State<Arc<Processor>>) -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Json(json!({ "status": "ok", "role": KIND, "node": &*this.env.node, "version": version }))
        .into_response()
}

async fn ready(State(this): State<Arc<Processor>>) -> Result<Response, Problem> {
    if this.draining.is_cancelled() || this.env.shutdown.is_cancelled() {
        return Err(Problem::draining());
    }
    if !this.listed.is_cancelled() {
        let detail = "the registry has not listed this processor yet";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Problem::new(status, "not_registered", detail).retry_after(1));
    }
    Ok(Json(json!({ "status": "ready" })).into_response())
}

async fn metrics(State(this): State<Arc<Processor>>) -> Response {
    let draining = this.draining.is_cancelled();
    this.metrics
        .set(Metric::Ready, &[], if draining { 0.0 } else { 1.0 });
    this.admission.publish(&this.metrics);
    this.metrics.dropped(&this.env.notices);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], this.metrics.render()).into_response()
}

/// Blob key out of the query of an internal read.
fn key_of(query: &std::collections::BTreeMap<String, String>) -> Result<&str, Problem> {
    match query.get("video") {
        Some(key) if crate::store::valid_key(key) => Ok(key),
        _ => Err(Problem::field(
            "invalid_request",
            "/video",
            "must be a blob key",
        )),
    }
}

fn no_source(error: StoreError) -> MediaError {
    let (code, detail) = match error {
        StoreError::NotFound => (
            MediaErrorCode::SourceUnavailable,
            "the source file is not there".to_owned(),
        ),
        StoreError::Shortage(_) => (MediaErrorCode::Shortage, error.to_string()),
        other => (MediaErrorCode::SourceUnavailable, other.to_string()),
    };
    MediaError::new(code, detail)
}

async fn frame(
    State(this): State<Arc<Processor>>,
    Extension(ticket): Extension<Ticket>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = query(&uri, &["video", "at", "width"])?;
    let bad = |name| Problem::field("invalid_request", name, "must be a number");
    let at = query
        .get("at")
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| bad("/at"))?;
    let width = query
        .get("width")
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| bad("/width"))?;
    let source = this
        .env
        .blobs
        .local(key_of(&query)?)
        .await
        .map_err(no_source)?;
    let (jpeg, from) = match this.env.media.cached_frame(&source, at, width) {
        Some(jpeg) => (jpeg, "hit"),
        None => {
            let turn = ticket.turn().await?;
            let made = this.env.media.frame(&source, at, width).await;
            if let Some(turn) = turn {
                match &made {
                    Ok(_) => turn.done(),
                    Err(_) => turn.ignored(),
                }
            }
            (made?, "miss")
        }
    };
    this.metrics.count(Metric::FrameCache, &[("result", from)]);
    let kind = HeaderValue::from_static("image/jpeg");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (X_CACHE, HeaderValue::from_static(from)),
    ];
    Ok((headers, jpeg).into_response())
}

async fn probe(State(this): State<Arc<Processor>>, uri: Uri) -> Result<Response, Problem> {
    let query = query(&uri, &["video"])?;
    let source = this
        .env
        .blobs
        .local(key_of(&query)?)
        .await
        .map_err(no_source)?;
    Ok(Json(this.env.media.probe(&source).await?).into_response())
}

async fn tasks(
    State(this): State<Arc<Processor>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let unreadable = |text: String| Problem::new(StatusCode::BAD_REQUEST, "malformed_task", text);
    let body = body.map_err(|e| unreadable(e.body_text()))?;
    let task: Task = serde_json::from_slice(&body).map_err(|e| unreadable(e.to_string()))?;
    let slot = this.transcode.enter().map_err(|_| {
        let detail = "every slot for tasks is taken";
        let problem = Problem::from(MediaError::new(MediaErrorCode::Busy, detail));
        problem.shed(Reason::Bulkhead.name())
    })?;
    let running = Running::new(this, task, slot);
    let lines = futures_util::stream::unfold(running, |mut running| async move {
        let line = running.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), running))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

/// A task being worked on. It lives in the answer's body: when the gateway hangs up the body is dropped, and the work
/// with it.
struct Running {
    this: Arc<Processor>,
    work: BoxFuture<'static, Result<TaskResult, MediaError>>,
    share: Arc<AtomicU64>,
    ticks: Interval,
    ended: bool,
    _slot: OwnedSemaphorePermit,
    _counted: Counted,
}

/// One in the gauge of tasks in flight.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.add(Metric::TasksInFlight, &[], 1.0);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.add(Metric::TasksInFlight, &[], -1.0);
    }
}

impl Running {
    fn new(this: Arc<Processor>, task: Task, slot: OwnedSemaphorePermit) -> Self {
        let share = Arc::new(AtomicU64::new(0));
        let reported = Arc::clone(&share);
        let progress = Progress::new(move |s| reported.store(s.to_bits(), Ordering::Relaxed));
        let mut ticks = tokio::time::interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            work: work(this.env.clone(), task, progress).boxed(),
            _counted: Counted::new(&this.metrics),
            share,
            ticks,
            ended: false,
            _slot: slot,
            this,
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let event = tokio::select! {
            biased;
            done = &mut self.work => {
                self.ended = true;
                match done {
                    Ok(result) => TaskEvent::Result(result),
                    Err(error) => TaskEvent::Error(error),
                }
            }
            () = self.this.cut.cancelled() => {
                self.ended = true;
                let detail = "the processor shuts down";
                TaskEvent::Error(MediaError::new(MediaErrorCode::Cancelled, detail))
            }
            _ = self.ticks.tick() => {
                TaskEvent::Progress(f64::from_bits(self.share.load(Ordering::Relaxed)))
            }
        };
        let outcome = match &event {
            TaskEvent::Progress(_) => return Some(event.line()),
            TaskEvent::Result(_) => "done",
            TaskEvent::Error(_) => "failed",
        };
        self.this
            .metrics
            .count(Metric::Tasks, &[("outcome", outcome)]);
        Some(event.line())
    }
}

async fn work(env: Env, task: Task, progress: Progress) -> Result<TaskResult, MediaError> {
    let source = env.blobs.local(&task.source).await.map_err(no_source)?;
    match &task.kind {
        TaskKind::Analyse { select } => {
            let analysis = env.media.analyse(&source, select, progress).await?;
            Ok(TaskResult::Analysed(Box::new(analysis)))
        }
        TaskKind::Render { clip, spec, .. } => {
            let not_kept = |e: StoreError| {
                let code = match e {
                    StoreError::Shortage(_) => MediaErrorCode::Shortage,
                    _ => MediaErrorCode::EncodeFailed,
                };
                MediaError::new(code, format!("cannot keep the clip: {e}"))
            };
            let folder = env.blobs.scratch().map_err(not_kept)?;
            let (video, poster) = (
                folder.path().join("clip.mp4"),
                folder.path().join("poster.jpg"),
            );
            let rendered = env
                .media
                .render(&source, spec, &video, &poster, progress)
                .await?;
            // The epoch is part of the key: whoever worked on an earlier lease writes elsewhere.
            let clip_blob = format!("clips/{clip}/{}/clip.mp4", task.epoch);
            let poster_blob = format!("clips/{clip}/{}/poster.jpg", task.epoch);
            let sha256 = sha256_of(env.exec, video.clone()).await.map_err(not_kept)?;
            env.blobs
                .adopt(&poster_blob, &poster)
                .await
                .map_err(not_kept)?;
            env.blobs
                .adopt(&clip_blob, &video)
                .await
                .map_err(not_kept)?;
            Ok(TaskResult::Rendered {
                rendered,
                clip_blob,
                poster_blob,
                sha256,
            })
        }
    }
}

async fn sha256_of(exec: Exec, file: std::path::PathBuf) -> StoreResult<String> {
    let hashed = exec.blocking(move || {
        let mut hash = Sha256::new();
        std::io::copy(&mut std::fs::File::open(file)?, &mut hash)?;
        Ok(hex(&hash.finalize()))
    });
    hashed
        .await
        .unwrap_or_else(|e| Err(StoreError::Failed(e.to_string())))
}
