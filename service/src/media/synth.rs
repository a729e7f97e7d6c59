//! Makes the videos that tests, demonstrations and scenarios work on, from the recipes in `fixtures/`. Runs FFmpeg in this
//! process, which is fine here and nowhere else: everything it reads is our own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ffmpeg_next as ffmpeg;

use ffmpeg::{filter, frame};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::MediaError;
use super::ffmpeg::audio::{RATE, Tape};
use super::ffmpeg::graph::sources_only;
use super::ffmpeg::mp4::{Settings, Writer};

/// Recipes by name.
const RECIPES: [(&str, &str); 2] = [
    ("talk", include_str!("../../../fixtures/talk.json")),
    ("short", include_str!("../../../fixtures/short.json")),
];

/// Part of the name a made file is kept under: counts up when the same recipe gives other bytes.
const GENERATOR: &str = "1";

/// How a video is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) about: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fps: u32,
    /// Seconds.
    pub(crate) keyframe_every: f64,
    pub(crate) scenes: Vec<Scene>,
    pub(crate) speech: Vec<Speech>,
    pub(crate) sounds: Vec<Noise>,
    /// What selection should find.
    pub(crate) highlights: Vec<Span>,
}

/// One shot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scene {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// `calm`, `highlight`, or what the shot only seems to be.
    pub(crate) kind: String,
    /// An FFmpeg picture source with filters.
    pub(crate) picture: String,
}

/// A sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Speech {
    pub(crate) at: f64,
    /// Letters and spaces only.
    pub(crate) say: String,
}

/// A sound that is not speech.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noise {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// 0 to 1.
    pub(crate) level: f32,
    /// An FFmpeg sound source with filters.
    pub(crate) sound: String,
}

/// A stretch of time, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Start.
    pub from: f64,
    /// End.
    pub to: f64,
}

/// What was planted in a made video. Lies beside it as `<name>.truth.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// What the video is.
    pub about: String,
    /// Seconds.
    pub duration: f64,
    /// Shot cuts, seconds.
    pub cuts: Vec<f64>,
    /// What selection should find.
    pub highlights: Vec<Span>,
    /// What only seems to be one: stretches with their kind.
    pub confounders: Vec<(String, Span)>,
    /// What is said, when.
    pub speech: Vec<Said>,
    /// `flite`, or `modulated tones` where FFmpeg cannot speak: then nothing can be transcribed.
    pub speech_method: String,
}

/// A sentence as it was spoken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Start, seconds.
    pub from: f64,
    /// End, seconds.
    pub to: f64,
    /// The words.
    pub words: Vec<String>,
}

/// Why a fixture could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// There is no such recipe.
    #[error("there is no fixture `{0}`; there are: talk, short")]
    Unknown(String),
    /// A recipe that cannot be read.
    #[error("the recipe of `{name}` is wrong")]
    Recipe {
        /// Which one.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// FFmpeg could not do it.
    #[error("the fixture `{name}` cannot be made: {source}")]
    Media {
        /// Which one.
        name: String,
        /// Why.
        source: MediaError,
    },
    /// It could not be written.
    #[error("the fixture folder {} cannot be written", .path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Path of a made fixture; makes it when it is not there yet, which takes some seconds and blocks. Several processes may
/// ask at the same time: each makes its own and the first to finish stays.
pub fn fixture(name: &str) -> Result<PathBuf, SynthError> {
    let Some((name, text)) = RECIPES.into_iter().find(|(known, _)| *known == name) else {
        return Err(SynthError::Unknown(name.to_owned()));
    };
    let mut hash = Sha256::new();
    for part in [GENERATOR, text, if can_speak() { "flite" } else { "tones" }] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|b| format!("{b:02x}"))
        .collect();
    let root = cache_root();
    let home = root.join(format!("{name}-{digest}"));
    let video = home.join(format!("{name}.mp4"));
    if video.is_file() {
        return Ok(video);
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| SynthError::Io { path, source }
    };
    std::fs::create_dir_all(&root).map_err(io(&root))?;
    let making = tempfile::Builder::new()
        .prefix(".making-")
        .tempdir_in(&root)
        .map_err(io(&root))?;
    let recipe = serde_json::from_str(text).map_err(|source| SynthError::Recipe {
        name: name.to_owned(),
        source,
    })?;
    let file = File::create_new(making.path().join(format!("{name}.mp4"))).map_err(io(&root))?;
    let truth = make(&recipe, file).map_err(|source| SynthError::Media {
        name: name.to_owned(),
        source,
    })?;
    let text = serde_json::to_string_pretty(&truth).map_err(|source| SynthError::Recipe {
        name: name.to_owned(),
        source,
    })?;
    std::fs::write(truth_of(&making.path().join(format!("{name}.mp4"))), text)
        .map_err(io(&root))?;
    match std::fs::rename(making.path(), &home) {
        Ok(()) => {
            // Nothing is left there for the guard to remove.
            drop(making.keep());
        }
        // Somebody else was faster.
        Err(_) if video.is_file() => {}
        Err(error) => return Err(io(&home)(error)),
    }
    Ok(video)
}

/// Where the truth of the made video at `video` lies.
#[must_use]
pub fn truth_of(video: &Path) -> PathBuf {
    video.with_extension("truth.json")
}

fn cache_root() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    from("CLIP_FIXTURES").unwrap_or_else(|| {
        from("XDG_CACHE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".cache")))
            .unwrap_or_else(std::env::temp_dir)
            .join("video-opusclip")
            .join("fixtures")
    })
}

/// Whether this FFmpeg has a speech synthesiser.
fn can_speak() -> bool {
    filter::find("flite").is_some()
}

