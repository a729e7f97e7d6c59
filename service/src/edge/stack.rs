//! What stands in front of every handler: the one place where the order of layers is written.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::deadline::arriving;
use super::endpoint::{Access, BodyLimit, Endpoint, TimeLimit};
use super::table::{Rules, Table};
use crate::admission::{Admission, Permit, Priority, Turn, Work};
use crate::env::Env;
use crate::http::{Crowded, Held, Problem, X_SHED, unless_stalled};
use crate::telemetry::{Metric, Metrics};

/// Header with the request's id, in and out.
pub const REQUEST_ID: &str = "x-request-id";

/// What a browser is to make of an answer: nothing but the type that it is said to have, no page, in no frame, and no trace of
/// where it was asked from.
const FOR_BROWSERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// `hit` or `miss` on answers that may come from a cache.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// What the layers of a role need.
#[derive(Debug)]
pub struct StackConfig {
    /// The role's world.
    pub env: Env,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Cancelled when no new work is taken.
    pub draining: CancellationToken,
    /// Longest time of a request.
    pub request: Duration,
    /// Longest time of an upload.
    pub upload: Duration,
    /// Largest body, where the handler does not count by itself.
    pub body_bytes: usize,
    /// Which requests are taken.
    pub admission: Admission,
}

/// The configuration with the rows. Cloned by each layer for each request, so it is one pointer.
#[derive(Debug, Clone)]
struct Front(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: StackConfig,
    table: Table,
}

impl Parts {
    /// What is known of what a request asks for.
    fn rules(&self, request: &Request) -> Rules {
        let matched = request.extensions().get::<MatchedPath>();
        let path = matched.map_or("", MatchedPath::as_str);
        self.table.rules(path, request.method())
    }
}

/// When the caller stops waiting; in the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

/// The request's id; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// A request's standing with [`Admission`]; in the extensions of every request that is not operational.
#[derive(Debug, Clone)]
pub struct Ticket {
    admission: Admission,
    work: Work,
    priority: Priority,
    until: Instant,
}

impl Ticket {
    /// How much the request matters.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The turn of a request whose route has [`Turn::Later`]; `None` when turns are not limited.
    ///
    /// # Errors
    /// There was no turn in time, or the request was shed.
    pub async fn turn(&self) -> Result<Option<Permit>, Problem> {
        let Work { kind, .. } = self.work;
        Ok(self.admission.turn(self.priority, kind, self.until).await?)
    }
}

/// The router of a role: its endpoints, problems for everything else, and in front of them, outermost first:
///
/// 1. catch-panic: whatever breaks below, the client gets a problem and the connection lives.
/// 2. request id, log, metrics, in-flight gauge: everything that any layer below answers is counted, sheds included.
/// 3. admission, one layer with an order of its own (`admit`): drain gate, deadline, rate limit, turn, bulkhead.
/// 4. body limit: last, because only handlers read bodies.
///
/// Operational endpoints pass the drain gate and admission: who looks after a node must reach it most of all when it is
/// overloaded.
pub fn router<S>(endpoints: Vec<Endpoint<S>>, state: S, config: StackConfig) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    let rows = endpoints.iter().map(|endpoint| &endpoint.operation);
    let table = Table::new(rows.clone(), &config.admission);
    let described_at = rows
        .map(|row| row.path)
        .find(|path| path.ends_with("/openapi.json"));
    let body_bytes = config.body_bytes;
    let front = Front(Arc::new(Parts { config, table }));
    let routes = endpoints
        .into_iter()
        .fold(Router::new(), |routes, Endpoint { operation, handler }| {
            let handler = match operation.limit {
                BodyLimit::Usual => handler,
                BodyLimit::Counted => handler.layer(DefaultBodyLimit::disable()),
            };
            routes.route(operation.path, handler)
        })
        .fallback(move |uri: Uri| async move { no_route(&uri, described_at) })
        .method_not_allowed_fallback(no_method)
        .with_state(state);
    let panicked = |_: Box<dyn std::any::Any + Send>| Problem::internal().into_response();
    // One layer of the router: each would be boxed, and cloned for each request, by itself.
    let layers = ServiceBuilder::new()
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(front.clone(), observe))
        .layer(from_fn_with_state(front, admit))
        .layer(DefaultBodyLimit::max(body_bytes));
    routes.layer(layers)
}

/// Answers requests for paths that do not exist.
fn no_route(uri: &Uri, described_at: Option<&'static str>) -> Problem {
    let detail = format!("there is nothing at {}", uri.path());
    let problem = Problem::new(StatusCode::NOT_FOUND, "no_such_route", detail);
    match described_at {
        Some(path) => problem.hint(format!("GET {path} lists what there is")),
        None => problem,
    }
}

/// Answers requests with a method the path does not have; the `Allow` header is the router's.
async fn no_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Counts a request when it ends, however it ends.
struct Count {
    front: Arc<Parts>,
    /// A made-up path must not make a new series.
    route: Option<MatchedPath>,
    method: Method,
    started: Instant,
    status: Option<StatusCode>,
}

