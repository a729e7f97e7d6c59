//! Paths to one value of a JSON answer: `$`, `$.job_id`, `$.clips[0].url`, `$['first name']`, `$.jobs[-1].id`.
//!
//! These are the singular queries of RFC 9535, with dashes allowed in dotted names: names and indices, no wildcards, slices
//! or filters. A capture needs one value, and a path that could lead to several would leave open which. Parsed once, when
//! the scenario is read; the same type finds the value in a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::syntax::{Scan, SyntaxError};

/// What a path looks like, for remedies.
const EXAMPLES: &str = "write $.id, $.items[0].id or $['first name']";

/// A parsed path. Serialised as its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JsonPath {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Segment {
    Name(String),
    /// Negative ones count from the end.
    Index(i64),
}

impl Default for JsonPath {
    /// The whole answer.
    fn default() -> Self {
        Self {
            text: "$".to_owned(),
            segments: Vec::new(),
        }
    }
}

impl JsonPath {
    /// The path to a field of the answer: `$.status`.
    #[must_use]
    pub fn field(name: &str) -> Self {
        let plain = name
            .chars()
            .all(|c| c.is_ascii_alphabetic() || c == '_' || c == '-');
        Self {
            text: match plain && !name.is_empty() {
                true => format!("$.{name}"),
                false => {
                    let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
                    format!("$['{quoted}']")
                }
            },
            segments: vec![Segment::Name(name.to_owned())],
        }
    }

    /// The value it leads to.
    #[must_use]
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.segments
            .iter()
            .try_fold(value, |at, segment| match segment {
                Segment::Name(name) => at.as_object()?.get(name),
                Segment::Index(index) => {
                    let items = at.as_array()?;
                    let index = match usize::try_from(*index) {
                        Ok(index) => index,
                        Err(_) => {
                            let back = usize::try_from(index.unsigned_abs()).ok()?;
                            items.len().checked_sub(back)?
                        }
                    };
                    items.get(index)
                }
            })
    }

    /// The value it leads to as text; `None` for `null`, lists and objects too.
    #[must_use]
    pub fn find_text(&self, value: &Value) -> Option<String> {
        self.find(value).and_then(scalar_text)
    }
}

/// A value as the text that a later request would hold: strings without quotes. `None` for what is not one value.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<JsonPath> for String {
    fn from(path: JsonPath) -> Self {
        path.text
    }
}

impl TryFrom<String> for JsonPath {
    type Error = SyntaxError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for JsonPath {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut scan = Scan::new(text.trim_end());
        scan.space();
        if !scan.skip('$') {
            let start = scan.at();
            return Err(scan.error(
                start..usize::MAX,
                format!("`{}` is not a JSON path", text.trim()),
                match format!("$.{}", text.trim()).parse::<Self>() {
                    _ if text.trim_start().starts_with("header") => {
                        "a capture reads the JSON body of the answer, not its headers: write $.id"
                            .to_owned()
                    }
                    Ok(meant) => format!("a path begins with `$`: write {meant}"),
                    Err(_) => EXAMPLES.to_owned(),
                },
            ));
        }
        let mut segments = Vec::new();
        while !scan.is_at_end() {
            let start = scan.at();
            segments.push(match scan.advance() {
                Some('.') => dotted(&mut scan)?,
                Some('[') => bracketed(&mut scan)?,
                _ => {
                    return Err(scan.error(
                        start..start + 1,
                        "`.` or `[` is expected here",
                        "write $.id, $.items[0].id; quote names that hold other characters: $['first name']",
                    ));
                }
            });
        }
        Ok(Self {
            text: text.trim().to_owned(),
            segments,
        })
    }
}

