//! What a client may ask for, read from JSON or from form fields, with every problem reported at once.

use http::StatusCode;
use indexmap::IndexMap;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::http::{FieldError, Problem};
use crate::media::{AspectRatio, SelectOptions};
use crate::model::VideoId;

/// Clip lengths that may be asked for, seconds.
const LENGTH: std::ops::RangeInclusive<f64> = 3.0..=180.0;
/// Numbers of clips that may be asked for.
const CLIPS: std::ops::RangeInclusive<u64> = 1..=50;
const METADATA_KEYS: usize = 20;
const METADATA_BYTES: usize = 500;

/// Options common to every way of submitting a video.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    /// Which clips.
    pub(super) select: SelectOptions,
    /// Framing.
    pub(super) aspect_ratio: AspectRatio,
    /// Tallest output, pixels; `None` keeps the source's.
    pub(super) max_height: Option<u32>,
    /// Echoed back.
    pub(super) metadata: IndexMap<String, String>,
}

/// Reads one request's fields and gathers what is wrong with them.
struct Fields {
    left: Map<String, Value>,
    /// Form fields are text: numbers in them are read as such.
    text: bool,
    errors: Vec<FieldError>,
    code: Option<&'static str>,
    hint: Option<&'static str>,
}

impl Fields {
    fn new(left: Map<String, Value>, text: bool) -> Self {
        Self {
            left,
            text,
            errors: Vec::new(),
            code: None,
            hint: None,
        }
    }

