//! Media fixtures: made, and uploaded without having them processed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clip_service::media::synth;
use reqwest::multipart;
use serde_json::Value;
use tokio::time::Instant;

use crate::http;

/// Making a fixture takes some seconds the first time, longer on a busy machine.
const MADE_WITHIN: Duration = Duration::from_secs(120);
/// A gateway that is ready may still be learning of its processors.
const UPLOADED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// Makes the fixtures of these names and uploads them; their ids by name.
pub(super) async fn prepare(
    names: &[String],
    entry: SocketAddr,
) -> Result<BTreeMap<String, String>, String> {
    let mut ids = BTreeMap::new();
    for name in names {
        let wanted = name.clone();
        let made = tokio::task::spawn_blocking(move || synth::fixture(&wanted));
        let file = tokio::time::timeout(MADE_WITHIN, made)
            .await
            .map_err(|_| format!("fixture {name} was not made within {MADE_WITHIN:?}"))?
            .map_err(|error| format!("fixture {name}: {error}"))?
            .map_err(|error| error.to_string())?;
        let id = upload(&file, entry)
            .await
            .map_err(|error| format!("fixture {name} cannot be uploaded: {error}"))?;
        ids.insert(name.clone(), id);
    }
    Ok(ids)
}

/// Uploads a file; its id. Tries again for a while.
async fn upload(file: &Path, entry: SocketAddr) -> Result<String, String> {
    let bytes = tokio::fs::read(file)
        .await
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let bytes = bytes::Bytes::from(bytes);
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let client = http::client();
    let until = Instant::now() + UPLOADED_WITHIN;
    loop {
        let length = bytes.len() as u64;
        let part =
            multipart::Part::stream_with_length(bytes.clone(), length).file_name(name.clone());
        let sent = client
            .post(format!("http://{entry}/api/v1/upload?process=false"))
            .multipart(multipart::Form::new().part("file", part))
            .timeout(UPLOADED_WITHIN)
            .send()
            .await;
        let seen = match sent {
            Ok(answer) => {
                let status = answer.status();
                let body = answer.bytes().await.unwrap_or_default();
                let id = serde_json::from_slice::<Value>(&body)
                    .ok()
                    .and_then(|value| value["video_id"].as_str().map(str::to_owned));
                match id {
                    Some(id) if status.is_success() => return Ok(id),
                    Some(_) | None => {
                        format!("status {status}: {}", String::from_utf8_lossy(&body))
                    }
                }
            }
            Err(error) => http::describe(&error),
        };
        if Instant::now() + PAUSE >= until {
            return Err(seen);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
