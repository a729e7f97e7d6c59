//! A request's body on its way in: whether it has come to its end, and whether it keeps the pace.
//!
//! How much of it a handler takes is the handler's to say; that a sender which makes no progress gets an answer and loses its
//! place is the same for every route.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pace::{Pace, Watch};
use super::problem::Problem;
use super::wire::Exchanges;

/// What became of a request's body; in the extensions of every request that has one.
#[derive(Debug, Clone, Default)]
struct Arrival(Arc<AtomicBool>);

/// A request's body that watches its sender.
pub(super) struct Arriving {
    inner: Incoming,
    watch: Watch,
    stalled: Arrival,
    exchanges: Arc<Exchanges>,
}

impl Arriving {
    /// Puts the watch in front of a request's body.
    pub(super) fn of(
        request: http::Request<Incoming>,
        pace: Pace,
        exchanges: &Arc<Exchanges>,
    ) -> Request {
        let unread = !request.body().is_end_stream();
        exchanges.set_unread(unread);
        if !unread {
            return request.map(axum::body::Body::new);
        }
        let stalled = Arrival::default();
        let mut request = request.map(|inner| {
            axum::body::Body::new(Self {
                inner,
                watch: Watch::new(pace),
                stalled: stalled.clone(),
                exchanges: Arc::clone(exchanges),
            })
        });
        request.extensions_mut().insert(stalled);
        request
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.watch.moved(frame.data_ref().map_or(0, Bytes::len));
                if this.inner.is_end_stream() {
                    this.exchanges.set_unread(false);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(axum::Error::new(error)))),
            Poll::Ready(None) => {
                this.exchanges.set_unread(false);
                Poll::Ready(None)
            }
            Poll::Pending => this.watch.poll_late(context).map(|()| {
                this.stalled.0.store(true, Relaxed);
                let error = "the sender of the body makes no progress";
                Some(Err(axum::Error::new(error)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Has `next` answer, and answers 408 in its place when it failed because the sender stalled: a handler sees no more than
/// a body that breaks off, and each would say something else about it.
pub async fn unless_stalled(request: Request, next: Next) -> Response {
    let arrival = request.extensions().get::<Arrival>().cloned();
    let response = next.run(request).await;
    match arrival {
        Some(Arrival(stalled)) if stalled.load(Relaxed) => {
            let detail = "the body of the request came too slowly";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "request_too_slow", detail)
                .close()
                .into_response()
        }
        _ => response,
    }
}