    /// Takes a field; absent and `null` are the same.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.left
            .shift_remove(name)
            .filter(|value| !value.is_null())
    }

    fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        let name = name.replace('~', "~0").replace('/', "~1");
        self.errors.push(FieldError {
            pointer: format!("/{name}"),
            detail: detail.into(),
        });
    }

    fn number(&mut self, name: &str) -> Option<Value> {
        let value = self.take(name)?;
        match (&value, self.text) {
            (Value::Number(_), _) => Some(value),
            (Value::String(text), true) => {
                match serde_json::from_str::<serde_json::Number>(text.trim()) {
                    Ok(number) => Some(Value::Number(number)),
                    Err(_) => {
                        self.wrong(name, format!("`{text}` is not a number"));
                        None
                    }
                }
            }
            (other, _) => {
                let detail = format!("must be a number, not {}", kind_of(other));
                self.wrong(name, detail);
                None
            }
        }
    }

    fn length(&mut self, name: &str) -> Option<f64> {
        let seconds = self.number(name)?.as_f64()?;
        if LENGTH.contains(&seconds) {
            return Some(seconds);
        }
        let detail = format!(
            "{seconds} s is outside {} to {} seconds",
            LENGTH.start(),
            LENGTH.end()
        );
        self.wrong(name, detail);
        None
    }

    fn choice<T>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T>
    where
        T: Copy,
    {
        let value = self.take(name)?;
        let found = choices
            .iter()
            .find(|(text, _)| value.as_str() == Some(*text));
        if found.is_none() {
            let all: Vec<_> = choices
                .iter()
                .map(|(text, _)| format!("`{text}`"))
                .collect();
            self.wrong(name, format!("{value} is none of {}", all.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    fn metadata(&mut self) -> IndexMap<String, String> {
        let Some(mut value) = self.take("metadata") else {
            return IndexMap::new();
        };
        if self.text
            && let Value::String(text) = &value
        {
            value = serde_json::from_str(text).unwrap_or(Value::Null);
        }
        let Value::Object(pairs) = value else {
            self.wrong("metadata", "must be an object of texts");
            return IndexMap::new();
        };
        if pairs.len() > METADATA_KEYS {
            self.wrong(
                "metadata",
                format!("has {} keys, at most {METADATA_KEYS} are kept", pairs.len()),
            );
        }
        let mut out = IndexMap::new();
        for (key, value) in pairs {
            match value {
                Value::String(text) if key.len() + text.len() <= METADATA_BYTES => {
                    out.insert(key, text);
                }
                _ => self.wrong(
                    "metadata",
                    format!(
                        "`{key}` must be a text of at most {METADATA_BYTES} bytes, its key included"
                    ),
                ),
            }
        }
        out
    }

    fn options(&mut self) -> Options {
        let default = SelectOptions::default();
        let shortest = self.length("min_clip_length");
        let longest = self.length("max_clip_length");
        // A bound given alone moves the other one's default out of its way, with room between them, and never a value
        // that was asked for.
        let max_length = longest.unwrap_or_else(|| {
            default
                .max_length
                .max(2.0 * shortest.unwrap_or(0.0))
                .min(*LENGTH.end())
        });
        let min_length = shortest.unwrap_or_else(|| {
            default
                .min_length
                .min(max_length / 2.0)
                .max(*LENGTH.start())
        });
        if min_length > max_length {
            self.code = Some("invalid_length_range");
            self.wrong(
                "min_clip_length",
                format!("{min_length} s is more than max_clip_length, {max_length} s"),
            );
        }
        let max_clips = match self
            .number("max_clips")
            .map(|n| n.as_u64().filter(|n| CLIPS.contains(n)))
        {
            None => default.max_clips,
            Some(Some(count)) => count as usize,
            Some(None) => {
                let detail = format!(
                    "must be a whole number from {} to {}",
                    CLIPS.start(),
                    CLIPS.end()
                );
                self.wrong("max_clips", detail);
                default.max_clips
            }
        };
        let aspect_ratio = self.choice(
            "aspect_ratio",
            &[
                ("9:16", AspectRatio::Portrait),
                ("1:1", AspectRatio::Square),
                ("16:9", AspectRatio::Landscape),
                ("source", AspectRatio::Source),
            ],
        );
        let quality = self.choice(
            "quality",
            &[
                ("low", Some(480)),
                ("medium", Some(720)),
                ("high", Some(1080)),
                ("source", None),
            ],
        );
        Options {
            select: SelectOptions {
                min_length,
                max_length,
                max_clips,
            },
            aspect_ratio: aspect_ratio.unwrap_or_default(),
            max_height: quality.flatten(),
            metadata: self.metadata(),
        }
    }

    /// Refuses fields that nothing reads.
    fn refuse_rest(&mut self, known: &[&str]) {
        let unknown: Vec<String> = self.left.keys().cloned().collect();
        if !unknown.is_empty() && self.errors.is_empty() {
            self.code = self.code.or(Some("unknown_field"));
        }
        for name in unknown {
            self.wrong(
                &name,
                format!("unknown field `{name}`; known are {}", known.join(", ")),
            );
        }
    }

    fn verdict<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => {
                let code = self.code.unwrap_or("invalid_request");
                let status = match code {
                    "unknown_field" => StatusCode::BAD_REQUEST,
                    _ => StatusCode::UNPROCESSABLE_ENTITY,
                };
                let detail = match self.errors.as_slice() {
                    [only] => format!("{}: {}", only.pointer.trim_start_matches('/'), only.detail),
                    many => format!("{} fields are wrong", many.len()),
                };
                let problem = Problem::new(status, code, detail).errors(self.errors);
                Err(match self.hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                })
            }
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const OPTIONS: [&str; 6] = [
    "min_clip_length",
    "max_clip_length",
    "max_clips",
    "aspect_ratio",
    "quality",
    "metadata",
];

/// The fields that say which clips are wanted, for the description.
fn described(more: Map<String, Value>) -> Map<String, Value> {
    let length = |about: &str| json!({ "type": "number", "minimum": LENGTH.start(), "maximum": LENGTH.end(), "description": about });
    let mut fields = more;
    let own = json!({
        "min_clip_length": length("Shortest clip, seconds."),
        "max_clip_length": length("Longest clip, seconds."),
        "max_clips": { "type": "integer", "minimum": CLIPS.start(), "maximum": CLIPS.end(),
            "description": "Most clips." },
        "aspect_ratio": { "enum": ["9:16", "1:1", "16:9", "source"], "description": "Framing." },
        "quality": { "enum": ["low", "medium", "high", "source"],
            "description": "Height of the clips: 480, 720, 1080 pixels, or as the source is." },
        "metadata": { "type": "object", "additionalProperties": { "type": "string" },
            "maxProperties": METADATA_KEYS, "description": "Echoed back." },
    });
    if let Value::Object(own) = own {
        fields.extend(own);
    }
    fields
}

/// The body of `POST /api/v1/process-video`, for the description.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    let video = json!({ "type": "string", "pattern": "^video_[A-Za-z0-9_-]{1,64}$",
        "description": "The id that the upload was answered with." });
    let fields = described(Map::from_iter([("video_id".to_owned(), video)]));
    json_schema!({
        "type": "object",
        "properties": fields,
        "required": ["video_id"],
        "additionalProperties": false,
    })
}

/// The form of `POST /api/v1/upload`, for the description.
pub(super) fn form_schema(_: &mut SchemaGenerator) -> Schema {
    let file = json!({ "type": "string", "format": "binary",
        "description": "The video; the part has a file name." });
    let process = json!({ "enum": ["true", "false", "1", "0"],
        "description": "Whether a job is submitted at once. Default true." });
    let fields = described(Map::from_iter([
        ("file".to_owned(), file),
        ("process".to_owned(), process),
    ]));
    json_schema!({
        "type": "object",
        "properties": fields,
        "required": ["file"],
        "additionalProperties": false,
    })
}

