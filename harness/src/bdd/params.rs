//! The kinds of values that stand in steps, each reading itself from the words it is written in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clip_service::units::{HumanDuration, NotADuration};
use cucumber::Parameter;

/// A length of time, with or without a space before its unit: `3 s`, `2.5 s`, `400ms`.
#[derive(Debug, Clone, Copy, PartialEq, Parameter)]
#[param(name = "time", regex = r"\d+(?:\.\d+)? ?(?:us|ms|s|m|h)")]
pub(super) struct Time(HumanDuration);

impl Time {
    pub(super) fn get(self) -> Duration {
        self.0.get()
    }

    pub(super) fn seconds(self) -> f64 {
        self.get().as_secs_f64()
    }
}

impl FromStr for Time {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.replace(' ', "").parse().map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A word or phrase that goes into a scenario as it is; the scenario's own reader says what is wrong with it.
macro_rules! passed_on {
    ($(#[$doc:meta])* $name:ident, $word:literal, $regex:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Parameter)]
        #[param(name = $word, regex = $regex)]
        pub(super) struct $name(pub(super) String);

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Ok(Self(text.to_owned()))
            }
        }
    };
}

passed_on!(
    /// How often work arrives: `25/s`, `0.5/s`, `30/m`.
    Rate, "rate", r"\d+(?:\.\d+)?/[smh]"
);

passed_on!(
    /// What a fault hits: `processor-2`, `gateway-1->processor-1`, `one of processor-*`, `any`.
    Target, "target", r"(?:one of )?[\w*-]+(?:->[\w*-]+)?"
);

/// When something must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(name = "when", regex = "always|during the fault")]
pub(super) enum When {
    /// Over the whole of the load.
    Always,
    /// While the only fault is in place.
    DuringTheFault,
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            "during the fault" => Ok(Self::DuringTheFault),
            other => Err(format!(
                "`{other}` is neither `always` nor `during the fault`"
            )),
        }
    }
}

/// A place in a scenario file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(name = "place", regex = r"line \d+|\d+:\d+")]
pub(super) enum Place {
    /// `line 10`
    Line(u64),
    /// `3:1`
    Exact(u64, u64),
}

impl Place {
    pub(super) fn is(self, line: u64, column: u64) -> bool {
        match self {
            Self::Line(wanted) => wanted == line,
            Self::Exact(wanted, at) => (wanted, at) == (line, column),
        }
    }
}

impl FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((line, column)) => Ok(Self::Exact(line.parse()?, column.parse()?)),
            None => text.trim_start_matches("line ").parse().map(Self::Line),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Exact(line, column) => write!(f, "{line}:{column}"),
        }
    }
}

/// Something to upload that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(
    name = "file",
    regex = "a text file|an empty file|random bytes|an audio file"
)]
pub(super) enum WrongFile {
    /// Sentences.
    Text,
    /// Nothing.
    Empty,
    /// Noise.
    Random,
    /// A sound file without a picture.
    Audio,
}

impl FromStr for WrongFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "a text file" => Ok(Self::Text),
            "an empty file" => Ok(Self::Empty),
            "random bytes" => Ok(Self::Random),
            "an audio file" => Ok(Self::Audio),
            other => Err(format!("how to make `{other}` is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, millis) in [
            ("3 s", 3000),
            ("2.5 s", 2500),
            ("400ms", 400),
            ("2m", 120_000),
        ] {
            let time: Time = text.parse().expect(text);
            assert_eq!(time.get(), Duration::from_millis(millis), "{text}");
        }
        assert!("3 parsecs".parse::<Time>().is_err());
        assert_eq!("10 s".parse::<Time>().expect("a time").to_string(), "10s");
    }

    #[test]
    fn places_are_lines_or_points() {
        let line: Place = "line 10".parse().expect("a place");
        assert!(line.is(10, 1) && line.is(10, 20) && !line.is(1, 10));
        let point: Place = "3:1".parse().expect("a place");
        assert!(point.is(3, 1) && !point.is(3, 2));
        assert!("line ten".parse::<Place>().is_err());
    }

    #[test]
    fn phrases_name_what_they_say() {
        assert_eq!("always".parse(), Ok(When::Always));
        assert_eq!("during the fault".parse(), Ok(When::DuringTheFault));
        assert!("sometimes".parse::<When>().is_err());
        assert_eq!("an audio file".parse(), Ok(WrongFile::Audio));
        assert!("a banana".parse::<WrongFile>().is_err());
    }
}