/// The name after a point.
fn dotted(scan: &mut Scan) -> Result<Segment, SyntaxError> {
    let start = scan.at();
    let name = scan.take(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match name.chars().next() {
        None if matches!(scan.peek(), Some('.' | '*')) => Err(several(scan, start)),
        None => Err(scan.error(start..start + 1, "a name is expected after `.`", EXAMPLES)),
        Some(c) if c.is_ascii_digit() && name.chars().all(|c| c.is_ascii_digit()) => Err(scan
            .error(
                start..scan.at(),
                format!("`.{name}` is neither an item nor a name"),
                format!("write [{name}] for an item of a list, ['{name}'] for a name"),
            )),
        Some(_) => Ok(Segment::Name(name)),
    }
}

/// What stands in brackets: an index or a quoted name. The opening one has been read.
fn bracketed(scan: &mut Scan) -> Result<Segment, SyntaxError> {
    let open = scan.at() - 1;
    scan.space();
    let start = scan.at();
    let segment = match scan.peek() {
        Some(quote @ ('\'' | '"')) => {
            scan.advance();
            Segment::Name(quoted(scan, quote, open)?)
        }
        Some('*' | '?' | ':') => return Err(several(scan, start)),
        _ => {
            let word = scan.take(|c| !matches!(c, ']' | '[' | ':' | ',') && !c.is_whitespace());
            if matches!(scan.peek(), Some(':' | ',')) {
                return Err(several(scan, start));
            }
            let place = start..scan.at();
            if word.is_empty() {
                return Err(match scan.peek() {
                    Some(']') => scan.error(
                        open..scan.at() + 1,
                        "the brackets are empty",
                        "write an index, [0], or a quoted name, ['first name']",
                    ),
                    _ => unclosed(scan, open),
                });
            }
            Segment::Index(index(&word).ok_or_else(|| {
                scan.error(
                    place,
                    format!("`{word}` is not an index"),
                    format!("write a whole number, [0], or quote a name: ['{word}']"),
                )
            })?)
        }
    };
    scan.space();
    match scan.skip(']') {
        true => Ok(segment),
        false if scan.peek() == Some(',') => Err(several(scan, start)),
        false => Err(unclosed(scan, open)),
    }
}

/// RFC 9535: no leading zeros, no `-0`, no plus sign.
fn index(word: &str) -> Option<i64> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    let canonical = word == "0" || !digits.starts_with('0');
    word.parse().ok().filter(|_| plain && canonical)
}

/// The rest of a quoted name, with the escapes of JSON and `\'`.
fn quoted(scan: &mut Scan, quote: char, open: usize) -> Result<String, SyntaxError> {
    let mut name = String::new();
    loop {
        let at = scan.at();
        match scan.advance() {
            None => return Err(unclosed(scan, open)),
            Some(c) if c == quote => return Ok(name),
            Some('\\') => {
                let escaped = match scan.advance() {
                    Some('n') => Some('\n'),
                    Some('t') => Some('\t'),
                    Some('r') => Some('\r'),
                    Some('b') => Some('\u{8}'),
                    Some('f') => Some('\u{c}'),
                    Some('u') => {
                        let digits: String = (0..4).filter_map(|_| scan.advance()).collect();
                        u32::from_str_radix(&digits, 16)
                            .ok()
                            .and_then(char::from_u32)
                    }
                    Some(c) if c == quote || c == '\\' || c == '/' => Some(c),
                    _ => None,
                };
                name.push(escaped.ok_or_else(|| {
                    scan.error(
                        at..scan.at(),
                        "this is not an escape",
                        "write \\\\ for a backslash; \\n, \\t and \\u00e4 are known",
                    )
                })?);
            }
            Some(c) => name.push(c),
        }
    }
}

fn unclosed(scan: &Scan, open: usize) -> SyntaxError {
    scan.error(open..usize::MAX, "`[` is not closed", EXAMPLES)
}

