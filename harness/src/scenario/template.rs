//! `$(…)` in texts of a scenario: what may stand in one, and filling it in.
//!
//! Variables of the scenario are filled in when it is read; what is left is drawn or looked up for every request:
//! `$(uuid)`, `$(random 0..59)`, `$(fixture.talk)`, `$(link.db)` and names captured by an earlier step. Where these come
//! from is the [`Resolver`]'s business.

use std::fmt;

/// A text taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template(pub Vec<Part>);

/// A stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// To be filled in.
    Call(Call),
}

/// What can be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A fresh UUID.
    Uuid,
    /// A number drawn from a range, both ends included, with as many decimals as the range was written with.
    Random(Range),
    /// The id of an uploaded media fixture.
    Fixture(String),
    /// The address (`host:port`) of a link.
    Link(String),
    /// What an earlier step captured.
    Capture(String),
}

/// `0..59`, `0.0..59.9`: whole multiples of a power of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Smallest, times ten to the `decimals`.
    pub low: i64,
    /// Largest, times ten to the `decimals`.
    pub high: i64,
    /// Digits behind the point.
    pub decimals: u32,
}

/// Why a text is not a template, or could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An opening without its end.
    #[error("`$(` is not closed")]
    Unclosed,
    /// Something else than a range after `random`.
    #[error("`$({0})` has no range of numbers")]
    NotARange(String),
    /// Nothing goes by that name.
    #[error("`{0}` has no value")]
    Unknown(String),
}

/// Knows what to fill in. Randomness is behind it, so that a seed decides every draw.
pub trait Resolver {
    /// A fresh UUID.
    fn uuid(&mut self) -> String;
    /// Uniform in `low..=high`.
    fn draw(&mut self, low: i64, high: i64) -> i64;
    /// The id of a fixture.
    fn fixture(&self, name: &str) -> Option<String>;
    /// The address of a link.
    fn link(&self, name: &str) -> Option<String>;
    /// A captured value.
    fn capture(&self, name: &str) -> Option<String>;
}

impl Template {
    /// Takes a text apart.
    ///
    /// # Errors
    /// When `$(` is not closed, or `random` has no range.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("$(") {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inner = &rest[open + 2..];
            let close = inner.find(')').ok_or(TemplateError::Unclosed)?;
            parts.push(Part::Call(Call::parse(inner[..close].trim())?));
            rest = &inner[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// What is to be filled in.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().filter_map(|part| match part {
            Part::Call(call) => Some(call),
            Part::Text(_) => None,
        })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// When the resolver does not know a name.
    pub fn render(&self, resolver: &mut dyn Resolver) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Call(call) => out.push_str(&call.resolve(resolver)?),
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Call(call) => write!(f, "$({call})"),
        })
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid => f.write_str("uuid"),
            Self::Random(range) => write!(
                f,
                "random {}..{}",
                range.decimal(range.low),
                range.decimal(range.high)
            ),
            Self::Fixture(name) => write!(f, "fixture.{name}"),
            Self::Link(name) => write!(f, "link.{name}"),
            Self::Capture(name) => f.write_str(name),
        }
    }
}

impl Call {
    fn parse(inner: &str) -> Result<Self, TemplateError> {
        if inner == "uuid" {
            return Ok(Self::Uuid);
        }
        if let Some(range) = inner.strip_prefix("random")
            && !range.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-')
        {
            return Range::parse(range.trim())
                .map(Self::Random)
                .ok_or_else(|| TemplateError::NotARange(inner.to_owned()));
        }
        Ok(match inner.split_once('.') {
            Some(("fixture", name)) => Self::Fixture(name.to_owned()),
            Some(("link", name)) => Self::Link(name.to_owned()),
            _ => Self::Capture(inner.to_owned()),
        })
    }

