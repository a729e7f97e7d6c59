//! One try on one instance: in flight, recorded, bounded.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::call::{Call, Delivery, TryError};
use super::deadline;
use super::instance::Instance;
use super::pool::Picked;
use crate::breaker::{Outcome, Permit, Ticket};
use crate::http::ClientError;

/// Makes sure that a call which began is counted, ends, and says how, whatever happens to it. Dropped without a verdict
/// (the caller went away) it blames the instance only if it had already waited unusually long: otherwise an instance
/// that hangs would never be found out by callers who give up first.
pub(super) struct Recorder {
    instance: Arc<Instance>,
    ticket: Ticket,
    /// Until a verdict.
    permit: Option<Permit>,
    patience: Duration,
}

impl Recorder {
    pub(super) fn begin(picked: Picked, patience: Duration) -> Self {
        let Picked {
            instance, permit, ..
        } = picked;
        instance.began();
        Self {
            instance,
            ticket: permit.ticket(),
            permit: Some(permit),
            patience,
        }
    }

    fn report(&mut self, outcome: Outcome, retry_after: Option<Duration>) {
        if let Some(permit) = self.permit.take() {
            self.instance
                .record(permit, outcome, retry_after, Instant::now());
        }
    }

    /// A streamed answer broke after its head had been counted as a success.
    pub(super) fn broke(&mut self) {
        self.instance.broke(self.ticket, Instant::now());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.instance.ended();
        let late = self.ticket.began().elapsed() >= self.patience;
        let gone = if late {
            Outcome::Abandoned
        } else {
            Outcome::Ignored
        };
        self.report(gone, None);
    }
}

/// Makes one try, which may take `bound`.
pub(super) async fn attempt(
    call: &Call,
    picked: Picked,
    number: u32,
    bound: Duration,
) -> Result<Response<UpstreamBody>, TryError> {
    let client = picked.instance.client.clone();
    let request = request(call, &picked.instance.address, number, bound);
    let mut recorder = Recorder::begin(picked, bound / 2);
    let exchange = async {
        let response = client
            .request(request?)
            .await
            .map_err(|error| match error {
                ClientError::Connect(text) => TryError::Connect(text),
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
    let outcome = tokio::time::timeout(bound, exchange).await;
    let (head, body) = match outcome.unwrap_or(Err(TryError::Timeout(bound))) {
        Ok(answer) => answer,
        Err(error) => {
            let outcome = match error {
                TryError::Connect(_) | TryError::Broken(_) | TryError::Timeout(_) => {
                    Outcome::TransportFailure
                }
                TryError::TooLong(_) | TryError::Invalid(_) => Outcome::Ignored,
            };
            recorder.report(outcome, None);
            return Err(error);
        }
    };
    let outcome = match head.status {
        status if status.is_server_error() => Outcome::ErrorStatus,
        // It protects itself: no sign of health, no sign of illness.
        StatusCode::TOO_MANY_REQUESTS => Outcome::Ignored,
        _ => Outcome::Success,
    };
    recorder.report(outcome, retry_after(&head));
    let body = match (body, call.delivery) {
        (Ok(bytes), _) => UpstreamBody::whole(bytes),
        (Err(incoming), Delivery::Stream { idle }) => {
            UpstreamBody::stream(incoming, idle, call.deadline, recorder)
        }
        (Err(incoming), Delivery::Whole { .. }) => {
            UpstreamBody::stream(incoming, bound, call.deadline, recorder)
        }
    };
    Ok(Response::from_parts(head, body))
}

/// How long an answer asks to be left alone. A date is not understood: our own roles send seconds.
fn retry_after(head: &http::response::Parts) -> Option<Duration> {
    let value = head.headers.get(http::header::RETRY_AFTER)?;
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    let asked = matches!(
        head.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    asked.then(|| Duration::from_secs(seconds))
}

fn request(
    call: &Call,
    address: &str,
    number: u32,
    bound: Duration,
) -> Result<Request<Full<bytes::Bytes>>, TryError> {
    let invalid = |error: http::Error| TryError::Invalid(error.to_string());
    let uri = Uri::builder()
        .scheme("http")
        .authority(address)
        .path_and_query(call.path_and_query.as_str())
        .build()
        .map_err(invalid)?;
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(uri)
        .body(Full::new(call.body.clone()))
        .map_err(invalid)?;
    let headers = request.headers_mut();
    *headers = call.headers.clone();
    headers.remove(http::header::HOST);
    let now = Instant::now();
    // What is read whole within the try is useless to the instance after it; a stream goes on to the deadline.
    let until = match call.delivery {
        Delivery::Whole { .. } => call.deadline.min(now + bound),
        Delivery::Stream { .. } => call.deadline,
    };
    deadline::forward(headers, now, until);
    headers.insert("x-attempt", number.into());
    Ok(request)
}
