//! The caller: asks on its own schedule whatever becomes of the answers, and looks at everything in the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clip_service::env::Env;
use clip_service::http::Client;
use clip_service::model::{Clip, Job, JobStatus, Video, VideoId};
use clip_service::store::{Blobs, JobFilter, JobStore};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::media::picture;
use super::schedule::{GATEWAYS, Schedule, WARM};
use super::world::{Log, PORT};

/// Longest the caller waits for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A job is handed in again, under the same key, until it is accepted; this long in between.
const AGAIN: Duration = Duration::from_millis(400);
const MOST_SUBMITS: u32 = 12;
/// Between two jobs.
const JOB_EVERY: Duration = Duration::from_millis(1500);
/// How long accepted jobs may take to end once the load has ended.
pub(super) const JOBS_END: Duration = Duration::from_secs(20);
/// Clips that each job asks for.
pub(super) const CLIPS: usize = 2;
const VIDEOS: usize = 3;
const WIDTH: u32 = 320;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should.
    Right,
    /// With an error that says so.
    Refused(u16),
    /// Without an answer.
    Silent,
    /// With something that is not the answer to it.
    Wrong(String),
}

/// One request, frame or submit.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) what: String,
    /// When it was due, since the start of the simulation; it was sent then.
    pub(super) due: Duration,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
}

/// One accepted job as it stands at the end.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) key: String,
    pub(super) id: String,
    /// What the API said last.
    pub(super) said: Option<String>,
    /// As stored, with its clips and what is wrong with their files.
    pub(super) stored: Option<(Job, Vec<Clip>, Vec<String>)>,
}

/// What the caller saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Request>,
    pub(super) accepted: Vec<Accepted>,
    /// Job ids by the key they were handed in with, all that are stored.
    pub(super) stored: Vec<(String, String)>,
    /// `/internal/upstreams` of each gateway at the end, if it answered.
    pub(super) upstreams: Vec<(&'static str, Option<Value>)>,
}

/// The caller. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) env: Env,
    pub(super) client: Client,
    pub(super) log: Log,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) store: Arc<dyn JobStore>,
    pub(super) blobs: Arc<dyn Blobs>,
}

fn video(index: usize) -> (String, String) {
    (
        format!("video_{index}"),
        format!("content of video {index}"),
    )
}

impl Caller {
    /// Puts the videos into the store, offers the load of `schedule` with `rate` frames a second, and looks at the end.
    pub(super) async fn run(self, schedule: &Schedule, rate: u32) -> Result<(), String> {
        self.prepare().await.map_err(|e| e.to_string())?;
        let origin = Instant::now();
        let frames = Duration::from_secs(1) / rate.max(1);
        let (mut frame, mut job) = (origin + WARM, origin + WARM + frames / 2);
        let end = origin + schedule.length;
        let mut tasks = Vec::new();
        let mut count = 0_usize;
        loop {
            let due = frame.min(job);
            if due >= end {
                break;
            }
            sleep_until(due).await;
            count += 1;
            let caller = self.clone();
            let gateway = GATEWAYS[count % GATEWAYS.len()];
            tasks.push(if frame <= job {
                frame += frames;
                self.env.exec.spawn(async move {
                    caller.frame(count, gateway).await;
                })
            } else {
                job += JOB_EVERY;
                self.env.exec.spawn(async move {
                    caller.job(count).await;
                })
            });
        }
        for task in tasks {
            task.await.map_err(|e| e.to_string())?;
        }
        self.await_jobs(end + JOBS_END).await;
        self.look().await.map_err(|e| e.to_string())
    }

    async fn prepare(&self) -> clip_service::store::StoreResult<()> {
        for index in 0..VIDEOS {
            let (id, content) = video(index);
            let Some(id) = VideoId::parse(&id) else {
                continue;
            };
            let video = Video {
                blob: format!("sources/{id}.mp4"),
                name: format!("{id}.mp4"),
                id,
                size: content.len() as u64,
                sha256: String::new(),
                created_at: self.env.clock.now(),
            };
            self.blobs.put(&video.blob, Bytes::from(content)).await?;
            self.store.add_video(video).await?;
        }
        Ok(())
    }

