//! A modelled engine for simulations: it decodes nothing, takes as long as the real one would, and answers the same way
//! for the same file. All time is `tokio::time`, all randomness comes in, so a simulated run repeats exactly.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::select::WEIGHTS;
use super::{
    Analysis, Component, Highlight, MediaEngine, MediaError, MediaErrorCode, Probe, Progress,
    RenderSpec, Rendered, SelectOptions,
};
use crate::env::SharedRng;
use crate::units::HumanDuration;

/// How long modelled work takes. The defaults are what the real engine takes for the `talk` fixture on one core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelCosts {
    /// Analyses and renders at the same time.
    pub workers: usize,
    /// Probes and frames at the same time.
    pub frame_workers: usize,
    /// Probes and frames that may wait; one more is refused as busy.
    pub frame_queue: usize,
    /// Length of every video, seconds.
    pub duration: f64,
    /// One probe.
    pub probe: HumanDuration,
    /// One frame.
    pub frame: HumanDuration,
    /// Analysis, seconds of work per second of video.
    pub analyse: f64,
    /// Rendering, seconds of work per second of clip.
    pub render: f64,
    /// Each cost is drawn from 1 - spread to 1 + spread times the above.
    pub spread: f64,
}

impl Default for ModelCosts {
    fn default() -> Self {
        Self {
            workers: 1,
            frame_workers: 1,
            frame_queue: 256,
            duration: 60.0,
            probe: HumanDuration::millis(4),
            frame: HumanDuration::millis(12),
            analyse: 0.03,
            render: 0.15,
            spread: 0.3,
        }
    }
}

/// Work is done in so many steps, each of which reports progress.
const STEPS: u32 = 10;

/// Stands in for a JPEG: the marker that begins one, a few bytes, the marker that ends one.
const JPEG: &[u8] = &[
    0xff, 0xd8, 0xff, 0xfe, 0x00, 0x0a, b'm', b'o', b'd', b'e', b'l', b'l', b'e', b'd', 0xff, 0xd9,
];

/// Stands in for an mp4: a file type box and an empty media box.
const MP4: &[u8] = b"\0\0\0\x14ftypisom\0\0\0\0isom\0\0\0\x08mdat";

/// The modelled engine.
#[derive(Clone)]
pub struct ModelMedia {
    costs: ModelCosts,
    rng: SharedRng,
    heavy: Arc<Semaphore>,
    light: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl fmt::Debug for ModelMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelMedia")
            .field("costs", &self.costs)
            .finish_non_exhaustive()
    }
}

impl ModelMedia {
    /// An engine whose costs vary by `rng`.
    #[must_use]
    pub fn new(costs: ModelCosts, rng: SharedRng) -> Self {
        Self {
            heavy: Arc::new(Semaphore::new(costs.workers.max(1))),
            light: Arc::new(Semaphore::new(costs.frame_workers.max(1))),
            waiting: Arc::default(),
            costs,
            rng,
        }
    }

    fn vary(&self, cost: Duration) -> Duration {
        let spread = self.costs.spread.clamp(0.0, 1.0);
        cost.mul_f64(1.0 - spread + 2.0 * spread * self.rng.unit())
    }

    async fn light(&self, cost: HumanDuration) -> Result<(), MediaError> {
        let waiting = Waiting::enter(&self.waiting);
        if waiting.others >= self.costs.frame_queue && self.light.available_permits() == 0 {
            return Err(MediaError::new(
                MediaErrorCode::Busy,
                "every media worker is busy",
            ));
        }
        let _permit = permit(&self.light).await?;
        drop(waiting);
        sleep(self.vary(cost.get())).await;
        Ok(())
    }

    async fn heavy(&self, seconds: f64, progress: &Progress) -> Result<(), MediaError> {
        let _permit = permit(&self.heavy).await?;
        let step = self.vary(Duration::from_secs_f64(seconds.max(0.0))) / STEPS;
        for done in 1..=STEPS {
            sleep(step).await;
            progress.report(f64::from(done) / f64::from(STEPS));
        }
        Ok(())
    }

    fn the_probe(&self) -> Probe {
        Probe {
            duration: self.costs.duration,
            width: 1280,
            height: 720,
            fps: 30.0,
            video_codec: "h264".to_owned(),
            audio_codec: Some("aac".to_owned()),
            container: "mov,mp4,m4a,3gp,3g2,mj2".to_owned(),
            size: 1_000_000,
        }
    }

    /// Clips of the shortest length, side by side from the start, each a little worse than the one before.
    fn highlights(&self, options: &SelectOptions) -> Vec<Highlight> {
        let length = options.min_length.min(self.costs.duration).max(0.5);
        let room = ((self.costs.duration + 1.0) / (length + 1.0)).floor() as usize;
        (0..room
            .clamp(1, options.max_clips.max(1))
            .min(options.max_clips))
            .map(|i| {
                let start = i as f64 * (length + 1.0);
                let value = 0.9 / (1.0 + 0.1 * i as f64);
                let components: Vec<Component> = WEIGHTS
                    .iter()
                    .map(|(name, weight)| Component {
                        name: (*name).to_owned(),
                        value,
                        weight: *weight,
                        points: (1000.0 * value * weight).round() / 10.0,
                    })
                    .collect();
                Highlight {
                    start,
                    end: start + length,
                    score: (components.iter().map(|c| c.points).sum::<f64>() * 10.0).round() / 10.0,
                    components,
                    reasons: vec!["modelled".to_owned()],
                    start_boundary: "grid".to_owned(),
                    end_boundary: "grid".to_owned(),
                }
            })
            .collect()
    }
}

