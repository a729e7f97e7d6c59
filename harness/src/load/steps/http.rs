//! An HTTP request: filled in, sent to the node whose turn it is, its whole answer read, classified, and captured from.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use indexmap::IndexMap;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Request, Response};

use super::{Exchange, StepCall};
use crate::event::{Accepted, Outcome};
use crate::file_limit::is_exhausted;
use crate::load::entry_balancer::EntryBalancer;
use crate::plan::{HttpStep, StepExpect};
use crate::scenario::JsonPath;
use crate::scenario::template::{self, Resolver};

/// Host of requests that are not aimed yet.
pub(crate) const NOWHERE: &str = "nowhere.invalid";
const REQUEST_ID: &str = "x-request-id";
/// Largest answer of a step that captures: more than any JSON answer has, little enough to keep in memory.
const CAPTURE_LIMIT: usize = 4 * 1024 * 1024;

/// An answer that came whole.
struct Answer {
    status: u16,
    request_id: Option<String>,
    content_type: Option<String>,
    /// Empty where nothing is captured.
    body: Vec<u8>,
}

pub(super) async fn exchange(
    step: &HttpStep,
    values: &mut (dyn Resolver + Send),
    call: &StepCall<'_>,
) -> Exchange {
    let request = match request(step, values, call) {
        Ok(request) => request,
        Err(why) => return Exchange::failed(why, Accepted::Refused),
    };
    let answer = match answer(request, call).await {
        Ok(answer) => answer,
        Err((class, accepted)) => return Exchange::failed(class, accepted),
    };
    let (outcome, captured) = judge(
        &step.expect,
        call.capture,
        answer.status,
        answer.content_type.as_deref(),
        &answer.body,
    );
    let accepted = match (&outcome, answer.status) {
        (Outcome::Ok, _) => Accepted::Ok,
        // A gateway answers so for a node behind it: the work may have been taken on.
        (_, 500 | 502 | 504) => Accepted::Unknown,
        (_, 400..) => Accepted::Refused,
        _ => Accepted::Unknown,
    };
    Exchange {
        outcome,
        status: Some(answer.status),
        request_id: answer.request_id,
        captured,
        accepted,
    }
}

/// Sends a request and reads the answer to its end: before that it is not there yet.
async fn answer(request: Request, call: &StepCall<'_>) -> Result<Answer, (String, Accepted)> {
    let mut answer = send(call.client, call.balancer, request)
        .await
        .map_err(|error| classify(&error))?;
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let status = answer.status().as_u16();
    let request_id = header(REQUEST_ID);
    let content_type = header(CONTENT_TYPE.as_str());
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => {
                if !call.capture.is_empty() && body.len() < CAPTURE_LIMIT {
                    body.extend_from_slice(&chunk);
                }
            }
            Ok(None) => break,
            Err(error) => {
                let (class, accepted) = classify(&error);
                // The head of an answer came, so the request was seen.
                let accepted = match accepted {
                    Accepted::Refused => Accepted::Unknown,
                    other => other,
                };
                return Err((class, accepted));
            }
        }
    }
    Ok(Answer {
        status,
        request_id,
        content_type,
        body,
    })
}

/// Sends a request to the node whose turn it is, and to the next one for as long as no connection comes about: nothing
/// was sent then.
async fn send(
    client: &Client,
    balancer: &EntryBalancer,
    mut request: Request,
) -> Result<Response, reqwest::Error> {
    let mut order = balancer.order().into_iter();
    if let Some(first) = order.next() {
        aim(&mut request, first);
    }
    loop {
        let again = request.try_clone();
        match client.execute(request).await {
            Err(error) if error.is_connect() => match (order.next(), again) {
                (Some(other), Some(mut again)) => {
                    aim(&mut again, other);
                    request = again;
                }
                _ => return Err(error),
            },
            answered => return answered,
        }
    }
}

fn request(
    step: &HttpStep,
    values: &mut (dyn Resolver + Send),
    call: &StepCall<'_>,
) -> Result<Request, String> {
    let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| "bad method")?;
    let path = template::render(&step.path, values).map_err(|error| error.to_string())?;
    let mut request = call
        .client
        .request(method, format!("http://{NOWHERE}{path}"))
        .header(REQUEST_ID, call.id);
    for (name, value) in &step.headers {
        let value = template::render(value, values).map_err(|error| error.to_string())?;
        request = request.header(name, value);
    }
    if let Some(json) = &step.json {
        let json = template::render_json(json, values).map_err(|error| error.to_string())?;
        request = request.json(&json);
    }
    request.build().map_err(|_| "bad request".to_owned())
}

