//! What steps about the service have said and seen.

use serde_json::{Value, json};

use super::params::Time;
use super::service::{Answer, Service};

/// What steps about the service have said and seen.
#[derive(Debug, Default)]
pub(super) struct Visit {
    pub(super) service: Option<Service>,
    /// Id of the uploaded video.
    pub(super) video: Option<String>,
    /// Answers, in order.
    pub(super) answers: Vec<Answer>,
}

impl Visit {
    pub(super) fn service(&self) -> Result<&Service, String> {
        let service = self.service.as_ref();
        service.ok_or_else(|| "no service was started".to_owned())
    }

    pub(super) fn video(&self) -> Result<&str, String> {
        let video = self.video.as_deref();
        video.ok_or_else(|| "no video was uploaded".to_owned())
    }

    pub(super) fn answer(&self) -> Result<&Answer, String> {
        let answer = self.answers.last();
        answer.ok_or_else(|| "nothing was asked yet".to_owned())
    }

    /// The answer that accepted a job.
    pub(super) fn accepted(&self) -> Result<&Answer, String> {
        let accepted = self
            .answers
            .iter()
            .rev()
            .find(|answer| answer.status == 202);
        accepted.ok_or_else(|| match self.answers.last() {
            Some(answer) => format!("no job was accepted: {}", answer.told()),
            None => "no job was asked for".to_owned(),
        })
    }

    pub(super) fn wish(
        &self,
        clips: usize,
        shortest: Time,
        longest: Time,
    ) -> Result<Value, String> {
        Ok(json!({
            "video_id": self.video()?,
            "max_clips": clips,
            "min_clip_length": shortest.seconds(),
            "max_clip_length": longest.seconds(),
        }))
    }

    pub(super) async fn submit(&self, wish: &Value, key: Option<&str>) -> Result<Answer, String> {
        let service = self.service()?;
        service.post("/api/v1/process-video", key, wish).await
    }

    /// The clips of the accepted job, as the service lists them.
    pub(super) async fn clips(&self) -> Result<Vec<Value>, String> {
        let path = self.accepted()?.text("clips_url")?;
        let list = self.service()?.get(&path).await?.expect(200)?.json()?;
        let clips = list["clips"].as_array().filter(|clips| !clips.is_empty());
        clips.cloned().ok_or_else(|| format!("no clips in {list}"))
    }

    /// What lies behind a link of a clip.
    pub(super) async fn behind(&self, clip: &Value, link: &str) -> Result<Answer, String> {
        let path = url(clip, link)?;
        self.service()?.get(path).await?.expect(200)
    }
}

pub(super) fn url<'a>(clip: &'a Value, link: &str) -> Result<&'a str, String> {
    clip[link]
        .as_str()
        .ok_or_else(|| format!("no `{link}` in {clip}"))
}

pub(super) fn number(value: &Value, key: &str) -> Result<f64, String> {
    value[key]
        .as_f64()
        .ok_or_else(|| format!("no number `{key}` in {value}"))
}
