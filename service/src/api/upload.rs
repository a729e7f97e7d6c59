//! `POST /api/v1/upload`: a multipart form, its file streamed to disk.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::Api;
use super::form::{Form, Part};
use super::idempotency::idempotency_key;
use super::media::ask;
use super::options;
use super::v1::{canonical, submit};
use crate::edge::Deadline;
use crate::edge::request::query;
use crate::env::Env;
use crate::http::Problem;
use crate::media::Probe;
use crate::model::{Video, VideoId};
use crate::shortage::is_shortage;
use crate::store::{StoreError, UNANSWERED};
use crate::units::hex;
use crate::upstream::{Call, Delivery};

/// Most bytes of all option fields together.
const FIELD_BYTES: usize = 64 * 1024;
/// Most option fields.
const FIELDS: usize = 64;
/// Most bytes of a probe's answer.
const PROBE_BYTES: usize = 64 * 1024;

/// Answer to an upload that submits no job.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Uploaded {
    video_id: VideoId,
    name: String,
    size: u64,
    sha256: String,
    created_at: Timestamp,
    probe: Probe,
}

/// A file on its way in. Its folder goes when this is dropped, as it is when a client hangs up.
struct Received {
    folder: tempfile::TempDir,
    name: String,
    size: u64,
    sha256: String,
}

const FILE: &str = "source";

/// `POST /api/v1/upload`
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    Extension(deadline): Extension<Deadline>,
    request: Request,
) -> Result<Response, Problem> {
    api.storage().map_err(Problem::close)?; // before a byte is read
    let headers = request.headers().clone();
    let wishes = query(request.uri(), &["process"])?;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if declared.is_some_and(|n| n > api.limits.upload_bytes.saturating_add(1 << 20)) {
        return Err(too_large(&api).close()); // before a byte is read
    }
    let form = Form::of(request).await?;
    let (file, mut fields) = receive(&api, form).await?;
    if let Some(process) = wishes.get("process") {
        fields.insert("process".to_owned(), Value::String(process.clone()));
    }
    let (options, process) = options::upload_fields(fields)?;
    let Some(file) = file else {
        let detail = "the form has no part `file` with a file name";
        return Err(Problem::field("missing_file", "/file", detail));
    };
    let parts: [&[u8]; 3] = [b"upload", file.sha256.as_bytes(), &canonical(&options)];
    let key = if process {
        idempotency_key(&headers, &parts)?
    } else {
        None
    };

    let (source, video, probe) = keep(&api, file, deadline).await?;
    if process {
        let (id, blob) = (video.id.clone(), video.blob.clone());
        source.hold();
        let answer = submit(&api, id, &blob, options, key, Some(video)).await;
        let answer = taken(&api, &blob, answer).await?;
        if answer.headers().contains_key("idempotent-replayed") {
            remove(&api.env, &blob).await; // the first upload is the one that counts
        }
        return Ok(answer);
    }
    source.hold();
    let added = api.env.store.add_video(video.clone()).await;
    taken(&api, &video.blob, added.map_err(Problem::from)).await?;
    let location = format!("/api/v1/videos/{}/frame", video.id);
    let uploaded = Uploaded {
        video_id: video.id,
        name: video.name,
        size: video.size,
        sha256: video.sha256,
        created_at: video.created_at,
        probe,
    };
    let mut response = (StatusCode::CREATED, Json(uploaded)).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn too_large(api: &Api) -> Problem {
    let detail = format!("a file may have at most {} bytes", api.limits.upload_bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large", detail)
}

fn no_disk(error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "insufficient_storage",
            "there is no room for this file",
        ),
        _ if is_shortage(error) => Problem::short(),
        _ => StoreError::Failed(error.to_string()).into(),
    }
}

/// Reads the whole form: the file to disk, the other fields to memory.
async fn receive(
    api: &Api,
    mut form: Form,
) -> Result<(Option<Received>, Map<String, Value>), Problem> {
    let mut file = None;
    let mut fields = Map::new();
    let mut room = FIELD_BYTES;
    while let Some(part) = form.next().await? {
        let name = part.name().to_owned();
        if name == "file" && part.file_name().is_some() {
            if file.is_some() {
                let detail = "`file` is given twice; upload one video at a time";
                return Err(Problem::field("invalid_request", "/file", detail));
            }
            file = Some(receive_file(api, part).await?);
        } else if fields.len() >= FIELDS {
            let detail = format!("more than {FIELDS} fields");
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed_form",
                detail,
            ));
        } else {
            let text = receive_text(&name, part, room).await?;
            room -= text.len();
            if fields.insert(name.clone(), Value::String(text)).is_some() {
                let detail = format!("`{name}` is given twice");
                return Err(Problem::field(
                    "invalid_request",
                    &format!("/{name}"),
                    detail,
                ));
            }
        }
    }
    Ok((file, fields))
}

