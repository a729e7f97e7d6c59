//! The HTTP API of a gateway: requests in, answers and problems out.
//!
//! [`router`] lists the routes, [`stack::stack`] is the one place that says what stands in front of them. Handlers
//! convert and delegate; what a job is and does is decided in [`crate::jobs`] and [`crate::store`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use http::{Method, StatusCode, Uri};
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::config::LimitsConfig;
use crate::env::Env;
use crate::jobs::Queue;
use crate::model::VideoId;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;

mod form;
mod media;
mod operations;
mod options;
pub mod problem;
mod ranges;
mod request;
pub mod stack;
mod upload;
mod upstreams;
mod v1;
pub mod work;

pub use media::upstream_problem;
pub(crate) use request::{hex, query};

use problem::Problem;

/// What the handlers share.
#[derive(Debug)]
pub struct Api {
    /// The gateway's world.
    pub env: Env,
    /// What clients may ask for.
    pub limits: LimitsConfig,
    /// The way to the processors.
    pub upstream: Upstream,
    /// Wakes the dispatcher, knows the queue.
    pub queue: Arc<Queue>,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// Which requests are taken.
    pub admission: Admission,
    /// Cancelled when no new work is taken.
    pub draining: CancellationToken,
    /// Blob keys of videos already looked up: a source never changes, and frames are asked for far more often than the
    /// database should be.
    videos: RwLock<BTreeMap<VideoId, Arc<str>>>,
}

/// Videos whose blob keys are remembered.
const REMEMBERED_VIDEOS: usize = 10_000;

impl Api {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        env: Env,
        limits: LimitsConfig,
        upstream: Upstream,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        admission: Admission,
        draining: CancellationToken,
    ) -> Self {
        Self {
            env,
            limits,
            upstream,
            queue,
            metrics,
            admission,
            draining,
            videos: RwLock::default(),
        }
    }

    /// Blob key of a source.
    async fn source_of(&self, id: &VideoId) -> Result<Arc<str>, Problem> {
        if let Some(key) = self.videos.read().get(id) {
            return Ok(Arc::clone(key));
        }
        let video = self.env.store.video(id).await.map_err(|e| match e {
            crate::store::StoreError::NotFound => Problem::not_found("video", id.as_str()),
            other => other.into(),
        })?;
        let key: Arc<str> = video.blob.into();
        let mut videos = self.videos.write();
        if videos.len() >= REMEMBERED_VIDEOS {
            videos.clear();
        }
        videos.insert(id.clone(), Arc::clone(&key));
        Ok(key)
    }
}

/// Every route of a gateway, behind its stack of layers.
pub fn router(api: Arc<Api>) -> Router {
    let upload = post(upload::upload).layer(DefaultBodyLimit::disable()); // it counts by itself, to disk
    let routes = Router::new()
        .route("/api/v1/process-video", post(v1::process_video))
        .route("/api/v1/upload", upload)
        .route("/api/v1/jobs", get(v1::jobs))
        .route("/api/v1/jobs/{id}", get(v1::job))
        .route("/api/v1/jobs/{id}/clips", get(v1::clips))
        .route("/api/v1/clips/{id}/download", get(media::download))
        .route("/api/v1/clips/{id}/thumbnail.jpg", get(media::thumbnail))
        .route("/api/v1/videos/{id}/frame", get(media::frame))
        .route("/health", get(operations::health))
        .route("/livez", get(operations::health))
        .route("/ready", get(operations::ready))
        .route("/readyz", get(operations::ready))
        .route("/metrics", get(operations::metrics))
        .route("/internal/upstreams", get(operations::upstreams))
        .route(
            "/internal/upstreams/{name}/breaker",
            post(operations::breaker),
        )
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(Arc::clone(&api));
    stack::stack(routes, &stack::Front::from(&*api))
}

/// Answers requests for paths that do not exist.
pub(crate) async fn no_route(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        format!("there is nothing at {}", uri.path()),
    )
}

/// Answers requests with a method the path does not have; the `Allow` header is the router's.
pub(crate) async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {method}", uri.path()),
    )
}