async fn permit(lane: &Semaphore) -> Result<SemaphorePermit<'_>, MediaError> {
    lane.acquire().await.map_err(|_| {
        MediaError::new(
            MediaErrorCode::Cancelled,
            "the media engine is shutting down",
        )
    })
}

/// Counts who waits, also when the waiting is given up.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    others: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self {
            count,
            others: count.fetch_add(1, Ordering::AcqRel),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), MediaError> {
    std::fs::write(path, bytes).map_err(|error| {
        MediaError::new(
            MediaErrorCode::EncodeFailed,
            format!("{} cannot be written: {error}", path.display()),
        )
    })
}

impl MediaEngine for ModelMedia {
    fn probe<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<Probe, MediaError>> {
        async move {
            self.light(self.costs.probe).await?;
            Ok(self.the_probe())
        }
        .boxed()
    }

    fn analyse<'a>(
        &'a self,
        _: &'a Path,
        options: &'a SelectOptions,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Analysis, MediaError>> {
        async move {
            self.heavy(self.costs.analyse * self.costs.duration, &progress)
                .await?;
            Ok(Analysis {
                probe: self.the_probe(),
                highlights: self.highlights(options),
                cuts: Vec::new(),
                algorithm: "modelled".to_owned(),
                warnings: Vec::new(),
            })
        }
        .boxed()
    }

    fn render<'a>(
        &'a self,
        _: &'a Path,
        spec: &'a RenderSpec,
        clip: &'a Path,
        poster: &'a Path,
        progress: Progress,
    ) -> BoxFuture<'a, Result<Rendered, MediaError>> {
        async move {
            let length = spec.end.min(self.costs.duration) - spec.start;
            if length.is_nan() || length <= 0.0 || spec.start < 0.0 {
                return Err(MediaError::new(
                    MediaErrorCode::OutOfRange,
                    "the clip lies outside the video",
                ));
            }
            self.heavy(self.costs.render * length, &progress).await?;
            // Different clips have different bytes, as real ones have.
            let mut bytes = MP4.to_vec();
            bytes.extend(format!("{}-{}", spec.start, spec.end).into_bytes());
            write(clip, &bytes)?;
            write(poster, JPEG)?;
            Ok(Rendered {
                duration: length,
                width: 406,
                height: 720,
                size: bytes.len() as u64,
            })
        }
        .boxed()
    }

    fn frame<'a>(
        &'a self,
        _: &'a Path,
        at: f64,
        _: u32,
    ) -> BoxFuture<'a, Result<Bytes, MediaError>> {
        async move {
            if !(0.0..=self.costs.duration).contains(&at) {
                return Err(MediaError::new(
                    MediaErrorCode::OutOfRange,
                    format!(
                        "there is no picture at {at} s, the video lasts {:.3} s",
                        self.costs.duration
                    ),
                ));
            }
            self.light(self.costs.frame).await?;
            Ok(Bytes::from_static(JPEG))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn engine(seed: u64) -> ModelMedia {
        ModelMedia::new(ModelCosts::default(), SharedRng::seeded(seed))
    }

    async fn took(seed: u64) -> Duration {
        let before = Instant::now();
        let engine = engine(seed);
        let source = Path::new("talk.mp4");
        engine
            .analyse(source, &SelectOptions::default(), Progress::ignored())
            .await
            .expect("analysed");
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_takes_the_same_time() {
        let first = took(1).await;
        assert_eq!(first, took(1).await);
        assert_ne!(first, took(2).await);
        assert!((1.2..=2.4).contains(&first.as_secs_f64()), "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn work_waits_for_a_worker_and_a_full_queue_is_busy() {
        let costs = ModelCosts {
            frame_queue: 2,
            spread: 0.0,
            ..ModelCosts::default()
        };
        let engine = ModelMedia::new(costs, SharedRng::seeded(1));
        let before = Instant::now();
        let results =
            futures_util::future::join_all((0..5).map(|_| engine.frame(Path::new("x"), 1.0, 320)))
                .await;
        let busy = results
            .iter()
            .filter(|r| r.as_ref().is_err_and(|e| e.code == MediaErrorCode::Busy))
            .count();
        assert_eq!((busy, results.len() - busy), (2, 3));
        assert_eq!(before.elapsed(), Duration::from_millis(36));
    }

    #[tokio::test(start_paused = true)]
    async fn scores_are_the_sum_of_their_points_and_clips_do_not_overlap() {
        let analysis = engine(1)
            .analyse(
                Path::new("x"),
                &SelectOptions::default(),
                Progress::ignored(),
            )
            .await
            .expect("analysed");
        assert_eq!(analysis.highlights.len(), 3);
        for highlight in &analysis.highlights {
            let sum: f64 = highlight.components.iter().map(|c| c.points).sum();
            assert!((sum - highlight.score).abs() < 0.1);
        }
        assert!(
            analysis
                .highlights
                .windows(2)
                .all(|w| w[0].end + 1.0 <= w[1].start + 1e-9)
        );
    }
}
