//! How errors of storage read to clients.

use http::StatusCode;

use super::StoreError;
use crate::http::Problem;

/// Code of the one refusal that may be none: what was asked for may yet be done.
pub const UNANSWERED: &str = "storage_unanswered";

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
            StoreError::Unreadable(id) => {
                let detail = format!("what is stored as `{id}` cannot be read");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "row_unreadable", detail).retryable(false)
            }
            StoreError::Unanswered => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, UNANSWERED, "storage does not answer")
                    .retry_after(2)
            }
            StoreError::Failed(reason) => {
                tracing::error!(reason, "storage failed");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", "storage does not answer")
                    .retry_after(2)
            }
        }
    }
}
