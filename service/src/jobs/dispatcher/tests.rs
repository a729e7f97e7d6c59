//! The dispatcher with a store in memory and a scripted processor on a loopback socket.

use std::collections::VecDeque;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use indexmap::IndexMap;
use jiff::Timestamp;

use super::*;
use crate::env::{Exec, SharedRng, WallClock};
use crate::http::{Drain, Patience, serve};
use crate::media::{AspectRatio, Highlight, NoMedia, Probe, Rendered, SelectOptions};
use crate::model::{ClipSpec, JobId, VideoId};
use crate::net::TcpNet;
use crate::observe::{Notice, Notices};
use crate::registry::client::{Discovery, Peer};
use crate::store::{JobStore, MemoryBlobs, MemoryStore};
use crate::units::HumanDuration;
use crate::upstream::UpstreamConfig;

/// What the processor answers to one task.
#[derive(Debug, Clone)]
enum Answer {
    Lines(Vec<TaskEvent>),
    Status(u16),
    /// Says nothing more after the head.
    Hang,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<(TaskKind, u32)>>,
}

async fn scripted(State(script): State<Arc<Script>>, body: Bytes) -> Response {
    let task: Task = serde_json::from_slice(&body).expect("a task");
    script.asked.lock().push((task.kind.clone(), task.epoch));
    let next = script.answers.lock().pop_front();
    match next.unwrap_or_else(|| Answer::Lines(vec![done(&task)])) {
        Answer::Lines(lines) => {
            let bytes: Vec<u8> = lines
                .iter()
                .flat_map(|event| event.line().to_vec())
                .collect();
            Body::from(bytes).into_response()
        }
        Answer::Status(status) => StatusCode::from_u16(status)
            .expect("a status")
            .into_response(),
        Answer::Hang => {
            let silence = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            Body::from_stream(silence).into_response()
        }
    }
}

fn done(task: &Task) -> TaskEvent {
    let highlight = |start: f64| Highlight {
        start,
        end: start + 5.0,
        score: 50.0,
        components: Vec::new(),
        reasons: Vec::new(),
        start_boundary: "grid".to_owned(),
        end_boundary: "grid".to_owned(),
    };
    TaskEvent::Result(match &task.kind {
        TaskKind::Analyse { .. } => TaskResult::Analysed(Box::new(Analysis {
            probe: Probe {
                duration: 60.0,
                width: 1280,
                height: 720,
                fps: 25.0,
                video_codec: "h264".to_owned(),
                audio_codec: None,
                container: "mp4".to_owned(),
                size: 1,
            },
            highlights: vec![highlight(0.0), highlight(10.0), highlight(20.0)],
            cuts: Vec::new(),
            algorithm: "scripted".to_owned(),
            warnings: Vec::new(),
        })),
        TaskKind::Render { clip, .. } => TaskResult::Rendered {
            rendered: Rendered {
                duration: 5.0,
                width: 404,
                height: 720,
                size: 1,
            },
            clip_blob: format!("clips/{clip}/{}/clip.mp4", task.epoch),
            poster_blob: format!("clips/{clip}/{}/poster.jpg", task.epoch),
            sha256: "ab".to_owned(),
        },
    })
}

fn failure(code: MediaErrorCode) -> Answer {
    Answer::Lines(vec![
        TaskEvent::Progress(0.1),
        TaskEvent::Error(MediaError::new(code, "so it is")),
    ])
}

struct Stage {
    store: Arc<MemoryStore>,
    script: Arc<Script>,
    job: JobId,
    stop: CancellationToken,
    moves: Arc<Mutex<Vec<String>>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a dispatcher with one job to do.
async fn stage(answers: Vec<Answer>, config: JobsConfig) -> Stage {
    stage_from(answers, config, async |_| {}).await
}

/// The same, with a store in which a dispatcher before it has left something.
async fn stage_from(
    answers: Vec<Answer>,
    config: JobsConfig,
    before: impl AsyncFnOnce(Arc<MemoryStore>),
) -> Stage {
    let store = Arc::new(MemoryStore::default());
    let moves = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&moves);
    let stop = CancellationToken::new();
    let env = Env {
        node: "gateway-1".into(),
        net: Arc::new(TcpNet::new(BTreeMap::new())),
        exec: Exec::Tokio,
        clock: WallClock::system(),
        rng: SharedRng::seeded(7),
        store: Arc::clone(&store) as Arc<dyn JobStore>,
        blobs: Arc::new(MemoryBlobs::default()),
        media: Arc::new(NoMedia),
        notices: Notices::new(move |notice| {
            if let Notice::Transition(it) = notice
                && it.subject == Subject::Job
            {
                heard.lock().push(it.to);
            }
        }),
        shutdown: stop.clone(),
    };
    let script = Arc::new(Script {
        answers: Mutex::new(answers.into()),
        ..Script::default()
    });
    let acceptor = env
        .net
        .bind(([127, 0, 0, 1], 0).into())
        .await
        .expect("a port");
    let address = acceptor.local_addr().expect("an address").to_string();
    let routes = Router::new()
        .route("/internal/tasks", post(scripted))
        // The stack looks here before it trusts an instance again whose call was cut off.
        .route("/health", get(|| async { "ok" }))
        .with_state(Arc::clone(&script));
    let (served, drain) = (
        env.clone(),
        Drain {
            stop: stop.clone(),
            limit: Duration::ZERO,
        },
    );
    env.exec
        .spawn(async move { serve(&served, acceptor, routes, Patience::default(), drain).await });

