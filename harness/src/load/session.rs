//! One arrival on its way through its steps: fills in templates, sends, reads whole answers, classifies, captures.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clip_service::env::SharedRng;
use parking_lot::Mutex;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry_balancer::EntryBalancer;
use crate::event::{Accepted, LedgerEntry, Outcome, Sample};
use crate::file_limit::is_exhausted;
use crate::plan::{LoadPlan, StepPlan};
use crate::runtime::emit::Emitter;
use crate::scenario::template::{self, Resolver};

/// Host of requests that are not aimed yet.
pub(super) const NOWHERE: &str = "nowhere.invalid";
const REQUEST_ID: &str = "x-request-id";
/// Largest answer of a step that captures: more than any JSON answer has, little enough to keep in memory.
const CAPTURE_LIMIT: usize = 4 * 1024 * 1024;

/// What every request of a run can refer to.
#[derive(Debug, Clone, Default)]
pub struct StepContext {
    /// Ids of uploaded fixtures by name.
    pub fixtures: BTreeMap<String, String>,
    /// Addresses of links by name.
    pub links: BTreeMap<String, String>,
}

/// What all sessions of a load share.
pub(super) struct Shared {
    pub(super) index: usize,
    pub(super) plan: LoadPlan,
    pub(super) balancer: Arc<EntryBalancer>,
    pub(super) client: Client,
    pub(super) context: Arc<StepContext>,
    pub(super) rng: SharedRng,
    pub(super) emitter: Emitter,
    pub(super) ledger: Arc<Mutex<Vec<LedgerEntry>>>,
    pub(super) cancel: CancellationToken,
    /// Distinguishes request ids of this run from any other's.
    pub(super) tag: String,
}

struct Values<'a> {
    context: &'a StepContext,
    rng: SharedRng,
    captured: BTreeMap<String, String>,
}

impl Resolver for Values<'_> {
    fn uuid(&mut self) -> String {
        let bits = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes())
            .into_uuid()
            .to_string()
    }

    fn draw(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).saturating_add(1);
        let drawn = self.rng.below(usize::try_from(span).unwrap_or(1));
        low.saturating_add(i64::try_from(drawn).unwrap_or(0))
    }

    fn fixture(&self, name: &str) -> Option<String> {
        self.context.fixtures.get(name).cloned()
    }

    fn link(&self, name: &str) -> Option<String> {
        self.context.links.get(name).cloned()
    }

    fn capture(&self, name: &str) -> Option<String> {
        self.captured.get(name).cloned()
    }
}

/// How one exchange ended.
struct Exchange {
    outcome: Outcome,
    status: Option<u16>,
    request_id: Option<String>,
    captured: BTreeMap<String, String>,
    accepted: Accepted,
}

impl Exchange {
    fn failed(class: impl Into<String>, accepted: Accepted) -> Self {
        Self {
            outcome: Outcome::Failed(class.into()),
            status: None,
            request_id: None,
            captured: BTreeMap::new(),
            accepted,
        }
    }
}

impl Shared {
    /// Goes through every step of arrival (or round) `number`, the first of which was due at `due`; ends with the first
    /// step that fails. When the first request was sent.
    pub(super) async fn run(&self, number: u64, due: Instant) -> Instant {
        let first_sent = Instant::now();
        let mut values = Values {
            context: &self.context,
            rng: self.rng.fork(&format!("arrival/{number}")),
            captured: BTreeMap::new(),
        };
        let mut due = due;
        for (index, step) in self.plan.steps.iter().enumerate() {
            let sent = if index == 0 {
                first_sent
            } else {
                Instant::now()
            };
            let id = format!("{}-{}-{number}-{index}", self.tag, self.plan.name);
            let exchange = self.exchange(step, &mut values, &id).await;
            let done = Instant::now();
            if step.ledger {
                self.enter(step, &exchange, due);
            }
            let ok = exchange.outcome == Outcome::Ok;
            self.emitter.sample(Sample {
                load: self.index,
                due: self.emitter.at(due),
                sent: Some(self.emitter.at(sent)),
                done: self.emitter.at(done),
                outcome: exchange.outcome,
                status: exchange.status,
                request_id: Some(exchange.request_id.unwrap_or(id)),
                step: index,
            });
            if !ok {
                break;
            }
            values.captured.extend(exchange.captured);
            due = done;
        }
        first_sent
    }

    /// An arrival that was never sent counts once, as its first step.
    pub(super) fn unsent(&self, due: Instant, given_up: Instant) {
        self.emitter.sample(Sample {
            load: self.index,
            due: self.emitter.at(due),
            sent: None,
            done: self.emitter.at(given_up),
            outcome: Outcome::Unsent,
            status: None,
            request_id: None,
            step: 0,
        });
    }

    /// Longest time one arrival may take.
    pub(super) fn bound(&self) -> Duration {
        let steps = u32::try_from(self.plan.steps.len()).unwrap_or(u32::MAX);
        self.plan.timeout.get().saturating_mul(steps)
    }

    fn enter(&self, step: &StepPlan, exchange: &Exchange, due: Instant) {
        let id = step
            .capture
            .keys()
            .next()
            .and_then(|name| exchange.captured.get(name))
            .cloned();
        self.ledger.lock().push(LedgerEntry {
            load: self.index,
            id,
            due: self.emitter.at(due),
            accepted: exchange.accepted,
            fate: None,
        });
    }

