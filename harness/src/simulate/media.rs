//! The modelled media engine, with pictures that say what they show.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use clip_service::media::model::ModelMedia;
use clip_service::media::{
    Analysis, MediaEngine, MediaError, MediaErrorCode, Probe, Progress, RenderSpec, Rendered,
    SelectOptions,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::active_faults::ActiveFaults;
use super::mutants::Flaw;

/// A processor's engine: [`ModelMedia`] for the costs, and frames that name their video, time and width.
pub(super) struct SimMedia {
    pub(super) inner: ModelMedia,
    pub(super) host: &'static str,
    pub(super) active_faults: ActiveFaults,
    pub(super) flaw: Option<Flaw>,
    /// For [`Flaw::WrongFrames`].
    pub(super) first: Arc<Mutex<Option<String>>>,
}

/// The bytes of the frame of a video with this content.
pub(super) fn picture(content: &str, at: f64, width: u32) -> String {
    format!("picture of {content} at {at} s, {width} wide")
}

impl MediaEngine for SimMedia {
    fn probe<'a>(&'a self, source: &'a Path) -> BoxFuture<'a, Result<Probe, MediaError>> {
        self.inner.probe(source)
    }

    fn analyse<'a>(
        &'a self,
        source: &'a Path,
        options: &'a SelectOptions,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Analysis, MediaError>> {
        self.inner.analyse(source, options, progress)
    }

    fn render<'a>(
        &'a self,
        source: &'a Path,
        spec: &'a RenderSpec,
        clip: &'a Path,
        poster: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Rendered, MediaError>> {
        self.inner.render(source, spec, clip, poster, progress)
    }

    fn frame<'a>(
        &'a self,
        source: &'a Path,
        at: f64,
        width: u32,
    ) -> BoxFuture<'a, Result<Bytes, MediaError>> {
        Box::pin(async move {
            let mut content = std::fs::read_to_string(source).map_err(|error| {
                MediaError::new(MediaErrorCode::SourceUnavailable, error.to_string())
            })?;
            if self.flaw == Some(Flaw::WrongFrames) {
                content = self.first.lock().get_or_insert(content).clone();
            }
            tokio::time::sleep(self.active_faults.slower(self.host)).await;
            self.inner.frame(source, at, width).await?;
            Ok(picture(&content, at, width).into())
        })
    }
}