fn several(scan: &Scan, start: usize) -> SyntaxError {
    scan.error(
        start..start + 1,
        "a path leads to exactly one value; wildcards, slices and filters can match several",
        "name the item by its index: [0], or [-1] for the last",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> JsonPath {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn paths_reach_fields_and_items() {
        let value = json!({
            "job_id": "j1", "job-id": 7, "first name": "ann", "0": "zero", "größe": 1.5, "it's": true,
            "clips": [{"url": "/a"}, {"url": "/b", "rank": 2}],
        });
        for (text, found) in [
            ("$.job_id", Some("j1")),
            (" $.job_id ", Some("j1")),
            ("$.job-id", Some("7")),
            ("$['job_id']", Some("j1")),
            ("$[ \"first name\" ]", Some("ann")),
            ("$['it\\'s']", Some("true")),
            ("$['0']", Some("zero")),
            ("$.größe", Some("1.5")),
            ("$['gr\\u00f6\\u00dfe']", Some("1.5")),
            ("$.clips[1].url", Some("/b")),
            ("$.clips[-1].rank", Some("2")),
            ("$.clips[-2]['url']", Some("/a")),
            ("$.clips[-3].url", None),
            ("$.clips[2].url", None),
            ("$.clips", None),
            ("$.clips.url", None),
            ("$[0]", None),
            ("$.nothing", None),
        ] {
            assert_eq!(path(text).find_text(&value).as_deref(), found, "{text}");
        }
        assert_eq!(path("$").find(&value), Some(&value));
        assert_eq!(path("$.clips").find(&value), Some(&value["clips"]));
    }

    #[test]
    fn what_is_not_a_path_is_told_with_its_column() {
        for (text, column, message) in [
            ("", 0, "`` is not a JSON path"),
            ("job_id", 0, "`job_id` is not a JSON path"),
            ("  $job", 3, "`.` or `[` is expected here"),
            ("$.", 2, "a name is expected after `.`"),
            ("$.a.", 4, "a name is expected after `.`"),
            ("$.a b", 3, "`.` or `[` is expected here"),
            (
                "$..a",
                2,
                "a path leads to exactly one value; wildcards, slices and filters can match several",
            ),
            (
                "$.a[*]",
                4,
                "a path leads to exactly one value; wildcards, slices and filters can match several",
            ),
            (
                "$.a[0:2]",
                4,
                "a path leads to exactly one value; wildcards, slices and filters can match several",
            ),
            (
                "$.a[0,1]",
                4,
                "a path leads to exactly one value; wildcards, slices and filters can match several",
            ),
            (
                "$.a[?@.b]",
                4,
                "a path leads to exactly one value; wildcards, slices and filters can match several",
            ),
            ("$.a.0", 4, "`.0` is neither an item nor a name"),
            ("$.jobs[x].id", 7, "`x` is not an index"),
            ("$.jobs[01]", 7, "`01` is not an index"),
            ("$.jobs[-0]", 7, "`-0` is not an index"),
            ("$.jobs[+1]", 7, "`+1` is not an index"),
            ("$.jobs[]", 6, "the brackets are empty"),
            ("$.jobs[0", 6, "`[` is not closed"),
            ("$.jobs[", 6, "`[` is not closed"),
            ("$.jobs['a]", 6, "`[` is not closed"),
            ("$.jobs[0 1]", 6, "`[` is not closed"),
            ("$.jobs]", 6, "`.` or `[` is expected here"),
            ("$['a\\q']", 4, "this is not an escape"),
        ] {
            let error = text.parse::<JsonPath>().expect_err(text);
            assert_eq!((error.column, error.message.as_str()), (column, message));
            assert!(!error.help.is_empty(), "{text}");
        }
        let help = |text: &str| text.parse::<JsonPath>().expect_err(text).help;
        assert!(help("header.set-cookie").contains("not its headers"));
        assert_eq!(help("job_id"), "a path begins with `$`: write $.job_id");
        assert_eq!(
            help("$.jobs[x]"),
            "write a whole number, [0], or quote a name: ['x']"
        );
    }

    #[test]
    fn a_plan_holds_its_text() {
        let written = path("$.clips[ 0 ].url");
        let json = serde_json::to_value(&written).expect("text");
        assert_eq!(json, json!("$.clips[ 0 ].url"));
        assert_eq!(
            serde_json::from_value::<JsonPath>(json).expect("a path"),
            written
        );
        assert!(serde_json::from_value::<JsonPath>(json!("$[x]")).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,30}|[$.\\[\\]'\"\\\\a0*:-]{0,12}") {
            match text.parse::<JsonPath>() {
                Ok(path) => prop_assert_eq!(path.to_string(), text.trim()),
                Err(error) => prop_assert!(error.column <= text.chars().count()),
            }
        }

        /// Whatever its name, a field has a path.
        #[test]
        fn every_field_has_a_path(name in "\\PC{0,12}") {
            let value = json!({ name.clone(): 1 });
            let field = JsonPath::field(&name);
            prop_assert_eq!(&path(&field.text), &field);
            prop_assert_eq!(field.find(&value), Some(&json!(1)));
        }
    }
}
