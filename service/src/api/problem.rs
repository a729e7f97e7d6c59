//! How errors of storage and media read as [`Problem`]s, for handlers of the API and of processors.

use http::StatusCode;

use crate::admission::Reason;
pub use crate::http::{FieldError, PROBLEM_JSON, Problem, SHORTAGE};
use crate::media::{MediaError, MediaErrorCode};
use crate::store::StoreError;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing under this id")
            }
            StoreError::IdempotencyMismatch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used with a different request",
            )
            .hint("send a new key with a new request, or the same request to get the first answer again"),
            StoreError::Shortage(reason) => {
                tracing::debug!(reason, "storage is short of something");
                Self::short()
            }
            StoreError::Failed(reason) => {
                tracing::error!(reason, "storage failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", "storage does not answer")
                    .retry_after(2)
            }
        }
    }
}

/// The code as the API writes it.
#[must_use]
pub fn media_code(code: MediaErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(), // a unit variant is always a string
    }
}

/// A processor may answer so; the status says whether another instance would do better.
impl From<MediaError> for Problem {
    fn from(error: MediaError) -> Self {
        let status = match error.code {
            MediaErrorCode::NotAVideo
            | MediaErrorCode::NoVideoStream
            | MediaErrorCode::CorruptMedia
            | MediaErrorCode::ResourceLimit
            | MediaErrorCode::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
            MediaErrorCode::SourceUnavailable => StatusCode::NOT_FOUND,
            MediaErrorCode::Busy | MediaErrorCode::Shortage | MediaErrorCode::Cancelled => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            MediaErrorCode::Stalled => StatusCode::GATEWAY_TIMEOUT,
            MediaErrorCode::WorkerCrashed | MediaErrorCode::EncodeFailed => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let problem = Self::new(status, &media_code(error.code), error.detail)
            .retryable(error.code.retryable());
        match error.code {
            MediaErrorCode::Busy => problem.retry_after(1).shed(Reason::QueueFull.name()),
            MediaErrorCode::Shortage => problem.retry_after(1).shed(SHORTAGE),
            _ => problem,
        }
    }
}
