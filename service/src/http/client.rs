//! One request to one address, bounded in time. Retries, balancing and breakers are [`crate::upstream`]'s.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::TokioTimer;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connector::Connector;
use crate::env::Env;
use crate::shortage::tells_shortage;

/// Shorter than the server's header timeout, so that it is this side which closes an idle connection: the other way
/// round, a request and the server's FIN can cross.
const POOL_IDLE: Duration = Duration::from_secs(15);
const POOL_IDLE_CONNECTIONS: usize = 64;
/// More JSON than any peer sends; a peer that sends more is broken, and memory is ours.
const JSON_LIMIT: usize = 8 * 1024 * 1024;
/// How much of an error's body is kept: a problem with a list of fields.
const ERROR_BODY: usize = 4 * 1024;

/// Why a request got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Not a URL.
    #[error("not a usable request: {0}")]
    Invalid(String),
    /// No connection was made, so nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// No connection was made, because this machine has run out of something.
    #[error("cannot connect: {0}")]
    Shortage(String),
    /// The connection broke before the whole answer was there. The peer may have acted.
    #[error("connection broke: {0}")]
    Broken(String),
    /// The time was up. The peer may have acted.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer answered with an error status.
    #[error("answered {status}: {body}")]
    Status {
        /// The status.
        status: StatusCode,
        /// Start of the body.
        body: String,
    },
    /// The answer was not what was expected.
    #[error("unreadable answer: {0}")]
    Decode(String),
}

impl ClientError {
    /// The status, when the peer answered with an error.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn broken(error: &(dyn Error + 'static)) -> Self {
        Self::Broken(chain(error))
    }
}

/// An HTTP/1.1 client with a connection pool. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct Client(legacy::Client<Connector, Full<Bytes>>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client on this node's network.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        // Without timers of its own the pool would read the machine's clock, which a simulation does not drive.
        Self(
            legacy::Client::builder(env.exec)
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_IDLE_CONNECTIONS)
                .build(Connector(env.net.clone())),
        )
    }

    /// Sends a request (absolute URL) and returns the answer's head, whatever its status. Not bounded in time.
    ///
    /// # Errors
    /// `Connect` or `Shortage` when nothing was sent, `Broken` when the connection ended before an answer.
    pub async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.0.request(request).await.map_err(|error| {
            if error.is_connect() && tells_shortage(&error) {
                ClientError::Shortage(chain(&error))
            } else if error.is_connect() {
                ClientError::Connect(chain(&error))
            } else {
                ClientError::broken(&error)
            }
        })
    }

    /// `GET url`, JSON back.
    ///
    /// # Errors
    /// Any [`ClientError`]; a status other than 2xx is `Status`.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        url: &str,
        within: Duration,
    ) -> Result<T, ClientError> {
        self.json(Method::GET, url, None::<&()>, within).await
    }

    /// `POST url` with JSON, JSON back.
    ///
    /// # Errors
    /// As [`Client::get_json`].
    pub async fn post_json<B: Serialize, T: DeserializeOwned>(
        &self,
        url: &str,
        body: &B,
        within: Duration,
    ) -> Result<T, ClientError> {
        self.json(Method::POST, url, Some(body), within).await
    }

    /// Any method with optional JSON, JSON back. `within` bounds everything up to the last byte.
    ///
    /// # Errors
    /// As [`Client::get_json`].
    pub async fn json<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&B>,
        within: Duration,
    ) -> Result<T, ClientError> {
        let invalid = |error: &dyn fmt::Display| ClientError::Invalid(error.to_string());
        let mut request = Request::builder().method(method).uri(url);
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Bytes::from(serde_json::to_vec(body).map_err(|error| invalid(&error))?)
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| invalid(&error))?;
        let exchange = async {
            let response = self.request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), JSON_LIMIT)
                .collect()
                .await;
            let body = body
                .map_err(|error| ClientError::broken(&*error))?
                .to_bytes();
            if !status.is_success() {
                let start = &body[..body.len().min(ERROR_BODY)];
                return Err(ClientError::Status {
                    status,
                    body: String::from_utf8_lossy(start).into_owned(),
                });
            }
            serde_json::from_slice(&body).map_err(|error| ClientError::Decode(error.to_string()))
        };
        tokio::time::timeout(within, exchange)
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout(within)))
    }
}

/// An error with its causes, outermost first: hyper keeps the reason in the source.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
