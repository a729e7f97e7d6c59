//! A number of bytes a second: `500kB/s`, `1MB/s`, `8Mbit/s`.

use std::fmt;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::scenario::read::{Reader, Scalar};
use crate::scenario::text::diagnostic::Diagnostic;
use crate::scenario::text::node::Node;
use crate::scenario::value::text_schema;

/// Units with the bytes in one of them. `k` and `M` are powers of a thousand, `Ki` and `Mi` of 1024 (IEC 80000-13).
const UNITS: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("kbit", 125.0),
    ("Mbit", 125e3),
    ("Gbit", 125e6),
];
const PATTERN: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([kKMG]?B|[KMG]iB|[kMG]bit)\s*/\s*s";
const HELP: &str = "write a number, a unit and `/s`: 64kB/s, 1MB/s, 8Mbit/s";
/// Beyond what a link of this machine carries there is nothing to hold back.
const MOST: f64 = 1e12;

/// Bytes a second; more than none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteRate(pub f64);

impl FromStr for ByteRate {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let amount = text.trim().strip_suffix('s').ok_or(())?;
        let amount = amount.trim_end().strip_suffix('/').ok_or(())?.trim_end();
        let digits = amount.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &amount[digits.len()..];
        let digits = digits.trim_end();
        let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        let number: f64 = digits.parse().ok().filter(|_| plain).ok_or(())?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(())?;
        let rate = number * bytes;
        (rate > 0.0 && rate <= MOST).then_some(Self(rate)).ok_or(())
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = match self.0 {
            rate if rate >= 1e9 => ("GB", 1e9),
            rate if rate >= 1e6 => ("MB", 1e6),
            rate if rate >= 1e3 => ("kB", 1e3),
            _ => ("B", 1.0),
        };
        write!(f, "{} {unit}/s", (self.0 / bytes * 100.0).round() / 100.0)
    }
}

impl Scalar for ByteRate {
    const NAME: &'static str = "ByteRate";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        let text = cx.plain(node, "a rate of bytes")?;
        let rate = text.parse().ok();
        if rate.is_none() {
            cx.report(
                Diagnostic::error(node.span, format!("`{text}` is not a rate of bytes")).help(HELP),
            );
        }
        rate
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(
            "A number of bytes a second: 64kB/s, 1MB/s, 8Mbit/s.",
            PATTERN,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("500kB/s", 5e5, "500 kB/s"),
            ("1MB/s", 1e6, "1 MB/s"),
            (" 1.5 MiB / s", 1.5 * 1024.0 * 1024.0, "1.57 MB/s"),
            ("8Mbit/s", 1e6, "1 MB/s"),
            ("100B/s", 100.0, "100 B/s"),
        ] {
            let rate: ByteRate = text.parse().expect(text);
            assert!((rate.0 - bytes).abs() < 1e-6, "{text}: {}", rate.0);
            assert_eq!(rate.to_string(), shown);
        }
        for wrong in [
            "",
            "1",
            "1MB",
            "1mb/s",
            "0B/s",
            "-1kB/s",
            "1e3B/s",
            "infB/s",
            "1/s",
            "1kB/m",
            "5000000GB/s",
        ] {
            assert!(wrong.parse::<ByteRate>().is_err(), "{wrong}");
        }
    }
}
