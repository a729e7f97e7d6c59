//! Reading requests so that every refusal is a [`Problem`] that names the field.

use std::collections::BTreeMap;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, Query};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Map, Value};

use crate::http::{FieldError, Problem};

/// The one id in a route's path.
#[derive(Debug)]
pub struct Id(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(e) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_path",
                e.body_text(),
            )),
        }
    }
}

/// The query's parameters; those that are not `known` are refused by name, as are doubles.
///
/// # Errors
/// Everything that is wrong with it.
pub fn query(uri: &Uri, known: &[&str]) -> Result<BTreeMap<String, String>, Problem> {
    let pairs = match Query::<Vec<(String, String)>>::try_from_uri(uri) {
        Ok(Query(pairs)) => pairs,
        Err(e) => {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                e.body_text(),
            ));
        }
    };
    let mut read = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in pairs {
        let detail = if !known.contains(&name.as_str()) {
            format!("unknown parameter `{name}`; known are {}", known.join(", "))
        } else if read.insert(name.clone(), value).is_some() {
            format!("`{name}` is given twice")
        } else {
            continue;
        };
        errors.push(FieldError {
            pointer: format!("/{name}"),
            detail,
        });
    }
    match errors.first() {
        None => Ok(read),
        Some(first) => {
            let detail = first.detail.clone();
            Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_field", detail).errors(errors))
        }
    }
}

/// The body as a JSON object.
///
/// # Errors
/// It is something else, or could not be read.
pub fn json_object(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Map<String, Value>, Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if kind != "application/json" && !kind.ends_with("+json") {
        let got = if kind.is_empty() {
            "no Content-Type".to_owned()
        } else {
            format!("`{kind}`")
        };
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("expected application/json, got {got}"),
        ));
    }
    let body = body.map_err(|e| {
        if e.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(
                e.status(),
                "body_too_large",
                "the body is larger than this server takes",
            )
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", e.body_text())
        }
    })?;
    let malformed = |detail| Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail);
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("the body must be a JSON object".to_owned())),
        Err(e) => Err(malformed(format!("the body is not JSON: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let uri: Uri = "/x?at=1.5&width=3".parse().unwrap();
        assert_eq!(query(&uri, &["at", "width"]).unwrap()["at"], "1.5");
        let problem = query(&uri, &["at"]).unwrap_err();
        assert_eq!(
            (problem.code.as_str(), problem.errors.len()),
            ("unknown_field", 1)
        );
        let twice: Uri = "/x?at=1&at=2".parse().unwrap();
        assert!(query(&twice, &["at"]).unwrap_err().detail.contains("twice"));
    }

    #[test]
    fn a_body_must_be_a_json_object() {
        let mut headers = HeaderMap::new();
        let read = |headers: &HeaderMap, body: &'static str| {
            json_object(headers, Ok(Bytes::from_static(body.as_bytes())))
                .map_err(|p| p.code.clone())
        };
        assert_eq!(read(&headers, "{}").unwrap_err(), "unsupported_media_type");
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(read(&headers, "{}").unwrap_err(), "unsupported_media_type");
        headers.insert(
            header::CONTENT_TYPE,
            "Application/JSON; charset=utf-8".parse().unwrap(),
        );
        assert!(read(&headers, "{}").is_ok());
        assert_eq!(read(&headers, "[]").unwrap_err(), "malformed_json");
        assert_eq!(read(&headers, "{").unwrap_err(), "malformed_json");
    }
}