/// Makes a video into `file`.
pub(crate) fn make(recipe: &Recipe, file: File) -> Result<Truth, MediaError> {
    super::ffmpeg::init();
    let duration = recipe.scenes.last().map_or(0.0, |scene| scene.to);
    let (mut tape, speech, speech_method) = sound(recipe, duration)?;
    let mut writer = Writer::create(
        file,
        &Settings {
            width: recipe.width,
            height: recipe.height,
            fps: f64::from(recipe.fps),
            sound: true,
            duration,
            preset: "ultrafast",
            crf: 30,
            keyframes: recipe.keyframe_every,
            threads: 2,
        },
    )?;
    let mut frame_index = 0_u32;
    let fps = f64::from(recipe.fps);
    for scene in &recipe.scenes {
        let filters = format!(
            "{},scale={}:{}:flags=neighbor,setsar=1,format=yuv420p",
            scene.picture, recipe.width, recipe.height
        );
        let mut graph = sources_only("buffersink", &filters)?;
        let last = (scene.to * fps).round() as u32;
        while frame_index < last {
            let mut picture = frame::Video::empty();
            pull(&mut graph, &mut picture)?;
            writer.picture(picture, f64::from(frame_index) / fps)?;
            frame_index += 1;
        }
    }
    writer.sound(&mut tape, true)?;
    writer.finish()?;
    let seems = |scene: &&Scene| scene.kind != "calm" && scene.kind != "highlight";
    Ok(Truth {
        about: recipe.about.clone(),
        duration,
        cuts: recipe
            .scenes
            .iter()
            .skip(1)
            .map(|scene| scene.from)
            .collect(),
        highlights: recipe.highlights.clone(),
        confounders: recipe
            .scenes
            .iter()
            .filter(seems)
            .map(|scene| {
                (
                    scene.kind.clone(),
                    Span {
                        from: scene.from,
                        to: scene.to,
                    },
                )
            })
            .collect(),
        speech,
        speech_method,
    })
}

fn pull(graph: &mut filter::Graph, frame: &mut ffmpeg::Frame) -> Result<(), MediaError> {
    let failed = super::ffmpeg::encode_failed("the picture or sound source ended early");
    graph
        .get("out")
        .ok_or(ffmpeg::Error::FilterNotFound)
        .and_then(|mut out| out.sink().frame(frame))
        .map_err(failed)
}

/// The whole sound track.
fn sound(recipe: &Recipe, duration: f64) -> Result<(Tape, Vec<Said>, String), MediaError> {
    let samples = |seconds: f64| (seconds * f64::from(RATE)).round() as usize;
    let mut tape = Tape::new(0.0);
    tape.finish(duration);
    let mut mix = |at: f64, level: f32, sound: &[f32]| {
        for (i, sample) in sound.iter().enumerate() {
            let Some(slot) = tape.left.get_mut(samples(at) + i) else {
                break;
            };
            *slot = (*slot + sample * level).clamp(-1.0, 1.0);
        }
    };
    for noise in &recipe.sounds {
        let wave = wave(&noise.sound, Some(samples(noise.to - noise.from)))?;
        mix(noise.from, noise.level, &wave);
    }
    let speaks = can_speak();
    let mut said = Vec::new();
    for speech in &recipe.speech {
        let words: Vec<String> = speech.say.split_whitespace().map(str::to_owned).collect();
        let wave = if speaks {
            wave(&format!("flite=text='{}':voice=slt", speech.say), None)?
        } else {
            // About as long as the words, with the rhythm of syllables.
            let length = samples(0.32 * words.len() as f64);
            wave("sine=frequency=180,tremolo=f=4:d=0.9", Some(length))?
        };
        mix(speech.at, 0.25, &wave);
        let to = speech.at + wave.len() as f64 / f64::from(RATE);
        said.push(Said {
            from: speech.at,
            to,
            words,
        });
    }
    tape.right = tape.left.clone();
    let method = if speaks { "flite" } else { "modulated tones" };
    Ok((tape, said, method.to_owned()))
}

/// Samples of one channel of a sound source: so many of them, or all there are.
fn wave(source: &str, length: Option<usize>) -> Result<Vec<f32>, MediaError> {
    let filters = format!(
        "{source},aresample={RATE},aformat=sample_fmts=fltp:sample_rates={RATE}:channel_layouts=mono"
    );
    let mut graph = sources_only("abuffersink", &filters)?;
    let mut wave = Vec::new();
    let mut block = frame::Audio::empty();
    while length.is_none_or(|length| wave.len() < length) {
        match pull(&mut graph, &mut block) {
            Ok(()) if block.planes() > 0 => wave.extend_from_slice(block.plane::<f32>(0)),
            Ok(()) => {}
            // Speech ends when everything is said; a sound of a given length must not end before.
            Err(_) if length.is_none() => break,
            Err(error) => return Err(error),
        }
    }
    if let Some(length) = length {
        wave.truncate(length);
    }
    Ok(wave)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_sound() {
        for (name, text) in RECIPES {
            let recipe: Recipe =
                serde_json::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
            let joined = recipe
                .scenes
                .windows(2)
                .all(|w| (w[0].to - w[1].from).abs() < 1e-9);
            assert!(joined, "{name}: scenes follow each other");
            let speakable =
                |s: &Speech| s.say.bytes().all(|b| b.is_ascii_alphabetic() || b == b' ');
            assert!(
                recipe.speech.iter().all(speakable),
                "{name}: speech is letters and spaces"
            );
            for span in &recipe.highlights {
                assert!(
                    recipe
                        .scenes
                        .iter()
                        .any(|s| (s.from - span.from).abs() < 1e-9 && s.kind == "highlight"),
                    "{name}: a highlight starts with its scene"
                );
            }
        }
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(matches!(fixture("nothing"), Err(SynthError::Unknown(_))));
    }
}