    async fn exchange(&self, step: &StepPlan, values: &mut Values<'_>, id: &str) -> Exchange {
        let request = match self.request(step, values, id) {
            Ok(request) => request,
            Err(why) => return Exchange::failed(why, Accepted::Refused),
        };
        let answer = async {
            let mut answer = match self.send(request).await {
                Ok(answer) => answer,
                Err(error) => return Err(classify(&error)),
            };
            let status = answer.status().as_u16();
            let header = |name: &str| {
                answer
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned)
            };
            let request_id = header(REQUEST_ID);
            let content_type = header(CONTENT_TYPE.as_str());
            // The whole body, or the answer is not there yet; kept only where something is captured from it.
            let mut body = Vec::new();
            loop {
                match answer.chunk().await {
                    Ok(Some(chunk)) => {
                        if !step.capture.is_empty() && body.len() < CAPTURE_LIMIT {
                            body.extend_from_slice(&chunk);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let (class, accepted) = classify(&error);
                        let accepted = match accepted {
                            Accepted::Refused => Accepted::Unknown,
                            other => other,
                        };
                        return Err((class, accepted));
                    }
                }
            }
            Ok((status, request_id, content_type, body))
        };
        let answered = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Exchange::failed("run stopped", Accepted::Unknown),
            answered = tokio::time::timeout(self.plan.timeout.get(), answer) => answered,
        };
        match answered {
            Err(_) => Exchange::failed("timeout", Accepted::Unknown),
            Ok(Err((class, accepted))) => Exchange::failed(class, accepted),
            Ok(Ok((status, request_id, content_type, body))) => {
                let (outcome, captured) = judge(step, status, content_type.as_deref(), &body);
                let accepted = match (&outcome, status) {
                    (Outcome::Ok, _) => Accepted::Ok,
                    // The gateway's word for "somebody behind me": it may have happened.
                    (_, 500 | 502 | 504) => Accepted::Unknown,
                    (_, 400..) => Accepted::Refused,
                    _ => Accepted::Unknown,
                };
                Exchange {
                    outcome,
                    status: Some(status),
                    request_id,
                    captured,
                    accepted,
                }
            }
        }
    }

    /// Sends a request to the node whose turn it is, and to the next one for as long as no connection comes about:
    /// nothing was sent then.
    async fn send(&self, request: Request) -> Result<Response, reqwest::Error> {
        let mut order = self.balancer.order().into_iter();
        let mut request = request;
        order
            .next()
            .iter()
            .for_each(|first| aim(&mut request, *first));
        loop {
            let again = request.try_clone();
            match self.client.execute(request).await {
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
        &self,
        step: &StepPlan,
        values: &mut Values<'_>,
        id: &str,
    ) -> Result<Request, String> {
        let method = Method::from_bytes(step.method.as_bytes()).map_err(|_| "bad method")?;
        let path = template::render(&step.path, values).map_err(|error| error.to_string())?;
        let mut request = self
            .client
            .request(method, format!("http://{NOWHERE}{path}"))
            .header(REQUEST_ID, id);
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
    step: &StepPlan,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> (Outcome, BTreeMap<String, String>) {
    let mut captured = BTreeMap::new();
    let failed = |class: String| (Outcome::Failed(class), BTreeMap::new());
    let allowed = match step.expect.status.as_slice() {
        [] => (200..300).contains(&status),
        list => list.contains(&status),
    };
    if !allowed {
        return failed(format!("status {status}"));
    }
    if let Some(wanted) = &step.expect.content_type {
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(str::trim);
        if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case(wanted)) {
            return failed("content type".to_owned());
        }
    }
    if !step.capture.is_empty() {
        let Ok(value) = serde_json::from_slice(body) else {
            return failed("no JSON to capture from".to_owned());
        };
        for (name, path) in &step.capture {
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
    use crate::plan::StepExpect;

    fn step(status: &[u16], content_type: Option<&str>, capture: &[(&str, &str)]) -> StepPlan {
        StepPlan {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: indexmap::IndexMap::new(),
            json: None,
            expect: StepExpect {
                status: status.to_vec(),
                content_type: content_type.map(str::to_owned),
            },
            capture: capture
                .iter()
                .map(|(name, path)| ((*name).to_owned(), path.parse().expect("a path")))
                .collect(),
            ledger: false,
        }
    }

    fn class(step: &StepPlan, status: u16, content_type: Option<&str>, body: &[u8]) -> Outcome {
        judge(step, status, content_type, body).0
    }

    #[test]
    fn expectations_decide() {
        let any = step(&[], None, &[]);
        assert_eq!(class(&any, 204, None, b""), Outcome::Ok);
        assert_eq!(
            class(&any, 302, None, b""),
            Outcome::Failed("status 302".into())
        );
        let listed = step(&[409], None, &[]);
        assert_eq!(class(&listed, 409, None, b""), Outcome::Ok);
        assert_eq!(
            class(&listed, 200, None, b""),
            Outcome::Failed("status 200".into())
        );
        let typed = step(&[], Some("image/jpeg"), &[]);
        assert_eq!(
            class(&typed, 200, Some("Image/JPEG; q=1"), b""),
            Outcome::Ok
        );
        assert_eq!(
            class(&typed, 200, Some("text/html"), b""),
            Outcome::Failed("content type".into())
        );
        assert_eq!(
            class(&typed, 200, None, b""),
            Outcome::Failed("content type".into())
        );
    }

    #[test]
    fn captures_come_out_or_the_step_failed() {
        let capturing = step(&[], None, &[("job", "$.job_id")]);
        let body = json!({"job_id": "job_1"}).to_string();
        let (outcome, captured) = judge(&capturing, 202, None, body.as_bytes());
        assert_eq!(outcome, Outcome::Ok);
        assert_eq!(captured["job"], "job_1");
        assert!(matches!(
            class(&capturing, 202, None, b"{}"),
            Outcome::Failed(_)
        ));
        assert!(matches!(
            class(&capturing, 202, None, b"<html>"),
            Outcome::Failed(_)
        ));
    }
}
