//! What stands in front of every handler: the one place where the order of layers is written.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::Api;
use super::problem::Problem;
use crate::env::Env;
use crate::telemetry::{Metric, Metrics};
use crate::upstream::deadline::arriving;

/// Header with the request's id, in and out.
pub const REQUEST_ID: &str = "x-request-id";

/// What the layers need.
#[derive(Debug, Clone)]
pub struct Front {
    env: Env,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    request: Duration,
    upload: Duration,
    body_bytes: usize,
}

impl Front {
    /// Layers for a role whose longest requests may take `request`.
    #[must_use]
    pub fn new(
        env: Env,
        metrics: Arc<Metrics>,
        draining: CancellationToken,
        request: Duration,
        body_bytes: usize,
    ) -> Self {
        Self {
            env,
            metrics,
            draining,
            request,
            upload: request,
            body_bytes,
        }
    }
}

impl From<&Api> for Front {
    fn from(api: &Api) -> Self {
        let front = Self::new(
            api.env.clone(),
            Arc::clone(&api.metrics),
            api.draining.clone(),
            api.limits.request.get(),
            api.limits.body_bytes,
        );
        Self {
            upload: api.limits.upload_time.get(),
            ..front
        }
    }
}

/// When the caller stops waiting; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// The request's id; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Puts the layers in front of `routes`, outermost first:
///
/// 1. catch-panic: whatever breaks below, the client gets a problem and the connection lives.
/// 2. request id, log, metrics: everything that any layer below answers is counted, sheds included.
/// 3. drain gate: a node that goes away refuses new work before it costs anything.
/// 4. deadline: a request nobody waits for is not begun, and one that takes too long ends.
/// 5. body limit: last, because only handlers read bodies.
pub fn stack(routes: Router, front: &Front) -> Router {
    // `Router::layer` wraps what is there, so the innermost comes first.
    routes
        .layer(DefaultBodyLimit::max(front.body_bytes))
        .layer(from_fn_with_state(front.clone(), deadline))
        .layer(from_fn_with_state(front.clone(), drain_gate))
        .layer(from_fn_with_state(front.clone(), observe))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| Problem::internal().into_response(),
        ))
}

/// Routes that are answered whatever the state of the node.
fn is_operational(path: &str) -> bool {
    matches!(path, "/health" | "/ready" | "/metrics") || path.starts_with("/internal/upstreams")
}

/// Counts a request when it ends, however it ends.
struct Count {
    metrics: Arc<Metrics>,
    route: String,
    method: String,
    started: Instant,
    status: Option<StatusCode>,
}

impl Drop for Count {
    fn drop(&mut self) {
        let status = match self.status {
            Some(status) => status.as_u16(),
            None if std::thread::panicking() => 500,
            None => 499, // the client went away
        };
        let status = status.to_string();
        let labels = [
            ("route", self.route.as_str()),
            ("method", &self.method),
            ("status", &status),
        ];
        self.metrics.count(Metric::HttpRequests, &labels);
        let route = [("route", self.route.as_str())];
        self.metrics
            .observe(Metric::HttpSeconds, &route, self.started.elapsed());
        self.metrics.add(Metric::HttpInFlight, &[], -1.0);
    }
}

/// A client's own id is kept when it is short and harmless, so that its log and ours agree.
fn request_id(env: &Env, headers: &HeaderMap) -> Arc<str> {
    let given = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=128).contains(&id.len())
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
        });
    match given {
        Some(id) => id.into(),
        None => env.rng.uuid(env.clock.now()).simple().to_string().into(),
    }
}

async fn observe(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let id = request_id(&front.env, request.headers());
    let route = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        None => "none".to_owned(), // a made-up path must not make a new series
    };
    let path = request.uri().path().to_owned();
    let method = request.method().to_string();
    let started = Instant::now();
    front.metrics.add(Metric::HttpInFlight, &[], 1.0);
    let metrics = Arc::clone(&front.metrics);
    let mut count = Count {
        metrics,
        route,
        method,
        started,
        status: None,
    };
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));

    let mut response = Problem::complete(next.run(request).await, &path, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status();
    count.status = Some(status);
    let ms = started.elapsed().as_millis();
    // A readiness check that says no is an answer, not a failure.
    if status.is_server_error() && !is_operational(&path) {
        tracing::warn!(%id, method = count.method, path, status = status.as_u16(), ms, "request");
    } else {
        tracing::debug!(%id, method = count.method, path, status = status.as_u16(), ms, "request");
    }
    response
}

async fn drain_gate(State(front): State<Front>, request: Request, next: Next) -> Response {
    if front.draining.is_cancelled() && !is_operational(request.uri().path()) {
        return Problem::draining().into_response();
    }
    next.run(request).await
}

async fn deadline(State(front): State<Front>, mut request: Request, next: Next) -> Response {
    let longest = match request
        .extensions()
        .get::<MatchedPath>()
        .map(MatchedPath::as_str)
    {
        Some("/api/v1/upload") => front.upload,
        _ => front.request,
    };
    let started = Instant::now();
    let exceeded = || {
        let ms = started.elapsed().as_millis();
        let detail = format!("the time allowed for the request was over after {ms} ms");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail).into_response()
    };
    let Ok(until) = arriving(request.headers(), started, longest) else {
        return exceeded();
    };
    request.extensions_mut().insert(Deadline(until));
    match tokio::time::timeout_at(until, next.run(request)).await {
        Ok(response) => response,
        Err(_) => exceeded(),
    }
}
