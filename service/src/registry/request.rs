//! Reading requests to the registry so that a refusal names everything that is wrong.

use std::collections::BTreeSet;

use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, Query};
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::machine::Filter;
use super::wire::is_tag;
use crate::http::{FieldError, Problem};
use crate::units::HumanDuration;

/// The name in a route's path.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|bad| malformed(StatusCode::BAD_REQUEST, bad.body_text()))
    }
}

pub(super) type Body = Result<Bytes, BytesRejection>;

fn malformed(status: StatusCode, text: String) -> Problem {
    Problem::new(status, "malformed_request", text)
}

/// 422 (or 400, of a query) with everything that is wrong.
pub(super) fn invalid(status: StatusCode, what: &str, errors: Vec<FieldError>) -> Problem {
    let detail = match errors.as_slice() {
        [one] => format!("{}: {}", one.pointer, one.detail),
        many => format!("{} things are wrong with it, see errors", many.len()),
    };
    Problem::new(status, what, detail).errors(errors)
}

fn error(pointer: &str, detail: impl Into<String>) -> FieldError {
    FieldError {
        pointer: format!("/{pointer}"),
        detail: detail.into(),
    }
}

/// Reads a body; one without a byte is `empty`, if that will do. `sample` is a good body, for telling which members of
/// a bad one are to blame.
pub(super) fn read<T: Serialize + DeserializeOwned>(
    body: Body,
    empty: Option<T>,
    sample: &T,
) -> Result<T, Problem> {
    let body = body.map_err(|bad| malformed(bad.status(), bad.body_text()))?;
    if body.is_empty()
        && let Some(empty) = empty
    {
        return Ok(empty);
    }
    serde_json::from_slice(&body).map_err(|first| {
        let blamed = match serde_json::from_slice(&body) {
            Ok(members) => blame(&members, sample),
            Err(_) => Vec::new(), // Not even an object.
        };
        if blamed.is_empty() {
            return malformed(StatusCode::BAD_REQUEST, format!("the body: {first}"));
        }
        invalid(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", blamed)
    })
}

/// Tries each member alone on a good body, so that one wrong value hides no other.
fn blame<T: Serialize + DeserializeOwned>(
    members: &Map<String, Value>,
    sample: &T,
) -> Vec<FieldError> {
    let Ok(Value::Object(good)) = serde_json::to_value(sample) else {
        return Vec::new();
    };
    let fits = |body: Map<String, Value>| serde_json::from_value::<T>(Value::Object(body));
    let missing = good.keys().filter(|key| !members.contains_key(*key));
    let missing = missing.filter_map(|key| {
        let mut without = good.clone();
        without.remove(key);
        fits(without).err().map(|_| error(key, "is missing"))
    });
    let wrong = members.iter().filter_map(|(key, value)| {
        let mut with = good.clone();
        with.insert(key.clone(), value.clone());
        fits(with).err().map(|bad| error(key, bad.to_string()))
    });
    missing.chain(wrong).collect()
}

fn pairs(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    match Query::try_from_uri(uri) {
        Ok(Query(pairs)) => Ok(pairs),
        Err(bad) => Err(malformed(bad.status(), bad.body_text())),
    }
}

/// Values of a query that may be given once each, with the errors so far.
struct Once {
    given: BTreeSet<String>,
    errors: Vec<FieldError>,
}

impl Once {
    fn take<T: std::str::FromStr>(&mut self, into: &mut Option<T>, name: String, value: &str)
    where
        T::Err: std::fmt::Display,
    {
        match value.parse() {
            Ok(value) => *into = Some(value),
            Err(bad) => self.errors.push(error(&name, bad.to_string())),
        }
        if !self.given.insert(name.clone()) {
            self.errors.push(error(&name, "is given twice"));
        }
    }

    fn unknown(&mut self, name: &str, known: &str) {
        let detail = format!("unknown parameter; known are {known}");
        self.errors.push(error(name, detail));
    }

    fn end<T>(self, read: T) -> Result<T, Problem> {
        if self.errors.is_empty() {
            Ok(read)
        } else {
            Err(invalid(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                self.errors,
            ))
        }
    }
}

/// What `GET /v1/services` is asked for.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) filter: Filter,
    pub(super) since: Option<u64>,
    pub(super) incarnation: Option<String>,
    pub(super) wait: Option<HumanDuration>,
}

pub(super) fn watch(uri: &Uri) -> Result<Watch, Problem> {
    let mut watch = Watch::default();
    let mut once = Once {
        given: BTreeSet::new(),
        errors: Vec::new(),
    };
    for (name, value) in pairs(uri)? {
        match name.as_str() {
            "name" => once.take(&mut watch.filter.name, name, &value),
            "kind" => once.take(&mut watch.filter.kind, name, &value),
            "since" => once.take(&mut watch.since, name, &value),
            "incarnation" => once.take(&mut watch.incarnation, name, &value),
            "wait" => once.take(&mut watch.wait, name, &value),
            "tag" if is_tag(&value) => drop(watch.filter.tags.insert(value)),
            "tag" => once
                .errors
                .push(error("tag", format!("`{value}` is no tag"))),
            _ => once.unknown(&name, "name, kind, tag, since, incarnation, wait"),
        }
    }
    once.end(watch)
}

/// The epoch in a query, where there is one.
pub(super) fn epoch(uri: &Uri) -> Result<Option<u64>, Problem> {
    let mut epoch = None;
    let mut once = Once {
        given: BTreeSet::new(),
        errors: Vec::new(),
    };
    for (name, value) in pairs(uri)? {
        match name.as_str() {
            "epoch" => once.take(&mut epoch, name, &value),
            _ => once.unknown(&name, "epoch"),
        }
    }
    once.end(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::wire::Registration;

    #[test]
    fn every_wrong_member_is_named() {
        let body = br#"{"name": 1, "kind": "p", "weight": -2, "colour": "red", "epoch": 1}"#;
        let sample = Registration::new("a", "a", "a:1", 0);
        let problem = read(Ok(Bytes::from_static(body)), None, &sample).unwrap_err();
        assert_eq!(problem.status, 422);
        let pointers: Vec<_> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/address", "/name", "/weight", "/colour"]);
        let broken = read(Ok(Bytes::from_static(b"{")), None, &sample).unwrap_err();
        assert_eq!(
            (broken.status, broken.code.as_str()),
            (400, "malformed_request")
        );
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let uri = "/v1/services?tag=a&tag=b%20c&since=x&wait=1&wait=2s&knid=p"
            .parse()
            .unwrap();
        let problem = watch(&uri).unwrap_err();
        let pointers: Vec<_> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/tag", "/since", "/wait", "/wait", "/knid"]);
        let uri = "/v1/services?tag=a&tag=b&kind=p".parse().unwrap();
        let tags = watch(&uri).unwrap().filter.tags;
        assert_eq!(tags.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
