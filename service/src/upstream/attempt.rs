//! One try on one instance: in flight, recorded, bounded.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::uri::{self, PathAndQuery};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::call::{Call, Delivery, TryError};
use super::instance::Instance;
use super::picked::Picked;
use super::retry::{is_shed, retry_after};
use super::route::Route;
use crate::breaker::Outcome;
use crate::edge::deadline;
use crate::http::ClientError;

/// Which try of its call a request is, from 1.
const X_ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");
/// Present on the second leg of a hedge, so that an instance short of capacity can refuse it first.
const X_HEDGE: HeaderName = HeaderName::from_static("x-hedge");

/// What a try is told by the layers around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Which try of the call it is, from 1.
    pub(super) number: u32,
    /// How long it may take.
    pub(super) bound: Duration,
    /// Whether it is the second leg of a hedge.
    pub(super) hedge: bool,
    /// When it can lose a race: how long its instance may answer nobody before that counts against it.
    pub(super) silence: Option<Duration>,
}

/// Makes sure that a call which began is counted, ends, and says how, whatever happens to it. Dropped without a verdict
/// (the caller went away, another leg won) it blames the instance only if this call waited unusually long or the
/// instance answers nobody: otherwise an instance that hangs would never be found out by callers who give up first.
pub(super) struct Recorder {
    picked: Picked,
    route: Arc<Route>,
    patience: Duration,
    silence: Option<Duration>,
}

impl Recorder {
    fn begin(picked: Picked, route: Arc<Route>, plan: Plan) -> Self {
        picked.instance.began();
        picked.instance.silence.asked(picked.ticket.began());
        Self {
            picked,
            route,
            patience: plan.bound / 2,
            silence: plan.silence,
        }
    }

    fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.picked.ticket.began())
    }

    fn report(&mut self, outcome: Outcome, retry_after: Option<Duration>, now: Instant) {
        if self.picked.settle(outcome, retry_after, now) && outcome == Outcome::Success {
            let took = self.took(now);
            self.route.latency.ended(took, now);
            self.route.tries.observe(took);
        }
    }

    /// A streamed answer broke after its head had been counted as a success.
    pub(super) fn broke(&mut self) {
        let Picked {
            instance, ticket, ..
        } = &self.picked;
        instance.broke(*ticket, Instant::now());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.picked.instance.ended();
        if self.picked.settled() {
            return;
        }
        let now = Instant::now();
        let took = self.took(now);
        let silence = &self.picked.instance.silence;
        let hangs = |piece| silence.blame(piece, now);
        let outcome = if took >= self.patience || self.silence.is_some_and(hangs) {
            Outcome::Abandoned
        } else {
            self.route.latency.given_up(took, now);
            Outcome::Ignored
        };
        silence.left(now);
        self.report(outcome, None, now);
    }
}

/// Makes one try; says how it ended, and when. Its bound is kept only while `armed`: a try that is looked at again
/// before its bound needs no timer of its own until then.
pub(super) async fn attempt(
    call: &Call,
    picked: Picked,
    route: Arc<Route>,
    plan: Plan,
    armed: &AtomicBool,
) -> (Result<Response<UpstreamBody>, TryError>, Instant) {
    let now = picked.ticket.began();
    let instance = Arc::clone(&picked.instance);
    let request = request(call, &instance, plan, now);
    let mut recorder = Recorder::begin(picked, route, plan);
    let exchange = async {
        let response = instance
            .client
            .request(request?)
            .await
            .map_err(|error| match error {
                ClientError::Connect(text) => TryError::Connect(text),
                ClientError::Shortage(text) => TryError::Shortage(text),
                other => TryError::Broken(other.to_string()),
            })?;
        let (head, body) = response.into_parts();
        let Delivery::Whole { limit } = call.delivery else {
            return Ok((head, Err(body)));
        };
        let bytes = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                TryError::TooLong(limit)
            } else {
                TryError::Broken(ClientError::broken(&*error).to_string())
            }
        })?;
        Ok((head, Ok(bytes.to_bytes())))
    };
    let bound = plan.bound;
    let mut exchange = std::pin::pin!(exchange);
    let mut over = std::pin::pin!(None);
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = exchange.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        if !armed.load(Relaxed) {
            return Poll::Pending;
        }
        if over.is_none() {
            over.set(Some(tokio::time::sleep_until(now + bound)));
        }
        match over.as_mut().as_pin_mut() {
            Some(over) => over.poll(cx).map(|()| Err(TryError::Timeout(bound))),
            None => Poll::Pending,
        }
    })
    .await;
    let now = Instant::now();
    let (head, body) = match outcome {
        Ok(answer) => answer,
        Err(error) => {
            let silence = &recorder.picked.instance.silence;
            match error {
                TryError::Timeout(_) | TryError::Invalid(_) | TryError::Shortage(_) => {
                    silence.left(now);
                }
                _ => silence.heard(now),
            }
            let outcome = match error {
                TryError::Connect(_) | TryError::Broken(_) | TryError::Timeout(_) => {
                    Outcome::TransportFailure
                }
                TryError::TooLong(_) | TryError::Invalid(_) | TryError::Shortage(_) => {
                    Outcome::Ignored
                }
            };
            recorder.report(outcome, None, now);
            return (Err(error), now);
        }
    };
    recorder.picked.instance.silence.heard(now);
    let shed = is_shed(head.status, &head.headers);
    let outcome = match head.status {
        // It protects itself: no sign of health, no sign of illness.
        StatusCode::TOO_MANY_REQUESTS => Outcome::Ignored,
        _ if shed => Outcome::Ignored,
        status if status.is_server_error() => Outcome::ErrorStatus,
        _ => Outcome::Success,
    };
    let asked = match head.status {
        // Refusing is quick, and must not look like being free.
        _ if shed => Some(retry_after(&head.headers).unwrap_or_default()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            retry_after(&head.headers)
        }
        _ => None,
    };
    recorder.report(outcome, asked, now);
    let body = match (body, call.delivery) {
        (Ok(bytes), _) => UpstreamBody::whole(bytes),
        (Err(incoming), Delivery::Stream { idle }) => {
            UpstreamBody::stream(incoming, idle, call.deadline, recorder)
        }
        (Err(incoming), Delivery::Whole { .. }) => {
            UpstreamBody::stream(incoming, bound, call.deadline, recorder)
        }
    };
    (Ok(Response::from_parts(head, body)), now)
}

fn request(
    call: &Call,
    instance: &Instance,
    plan: Plan,
    now: Instant,
) -> Result<Request<Full<bytes::Bytes>>, TryError> {
    let Some(authority) = &instance.authority else {
        let address = &instance.address;
        return Err(TryError::Invalid(format!("`{address}` is no host:port")));
    };
    let path = call.path_and_query.parse::<PathAndQuery>();
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(path.map_err(|error| TryError::Invalid(error.to_string()))?);
    let uri = Uri::from_parts(parts).map_err(|error| TryError::Invalid(error.to_string()))?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    headers.remove(http::header::HOST);
    // What is read whole within the try is useless to the instance after it; a stream goes on to the deadline.
    let until = match call.delivery {
        Delivery::Whole { .. } => call.deadline.min(now + plan.bound),
        Delivery::Stream { .. } => call.deadline,
    };
    deadline::forward(headers, now, until);
    headers.insert(X_ATTEMPT, plan.number.into());
    if plan.hedge {
        headers.insert(X_HEDGE, HeaderValue::from_static("1"));
    }
    Ok(request)
}
