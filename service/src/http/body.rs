//! Knowing what is in flight, to the end of the response body and not only to its headers: a video download is at
//! work for minutes after its handler returned.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

/// Counts what is in flight. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Gauge>);

#[derive(Default)]
struct Gauge {
    count: AtomicUsize,
    idle: Notify,
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.count()).finish()
    }
}

impl InFlight {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        InFlightGuard(Arc::clone(&self.0))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Returns once there are none.
    pub async fn idle(&self) {
        loop {
            let mut reached = pin!(self.0.idle.notified());
            // Listening starts before the count is read, so that the last guard cannot slip between the two.
            reached.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            reached.await;
        }
    }
}

/// One unit of an [`InFlight`] count.
pub struct InFlightGuard(Arc<Gauge>);

impl fmt::Debug for InFlightGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlightGuard")
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A body that holds a guard until it has ended, failed or been dropped.
#[derive(Debug)]
pub struct Held<B, G> {
    inner: B,
    guard: Option<G>,
}

impl<B, G> Held<B, G> {
    /// Ties `guard` to the life of `inner`.
    pub fn new(inner: B, guard: G) -> Self {
        Self {
            inner,
            guard: Some(guard),
        }
    }
}

impl<B: Body + Unpin, G: Unpin> Body for Held<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.guard = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Middleware that counts each request until its response body has ended:
/// `router.layer(axum::middleware::from_fn_with_state(gauge, count_in_flight))`.
pub async fn count_in_flight(
    State(gauge): State<InFlight>,
    request: Request,
    next: Next,
) -> Response {
    let guard = gauge.enter();
    next.run(request)
        .await
        .map(|body| axum::body::Body::new(Held::new(body, guard)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};

    #[tokio::test]
    async fn a_body_counts_until_it_ends() {
        let gauge = InFlight::default();
        let body = Held::new(Full::new(Bytes::from_static(b"clip")), gauge.enter());
        assert_eq!(gauge.count(), 1);
        let text = body
            .collect()
            .await
            .expect("an in-memory body cannot fail")
            .to_bytes();
        assert_eq!((&text[..], gauge.count()), (&b"clip"[..], 0));
    }

    #[tokio::test]
    async fn idle_waits_for_the_last_guard() {
        let gauge = InFlight::default();
        gauge.idle().await;
        let (first, second) = (gauge.enter(), gauge.enter());
        let mut idle = Box::pin(gauge.idle());
        drop(first);
        assert!(futures_util::poll!(idle.as_mut()).is_pending());
        drop(second);
        assert!(futures_util::poll!(idle.as_mut()).is_ready());
    }
}
