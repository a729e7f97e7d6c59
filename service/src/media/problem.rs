//! How errors of media read to clients, and to gateways that ask processors.

use http::StatusCode;

use super::{MediaError, MediaErrorCode};
use crate::admission::Reason;
use crate::http::{Problem, SHORTAGE};

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
