//! A breaker around a tower service.
//!
//! Not for pools: there an open breaker takes an instance out of the choice. Here a call that is not admitted is an
//! error, so this belongs around a dependency without an alternative.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{Breaker, BreakerError, Classify, ErrorsFail, Permit, Rejected};

/// Puts a breaker around services. The breaker belongs to the layer: services that it makes, and their clones, share it.
///
/// ```
/// use clip_service::breaker::{Breaker, BreakerConfig, BreakerError, BreakerLayer};
/// use clip_service::env::SharedRng;
/// use tower::{ServiceBuilder, ServiceExt as _, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let breaker = Breaker::new("transcriber", BreakerConfig::default(), SharedRng::seeded(1));
/// let transcribe = ServiceBuilder::new()
///     .layer(BreakerLayer::new(breaker.clone()))
///     .service(service_fn(async |text: &'static str| Ok::<_, String>(text.len())));
///
/// assert_eq!(transcribe.clone().oneshot("well").await, Ok(4));
/// breaker.force_open();
/// let refused = transcribe.oneshot("well").await.unwrap_err();
/// assert_eq!(refused.to_string(), "breaker `transcriber` is forced-open");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct BreakerLayer<C = ErrorsFail> {
    breaker: Breaker,
    classify: C,
}

impl BreakerLayer {
    /// Every error of the service is a failure.
    #[must_use]
    pub fn new(breaker: Breaker) -> Self {
        Self::with(breaker, ErrorsFail)
    }
}

impl<C> BreakerLayer<C> {
    /// `classify` says what a result means.
    pub fn with(breaker: Breaker, classify: C) -> Self {
        Self { breaker, classify }
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = BreakerService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService {
            inner,
            ready: false,
            breaker: self.breaker.clone(),
            classify: self.classify.clone(),
        }
    }
}

/// A service behind a breaker.
///
/// `poll_ready` takes no permit, so a service that is polled and never called holds nothing. It is also ready when the
/// breaker admits nothing, whatever the inner service is: a call fails at once then, instead of waiting for a dependency
/// that is stuck.
pub struct BreakerService<S, C = ErrorsFail> {
    inner: S,
    /// Whether `inner` has said that it is ready, for one call.
    ready: bool,
    breaker: Breaker,
    classify: C,
}

impl<S: Clone, C: Clone> Clone for BreakerService<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            // Only the one that was polled is ready.
            ready: false,
            breaker: self.breaker.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<S, C> fmt::Debug for BreakerService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerService")
            .field("breaker", &self.breaker.name())
            .finish_non_exhaustive()
    }
}

impl<S, C, R> Service<R> for BreakerService<S, C>
where
    S: Service<R> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = BreakerError<S::Error>;
    type Future = BreakerFuture<S, R, C>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.inner.poll_ready(context) {
            Poll::Ready(Ok(())) => self.ready = true,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(BreakerError::Inner(error))),
            Poll::Pending if self.breaker.admits() => return Poll::Pending,
            Poll::Pending => {}
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let step = match self.breaker.try_permit_owned(Instant::now()) {
            // `inner` stays as ready as it is.
            Err(rejected) => Step::Rejected {
                rejected: Some(rejected),
            },
            Ok(permit) => {
                // The one that was polled takes the call; a clone of it would not be ready.
                let clone = self.inner.clone();
                let mut inner = mem::replace(&mut self.inner, clone);
                if mem::take(&mut self.ready) {
                    Step::Called {
                        future: inner.call(request),
                        permit: Some(permit),
                    }
                } else {
                    Step::Waiting {
                        inner,
                        request: Some(request),
                        permit: Some(permit),
                    }
                }
            }
        };
        BreakerFuture {
            step,
            classify: self.classify.clone(),
        }
    }
}

pin_project! {
    /// Answer of a [`BreakerService`].
    pub struct BreakerFuture<S: Service<R>, R, C> {
        #[pin]
        step: Step<S, R, S::Future>,
        classify: C,
    }
}

impl<S: Service<R>, R, C> fmt::Debug for BreakerFuture<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakerFuture")
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S, R, F> {
        Rejected { rejected: Option<Rejected> },
        // The breaker began to admit after `poll_ready`, so the inner service has still to become ready.
        Waiting { inner: S, request: Option<R>, permit: Option<Permit> },
        Called { #[pin] future: F, permit: Option<Permit> },
    }
}

impl<S, R, C> Future for BreakerFuture<S, R, C>
where
    S: Service<R>,
    C: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, BreakerError<S::Error>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let (result, permit) = match this.step.as_mut().project() {
                StepProjection::Rejected { rejected } => {
                    let rejected = rejected.take().expect(POLLED);
                    return Poll::Ready(Err(BreakerError::Rejected(rejected)));
                }
                StepProjection::Waiting {
                    inner,
                    request,
                    permit,
                } => match ready!(inner.poll_ready(context)) {
                    Ok(()) => {
                        let future = inner.call(request.take().expect(POLLED));
                        let permit = permit.take();
                        this.step.set(Step::Called { future, permit });
                        continue;
                    }
                    Err(error) => (Err(error), permit),
                },
                StepProjection::Called { future, permit } => (ready!(future.poll(context)), permit),
            };
            let permit = permit.take().expect(POLLED);
            permit.record(this.classify.classify(&result), Instant::now());
            return Poll::Ready(result.map_err(BreakerError::Inner));
        }
    }
}

const POLLED: &str = "a future is not polled again after it has answered";
