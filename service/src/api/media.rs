//! Bytes for players: clips with ranges, posters, and single frames of a source.

use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};

use super::Api;
use super::ranges::{Wanted, wanted};
use super::v1::find_clip;
use crate::admission::{Reason, X_PRIORITY};
use crate::edge::request::{Id, query};
use crate::edge::stack::REQUEST_ID;
use crate::edge::{Deadline, RequestId, Ticket, X_CACHE};
use crate::http::{Problem, X_SHED};
use crate::model::VideoId;
use crate::store::{Blobs, StoreError, StoreResult};
use crate::upstream::{Call, Reply, TryError, UpstreamError, hash_key};

/// Bytes read from a blob at once.
const CHUNK: u64 = 256 * 1024;
/// Widths of a frame that may be asked for, pixels.
const WIDTHS: RangeInclusive<u32> = 16..=3840;
const DEFAULT_WIDTH: u32 = 640;
/// Most bytes of another node's problem that are read.
const PROBLEM_BYTES: usize = 64 * 1024;

fn part_of(blobs: Arc<dyn Blobs>, key: String, first: u64, last: u64) -> Body {
    let next = move |at: u64| {
        let (blobs, key) = (Arc::clone(&blobs), key.clone());
        async move {
            if at > last {
                return None;
            }
            let read: StoreResult<Bytes> = blobs.read(&key, at, CHUNK.min(last - at + 1)).await;
            match read {
                // Shorter than promised: end with an error, so that the client does not take it for the whole.
                Ok(bytes) if bytes.is_empty() => Some((
                    Err(StoreError::Failed("a blob ended early".to_owned())),
                    last + 1,
                )),
                Ok(bytes) => {
                    let after = at + bytes.len() as u64;
                    Some((Ok(bytes), after))
                }
                Err(e) => Some((Err(e), last + 1)),
            }
        }
    };
    Body::from_stream(stream::unfold(first, next))
}

/// A blob whose bytes never change, with ranges and validators.
async fn serve_blob(
    api: &Api,
    headers: &HeaderMap,
    key: String,
    etag: &str,
    kind: &'static str,
) -> Result<Response, Problem> {
    let length = api.env.blobs.size(&key).await?;
    let answer = |status: StatusCode, body: Body| {
        let mut response = (status, body).into_response();
        let out = response.headers_mut();
        out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        out.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        );
        if let Ok(etag) = HeaderValue::from_str(etag) {
            out.insert(header::ETAG, etag);
        }
        response
    };
    let blobs = Arc::clone(&api.env.blobs);
    Ok(match wanted(headers, etag, length) {
        Wanted::Unchanged => answer(StatusCode::NOT_MODIFIED, Body::empty()),
        Wanted::Unsatisfiable => {
            let mut response = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                format!("the file has {length} bytes"),
            )
            .into_response();
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{length}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, range);
            }
            response
        }
        Wanted::Whole => {
            let body = match length {
                0 => Body::empty(),
                _ => part_of(blobs, key, 0, length - 1),
            };
            let mut response = answer(StatusCode::OK, body);
            let out = response.headers_mut();
            out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        Wanted::Part { first, last } => {
            let body = part_of(blobs, key, first, last);
            let mut response = answer(StatusCode::PARTIAL_CONTENT, body);
            let out = response.headers_mut();
            out.insert(header::CONTENT_LENGTH, HeaderValue::from(last - first + 1));
            out.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            if let Ok(range) = HeaderValue::from_str(&format!("bytes {first}-{last}/{length}")) {
                out.insert(header::CONTENT_RANGE, range);
            }
            response
        }
    })
}

/// `GET|HEAD /api/v1/clips/{id}/download`
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let clip = find_clip(&api, &id).await?;
    let etag = format!("\"{}\"", clip.sha256);
    let mut response = serve_blob(&api, &headers, clip.clip_blob, &etag, "video/mp4").await?;
    if response.status().is_success()
        && let Ok(name) =
            HeaderValue::from_str(&format!("attachment; filename=\"{}.mp4\"", clip.id))
    {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// `GET|HEAD /api/v1/clips/{id}/thumbnail.jpg`
pub(super) async fn thumbnail(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let clip = find_clip(&api, &id).await?;
    // The poster comes from the same render as the clip, so the clip's hash tells its versions apart as well.
    let etag = format!("\"poster-{}\"", clip.sha256);
    serve_blob(&api, &headers, clip.poster_blob, &etag, "image/jpeg").await
}

/// Reads `at`: seconds, with or without the unit.
fn seconds(text: &str) -> Option<f64> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    number
        .parse()
        .ok()
        .filter(|at: &f64| plain && at.is_finite())
}

/// `GET /api/v1/videos/{id}/frame?at=&width=`
pub(super) async fn frame(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    Extension(Deadline(deadline)): Extension<Deadline>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Extension(ticket): Extension<Ticket>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = VideoId::parse(&id).ok_or_else(|| Problem::not_found("video", &id))?;
    let query = query(&uri, &["at", "width"])?;
    let invalid = |name, detail: &str| Problem::field("invalid_request", name, detail);
    let at = match query.get("at") {
        None => 0.0,
        Some(text) => seconds(text)
            .ok_or_else(|| invalid("/at", "must be seconds from the start: 12, 12.5 or 12.5s"))?,
    };
    let width = match query.get("width") {
        None => DEFAULT_WIDTH,
        Some(text) => text
            .parse()
            .ok()
            .filter(|width| WIDTHS.contains(width))
            .ok_or_else(|| invalid("/width", "must be 16 to 3840 pixels"))?,
    };
    let source = api.source_of(&id).await?;
    let mut call = Call::get(
        format!("/internal/frame?video={source}&at={at}&width={width}"),
        deadline,
    );
    call.route = "frame";
    call.hash_key = Some(hash_key(&source));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        call.headers.insert(REQUEST_ID, id);
    }
    if let Some(wish) = ticket.priority().wish() {
        call.headers
            .insert(X_PRIORITY, HeaderValue::from_static(wish));
    }
    let reply = ask(&api, call).await?;
    let mut response = passed_on(reply.response, &reply.instance)?;
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=3600"),
    );
    if let Ok(instance) = HeaderValue::from_str(&reply.instance) {
        headers.insert("x-instance", instance);
    }
    headers.insert("x-attempts", HeaderValue::from(reply.attempts));
    Ok(response)
}

