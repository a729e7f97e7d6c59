//! One call through a breaker, for dependencies without an alternative.

use std::future::Future;

use tokio::time::Instant;

use super::{Breaker, Outcome, Rejected};

/// Why a call through a breaker failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BreakerError<E> {
    /// It was not made.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It was made and failed.
    #[error("{0}")]
    Inner(E),
}

impl<E> BreakerError<E> {
    /// The call's own error, if it was made.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Rejected(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}

/// Says what a result means for the breaker. Closures do: `|result: &Result<T, E>| Outcome::…`.
pub trait Classify<T, E> {
    /// What it means.
    fn classify(&self, result: &Result<T, E>) -> Outcome;
}

impl<T, E, F: Fn(&Result<T, E>) -> Outcome> Classify<T, E> for F {
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        self(result)
    }
}

/// Every error is a failure that counts into the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorsFail;

impl<T, E> Classify<T, E> for ErrorsFail {
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::TransportFailure,
        }
    }
}

impl Breaker {
    /// Like [`Breaker::call`], where not every error is the dependency's fault.
    ///
    /// ```
    /// use clip_service::breaker::{Breaker, BreakerConfig, Outcome, State};
    /// use clip_service::env::SharedRng;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let host = Breaker::new("source-host", BreakerConfig::default(), SharedRng::seeded(1));
    /// // A source that is not there is no sign that its host is ill.
    /// let missing = |result: &Result<u64, u16>| match result {
    ///     Ok(_) => Outcome::Success,
    ///     Err(404) => Outcome::Ignored,
    ///     Err(500..) => Outcome::ErrorStatus,
    ///     Err(_) => Outcome::TransportFailure,
    /// };
    /// for _ in 0..100 {
    ///     host.call_with(missing, async { Err(404) }).await.unwrap_err();
    /// }
    /// assert_eq!(host.state(), State::Closed);
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// The call's own, or that it was not admitted.
    pub async fn call_with<T, E>(
        &self,
        classify: impl Classify<T, E>,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BreakerError<E>> {
        let permit = self.try_permit(Instant::now())?;
        let result = call.await;
        permit.record(classify.classify(&result), Instant::now());
        result.map_err(BreakerError::Inner)
    }
}
