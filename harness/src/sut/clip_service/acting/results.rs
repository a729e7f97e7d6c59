//! Clips are decoded to their end, in worker processes of the service.

use std::path::Path;

use clip_service::media::worker::WorkerPool;
use clip_service::media::{MediaConfig, MediaEngine as _, Progress, SelectOptions};
use futures_util::future::BoxFuture;

use super::binary;
use crate::sut::acting::Inspector;

/// The verb that worker processes of the service answer to.
const WORKER_VERB: &str = "__media-worker";

pub(super) struct Decoder(WorkerPool);

impl Decoder {
    pub(super) fn new() -> Result<Self, String> {
        // The service's binary where there is one: not every program that embeds the harness answers to a worker's verb.
        let worker = binary()
            .ok()
            .map(|path| vec![path.display().to_string(), WORKER_VERB.to_owned()]);
        let config = MediaConfig {
            worker_command: worker,
            ..MediaConfig::default()
        };
        WorkerPool::new(config)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl Inspector for Decoder {
    fn suffix(&self) -> &'static str {
        ".mp4"
    }

    fn inspect<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let options = SelectOptions {
                min_length: 1.0,
                max_length: 60.0,
                max_clips: 1,
            };
            self.0
                .analyse(file, &options, Progress::ignored())
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
    }
}
