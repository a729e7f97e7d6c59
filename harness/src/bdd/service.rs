//! The whole service in this process, and a client that talks to it as any program would: over HTTP.

use std::time::Duration;

use bytes::Bytes;
use clip_service::config::Config;
use clip_service::error::RoleResult;
use clip_service::observe::{Notice, Notices};
use clip_service::serve;
use clip_service::world::{self, Needs};
use reqwest::{Method, multipart};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::waiting::eventually;
use crate::http::{client, describe};
use crate::run::signals::Signals;

/// Starting, and ending, takes less than this even while other tests keep the machine busy.
const START: Duration = Duration::from_secs(30);
/// No single answer takes longer.
const ANSWER: Duration = Duration::from_secs(60);

/// A running service. Its folder goes with it.
#[derive(Debug)]
pub(super) struct Service {
    base: String,
    client: reqwest::Client,
    shutdown: CancellationToken,
    ended: JoinHandle<RoleResult>,
    _data: TempDir,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("{error}: {}", self.told()))
    }

    /// A text of a JSON answer.
    pub(super) fn text(&self, key: &str) -> Result<String, String> {
        let text = self.json()?[key].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("no `{key}` in {}", self.told()))
    }

    pub(super) fn expect(self, status: u16) -> Result<Self, String> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("wanted status {status}, got {}", self.told()))
    }

    /// The answer, for people; of what is no text only its size.
    pub(super) fn told(&self) -> String {
        let body = match std::str::from_utf8(&self.body) {
            Ok(text) if text.len() <= 2000 => text.trim().to_owned(),
            Ok(_) | Err(_) => format!("{} bytes", self.body.len()),
        };
        format!("{} {}: {body}", self.status, self.content_type)
    }
}

impl Service {
    /// Starts a registry, processors and a gateway, and waits until they serve.
    pub(super) async fn start(processors: usize, signals: &Signals) -> Result<Self, String> {
        let data = tempfile::tempdir().map_err(|error| error.to_string())?;
        let config = Config {
            listen: Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0))),
            data: data.path().to_owned(),
            processors,
            ..Config::default()
        };
        let shutdown = CancellationToken::new();
        let (tell, mut told) = watch::channel(None);
        let notices = Notices::new(move |notice: Notice| {
            if let Notice::Listening { address, .. } = notice {
                tell.send_replace(Some(address));
            }
        });
        let env = world::open(
            &config,
            serve::ROLE,
            Needs::SERVE,
            notices,
            shutdown.clone(),
        );
        let env = env.await.map_err(|error| error.to_string())?;
        let mut ended = tokio::spawn(serve::serve(env, config));
        let listening = tokio::time::timeout(START, told.wait_for(Option::is_some));
        let address = tokio::select! {
            biased;
            ended = &mut ended => return Err(format!("the service ended by itself: {ended:?}")),
            address = listening => match address {
                Ok(Ok(address)) => address.clone().unwrap_or_default(),
                Ok(Err(_)) | Err(_) => return Err(format!("it did not listen within {START:?}")),
            },
        };
        let service = Self {
            base: format!("http://{address}"),
            client: client(),
            shutdown,
            ended,
            _data: data,
        };
        match service.all_there(processors, signals).await {
            Ok(()) => Ok(service),
            // What has been started is ended, whatever the reason.
            Err(error) => Err(match service.stop().await {
                Ok(()) => error,
                Err(also) => format!("{error}; {also}"),
            }),
        }
    }

    /// Waits until the gateway is ready and knows every processor.
    async fn all_there(&self, processors: usize, signals: &Signals) -> Result<(), String> {
        let what = format!("a gateway with {processors} processors");
        eventually(&what, START, signals, async || {
            self.get("/ready").await?.expect(200)?;
            let known = self.get("/internal/upstreams").await?.expect(200)?.json()?;
            let number = known["instances"].as_array().map_or(0, Vec::len);
            if number == processors {
                return Ok(Some(()));
            }
            Err(format!("{number} instances in {known}"))
        })
        .await
    }

    /// Lets it drain. Every role must end well.
    pub(super) async fn stop(self) -> Result<(), String> {
        self.shutdown.cancel();
        let mut ended = self.ended;
        match tokio::time::timeout(START, &mut ended).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                ended.abort();
                Err(format!("it did not drain within {START:?}"))
            }
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(self.request(Method::GET, path)).await
    }

    /// A part of what is at a path, both ends included.
    pub(super) async fn range(&self, path: &str, from: usize, to: usize) -> Result<Answer, String> {
        let request = self.request(Method::GET, path);
        self.send(request.header("range", format!("bytes={from}-{to}")))
            .await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Answer, String> {
        let mut request = self.request(Method::POST, path).json(body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        self.send(request).await
    }

    /// Sends a file, which is not to be processed yet.
    pub(super) async fn upload(&self, name: &str, bytes: Vec<u8>) -> Result<Answer, String> {
        let part = multipart::Part::bytes(bytes).file_name(name.to_owned());
        let form = multipart::Form::new().part("file", part);
        let request = self.request(Method::POST, "/api/v1/upload?process=false");
        self.send(request.multipart(form)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.base);
        self.client.request(method, url).timeout(ANSWER)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        let answer = request.send().await.map_err(|error| describe(&error))?;
        let status = answer.status().as_u16();
        let content_type = answer.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = answer.bytes().await.map_err(|error| describe(&error))?;
        Ok(Answer {
            status,
            content_type,
            body,
        })
    }
}