    let job = job();
    let id = job.id.clone();
    let first = Task {
        id: TaskId::parse("task_1").expect("an id"),
        job: id.clone(),
        source: "sources/video_1".to_owned(),
        kind: TaskKind::Analyse {
            select: job.spec.select.clone(),
        },
        epoch: 0,
    };
    store
        .submit(job, first, None, None)
        .await
        .expect("memory does not fail");
    before(Arc::clone(&store)).await;

    let mut upstream = UpstreamConfig::default();
    upstream.timeouts.task_idle = HumanDuration::millis(300);
    let timeouts = upstream.timeouts.clone();
    let peers = Discovery::fixed(vec![Peer::fixed("processor-1", address)]);
    let upstream = Upstream::new(&env, peers, upstream);
    let (queue, metrics) = (Arc::default(), Arc::default());
    let dispatcher = Dispatcher::new(env.clone(), config, timeouts, upstream, queue, metrics);
    let end = stop.clone();
    env.exec
        .spawn(async move { dispatcher.run(end, Duration::ZERO).await });
    Stage {
        store,
        script,
        job: id,
        stop,
        moves,
    }
}

fn job() -> Job {
    Job {
        id: JobId::parse("job_1").expect("an id"),
        spec: ClipSpec {
            video: VideoId::parse("video_1").expect("an id"),
            select: SelectOptions {
                max_clips: 2,
                ..SelectOptions::default()
            },
            aspect_ratio: AspectRatio::Square,
            max_height: Some(480),
            metadata: IndexMap::new(),
        },
        status: JobStatus::Queued,
        progress: 0.0,
        created_at: Timestamp::now(),
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
    }
}

fn quick() -> JobsConfig {
    JobsConfig {
        poll: HumanDuration::millis(20),
        max_attempts: 3,
        ..JobsConfig::default()
    }
}