/// Points a request at a node.
fn aim(request: &mut Request, at: SocketAddr) {
    let url = request.url_mut();
    // An HTTP address has a host and a port that can be set.
    url.set_ip_host(at.ip()).ok();
    url.set_port(Some(at.port())).ok();
}

/// Whether an answer is as expected, and what it captures.
fn judge(
    expect: &StepExpect,
    capture: &IndexMap<String, JsonPath>,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> (Outcome, BTreeMap<String, String>) {
    let mut captured = BTreeMap::new();
    let failed = |class: String| (Outcome::Failed(class), BTreeMap::new());
    let allowed = match expect.status.as_slice() {
        [] => (200..300).contains(&status),
        list => list.contains(&status),
    };
    if !allowed {
        return failed(format!("status {status}"));
    }
    if let Some(wanted) = &expect.content_type {
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
            return failed("content type".to_owned());
        }
    }
    if !capture.is_empty() {
        let Ok(value) = serde_json::from_slice(body) else {
            return failed("no JSON to capture from".to_owned());
        };
        for (name, path) in capture {
            match path.find_text(&value) {
                Some(text) => captured.insert(name.clone(), text),
                None => return failed(format!("no {path} to capture")),
            };
        }
    }
    (Outcome::Ok, captured)
}

/// A short class of low cardinality, and whether the server can have seen the request.
fn classify(error: &reqwest::Error) -> (String, Accepted) {
    if error.is_timeout() {
        return ("timeout".to_owned(), Accepted::Unknown);
    }
    let accepted = if error.is_connect() {
        Accepted::Refused
    } else {
        Accepted::Unknown
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut class = if error.is_connect() {
        "connect failed"
    } else {
        "broken answer"
    };
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::ConnectionRefused => class = "connection refused",
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    class = "connection reset";
                }
                io::ErrorKind::UnexpectedEof => class = "connection closed",
                _ => {}
            }
            if is_exhausted(io) {
                class = crate::event::OWN_LIMIT;
            }
        }
        if inner
            .to_string()
            .contains("connection closed before message completed")
        {
            class = "connection closed";
        }
        cause = inner.source();
    }
    (class.to_owned(), accepted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expect(status: &[u16], content_type: Option<&str>) -> StepExpect {
        StepExpect {
            status: status.to_vec(),
            content_type: content_type.map(str::to_owned),
        }
    }

    fn class(expect: &StepExpect, status: u16, content_type: Option<&str>) -> Outcome {
        judge(expect, &IndexMap::new(), status, content_type, b"").0
    }

    #[test]
    fn expectations_decide() {
        let any = expect(&[], None);
        assert_eq!(class(&any, 204, None), Outcome::Ok);
        assert_eq!(class(&any, 302, None), Outcome::Failed("status 302".into()));
        let listed = expect(&[409], None);
        assert_eq!(class(&listed, 409, None), Outcome::Ok);
        assert_eq!(
            class(&listed, 200, None),
            Outcome::Failed("status 200".into())
        );
        let typed = expect(&[], Some("image/jpeg"));
        assert_eq!(class(&typed, 200, Some("Image/JPEG; q=1")), Outcome::Ok);
        assert_eq!(
            class(&typed, 200, Some("text/html")),
            Outcome::Failed("content type".into())
        );
        assert_eq!(
            class(&typed, 200, None),
            Outcome::Failed("content type".into())
        );
    }

    #[test]
    fn captures_come_out_or_the_step_failed() {
        let capture = IndexMap::from([("job".to_owned(), "$.job_id".parse().expect("a path"))]);
        let judged = |body: &[u8]| judge(&StepExpect::default(), &capture, 202, None, body);
        let (outcome, captured) = judged(json!({"job_id": "job_1"}).to_string().as_bytes());
        assert_eq!(outcome, Outcome::Ok);
        assert_eq!(captured["job"], "job_1");
        assert_eq!(
            judged(b"{}").0,
            Outcome::Failed("no $.job_id to capture".into())
        );
        assert_eq!(
            judged(b"<html>").0,
            Outcome::Failed("no JSON to capture from".into())
        );
    }
}