    /// Status and body; `None` without an answer in time.
    async fn ask(
        &self,
        gateway: &str,
        method: &str,
        path: &str,
        body: String,
        key: &str,
    ) -> Option<(u16, Bytes)> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{gateway}:{PORT}{path}"))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body)))
            .ok()?;
        let exchange = async {
            let answer = self.client.request(request).await.ok()?;
            let status = answer.status().as_u16();
            Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
        };
        timeout(PATIENCE, exchange).await.ok().flatten()
    }

    fn note(&self, what: String, due: Duration, outcome: Outcome) {
        let took = super::world::now().saturating_sub(due);
        self.log
            .line(format!("{what}: {outcome:?}, {} ms", took.as_millis()));
        self.seen.lock().requests.push(Request {
            what,
            due,
            took,
            outcome,
        });
    }

    async fn frame(&self, count: usize, gateway: &str) {
        let due = super::world::now();
        let ((id, content), at) = (video(count % VIDEOS), (count % 20) as f64);
        let path = format!("/api/v1/videos/{id}/frame?at={at}&width={WIDTH}");
        let answer = self.ask(gateway, "GET", &path, String::new(), "").await;
        let outcome = outcome(answer, |status, body| {
            let expected = picture(&content, at, WIDTH);
            (status == 200 && body == expected.as_bytes()).then_some(())
        });
        let what = format!("frame {count} of {id} by {gateway}");
        self.note(what, due, outcome.err().unwrap_or(Outcome::Right));
    }

    /// Hands a job in until it is accepted, at one gateway and the other in turn.
    async fn job(&self, count: usize) {
        let key = format!("job-{count}");
        let (id, _) = video(count % VIDEOS);
        let body = json!({
            "video_id": id, "max_clips": CLIPS, "min_clip_length": 3, "max_clip_length": 5,
            "metadata": { "key": key },
        });
        for attempt in 0..MOST_SUBMITS {
            let due = super::world::now();
            let gateway = GATEWAYS[(count + attempt as usize) % GATEWAYS.len()];
            let path = "/api/v1/process-video";
            let answer = self
                .ask(gateway, "POST", path, body.to_string(), &key)
                .await;
            let outcome = outcome(answer, |status, body| {
                let job: Value = serde_json::from_slice(body).ok()?;
                // 200: the same job as before, under the same key.
                (matches!(status, 200 | 202)).then_some(())?;
                Some(job.get("job_id")?.as_str()?.to_owned())
            });
            let what = format!("{key}, attempt {attempt}, by {gateway}");
            match outcome {
                Ok(id) => {
                    self.note(format!("{what} ({id})"), due, Outcome::Right);
                    self.seen.lock().accepted.push(Accepted {
                        key,
                        id,
                        said: None,
                        stored: None,
                    });
                    return;
                }
                Err(other) => self.note(what, due, other),
            }
            sleep(AGAIN).await;
        }
    }

    /// Asks after each accepted job until the API says that it has ended, or the time is up.
    async fn await_jobs(&self, until: Instant) {
        let ids: Vec<String> = self
            .seen
            .lock()
            .accepted
            .iter()
            .map(|job| job.id.clone())
            .collect();
        for (index, id) in ids.iter().enumerate() {
            let path = format!("/api/v1/jobs/{id}");
            for attempt in 0.. {
                let gateway = GATEWAYS[(index + attempt) % GATEWAYS.len()];
                let answer = self.ask(gateway, "GET", &path, String::new(), "").await;
                let said = answer.and_then(|(status, body)| {
                    let job: Value = serde_json::from_slice(&body).ok()?;
                    (status == 200).then_some(())?;
                    Some(job.get("status")?.as_str()?.to_owned())
                });
                let ended = matches!(said.as_deref(), Some("completed" | "failed"));
                if ended || Instant::now() >= until {
                    self.log.line(format!("{id} in the end: {said:?}"));
                    self.seen.lock().accepted[index].said = said;
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
        }
    }

    async fn look(&self) -> clip_service::store::StoreResult<()> {
        let everything = JobFilter {
            limit: usize::MAX,
            ..JobFilter::default()
        };
        let jobs = self.store.jobs(everything).await?;
        for job in jobs.iter().flatten() {
            let key = job.spec.metadata.get("key").cloned().unwrap_or_default();
            self.seen.lock().stored.push((key, job.id.to_string()));
            let place = {
                let seen = self.seen.lock();
                seen.accepted.iter().position(|it| it.id == job.id.as_str())
            };
            let Some(place) = place else { continue };
            let clips = self.store.clips(&job.id).await?;
            let clips: Vec<_> = clips.into_iter().flatten().collect();
            let mut wrong = Vec::new();
            if job.status == JobStatus::Completed {
                for clip in &clips {
                    wrong.extend(self.faults_of(clip).await);
                }
            }
            self.seen.lock().accepted[place].stored = Some((job.clone(), clips, wrong));
        }
        for gateway in GATEWAYS {
            let answer = self
                .ask(gateway, "GET", "/internal/upstreams", String::new(), "")
                .await;
            let view = answer.and_then(|(_, body)| serde_json::from_slice(&body).ok());
            self.seen.lock().upstreams.push((gateway, view));
        }
        Ok(())
    }

    /// What is wrong with the files of a clip.
    async fn faults_of(&self, clip: &Clip) -> Option<String> {
        let size = self.blobs.size(&clip.clip_blob).await;
        match size {
            Ok(size) if size == clip.rendered.size => None,
            Ok(size) => Some(format!(
                "{} has {size} bytes instead of {}",
                clip.clip_blob, clip.rendered.size
            )),
            Err(error) => Some(format!("{}: {error}", clip.clip_blob)),
        }
    }
}

/// What an answer is worth; `right` takes out what is wanted of it.
fn outcome<T>(
    answer: Option<(u16, Bytes)>,
    right: impl FnOnce(u16, &[u8]) -> Option<T>,
) -> Result<T, Outcome> {
    let Some((status, body)) = answer else {
        return Err(Outcome::Silent);
    };
    // 409: the same key is being handed in at this moment.
    if status >= 500 || matches!(status, 409 | 429) {
        return Err(Outcome::Refused(status));
    }
    right(status, &body).ok_or_else(|| {
        let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        Outcome::Wrong(format!("{status} {start}"))
    })
}