impl Stage {
    /// The job, once it can change no more.
    async fn ended(&self) -> Job {
        let ended = async {
            loop {
                let job = self.store.job(&self.job).await.expect("it is there");
                if job.status.is_terminal() {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended)
            .await
            .expect("the job ends")
    }

    fn epochs_of_first(&self) -> Vec<u32> {
        let asked = self.script.asked.lock();
        let first = asked
            .iter()
            .filter(|(kind, _)| matches!(kind, TaskKind::Analyse { .. }));
        first.map(|(_, epoch)| *epoch).collect()
    }
}

#[tokio::test]
async fn an_analysis_is_followed_by_one_render_per_pick() {
    let stage = stage(Vec::new(), quick()).await;
    let job = stage.ended().await;
    assert_eq!((job.status, job.error), (JobStatus::Completed, None));
    let clips = stage
        .store
        .clips(&stage.job)
        .await
        .expect("memory does not fail");
    assert_eq!(
        clips.len(),
        2,
        "as many as were asked for, not as many as were found"
    );
    let asked = stage.script.asked.lock();
    let specs: Vec<_> = asked
        .iter()
        .filter_map(|(kind, _)| match kind {
            TaskKind::Render { spec, rank, .. } => Some((*rank, spec.clone())),
            TaskKind::Analyse { .. } => None,
        })
        .collect();
    assert_eq!(specs.len(), 2);
    assert_eq!(
        (specs[0].0, specs[0].1.start, specs[1].1.start),
        (0, 0.0, 10.0)
    );
    assert_eq!(
        (specs[0].1.aspect_ratio, specs[0].1.max_height),
        (AspectRatio::Square, Some(480))
    );
    assert_eq!(*stage.moves.lock(), ["running", "completed"]);
}

#[tokio::test]
async fn what_a_processor_loses_is_done_again() {
    let cut_off = Answer::Lines(vec![TaskEvent::Progress(0.5)]);
    let stage = stage(vec![cut_off, Answer::Hang], quick()).await;
    assert_eq!(stage.ended().await.status, JobStatus::Completed);
    assert_eq!(stage.epochs_of_first(), [1, 2, 3]);
}

#[tokio::test]
async fn being_busy_counts_against_nobody() {
    // More often than the attempts that a task has.
    let busy = std::iter::repeat_n([Answer::Status(503), failure(MediaErrorCode::Busy)], 3);
    let stage = stage(busy.flatten().collect(), quick()).await;
    assert_eq!(stage.ended().await.status, JobStatus::Completed);
    assert_eq!(stage.epochs_of_first(), [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn a_task_that_takes_everything_down_fails_its_job() {
    let stage = stage(vec![Answer::Lines(Vec::new()); 9], quick()).await;
    let job = stage.ended().await;
    assert_eq!(job.status, JobStatus::Failed);
    let error = job.error.expect("a reason");
    assert_eq!(error.code, MediaErrorCode::WorkerCrashed);
    assert!(
        error
            .detail
            .starts_with("given up after 3 attempts: processor-1"),
        "{error}"
    );
    assert_eq!(stage.epochs_of_first(), [1, 2, 3]);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_told_at_once() {
    let passing = stage(vec![failure(MediaErrorCode::Stalled)], quick()).await;
    assert_eq!(passing.ended().await.status, JobStatus::Completed);
    assert_eq!(passing.epochs_of_first(), [1, 2]);

    let lasting = stage(vec![failure(MediaErrorCode::NoVideoStream)], quick()).await;
    let job = lasting.ended().await;
    let error = MediaError::new(MediaErrorCode::NoVideoStream, "so it is");
    assert_eq!((job.status, job.error), (JobStatus::Failed, Some(error)));
    assert_eq!(lasting.epochs_of_first(), [1]);
    assert_eq!(*lasting.moves.lock(), ["running", "failed"]);
}

#[tokio::test]
async fn a_stop_gives_back_what_is_not_done() {
    let stage = stage(vec![Answer::Hang], quick()).await;
    let asked = async {
        while stage.script.asked.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked)
        .await
        .expect("the task is begun");
    stage.stop.cancel();
    let given_back = async {
        loop {
            let now = Timestamp::now();
            let lease = stage
                .store
                .lease("other".to_owned(), now, Duration::from_secs(5))
                .await;
            if let Some(lease) = lease.expect("memory does not fail") {
                return lease;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // Long before the lease would have run out by itself.
    let lease = tokio::time::timeout(Duration::from_secs(2), given_back)
        .await
        .expect("in time");
    assert_eq!((lease.task.epoch, lease.strikes), (2, 0));
}

#[test]
fn a_shortage_of_the_machine_counts_against_no_task() {
    let short = MediaError::new(MediaErrorCode::Shortage, "too many open files");
    let Outcome::NotDone { after, .. } = refused(short, Duration::ZERO) else {
        panic!("it would count");
    };
    assert_eq!(after, SHORTAGE_PAUSE);
    let unsent = UpstreamError::Exhausted {
        attempts: 1,
        instance: "processor-1".to_owned(),
        last: TryError::Shortage("too many open files".to_owned()),
    };
    assert!(matches!(unanswered(&unsent), Outcome::NotDone { .. }));
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_no_task_for_longer_than_a_lease() {
    let config = JobsConfig {
        lease: HumanDuration::millis(3200),
        ..quick()
    };
    let lease = config.lease.get();
    let begun = Instant::now();
    // The gateway before this one died with a lease, and since then the clock was set back by an hour.
    let stage = stage_from(Vec::new(), config, async |store| {
        let then = Timestamp::now() + Duration::from_secs(3600);
        let leased = store.lease("gateway-0".to_owned(), then, lease).await;
        leased.expect("memory does not fail").expect("it is due");
    })
    .await;
    assert_eq!(stage.ended().await.status, JobStatus::Completed);
    assert_eq!(stage.epochs_of_first(), [2]);
    let took = begun.elapsed();
    assert!(
        took < lease + 2 * STATS_EVERY + Duration::from_secs(3),
        "{took:?}"
    );
}