async fn receive_file(api: &Api, mut part: Part<'_>) -> Result<Received, Problem> {
    let name = part.file_name().unwrap_or_default().to_owned();
    let folder = api.env.blobs.scratch();
    let folder = folder.map_err(|error| Problem::from(error).close())?;
    let file = tokio::fs::File::create(folder.path().join(FILE))
        .await
        .map_err(|e| no_disk(&e))?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    while let Some(chunk) = part.chunk().await? {
        size += chunk.len() as u64;
        if size > api.limits.upload_bytes {
            return Err(too_large(api).close());
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(|e| no_disk(&e))?;
    }
    file.flush().await.map_err(|e| no_disk(&e))?;
    Ok(Received {
        folder,
        name,
        size,
        sha256: hex(&hash.finalize()),
    })
}

async fn receive_text(name: &str, mut part: Part<'_>, room: usize) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.chunk().await? {
        if bytes.len() + chunk.len() > room {
            let detail = format!("the fields are longer than {FIELD_BYTES} bytes together");
            return Err(Problem::field("invalid_request", &format!("/{name}"), detail).close());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| {
        Problem::field(
            "invalid_request",
            &format!("/{name}"),
            format!("`{name}` is not UTF-8"),
        )
    })
}

/// A source on the disk that no row names yet. Dropped before it is held, as when a client hangs up while it is probed, it
/// goes.
struct Source<'a> {
    api: &'a Api,
    blob: Option<String>,
}

impl Source<'_> {
    /// From here on only who knows whether there is a row may delete it.
    fn hold(mut self) {
        self.blob = None;
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        if let Some(blob) = self.blob.take() {
            let env = self.api.env.clone();
            drop(
                self.api
                    .env
                    .exec
                    .spawn(async move { remove(&env, &blob).await }),
            );
        }
    }
}

/// Stores the file and has a processor look into it. What turns out not to be a video is not kept.
async fn keep(
    api: &Api,
    file: Received,
    deadline: Deadline,
) -> Result<(Source<'_>, Video, Probe), Problem> {
    if file.size == 0 {
        return Err(Problem::field("not_a_video", "/file", "the file is empty"));
    }
    let now = api.env.clock.now();
    let id = VideoId::from_uuid(api.env.rng.uuid(now));
    let video = Video {
        blob: format!("sources/{id}"),
        id,
        name: file.name,
        size: file.size,
        sha256: file.sha256,
        created_at: now,
    };
    let source = Source {
        api,
        blob: Some(video.blob.clone()),
    };
    api.env
        .blobs
        .adopt(&video.blob, &file.folder.path().join(FILE))
        .await?;
    match probe(api, &video, deadline).await {
        Ok(probe) => Ok((source, video, probe)),
        Err(problem) => {
            source.hold();
            remove(&api.env, &video.blob).await;
            Err(problem)
        }
    }
}

/// Deletes the source of what was refused, whatever the reason. While nobody knows whether it was, the row may yet come:
/// then it stays, and the sweeper deletes it if there is none.
async fn taken<T>(api: &Api, blob: &str, answer: Result<T, Problem>) -> Result<T, Problem> {
    if answer
        .as_ref()
        .is_err_and(|problem| problem.code != UNANSWERED)
    {
        remove(&api.env, blob).await;
    }
    answer
}

async fn remove(env: &Env, blob: &str) {
    if let Err(error) = env.blobs.delete(blob).await {
        tracing::warn!(%error, blob, "an upload that nobody needs stays on disk");
    }
}

async fn probe(api: &Api, video: &Video, Deadline(deadline): Deadline) -> Result<Probe, Problem> {
    use http_body_util::BodyExt as _;
    let mut call = Call::get(format!("/internal/probe?video={}", video.blob), deadline);
    call.route = "probe";
    call.delivery = Delivery::Whole { limit: PROBE_BYTES };
    call.try_timeout = Some(api.limits.probe.get());
    let reply = ask(api, call).await?;
    let body = reply.response.into_body().collect().await;
    let probe = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    probe.ok_or_else(|| {
        let detail = format!("{} gave no usable answer", reply.instance);
        Problem::new(StatusCode::BAD_GATEWAY, "processor_failed", detail)
    })
}
