//! What is asked of the stack, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::body::UpstreamBody;

/// One call to any instance of the pool.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path and query, beginning with `/`.
    pub path_and_query: String,
    /// Headers. `host` and `x-timeout-ms` are set by the stack.
    pub headers: HeaderMap,
    /// Body, sent again with each retry.
    pub body: Bytes,
    /// Whether doing it twice is the same as once. Only then is it repeated after something may have been sent.
    pub idempotent: bool,
    /// When the whole call, retries and answer included, must be over.
    pub deadline: Instant,
    /// Bound of one try; `None` takes the configured one for reads and adapts it to the pool.
    pub try_timeout: Option<Duration>,
    /// How the answer is delivered.
    pub delivery: Delivery,
    /// Instances to use only when there is no other.
    pub prefer_not: Vec<String>,
    /// What it reads ([`super::hash_key`]), for instances that are chosen by that; `None` for nothing in particular.
    pub hash_key: Option<u64>,
}

/// How an answer is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Read to its end within the try, so that a connection that breaks half-way is a failed try and is retried.
    Whole {
        /// Most bytes; more is an error.
        limit: usize,
    },
    /// Handed on as it comes. The try ends with the head; what breaks afterwards is the caller's to see.
    Stream {
        /// Longest silence between two pieces.
        idle: Duration,
    },
}

impl Call {
    /// An idempotent `GET` whose answer (up to 32 MiB) is delivered whole.
    pub fn get(path_and_query: impl Into<String>, deadline: Instant) -> Self {
        Self {
            method: Method::GET,
            path_and_query: path_and_query.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            idempotent: true,
            deadline,
            try_timeout: None,
            delivery: Delivery::Whole {
                limit: 32 * 1024 * 1024,
            },
            prefer_not: Vec::new(),
            hash_key: None,
        }
    }

    /// A `POST` of JSON whose answer is streamed; not idempotent.
    pub fn post_streamed(
        path_and_query: impl Into<String>,
        body: impl Into<Bytes>,
        deadline: Instant,
        try_timeout: Duration,
        idle: Duration,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Self {
            method: Method::POST,
            path_and_query: path_and_query.into(),
            headers,
            body: body.into(),
            idempotent: false,
            deadline,
            try_timeout: Some(try_timeout),
            delivery: Delivery::Stream { idle },
            prefer_not: Vec::new(),
            hash_key: None,
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The answer. An error status that a retry could not better is passed on as it came.
    pub response: http::Response<UpstreamBody>,
    /// Who answered.
    pub instance: String,
    /// Tries it took, the first included.
    pub attempts: u32,
}

/// How one try failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TryError {
    /// Not connected: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke before the answer was complete.
    #[error("connection broke: {0}")]
    Broken(String),
    /// No (whole) answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is longer than the call takes.
    #[error("answer longer than {0} bytes")]
    TooLong(usize),
    /// The call itself cannot be sent.
    #[error("not a usable request: {0}")]
    Invalid(String),
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Its time was up.
    #[error("deadline exceeded after {attempts} tries{}", last.as_ref().map(|e| format!(" (last: {e})")).unwrap_or_default())]
    DeadlineExceeded {
        /// Tries begun.
        attempts: u32,
        /// How the last finished one failed.
        last: Option<TryError>,
    },
    /// There is nobody to ask.
    #[error("no instance available")]
    NoInstance,
    /// Every try failed.
    #[error("failed after {attempts} tries, last on {instance}: {last}")]
    Exhausted {
        /// Tries made.
        attempts: u32,
        /// Who was asked last.
        instance: String,
        /// How that failed.
        last: TryError,
    },
}

impl UpstreamError {
    /// The status that tells a client the same.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::DeadlineExceeded { .. }
            | Self::Exhausted {
                last: TryError::Timeout(_),
                ..
            } => StatusCode::GATEWAY_TIMEOUT,
            Self::NoInstance => StatusCode::SERVICE_UNAVAILABLE,
            Self::Exhausted { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}