/// Headers that a client gets from a processor; everything else a processor says stays behind.
const PASSED_ON: [HeaderName; 3] = [header::CONTENT_TYPE, header::CONTENT_LENGTH, X_CACHE];

/// The picture that a processor answered with. Anything else, whatever it is, is not sent on: a processor is another
/// program, and what it sends would be taken for the gateway's own word.
fn passed_on<B>(response: http::Response<B>, instance: &str) -> Result<Response, Problem>
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let (parts, body) = response.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "image/jpeg") {
        let detail = format!("{instance} answered something that is no picture");
        return Err(Problem::new(
            StatusCode::BAD_GATEWAY,
            "processor_failed",
            detail,
        ));
    }
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    for name in PASSED_ON {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// Calls a processor; an answer that is no success becomes the client's problem.
pub(super) async fn ask(api: &Api, call: Call) -> Result<Reply, Problem> {
    let reply = api
        .upstream
        .call(call)
        .await
        .map_err(|e| upstream_problem(&e))?;
    let status = reply.response.status();
    if status.is_success() {
        return Ok(reply);
    }
    let shed = reply.response.headers().get(X_SHED);
    let shed = shed.and_then(|value| Reason::parse(value.to_str().ok()?));
    let body = Limited::new(reply.response.into_body(), PROBLEM_BYTES)
        .collect()
        .await;
    let problem = body.ok().and_then(|body| Problem::parse(&body.to_bytes()));
    Err(match problem {
        Some(problem) if status == StatusCode::SERVICE_UNAVAILABLE => {
            let problem = problem.retry_after(1);
            match shed {
                Some(reason) => problem.shed(reason.name()),
                None => problem,
            }
        }
        Some(problem) => problem,
        None => Problem::new(
            StatusCode::BAD_GATEWAY,
            "processor_failed",
            format!("{} answered {status}", reply.instance),
        ),
    })
}

/// What a client is told when no processor answered.
#[must_use]
pub fn upstream_problem(error: &UpstreamError) -> Problem {
    let code = match error {
        UpstreamError::NoInstance => "no_processor",
        UpstreamError::Throttled => "overloaded",
        UpstreamError::DeadlineExceeded { .. } => "deadline_exceeded",
        UpstreamError::Exhausted {
            last: TryError::Timeout(_),
            ..
        } => "processor_timeout",
        UpstreamError::Exhausted {
            last: TryError::Shortage(_),
            ..
        } => return Problem::short(),
        UpstreamError::Exhausted { .. } => "processor_unreachable",
    };
    let problem = Problem::new(error.status(), code, error.to_string());
    match error {
        UpstreamError::NoInstance => problem.retry_after(1),
        UpstreamError::Throttled => problem.retry_after(1).shed("throttle"),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        for (text, at) in [
            ("12", 12.0),
            ("12.5", 12.5),
            ("12s", 12.0),
            ("12.5s", 12.5),
            ("0", 0.0),
        ] {
            assert_eq!(seconds(text), Some(at), "{text}");
        }
        for text in [
            "", "s", "-1", "1e3", "nan", "inf", "12ms", "1:30", "12ss", ".",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_processor_cannot_put_words_into_the_gateways_mouth() {
        let answer = |kind: &str| {
            http::Response::builder()
                .header(header::CONTENT_TYPE, kind)
                .header(header::SET_COOKIE, "session=theirs")
                .header(header::LOCATION, "https://elsewhere.example/")
                .header("x-cache", "hit")
                .body(Body::from("bytes"))
                .unwrap()
        };
        let passed = passed_on(answer("image/jpeg"), "processor-1").unwrap();
        let names: Vec<_> = passed.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-cache"]);
        for kind in [
            "text/html",
            "image/svg+xml",
            "image/jpeg; charset=utf-8",
            "",
        ] {
            let problem = passed_on(answer(kind), "processor-1").unwrap_err();
            assert_eq!(
                (problem.status, problem.code.as_str()),
                (502, "processor_failed")
            );
        }
    }

    #[tokio::test]
    async fn a_blob_is_sent_in_pieces_and_its_early_end_is_an_error() {
        let blobs = Arc::new(crate::store::MemoryBlobs::default());
        let bytes: Vec<u8> = (0..600_000_u32).map(|n| n as u8).collect();
        blobs.put("a", bytes.clone().into()).await.unwrap();
        let body = part_of(blobs.clone(), "a".to_owned(), 5, 599_998);
        let got = axum::body::to_bytes(body, 1_000_000).await.unwrap();
        assert_eq!(&got[..], &bytes[5..599_999]);
        let body = part_of(blobs, "a".to_owned(), 0, 700_000);
        assert!(axum::body::to_bytes(body, 1_000_000).await.is_err());
    }
}
