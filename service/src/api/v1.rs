//! Version 1 of the API: what clients send and get for jobs and clips.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use indexmap::IndexMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::idempotency::idempotency_key;
use super::options::{self, Options};
use crate::edge::request::{Id, json_object, query};
use crate::http::Problem;
use crate::media::{AspectRatio, Component, media_code};
use crate::model::{
    Clip, ClipId, ClipSpec, Job, JobId, JobStatus, Task, TaskId, TaskKind, Video, VideoId,
};
use crate::observe::Subject;
use crate::store::{IdempotencyKey, JobFilter, Listed, StoreError, Submitted};

/// Answer to a submit. Made of what never changes, so that a replay answers the same.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Accepted {
    job_id: JobId,
    status: &'static str,
    video_id: VideoId,
    status_url: String,
    clips_url: String,
    created_at: Timestamp,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobView {
    job_id: JobId,
    status: JobStatus,
    progress: f64,
    video_id: VideoId,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    error: Option<JobError>,
    warnings: Vec<String>,
    options: OptionsView,
    metadata: IndexMap<String, String>,
    status_url: String,
    clips_url: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobError {
    code: String,
    detail: String,
    retryable: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OptionsView {
    min_clip_length: f64,
    max_clip_length: f64,
    max_clips: usize,
    aspect_ratio: AspectRatio,
    max_height: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobPage {
    jobs: Vec<JobView>,
    next_cursor: Option<JobId>,
    /// Ids of jobs that are there and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClipView {
    clip_id: ClipId,
    rank: u32,
    score: f64,
    start: f64,
    end: f64,
    duration: f64,
    width: u32,
    height: u32,
    size: u64,
    sha256: String,
    reasons: Vec<String>,
    components: Vec<Component>,
    start_boundary: String,
    end_boundary: String,
    created_at: Timestamp,
    download_url: String,
    thumbnail_url: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ClipList {
    job_id: JobId,
    status: JobStatus,
    clips: Vec<ClipView>,
    /// Ids of clips that are there and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

/// The rows of a listing as clients see them, and the ids of those that cannot be read.
fn views<T, V: From<T>>(rows: Listed<T>) -> (Vec<V>, Vec<String>) {
    let (mut views, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match row {
            Ok(row) => views.push(row.into()),
            Err(row) => unreadable.push(row.id),
        }
    }
    (views, unreadable)
}

fn status_url(id: &JobId) -> String {
    format!("/api/v1/jobs/{id}")
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            status_url: status_url(&job.id),
            clips_url: format!("{}/clips", status_url(&job.id)),
            job_id: job.id,
            status: job.status,
            progress: job.progress,
            video_id: job.spec.video,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            error: job.error.map(|error| JobError {
                code: media_code(error.code),
                retryable: error.code.retryable(),
                detail: error.detail,
            }),
            warnings: job.warnings,
            options: OptionsView {
                min_clip_length: job.spec.select.min_length,
                max_clip_length: job.spec.select.max_length,
                max_clips: job.spec.select.max_clips,
                aspect_ratio: job.spec.aspect_ratio,
                max_height: job.spec.max_height,
            },
            metadata: job.spec.metadata,
        }
    }
}

impl From<Clip> for ClipView {
    fn from(clip: Clip) -> Self {
        Self {
            download_url: format!("/api/v1/clips/{}/download", clip.id),
            thumbnail_url: format!("/api/v1/clips/{}/thumbnail.jpg", clip.id),
            clip_id: clip.id,
            rank: clip.rank,
            score: clip.highlight.score,
            start: clip.highlight.start,
            end: clip.highlight.end,
            duration: clip.rendered.duration,
            width: clip.rendered.width,
            height: clip.rendered.height,
            size: clip.rendered.size,
            sha256: clip.sha256,
            reasons: clip.highlight.reasons,
            components: clip.highlight.components,
            start_boundary: clip.highlight.start_boundary,
            end_boundary: clip.highlight.end_boundary,
            created_at: clip.created_at,
        }
    }
}

/// Accepts a job: its row is on the disk before the 202 leaves. With it goes the row of a source that was `uploaded` for it.
pub(super) async fn submit(
    api: &Api,
    video: VideoId,
    source: &str,
    options: Options,
    key: Option<IdempotencyKey>,
    uploaded: Option<Video>,
) -> Result<Response, Problem> {
    api.storage()?;
    if api.queue.jobs_open() >= api.limits.jobs_open {
        let detail = format!(
            "{} jobs are waiting or running already",
            api.limits.jobs_open
        );
        return Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", detail).retry_after(5),
        );
    }
    let now = api.env.clock.now();
    let job = Job {
        id: JobId::from_uuid(api.env.rng.uuid(now)),
        spec: ClipSpec {
            video,
            select: options.select.clone(),
            aspect_ratio: options.aspect_ratio,
            max_height: options.max_height,
            metadata: options.metadata,
        },
        status: JobStatus::Queued,
        progress: 0.0,
        created_at: now,
        started_at: None,
        finished_at: None,
        error: None,
        warnings: Vec::new(),
    };
    let first = Task {
        id: TaskId::from_uuid(api.env.rng.uuid(now)),
        job: job.id.clone(),
        source: source.to_owned(),
        kind: TaskKind::Analyse {
            select: options.select,
        },
        epoch: 0,
    };
    let (job, replayed) = match api.env.store.submit(job, first, key, uploaded).await? {
        Submitted::New(job) => {
            api.env
                .transition(Subject::Job, job.id.as_str(), "none", "queued", "accepted");
            api.queue.accepted();
            (job, false)
        }
        Submitted::Replayed(job) => (job, true),
    };
    let accepted = Accepted {
        status: "queued",
        status_url: status_url(&job.id),
        clips_url: format!("{}/clips", status_url(&job.id)),
        job_id: job.id,
        video_id: job.spec.video,
        created_at: job.created_at,
    };
    let location = accepted.status_url.clone();
    let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What two requests must agree in to be the same wish.
pub(super) fn canonical(options: &Options) -> Vec<u8> {
    // Only numbers, texts and maps with text keys: these always serialise.
    serde_json::to_vec(&(
        &options.select,
        options.aspect_ratio,
        options.max_height,
        &options.metadata,
    ))
    .unwrap_or_default()
}

/// `POST /api/v1/process-video`
pub(super) async fn process_video(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let (video, options) = options::process_video(json_object(&headers, body)?)?;
    let parts: [&[u8]; 3] = [
        b"process-video",
        video.as_str().as_bytes(),
        &canonical(&options),
    ];
    let key = idempotency_key(&headers, &parts)?;
    let source = api.source_of(&video).await.map_err(|problem| {
        if problem.code == "video_not_found" {
            let detail = format!("there is no video `{video}`");
            return Problem::field("video_not_found", "/video_id", detail)
                .hint("upload it with POST /api/v1/upload first");
        }
        problem
    })?;
    submit(&api, video, &source, options, key, None).await
}

fn id_of<T>(text: &str, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Problem> {
    parse(text).ok_or_else(|| Problem::not_found(what, text))
}

async fn find_job(api: &Api, id: &str) -> Result<Job, Problem> {
    let id = id_of(id, "job", JobId::parse)?;
    api.env.store.job(&id).await.map_err(|e| match e {
        StoreError::NotFound => Problem::not_found("job", id.as_str()),
        other => other.into(),
    })
}

/// Finds a clip by the id in a path.
pub(super) async fn find_clip(api: &Api, id: &str) -> Result<Clip, Problem> {
    let id = id_of(id, "clip", ClipId::parse)?;
    api.env.store.clip(&id).await.map_err(|e| match e {
        StoreError::NotFound => Problem::not_found("clip", id.as_str()),
        other => other.into(),
    })
}

/// `GET /api/v1/jobs/{id}`
pub(super) async fn job(State(api): State<Arc<Api>>, Id(id): Id) -> Result<Response, Problem> {
    Ok(Json(JobView::from(find_job(&api, &id).await?)).into_response())
}

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 200;

/// `GET /api/v1/jobs`
pub(super) async fn jobs(State(api): State<Arc<Api>>, uri: Uri) -> Result<Response, Problem> {
    let query = query(&uri, &["status", "limit", "cursor"])?;
    let bad =
        |name: &str, detail: String| Problem::field("invalid_request", &format!("/{name}"), detail);
    let status = match query.get("status") {
        None => None,
        Some(text) => Some(
            [
                JobStatus::Queued,
                JobStatus::Running,
                JobStatus::Completed,
                JobStatus::Failed,
            ]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                bad(
                    "status",
                    format!("`{text}` is none of queued, running, completed, failed"),
                )
            })?,
        ),
    };
    let limit = match query.get("limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
            .ok_or_else(|| {
                bad(
                    "limit",
                    format!("must be a whole number from 1 to {LARGEST_PAGE}"),
                )
            })?,
    };
    let before = match query.get("cursor") {
        None => None,
        Some(text) => Some(JobId::parse(text).ok_or_else(|| {
            bad(
                "cursor",
                "is not a cursor that this server gave out".to_owned(),
            )
        })?),
    };
    // One more than asked for tells whether there is a next page.
    let mut jobs = api
        .env
        .store
        .jobs(JobFilter {
            status,
            before,
            limit: limit + 1,
        })
        .await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    // A row that cannot be read has its place in the order like any other.
    let ids = jobs.iter().rev().map(|row| match row {
        Ok(job) => Some(job.id.clone()),
        Err(row) => JobId::parse(&row.id),
    });
    let next_cursor = ids.filter(|_| more).flatten().next();
    let (jobs, unreadable) = views(jobs);
    Ok(Json(JobPage {
        jobs,
        next_cursor,
        unreadable,
    })
    .into_response())
}

/// `GET /api/v1/jobs/{id}/clips`
pub(super) async fn clips(State(api): State<Arc<Api>>, Id(id): Id) -> Result<Response, Problem> {
    let job = find_job(&api, &id).await?;
    let clips = api.env.store.clips(&job.id).await?;
    let (clips, unreadable) = views(clips);
    Ok(Json(ClipList {
        job_id: job.id,
        status: job.status,
        clips,
        unreadable,
    })
    .into_response())
}