impl Drop for Count {
    fn drop(&mut self) {
        let status = match &self.status {
            Some(status) => status.as_str(),
            None if std::thread::panicking() => "500",
            None => "499", // the client went away
        };
        let route = (
            "route",
            self.route.as_ref().map_or("none", MatchedPath::as_str),
        );
        let labels = [route, ("method", self.method.as_str()), ("status", status)];
        let metrics = &self.front.config.metrics;
        metrics.count(Metric::HttpRequests, &labels);
        metrics.observe(Metric::HttpSeconds, &[route], self.started.elapsed());
        metrics.add(Metric::HttpInFlight, &[], -1.0);
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

async fn observe(State(Front(front)): State<Front>, mut request: Request, next: Next) -> Response {
    let id = request_id(&front.config.env, request.headers());
    let uri = request.uri().clone();
    let path = uri.path();
    let started = Instant::now();
    let rules = front.rules(&request);
    front.config.metrics.add(Metric::HttpInFlight, &[], 1.0);
    let mut count = Count {
        front,
        route: request.extensions().get::<MatchedPath>().cloned(),
        method: request.method().clone(),
        started,
        status: None,
    };
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    request.extensions_mut().insert(rules);

    let mut response = Problem::complete(unless_stalled(request, next).await, path, &id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    for (name, value) in FOR_BROWSERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let status = response.status();
    count.status = Some(status);
    let ms = started.elapsed().as_millis();
    // A readiness check that says no is an answer, not a failure. What is refused for want of room comes in masses, and is
    // counted: the log of an overload must not be a part of it.
    let refused = response.headers().contains_key(X_SHED);
    if status.is_server_error() && !refused && rules.access != Access::Operational {
        tracing::warn!(%id, method = %count.method, path, status = status.as_u16(), ms, "request");
    } else {
        tracing::debug!(%id, method = %count.method, path, status = status.as_u16(), ms, "request");
    }
    response
}

/// Decides whether a request is begun, and ends it when its time is up:
///
/// 1. drain gate: a node that goes away refuses new work before it costs anything, as does one with too many connections.
/// 2. deadline: a request nobody waits for is not begun.
/// 3. rate limit: cheapest to check, and no other tenant shall pay for one that sends too much.
/// 4. turn: by priority, under the node's limit. The wait for it is part of the request's time.
/// 5. bulkhead: taken last, so that who waits for a turn holds no place; kept until the answer's body has ended.
async fn admit(
    State(Front(front)): State<Front>,
    Extension(rules): Extension<Rules>,
    mut request: Request,
    next: Next,
) -> Response {
    let config = &front.config;
    let longest = match rules.time {
        TimeLimit::Upload => config.upload,
        TimeLimit::Request => config.request,
    };
    let started = Instant::now();
    let exceeded = || {
        let ms = started.elapsed().as_millis();
        let detail = format!("the time allowed for the request was over after {ms} ms");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded", detail).into_response()
    };
    if rules.access == Access::Operational {
        let answer = tokio::time::timeout(longest, next.run(request)).await;
        return answer.unwrap_or_else(|_| exceeded());
    }
    if config.draining.is_cancelled() {
        return Problem::draining().into_response();
    }
    if request.extensions().get::<Crowded>().is_some() {
        return Problem::crowded().into_response();
    }
    let Ok(until) = arriving(request.headers(), started, longest) else {
        return exceeded();
    };
    let allowed = match config.admission.rate(request.headers()) {
        Ok(allowed) => allowed,
        Err(limited) => {
            let mut response = Problem::from(limited).into_response();
            limited.write(response.headers_mut());
            return response;
        }
    };
    let work = rules.work;
    let priority = Priority::of(request.headers(), work.priority);
    request.extensions_mut().insert(Deadline(until));
    request.extensions_mut().insert(Ticket {
        admission: config.admission.clone(),
        work,
        priority,
        until,
    });
    let answer = tokio::time::timeout_at(until, begin(&config.admission, request, next)).await;
    let mut response = match answer {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(_) => exceeded(),
    };
    if let Some(allowed) = allowed {
        allowed.write(response.headers_mut());
    }
    response
}

async fn begin(admission: &Admission, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(Ticket {
        work,
        priority,
        until,
        ..
    }) = request.extensions().get::<Ticket>().cloned()
    else {
        return Err(Problem::internal()); // the caller has put it there
    };
    let turn = match work.turn {
        Turn::Needed => admission.turn(priority, work.kind, until).await?,
        Turn::Gate => {
            admission.gate(priority)?;
            None
        }
        Turn::Later | Turn::None => None,
    };
    let place = admission.enter(&work)?;
    let response = next.run(request).await;
    if let Some(turn) = turn {
        if tells_load(&response) {
            turn.done();
        } else {
            turn.ignored();
        }
    }
    Ok(match place {
        Some(place) => response.map(|body| Body::new(Held::new(body, place))),
        None => response,
    })
}

/// Whether the time that an answer took says how loaded the node is: not of what was refused or failed at once, and not
/// of what came from a cache.
fn tells_load(response: &Response) -> bool {
    let status = response.status();
    let worked = status.is_success() || status == StatusCode::GATEWAY_TIMEOUT;
    worked && response.headers().get(X_CACHE).is_none_or(|v| v != "hit")
}

#[cfg(test)]
mod tests;
