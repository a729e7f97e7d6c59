//! Text from outside, made safe to show: log lines, error messages, paths and names may hold characters that move a
//! terminal's cursor, change its colours, turn the direction of writing round or are not allowed in XML.
//!
//! [`printable`] is the one place where that is mended, and [`Text`] the type of what has been through it. Raw bytes stay
//! in the logs of the nodes.

use std::borrow::{Borrow, Cow};
use std::fmt::{self, Write as _};
use std::ops::Deref;

use schemars::JsonSchema;
use serde::Serialize;

/// The same text on one line, without any character that a terminal, a browser or a parser acts on. Such a character is
/// shown instead: ESC as `␛`, NUL as `␀`, a line feed as `␊`, one without a picture of its own by its number, as in
/// `\u{202e}`. A tab becomes a space.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
            '\u{7f}' => shown.push('␡'),
            // Writing into a string cannot fail.
            c if is_active(c) => write!(shown, "\\u{{{:x}}}", u32::from(c)).unwrap_or_default(),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`printable`], of text that is laid out in lines: their ends stay.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    let shown = lines.map(|line| match line.strip_suffix('\n') {
        Some(line) => printable(line) + "\n",
        None => printable(line),
    });
    shown.collect()
}

/// JSON text in which every such character of a string is written as its escape: the same value to a parser, and nothing
/// that a terminal acts on. JSON itself asks for that of control characters below U+0020 only.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let acts = |c: char| c > '\u{1f}' && is_active(c);
    if !json.contains(acts) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                write!(shown, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether something acts on this character instead of showing it.
fn is_active(c: char) -> bool {
    match c {
        // C0, DEL and C1.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        // Marks, embeddings, overrides and isolates of the direction of writing.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => {
            true
        }
        // Line and paragraph separator; spaces and joiners of no width, but for those that words and emoji need.
        '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' => true,
        // Annotations, tags, and what is no character.
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        c => matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe,
    }
}

/// Text that is safe to show anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Text(String);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(printable(text).into_owned())
    }
}

impl Text {
    /// What something says of itself: a path, an error.
    #[must_use]
    pub fn of(told: impl fmt::Display) -> Self {
        Self::from(told.to_string())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        match printable(&text) {
            Cow::Borrowed(_) => Self(text),
            Cow::Owned(shown) => Self(shown),
        }
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_says_the_same_and_nothing_in_it_acts() {
        for text in [
            "plain",
            "\u{9b}31m\u{202e}",
            "\u{7f}\u{1b}\n",
            "\u{e0001}é😀",
            "",
        ] {
            for json in [
                serde_json::json!({ text: text }).to_string(),
                format!("{:#}", serde_json::json!([text])),
            ] {
                let shown = printable_json(&json);
                assert!(!shown.contains(|c| c != '\n' && is_active(c)), "{shown:?}");
                let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
                assert_eq!(value(&shown), value(&json));
            }
        }
    }

    #[test]
    fn what_acts_is_shown_instead() {
        let shown = [
            ("\u{1b}[31mred\0", "␛[31mred␀"),
            ("two\r\nlines\ttab", "two␍␊lines tab"),
            ("\u{7f}\u{9b}2J", "␡\\u{9b}2J"),
            ("abc\u{202e}def\u{2066}", "abc\\u{202e}def\\u{2066}"),
            ("\u{2028}\u{feff}\u{ffff}", "\\u{2028}\\u{feff}\\u{ffff}"),
        ];
        for (raw, expected) in shown {
            assert_eq!(printable(raw), expected);
            assert_eq!(&*Text::from(raw.to_owned()), expected);
        }
        assert_eq!(printable_lines("a\u{1b}\nb\r\n"), "a␛\nb␍\n");
        for kept in ["plain", "naïve → 東京 👩‍👩‍👧", "می‌خواهم", "a�b"]
        {
            assert!(matches!(printable(kept), Cow::Borrowed(same) if same == kept));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left_and_the_rest_stays(text in any::<String>()) {
            let shown = printable(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_active(c)));
            prop_assert_eq!(printable(&shown), shown.as_ref());
            let mut rest = shown.chars();
            for c in text.chars().filter(|c| !is_active(*c)) {
                prop_assert!(rest.any(|kept| kept == c), "{:?} is gone", c);
            }
        }

        #[test]
        fn bytes_that_are_no_text_can_be_shown_too(bytes in any::<Vec<u8>>()) {
            let text = Text::from(String::from_utf8_lossy(&bytes).into_owned());
            prop_assert!(!text.chars().any(is_active));
        }
    }
}
