//! One connection of a server, from its first byte to its polite end.
//!
//! HTTP is the library's. What it answers by itself, or not at all, is given the form of every other refusal here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::arriving::Arriving;
use super::body::Held;
use super::problem::Problem;
use super::server::Patience;
use super::wire::{Begun, Exchanges, Wire};
use crate::env::{Env, Exec};
use crate::net::BoxIo;

/// A peer that has not sent a whole request head by then (idle keep-alive included) is closed.
pub(super) const HEADER_READ: Duration = Duration::from_secs(30);
/// Most bytes of a request head, and of a body that are kept before a handler takes them.
const HEAD_BYTES: usize = 64 * 1024;

/// The same in the lobby: who looks after a node says at once what it wants to know.
const LOBBY_HEADER_READ: Duration = Duration::from_secs(2);

/// Marks a request that came in although no more connections should be open; in its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Crowded;

/// What the connections of a server share.
pub(super) struct Connections {
    env: Env,
    regular: http1::Builder,
    /// Takes one request.
    lobby: http1::Builder,
    router: Router,
    patience: Patience,
}

impl Connections {
    pub(super) fn new(env: Env, router: Router, patience: Patience) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ)
            .max_buf_size(HEAD_BYTES)
            // The date is the machine's; a simulated run must not depend on it.
            .auto_date_header(env.exec == Exec::Tokio);
        let mut lobby = http.clone();
        lobby
            .keep_alive(false)
            .header_read_timeout(LOBBY_HEADER_READ);
        Self {
            env,
            regular: http,
            lobby,
            router,
            patience,
        }
    }

    /// Answers what comes in on `io` until either side has enough. After `stop`, no further request is waited for.
    pub(super) async fn run(
        self: Arc<Self>,
        io: BoxIo,
        exchanges: Arc<Exchanges>,
        crowded: bool,
        stop: CancellationToken,
    ) {
        let refusing = Arc::clone(&self);
        let wire = Wire::new(
            io,
            self.patience.reading,
            Arc::clone(&exchanges),
            Box::new(move |status| refusing.refusal(status)),
        );
        let requests = Requests {
            connections: Arc::clone(&self),
            exchanges: Arc::clone(&exchanges),
            crowded,
        };
        let http = if crowded { &self.lobby } else { &self.regular };
        let mut serving = http.serve_connection(TokioIo::new(wire), requests);
        let mut stopping = false;
        let ended = loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    Pin::new(&mut serving).graceful_shutdown();
                }
                ended = poll_fn(|context| serving.poll_without_shutdown(context)) => break ended,
            }
        };
        let mut wire = serving.into_parts().io.into_inner();
        match ended {
            Ok(()) => wire.close(exchanges.is_unread()).await,
            Err(error) => {
                tracing::debug!(%error, "connection ended");
                // Nothing is owed to a peer whose connection broke.
                if let Some(status) = unanswered(&error) {
                    wire.refuse(status);
                    wire.close(true).await;
                }
            }
        }
    }

    /// A whole answer that closes the connection.
    fn refusal(&self, status: StatusCode) -> Vec<u8> {
        let (code, detail) = match status {
            StatusCode::URI_TOO_LONG => ("uri_too_long", "the target of the request is too long"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
                "request_head_too_large",
                "the head of the request is too large, or has too many fields",
            ),
            StatusCode::REQUEST_TIMEOUT => (
                "request_too_slow",
                "the head of the request came too slowly",
            ),
            StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                ("http_version_not_supported", "only HTTP/1 is spoken here")
            }
            _ => ("malformed_request", "this is no HTTP/1 request"),
        };
        let now = self.env.clock.now();
        let id = self.env.rng.uuid(now).simple().to_string();
        let date = DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&now)
            .ok();
        let date = date.filter(|_| self.env.exec == Exec::Tokio);
        tracing::debug!(%id, status = status.as_u16(), code, "refused before it was a request");
        Problem::new(status, code, detail).write(&id, date.as_deref())
    }
}

/// What a peer is told of an error that the library keeps to itself. Where it has answered, that answer stands.
fn unanswered(error: &hyper::Error) -> Option<StatusCode> {
    if error.is_timeout() {
        Some(StatusCode::REQUEST_TIMEOUT)
    } else if error.is_parse() {
        // It answers every other error of this kind.
        Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED)
    } else if error.is_incomplete_message() {
        Some(StatusCode::BAD_REQUEST)
    } else {
        None
    }
}

/// Answers the requests of one connection.
struct Requests {
    connections: Arc<Connections>,
    exchanges: Arc<Exchanges>,
    crowded: bool,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Held<Body, Begun>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let begun = self.exchanges.begin();
        let pace = self.connections.patience.sending;
        let mut request = Arriving::of(request, pace, &self.exchanges);
        if self.crowded {
            request.extensions_mut().insert(Crowded);
        }
        let mut router = self.connections.router.clone();
        Box::pin(async move {
            let response = router.call(request).await?;
            Ok(response.map(|body| Held::new(body, begun)))
        })
    }
}
