//! A plain HTTP client and waits on conditions.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long anything may take here before the test says what it waits for.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, after checking that it is a whole one.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        for member in ["type", "title", "detail", "instance"] {
            assert!(
                body[member].as_str().is_some_and(|t| !t.is_empty()),
                "{member} in {body}"
            );
        }
        body["code"].as_str().unwrap().to_owned()
    }
}

/// Talks to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    hyper: Hyper<HttpConnector, Full<Bytes>>,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let hyper = Hyper::builder(TokioExecutor::new()).build_http();
        Self {
            base: format!("http://{address}"),
            hyper,
        }
    }

    /// `host:port` of the server.
    pub(crate) fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Sends a request; fails when the connection does.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let exchange = async {
            let response = self
                .hyper
                .request(request)
                .await
                .map_err(|e| format!("{e:?}"))?;
            let (parts, body) = response.into_parts();
            let body = body
                .collect()
                .await
                .map_err(|e| format!("{e:?}"))?
                .to_bytes();
            Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            })
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{path}: no answer within {PATIENCE:?}")),
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub(crate) async fn post_json(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let headers: Vec<_> = [("content-type", "application/json")]
            .iter()
            .chain(headers)
            .copied()
            .collect();
        self.send(Method::POST, path, &headers, body.to_string())
            .await
    }

    /// Posts a form with one file and some text fields.
    pub(crate) async fn upload(&self, file: &[u8], fields: &[(&str, &str)]) -> Answer {
        self.upload_with(&[], file, fields).await
    }

    pub(crate) async fn upload_with(
        &self,
        headers: &[(&str, &str)],
        file: &[u8],
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut body = Vec::new();
        for (name, value) in fields {
            let head = format!("--xx\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(
            b"--xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"../my talk.mp4\"\r\n\r\n",
        );
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--xx--\r\n");
        let form = [("content-type", "multipart/form-data; boundary=xx")];
        let headers = [&form[..], headers].concat();
        self.send(Method::POST, "/api/v1/upload", &headers, body)
            .await
    }

    /// Uploads a video and gives its id.
    pub(crate) async fn video(&self, file: &[u8]) -> String {
        let answer = self.upload(file, &[("process", "false")]).await;
        assert_eq!(
            answer.status,
            201,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["video_id"].as_str().unwrap().to_owned()
    }

    /// Submits a job and gives its id.
    pub(crate) async fn submit(&self, video: &str) -> String {
        let body = serde_json::json!({ "video_id": video, "max_clips": 2, "max_clip_length": 6 });
        let answer = self.post_json("/api/v1/process-video", &[], &body).await;
        assert_eq!(
            answer.status,
            202,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a job has one of these states; gives the job. Progress must never fall meanwhile.
    pub(crate) async fn job_in(&self, job: &str, states: &[&str]) -> Value {
        let mut progress = 0.0;
        eventually(&format!("{job} to be one of {states:?}"), async || {
            let path = format!("/api/v1/jobs/{job}");
            let answer = self.try_send(Method::GET, &path, &[], Bytes::new()).await?;
            let view: Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
            let now = view["progress"].as_f64().ok_or_else(|| view.to_string())?;
            assert!(now >= progress, "progress fell from {progress} to {now}");
            progress = now;
            let status = view["status"].as_str().unwrap_or_default();
            if states.contains(&status) {
                Ok(view)
            } else {
                Err(view.to_string())
            }
        })
        .await
    }

    /// Checks that a job has completed with clips that can be had, each once.
    pub(crate) async fn completed_with_clips(&self, job: &str) {
        let view = self.job_in(job, &["completed", "failed"]).await;
        assert_eq!(view["status"], "completed", "{view}");
        let clips = self.get(&format!("/api/v1/jobs/{job}/clips")).await.json();
        let clips = clips["clips"].as_array().unwrap().clone();
        assert!(!clips.is_empty());
        for (rank, clip) in clips.iter().enumerate() {
            assert_eq!(clip["rank"], rank, "{clip}");
            let file = self.get(clip["download_url"].as_str().unwrap()).await;
            assert_eq!(file.status, 200);
            assert_eq!(sha256(&file.body), clip["sha256"].as_str().unwrap());
            assert_eq!(&file.body[4..8], b"ftyp");
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Polls until `check` gives a value; says what it last saw when it never does.
pub(crate) async fn eventually<T>(
    what: &str,
    mut check: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match check().await {
            Ok(value) => return value,
            Err(seen) => {
                assert!(
                    started.elapsed() < PATIENCE,
                    "waited for {what}; last saw: {seen}"
                );
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }
}
