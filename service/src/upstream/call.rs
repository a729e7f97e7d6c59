//! What is asked of the stack, and what comes back.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::body::UpstreamBody;
use super::instance::Instance;

/// Makes a request that changes something safe to repeat: its receiver does it once per key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One call to any instance of the pool.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which kind of call it is. Latency, throttling and counts are kept per kind, so there should be few.
    pub route: &'static str,
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
            route: "read",
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

    /// A `POST` of JSON whose answer is streamed; not idempotent unless it is [`Call::keyed`].
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
            HeaderValue::from_static("application/json"),
        );
        Self {
            route: "task",
            method: Method::POST,
            headers,
            body: body.into(),
            idempotent: false,
            try_timeout: Some(try_timeout),
            delivery: Delivery::Stream { idle },
            ..Self::get(path_and_query, deadline)
        }
    }

    /// Carries an `Idempotency-Key`: its receiver does it once per key, so it may be repeated whatever its method.
    #[must_use]
    pub fn keyed(mut self, key: HeaderValue) -> Self {
        self.headers.insert(IDEMPOTENCY_KEY, key);
        self.idempotent = true;
        self
    }

    /// Whether a second instance may be asked at the same time: a read, read whole, whose time is ours to say. Whoever
    /// sets the time of a try has long work in mind, which is no tail to cut off.
    pub(super) fn may_be_hedged(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
            && self.idempotent
            && self.try_timeout.is_none()
            && matches!(self.delivery, Delivery::Whole { .. })
    }
}

/// Name of an instance.
#[derive(Clone)]
pub struct InstanceName(Arc<Instance>);

impl InstanceName {
    pub(super) fn of(instance: Arc<Instance>) -> Self {
        Self(instance)
    }
}

impl Deref for InstanceName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.name
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for InstanceName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for InstanceName {}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The answer. An error status that a retry could not better is passed on as it came.
    pub response: http::Response<UpstreamBody>,
    /// Who answered.
    pub instance: InstanceName,
    /// Tries it took, the first and hedges included.
    pub attempts: u32,
}

/// How one try failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TryError {
    /// Not connected: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Not connected, because this machine has run out of something: nothing was sent, and the instance is not to blame.
    #[error("cannot connect: {0}")]
    Shortage(String),
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
    /// The instances shed most of such calls, so this one was not made.
    #[error("not asked: the instances shed most calls of this kind")]
    Throttled,
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
            Self::NoInstance
            | Self::Throttled
            | Self::Exhausted {
                last: TryError::Shortage(_),
                ..
            } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Exhausted { .. } => StatusCode::BAD_GATEWAY,
        }
    }
}
