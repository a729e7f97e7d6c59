//! Durations as people write them: `300ms`, `15s`, `2m`, `1h30m`. A number without a unit is refused. And bytes in
//! hexadecimal.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A [`Duration`] that reads and writes itself with a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HumanDuration(pub Duration);

impl HumanDuration {
    /// Whole milliseconds.
    #[must_use]
    pub const fn millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// Whole seconds.
    #[must_use]
    pub const fn secs(s: u64) -> Self {
        Self(Duration::from_secs(s))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// Text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write a number and a unit, like 300ms, 15s, 2m or 1h30m")]
pub struct NotADuration(pub String);

const UNITS: [(&str, f64); 6] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];

/// Ten years: longer is a typing error, and sums of a few of these still fit every clock.
const LONGEST_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for HumanDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotADuration(text.to_owned());
        let mut rest = text.trim();
        let mut seconds = 0.0;
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(bad)?;
            let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let unit_len = rest
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len());
            let (_, factor) = UNITS
                .iter()
                .find(|(unit, _)| *unit == &rest[..unit_len])
                .ok_or_else(bad)?;
            seconds += number * factor;
            rest = rest[unit_len..].trim_start();
        }
        if !(0.0..=LONGEST_SECONDS).contains(&seconds) {
            return Err(bad());
        }
        // Through whole nanoseconds, so that 300ms is 300 000 000 ns and not a float's neighbour.
        Ok(Self(Duration::from_nanos((seconds * 1e9).round() as u64)))
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (whole, unit) = match nanos {
            0 => (0, "s"),
            n if n % 3_600_000_000_000 == 0 => (n / 3_600_000_000_000, "h"),
            n if n % 60_000_000_000 == 0 => (n / 60_000_000_000, "m"),
            n if n % 1_000_000_000 == 0 => (n / 1_000_000_000, "s"),
            n if n % 1_000_000 == 0 && n < 10_000_000_000 => (n / 1_000_000, "ms"),
            n if n % 1_000 == 0 && n < 10_000_000 => (n / 1_000, "us"),
            n if n < 10_000 => (n, "ns"),
            _ => return write!(f, "{}s", self.0.as_secs_f64()),
        };
        write!(f, "{whole}{unit}")
    }
}

impl fmt::Debug for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A number and a unit: 300ms, 15s, 2m, 1h30m.",
            "pattern": r"^\s*(\d+(\.\d+)?(ns|us|ms|s|m|h)\s*)+$"
        })
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
            write!(out, "{byte:02x}").ok(); // writing to a String cannot fail
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [
            ("300ms", 300),
            ("15s", 15_000),
            ("1.5s", 1500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            (" 1m 5s ", 65_000),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration::millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "5", "5parsecs", "s", "-1s", "1..2s", "99999999h", "1s5"] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn writes_what_it_reads(ms in 0_u64..100_000_000) {
            let duration = HumanDuration::millis(ms);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