/// Reads the body of `POST /api/v1/process-video`.
///
/// # Errors
/// Every wrong field.
pub(super) fn process_video(body: Map<String, Value>) -> Result<(VideoId, Options), Problem> {
    let mut fields = Fields::new(body, false);
    let mut video = None;
    for name in ["youtube_url", "video_url"] {
        if fields.take(name).is_some() {
            fields.code = Some("unsupported_source");
            fields.hint =
                Some("upload the file with POST /api/v1/upload, then name it here as `video_id`");
            fields.wrong(
                name,
                "this server does not fetch videos from other sites yet",
            );
        }
    }
    match fields.take("video_id") {
        Some(Value::String(text)) => match VideoId::parse(&text) {
            Some(id) => video = Some(id),
            None => fields.wrong(
                "video_id",
                format!("`{text}` is not a video id (`video_…`)"),
            ),
        },
        Some(other) => {
            fields.wrong(
                "video_id",
                format!("must be a text, not {}", kind_of(&other)),
            );
        }
        None if fields.code.is_none() => {
            fields.wrong(
                "video_id",
                "is missing: the id that POST /api/v1/upload answered with",
            );
        }
        None => {}
    }
    let options = fields.options();
    let known: Vec<&str> = ["video_id"].into_iter().chain(OPTIONS).collect();
    fields.refuse_rest(&known);
    fields.verdict(video.map(|video| (video, options)))
}

/// Reads the form fields that come beside an upload's `file`. The second value is `process`.
///
/// # Errors
/// Every wrong field.
pub(super) fn upload_fields(form: Map<String, Value>) -> Result<(Options, bool), Problem> {
    let mut fields = Fields::new(form, true);
    let process = fields.choice(
        "process",
        &[("true", true), ("false", false), ("1", true), ("0", false)],
    );
    let options = fields.options();
    let known: Vec<&str> = ["file", "process"].into_iter().chain(OPTIONS).collect();
    fields.refuse_rest(&known);
    fields.verdict(Some((options, process.unwrap_or(true))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let (video, options) = process_video(body(json!({ "video_id": "video_1" }))).unwrap();
        assert_eq!(video.as_str(), "video_1");
        assert_eq!(options.select, SelectOptions::default());
        assert_eq!(
            (options.aspect_ratio, options.max_height),
            (AspectRatio::Portrait, None)
        );
    }

    #[test]
    fn one_bound_moves_the_others_default() {
        let read = |value| process_video(body(value)).unwrap().1.select;
        let short = read(json!({ "video_id": "video_1", "max_clip_length": 8 }));
        assert_eq!((short.min_length, short.max_length), (4.0, 8.0));
        let long = read(json!({ "video_id": "video_1", "min_clip_length": 90 }));
        assert_eq!((long.min_length, long.max_length), (90.0, 180.0));
        let least = read(json!({ "video_id": "video_1", "max_clip_length": 3 }));
        assert_eq!((least.min_length, least.max_length), (3.0, 3.0));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let problem = process_video(body(json!({
            "video_id": 7, "min_clip_length": 100, "max_clip_length": 20, "max_clips": 1.5,
            "aspect_ratio": "4:3", "quality": ["low"], "metadata": { "a": 1 }, "languge": "de"
        })))
        .unwrap_err();
        insta::assert_json_snapshot!(problem);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let problem = process_video(body(json!({ "video_id": "video_1", "max_clip_lenght": 3 })))
            .unwrap_err();
        assert_eq!(
            (problem.status, problem.code.as_str()),
            (400, "unknown_field")
        );
        assert_eq!(problem.errors[0].pointer, "/max_clip_lenght");
    }

    #[test]
    fn other_sites_are_not_fetched() {
        for name in ["youtube_url", "video_url"] {
            let problem =
                process_video(body(json!({ name: "https://example.com/x" }))).unwrap_err();
            assert_eq!(
                (problem.status, problem.code.as_str()),
                (422, "unsupported_source")
            );
            assert!(problem.hint.as_deref().unwrap().contains("/api/v1/upload"));
            assert_eq!(problem.errors.len(), 1);
        }
    }

    #[test]
    fn form_fields_are_text() {
        let form = json!({
            "max_clips": "3", "min_clip_length": "4.5", "process": "false", "metadata": "{\"a\":\"b\"}"
        });
        let (options, process) = upload_fields(body(form)).unwrap();
        assert!(!process);
        assert_eq!(
            (options.select.max_clips, options.select.min_length),
            (3, 4.5)
        );
        assert_eq!(options.metadata["a"], "b");
        let problem = upload_fields(body(json!({ "max_clips": "many", "process": "maybe" })));
        assert_eq!(problem.unwrap_err().errors.len(), 2);
    }
}
