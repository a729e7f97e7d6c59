//! Steps for someone with a video: what they ask the service for over HTTP, and what they get.

use std::time::Duration;

use clip_service::env::SharedRng;
use clip_service::media::worker::WorkerPool;
use clip_service::media::{MediaConfig, MediaEngine as _, Progress, SelectOptions, synth};
use cucumber::gherkin::Step as Written;
use cucumber::{given, then, when};
use serde_json::{Value, json};

use super::params::{Time, WrongFile};
use super::service::{Answer, Service};
use super::story::Story;
use super::visit::{number, url};
use super::waiting::{Step, eventually};

/// A finished job is there within this time, on a machine that is busy with other tests.
const FINISHED_WITHIN: Duration = Duration::from_secs(60);
/// What a frame more or less at each end, and the last block of sound, make of a length.
const CUT: f64 = 0.1;

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Step {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn is_jpeg(answer: &Answer) -> Step {
    let jpeg = answer.content_type == "image/jpeg"
        && answer.body.starts_with(&[0xff, 0xd8, 0xff])
        && answer.body.ends_with(&[0xff, 0xd9]);
    require(jpeg, || format!("not a whole JPEG: {}", answer.told()))
}

#[given(expr = "the clip service with 1 gateway and {int} processor(s)")]
async fn the_clip_service(story: &mut Story, processors: usize) -> Step {
    story.clipping.service = Some(Service::start(processors, &story.signals).await?);
    Ok(())
}

#[given(expr = "the video {string}")]
async fn the_video(story: &mut Story, name: String) -> Step {
    let file = format!("{name}.mp4");
    // Made on first use, which takes some seconds.
    let made = tokio::task::spawn_blocking(move || synth::fixture(&name)).await;
    let path = made
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let answer = story
        .clipping
        .service()?
        .upload(&file, bytes)
        .await?
        .expect(201)?;
    story.clipping.video = Some(answer.text("video_id")?);
    Ok(())
}

#[when(expr = "I ask for at most {int} clip(s) of {time} to {time}")]
async fn i_ask_for_clips(story: &mut Story, clips: usize, shortest: Time, longest: Time) -> Step {
    let wish = story.clipping.wish(clips, shortest, longest)?;
    let answer = story.clipping.submit(&wish, None).await?;
    story.clipping.answers.push(answer);
    Ok(())
}

#[when(expr = "I ask twice for {int} clip(s) of {time} to {time} with the same idempotency key")]
async fn i_ask_twice(story: &mut Story, clips: usize, shortest: Time, longest: Time) -> Step {
    let wish = story.clipping.wish(clips, shortest, longest)?;
    for _ in 0..2 {
        let answer = story.clipping.submit(&wish, Some("the-same-key")).await?;
        story.clipping.answers.push(answer);
    }
    Ok(())
}

#[given(expr = "a finished job with {int} clip(s) of {time} to {time}")]
async fn a_finished_job(story: &mut Story, clips: usize, shortest: Time, longest: Time) -> Step {
    i_ask_for_clips(story, clips, shortest, longest).await?;
    completed(story, FINISHED_WITHIN).await?;
    let made = story.clipping.clips().await?.len();
    require(made == clips, || format!("{made} clips were made"))
}

#[when(expr = "I fetch bytes {int}-{int} of the first clip")]
async fn i_fetch_bytes(story: &mut Story, from: usize, to: usize) -> Step {
    let clips = story.clipping.clips().await?;
    let path = url(&clips[0], "download_url")?;
    let answer = story.clipping.service()?.range(path, from, to).await?;
    story.clipping.answers.push(answer);
    Ok(())
}

#[when(expr = "I ask for the frame at {time}")]
async fn i_ask_for_the_frame(story: &mut Story, at: Time) -> Step {
    let (video, at) = (story.clipping.video()?, at.seconds());
    let path = format!("/api/v1/videos/{video}/frame?at={at}");
    let answer = story.clipping.service()?.get(&path).await?;
    story.clipping.answers.push(answer);
    Ok(())
}

#[when(expr = "I upload {file}")]
async fn i_upload(story: &mut Story, what: WrongFile) -> Step {
    let answer = story
        .clipping
        .service()?
        .upload("video.mp4", bytes_of(what))
        .await?;
    story.clipping.answers.push(answer);
    Ok(())
}

#[when(expr = "I post to {string} the JSON")]
async fn i_post(story: &mut Story, path: String, step: &Written) -> Step {
    let text = step
        .docstring
        .as_deref()
        .ok_or("the step has no text below it")?;
    let body: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    let answer = story.clipping.service()?.post(&path, None, &body).await?;
    story.clipping.answers.push(answer);
    Ok(())
}

#[then("the request is accepted")]
async fn the_request_is_accepted(story: &mut Story) -> Step {
    let answer = story.clipping.answer()?.clone().expect(202)?;
    answer.text("job_id").map(drop)
}

#[then(expr = "the job completes within {time}")]
async fn the_job_completes(story: &mut Story, within: Time) -> Step {
    completed(story, within.get()).await
}

async fn completed(story: &Story, within: Duration) -> Step {
    let path = story.clipping.accepted()?.text("status_url")?;
    let service = story.clipping.service()?;
    let job = eventually("the job to end", within, &story.signals, async || {
        let job = service.get(&path).await?.expect(200)?.json()?;
        match job["status"].as_str() {
            Some("completed" | "failed") => Ok(Some(job)),
            _ => Err(job.to_string()),
        }
    })
    .await?;
    require(job["status"] == "completed", || {
        format!("the job failed: {job}")
    })
}

#[then(expr = "there are {int} to {int} clips, best first")]
async fn there_are_clips(story: &mut Story, fewest: usize, most: usize) -> Step {
    let clips = story.clipping.clips().await?;
    let told = || format!("{} clips: {}", clips.len(), json!(clips));
    require((fewest..=most).contains(&clips.len()), told)?;
    let ranked = clips
        .iter()
        .enumerate()
        .all(|(rank, clip)| clip["rank"] == rank);
    require(ranked, || format!("ranks are not 0, 1, …: {}", told()))?;
    let scores = clips.iter().map(|clip| number(clip, "score"));
    let scores = scores.collect::<Result<Vec<_>, _>>()?;
    let falling = scores.is_sorted_by(|better, worse| better >= worse);
    require(falling, || format!("not the best first: {scores:?}"))
}

#[then(expr = "every clip is a playable 9:16 mp4 of {time} to {time}")]
async fn every_clip_is_playable(story: &mut Story, shortest: Time, longest: Time) -> Step {
    let home = tempfile::tempdir().map_err(|error| error.to_string())?;
    // Decoded apart from the service, by workers that are new.
    let decoder = WorkerPool::new(MediaConfig::default()).map_err(|error| error.to_string())?;
    for clip in story.clipping.clips().await? {
        let answer = story.clipping.behind(&clip, "download_url").await?;
        let mp4 = answer.content_type == "video/mp4" && answer.body.get(4..8) == Some(b"ftyp");
        require(mp4, || format!("not an mp4: {}", answer.told()))?;
        let file = home.path().join("clip.mp4");
        std::fs::write(&file, &answer.body).map_err(|error| error.to_string())?;
        let whole = SelectOptions {
            min_length: 1.0,
            max_length: 180.0,
            max_clips: 1,
        };
        let decoded = decoder.analyse(&file, &whole, Progress::ignored()).await;
        let probe = decoded
            .map_err(|error| format!("it does not play: {error}"))?
            .probe;
        // Sides are even numbers of pixels, so the ratio is met to the nearest of them.
        let off = (f64::from(probe.width) - f64::from(probe.height) * 9.0 / 16.0).abs();
        require(off <= 2.0, || format!("{}x{}", probe.width, probe.height))?;
        let length = shortest.seconds() - CUT..=longest.seconds() + CUT;
        require(length.contains(&probe.duration), || {
            format!("it takes {} s", probe.duration)
        })?;
    }
    Ok(())
}

#[then("the points of every clip add up to its score")]
async fn points_add_up(story: &mut Story) -> Step {
    for clip in story.clipping.clips().await? {
        let components = clip["components"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let points = components.iter().map(|part| number(part, "points"));
        let points = points.collect::<Result<Vec<_>, _>>()?;
        let (sum, score) = (points.iter().sum::<f64>(), number(&clip, "score")?);
        // Scores are told to a tenth.
        let same = !points.is_empty() && (sum - score).abs() < 0.051;
        require(same, || format!("{points:?} make {sum}, not {score}"))?;
    }
    Ok(())
}

#[then("every clip has a poster")]
async fn every_clip_has_a_poster(story: &mut Story) -> Step {
    for clip in story.clipping.clips().await? {
        is_jpeg(&story.clipping.behind(&clip, "thumbnail_url").await?)?;
    }
    Ok(())
}

#[then(expr = "the status is {int}")]
async fn the_status_is(story: &mut Story, wanted: u16) -> Step {
    story.clipping.answer()?.clone().expect(wanted).map(drop)
}

#[then(expr = "the answer has {int} bytes")]
async fn the_answer_has_bytes(story: &mut Story, wanted: usize) -> Step {
    let bytes = story.clipping.answer()?.body.len();
    require(bytes == wanted, || format!("it has {bytes} bytes"))
}

#[then(expr = "the same bytes stand at {int} in the whole clip")]
async fn the_same_bytes_stand(story: &mut Story, at: usize) -> Step {
    let part = story.clipping.answer()?.body.clone();
    let clips = story.clipping.clips().await?;
    let whole = story.clipping.behind(&clips[0], "download_url").await?.body;
    let there = whole.get(at..at + part.len());
    require(there == Some(&*part), || {
        format!("other bytes stand at {at}")
    })
}

#[then("the answer is a JPEG")]
async fn the_answer_is_a_jpeg(story: &mut Story) -> Step {
    is_jpeg(story.clipping.answer()?)
}

#[then("both answers name the same job")]
async fn both_answers_name_the_same_job(story: &mut Story) -> Step {
    let [one, other] = story.clipping.answers.as_slice() else {
        return Err(format!(
            "there are {} answers",
            story.clipping.answers.len()
        ));
    };
    let (one, other) = (one.clone().expect(202)?, other.clone().expect(202)?);
    let (one, other) = (one.text("job_id")?, other.text("job_id")?);
    require(one == other, || format!("{one} and {other}"))
}

#[then(expr = "there is/are {int} job(s)")]
async fn there_are_jobs(story: &mut Story, wanted: usize) -> Step {
    let list = story
        .clipping
        .service()?
        .get("/api/v1/jobs")
        .await?
        .expect(200)?
        .json()?;
    let jobs = list["jobs"].as_array().map(Vec::len);
    require(jobs == Some(wanted), || list.to_string())
}

#[then(expr = "the problem code is {string}")]
async fn the_problem_code_is(story: &mut Story, wanted: String) -> Step {
    let answer = story.clipping.answer()?;
    let problem = answer.content_type == "application/problem+json";
    require(problem, || format!("not a problem: {}", answer.told()))?;
    let code = answer.text("code")?;
    require(code == wanted, || {
        format!("the code is {code}: {}", answer.told())
    })
}

#[then("the problem has a detail that a person understands")]
async fn the_problem_has_a_detail(story: &mut Story) -> Step {
    let detail = story.clipping.answer()?.text("detail")?;
    require(is_plain(&detail), || {
        format!("{detail:?} is not a plain sentence")
    })
}

#[then(expr = "the problem points at {string}")]
async fn the_problem_points_at(story: &mut Story, pointer: String) -> Step {
    let answer = story.clipping.answer()?;
    let problem = answer.json()?;
    let mut errors = problem["errors"].as_array().into_iter().flatten();
    let told = |error: &Value| {
        error["pointer"] == pointer.as_str() && error["detail"].as_str().is_some_and(is_plain)
    };
    require(errors.any(told), || {
        format!("nothing points at {pointer}: {}", answer.told())
    })
}

/// Whether a text is some words of prose, not the inside of a program.
fn is_plain(text: &str) -> bool {
    let inside = ["::", "{", "(os error", "Error", "panicked", "0x", "\n"];
    text.split_whitespace().count() >= 3 && !inside.iter().any(|sign| text.contains(sign))
}

fn bytes_of(what: WrongFile) -> Vec<u8> {
    match what {
        WrongFile::Text => "This is a text, and no more of a video than that.\n"
            .repeat(50)
            .into(),
        WrongFile::Empty => Vec::new(),
        WrongFile::Random => {
            let rng = SharedRng::seeded(1);
            (0..8192)
                .flat_map(|_| rng.next_u64().to_le_bytes())
                .collect()
        }
        WrongFile::Audio => a_tone(),
    }
}

/// A second of a tone as a WAV file.
fn a_tone() -> Vec<u8> {
    const RATE: u32 = 8000;
    let samples = (0..RATE).map(|i| {
        let phase = f64::from(i) * 440.0 / f64::from(RATE) * std::f64::consts::TAU;
        (phase.sin() * 8000.0) as i16
    });
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let size = RATE * 2;
    let mut file = Vec::with_capacity(data.len() + 44);
    file.extend(b"RIFF");
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16_u32.to_le_bytes());
    // Plain samples, one channel.
    file.extend([1, 0, 1, 0]);
    file.extend(RATE.to_le_bytes());
    file.extend(size.to_le_bytes());
    // Two bytes each.
    file.extend([2, 0, 16, 0]);
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_told_from_the_inside_of_a_program() {
        assert!(is_plain("this is not a video that can be read"));
        assert!(is_plain("the file has sound only, no picture"));
        for odd in [
            "not_a_video",
            "",
            "failed: No such file (os error 2)",
            "a b MediaError { x }",
        ] {
            assert!(!is_plain(odd), "{odd}");
        }
    }

    #[test]
    fn wrong_files_are_what_they_say() {
        assert_eq!(bytes_of(WrongFile::Empty), b"");
        assert!(String::from_utf8(bytes_of(WrongFile::Text)).is_ok());
        assert!(String::from_utf8(bytes_of(WrongFile::Random)).is_err());
        let tone = bytes_of(WrongFile::Audio);
        assert_eq!((&tone[..4], tone.len()), (&b"RIFF"[..], 16_044));
    }
}
