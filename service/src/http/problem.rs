//! Errors on the wire: `application/problem+json` (RFC 9457), the same in the API, between nodes and in the registry.
//!
//! A handler returns a [`Problem`]; the outermost layer adds the request id and the path ([`Problem::complete`]). The
//! same words travel from a processor to a gateway, which passes them on to its client. How an error of storage or
//! media reads is said by the API, not here.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Most wrong fields that are listed: a body of a megabyte may have a hundred thousand, and its answer shall not be larger.
const LISTED: usize = 50;

/// Why a node refused a request to protect itself. Who calls it takes that for no sign of illness.
pub const X_SHED: HeaderName = HeaderName::from_static("x-shed");

/// The reason in `x-shed` of a node that has run out of something.
pub const SHORTAGE: &str = "shortage";

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// Where, as a JSON pointer (`/max_clip_length`).
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// What went wrong with a request. Small to return: its members are in a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Members>);

impl std::ops::Deref for Problem {
    type Target = Members;

    fn deref(&self) -> &Members {
        &self.0
    }
}

/// The members of a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Members {
    /// A URI naming the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words, the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// The kind for programs; stable.
    pub code: String,
    /// This occurrence in words.
    pub detail: String,
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Id of the request, as in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Wrong fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Members that only this kind has. Not read back: a relay passes on the words it knows.
    #[serde(flatten, skip_deserializing)]
    pub extensions: Map<String, Value>,
    /// Seconds after which trying again makes sense; sent as `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u32>,
    /// Whether the connection shall be closed, so that the next request goes to another instance.
    #[serde(skip)]
    pub close: bool,
    /// Why a node protects itself; sent as `x-shed`. Says that the request was refused before anything was done.
    #[serde(skip)]
    pub shed: Option<&'static str>,
}