    fn resolve(&self, resolver: &mut dyn Resolver) -> Result<String, TemplateError> {
        let known =
            |value: Option<String>| value.ok_or_else(|| TemplateError::Unknown(self.to_string()));
        match self {
            Self::Uuid => Ok(resolver.uuid()),
            Self::Random(range) => Ok(range.decimal(resolver.draw(range.low, range.high))),
            Self::Fixture(name) => known(resolver.fixture(name)),
            Self::Link(name) => known(resolver.link(name)),
            Self::Capture(name) => known(resolver.capture(name)),
        }
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (low, high) = text.split_once("..")?;
        let decimals_of = |number: &str| {
            number
                .split_once('.')
                .map_or(0, |(_, decimals)| decimals.len())
        };
        let (low, high) = (low.trim(), high.trim());
        let decimals = decimals_of(low).max(decimals_of(high));
        // Six decimals are microseconds of a second; nine digits before them still fit.
        if decimals > 6 {
            return None;
        }
        let scaled = |number: &str| {
            let (sign, number) = match number.strip_prefix('-') {
                Some(number) => (-1, number),
                None => (1, number),
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
            if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) {
                return None;
            }
            format!("{whole}{fraction:0<decimals$}")
                .parse::<i64>()
                .ok()
                .map(|value| sign * value)
        };
        let (low, high) = (scaled(low)?, scaled(high)?);
        (low <= high).then_some(Self {
            low,
            high,
            decimals: u32::try_from(decimals).ok()?,
        })
    }

    /// A drawn number as text.
    fn decimal(self, value: i64) -> String {
        if self.decimals == 0 {
            return value.to_string();
        }
        let unit = 10_u64.pow(self.decimals);
        let sign = if value < 0 { "-" } else { "" };
        let magnitude = value.unsigned_abs();
        let width = self.decimals as usize;
        format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
    }
}

/// Fills in a text.
///
/// # Errors
/// When it is not a template, or the resolver does not know a name.
pub fn render(text: &str, resolver: &mut dyn Resolver) -> Result<String, TemplateError> {
    Template::parse(text)?.render(resolver)
}

/// Fills in every text of a JSON value.
///
/// # Errors
/// As [`render`].
pub fn render_json(
    value: &serde_json::Value,
    resolver: &mut dyn Resolver,
) -> Result<serde_json::Value, TemplateError> {
    use serde_json::Value;
    Ok(match value {
        Value::String(text) => Value::String(render(text, resolver)?),
        Value::Array(items) => items
            .iter()
            .map(|item| render_json(item, resolver))
            .collect::<Result<_, _>>()?,
        Value::Object(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), render_json(value, resolver)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed;

    impl Resolver for Fixed {
        fn uuid(&mut self) -> String {
            "u-1".into()
        }
        fn draw(&mut self, _: i64, high: i64) -> i64 {
            high
        }
        fn fixture(&self, name: &str) -> Option<String> {
            (name == "talk").then(|| "v-9".into())
        }
        fn link(&self, _: &str) -> Option<String> {
            None
        }
        fn capture(&self, name: &str) -> Option<String> {
            (name == "job").then(|| "j-3".into())
        }
    }

    #[test]
    fn fills_in() {
        for (text, filled) in [
            ("", ""),
            ("no calls, $ and ( )", "no calls, $ and ( )"),
            (
                "/v/$(fixture.talk)/f?at=$(random 0..59)s",
                "/v/v-9/f?at=59s",
            ),
            ("$( random 0.0 .. 59.95 )", "59.95"),
            ("$(random -2..-1)", "-1"),
            ("$(uuid)$(job)", "u-1j-3"),
        ] {
            assert_eq!(render(text, &mut Fixed).as_deref(), Ok(filled), "{text}");
        }
        let json = serde_json::json!({ "a": ["$(job)", 1], "b": { "c": "$(uuid)" } });
        assert_eq!(
            render_json(&json, &mut Fixed),
            Ok(serde_json::json!({ "a": ["j-3", 1], "b": { "c": "u-1" } }))
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(render("a $(uuid", &mut Fixed), Err(TemplateError::Unclosed));
        assert_eq!(
            render("$(link.db)", &mut Fixed),
            Err(TemplateError::Unknown("link.db".into()))
        );
        for range in [
            "random",
            "random 5",
            "random 9..1",
            "random a..b",
            "random 1e3..2e3",
        ] {
            assert_eq!(
                Template::parse(&format!("$({range})")),
                Err(TemplateError::NotARange(range.into()))
            );
        }
    }

    proptest! {
        #[test]
        fn draws_stay_in_their_range(low in -9999_i64..9999, span in 0_i64..9999, part in 0_i64..9999) {
            let range = Range { low, high: low + span, decimals: 2 };
            let text = format!("random {}..{}", range.decimal(range.low), range.decimal(range.high));
            prop_assert_eq!(Call::parse(&text), Ok(Call::Random(range)));
            let drawn: f64 = range.decimal(low + part % (span + 1)).parse().unwrap();
            prop_assert!(drawn >= low as f64 / 100.0 && drawn <= (low + span) as f64 / 100.0);
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert!(!template.to_string().is_empty() || text.is_empty());
            }
        }
    }
}
