//! The HTTP API of a gateway: requests in, answers and problems out.
//!
//! The rows of [`crate::edge`] say what can be asked. Handlers convert and delegate; what a job is and does is decided in [`crate::jobs`] and [`crate::store`].

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::config::LimitsConfig;
use crate::edge::{self, StackConfig};
use crate::env::Env;
use crate::http::Problem;
use crate::jobs::Queue;
use crate::model::VideoId;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;

mod form;
mod idempotency;
mod media;
mod operations;
mod options;
mod ranges;
mod rows;
mod upload;
mod upstreams;
mod v1;

pub use media::upstream_problem;
pub use rows::admission;

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

    /// Whether what is accepted now could be kept.
    fn storage(&self) -> Result<(), Problem> {
        let Some(why) = self.queue.storage_fault() else {
            return Ok(());
        };
        tracing::debug!(why, "refused: storage is lost");
        let detail = "what is accepted now could not be kept: storage is lost";
        Err(Problem::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            "storage_lost",
            detail,
        )
        .retry_after(5))
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

/// Every endpoint of a gateway, behind its stack of layers.
pub fn router(api: Arc<Api>) -> Router {
    let config = StackConfig {
        env: api.env.clone(),
        metrics: Arc::clone(&api.metrics),
        draining: api.draining.clone(),
        request: api.limits.request.get(),
        upload: api.limits.upload_time.get(),
        body_bytes: api.limits.body_bytes,
        admission: api.admission.clone(),
    };
    edge::router(rows::endpoints(), api, config)
}