impl Problem {
    /// A problem of the kind `code` (snake_case; its words are the title).
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let mut title = code.replace('_', " ");
        if let Some(first) = title.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        Self(Box::new(Members {
            kind: format!("urn:video-opusclip:problem:{code}"),
            title,
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            instance: None,
            request_id: None,
            retryable: matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504),
            hint: None,
            errors: Vec::new(),
            extensions: Map::new(),
            retry_after: None,
            close: false,
            shed: None,
        }))
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Lists wrong fields, the first `LISTED` of them.
    #[must_use]
    pub fn errors(mut self, mut errors: Vec<FieldError>) -> Self {
        errors.truncate(LISTED);
        self.0.errors = errors;
        self
    }

    /// Adds a member that only this kind has.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        // A value that cannot be written (a map with keys that are not text) is left out: the problem itself matters.
        if let Ok(value) = serde_json::to_value(value) {
            self.0.extensions.insert(key.to_owned(), value);
        }
        self
    }

    /// Says whether the same request may succeed later, where the status alone would say otherwise.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self.0.retryable = true;
        self
    }

    /// Says that the node protects itself, and why.
    #[must_use]
    pub fn shed(mut self, reason: &'static str) -> Self {
        self.0.shed = Some(reason);
        self
    }

    /// Has the connection closed.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.0.close = true;
        self
    }

    /// 404 for something with an id.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            &format!("{what}_not_found"),
            format!("there is no {what} `{id}`"),
        )
    }

    /// 422 for one field.
    pub fn field(code: &str, pointer: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail.clone()).errors(vec![FieldError {
            pointer: pointer.to_owned(),
            detail,
        }])
    }

    /// 503 of a node that is going away.
    #[must_use]
    pub fn draining() -> Self {
        let detail = "this instance is shutting down";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail)
            .retry_after(1)
            .close()
    }

    /// 503 of a node that has run out of something for now.
    #[must_use]
    pub fn short() -> Self {
        let detail = "this instance is short of file descriptors, memory or room on disk";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shortage", detail)
            .retry_after(1)
            .shed(SHORTAGE)
    }

    /// 503 to who comes when no more connections should be open.
    #[must_use]
    pub fn crowded() -> Self {
        let detail = "more connections are open than this instance can serve";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            detail,
        )
        .retry_after(1)
        .shed("connections")
        .close()
    }

    /// 500 that says nothing of the inside.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "the server failed; the log has the reason under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// A whole answer that closes the connection, for what came no further than the connection. `id` is for the log.
    pub(super) fn write(mut self, id: &str, date: Option<&str>) -> Vec<u8> {
        self.0.request_id = Some(id.to_owned());
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let date = date.map(|date| format!("date: {date}\r\n"));
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             x-request-id: {id}\r\n{}connection: close\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default(),
            body.len(),
            date.unwrap_or_default(),
        );
        [head.into_bytes(), body].concat()
    }

    /// What is said of an answer that says nothing of itself.
    fn wordless(status: StatusCode) -> Self {
        let title = status.canonical_reason().unwrap_or("refused");
        let code = title.to_ascii_lowercase().replace([' ', '-'], "_");
        Self::new(status, &code, title)
    }

    /// Reads a problem that another node sent.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut problem: Self = serde_json::from_slice(body).ok()?;
        StatusCode::from_u16(problem.status)
            .ok()
            .filter(|s| s.as_u16() >= 400)?;
        problem.0.instance = None;
        problem.0.request_id = None;
        Some(problem)
    }

    /// Adds what only the outermost layer knows. A failure in other words than a problem's, as a library may answer, becomes
    /// one.
    pub fn complete(mut response: Response, path: &str, request_id: &str) -> Response {
        let status = response.status();
        let known = response.extensions().get::<Arc<Self>>();
        let mut problem = match known {
            Some(problem) => Self::clone(problem),
            None if status.is_client_error() || status.is_server_error() => {
                let kind = response.headers().get(header::CONTENT_TYPE);
                if kind.is_some_and(|kind| kind == PROBLEM_JSON) {
                    return response;
                }
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
                Self::wordless(status)
            }
            None => return response,
        };
        problem.0.instance = Some(path.to_owned());
        problem.0.request_id = Some(request_id.to_owned());
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        match serde_json::to_vec(&problem) {
            Ok(body) => Response::from_parts(parts, Body::from(body)),
            Err(_) => Response::from_parts(parts, Body::empty()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(reason) = self.shed {
            headers.insert(X_SHED, HeaderValue::from_static(reason));
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_outer_layer_completes_it() {
        let problem = Problem::new(
            StatusCode::NOT_FOUND,
            "job_not_found",
            "there is no job `x`",
        )
        .hint("look again")
        .errors(vec![FieldError {
            pointer: "/id".to_owned(),
            detail: "unknown".to_owned(),
        }]);
        let response = Problem::complete(problem.into_response(), "/api/v1/jobs/x", "r-1");
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        insta::assert_snapshot!(String::from_utf8_lossy(&body));
        let read = Problem::parse(&body).unwrap();
        assert_eq!(
            (read.status, read.code.as_str(), read.request_id.as_deref()),
            (404, "job_not_found", None)
        );
    }

    #[tokio::test]
    async fn a_failure_without_words_becomes_a_problem() {
        let bare = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "no form").into_response();
        let response = Problem::complete(bare, "/x", "r-1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&read["status"], &read["code"], &read["request_id"]),
            (&415.into(), &"unsupported_media_type".into(), &"r-1".into())
        );
        let fine = Problem::complete("text".into_response(), "/x", "r-1");
        assert_ne!(fine.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    }

    #[test]
    fn text_that_is_no_problem_is_not_taken_for_one() {
        assert_eq!(Problem::parse(b"<html>502</html>"), None);
        let fine = Problem::new(StatusCode::OK, "x", "y");
        assert_eq!(Problem::parse(&serde_json::to_vec(&fine).unwrap()), None);
    }

    #[test]
    fn a_member_of_its_own_is_written_beside_the_usual_ones_and_not_relayed() {
        let problem =
            Problem::new(StatusCode::CONFLICT, "superseded", "x").with("current_epoch", 7);
        let body = serde_json::to_vec(&problem).unwrap();
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&read["current_epoch"], &read["status"]),
            (&7.into(), &409.into())
        );
        assert_eq!(Problem::parse(&body).unwrap().extensions, Map::new());
    }
}
