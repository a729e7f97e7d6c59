//! Numbers as people read them: units, thousands separators, and no rounding that turns a miss into a hit.

use std::time::Duration;

use super::model::{Moment, Stretch};
use crate::series::{Counts, Reading};

/// `5,106`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 request`, `5,106 requests`.
#[must_use]
pub fn counted(n: u64, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(n))
}

/// `99.98 %`, rounded down: only all of them is 100 %.
#[must_use]
pub fn ratio(share: f64) -> String {
    let percent = (share * 1e6 + 1e-6).floor() / 1e4;
    let shown = if percent >= 100.0 {
        100.0
    } else {
        (percent * 100.0 + 1e-6).floor() / 100.0
    };
    format!("{shown:.2} %")
}

/// Share of requests that ended as expected; `-` without requests.
#[must_use]
pub fn share(counts: Counts) -> String {
    counts.success().map_or("-".to_owned(), ratio)
}

/// `640 µs`, `18.4 ms`, `2.51 s`, `1 min 4 s`: three digits that matter.
#[must_use]
pub fn time(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.009_995 => format!("{:.2} ms", s * 1e3),
        s if s < 0.099_95 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 119.95 => format!("{s:.1} s"),
        s if s < 5_970.0 => {
            let whole = s.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// A length of time that reads in seconds next to others: `0.11 s`, `12.4 s`.
#[must_use]
pub fn seconds(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    if seconds.fract() == 0.0 {
        format!("{seconds:.0} s")
    } else if seconds < 0.095 {
        format!("{seconds:.3} s")
    } else if seconds < 9.95 {
        format!("{seconds:.2} s")
    } else {
        format!("{seconds:.1} s")
    }
}

/// A moment, counted from the start of load: `00:15`, `-00:01`, `1:02:03`.
#[must_use]
pub fn clock(at: Moment) -> String {
    let (before, distance) = at.distance();
    let sign = if before { "-" } else { "" };
    let whole = distance.as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{sign}{minutes:02}:{seconds:02}"),
        _ => format!("{sign}{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// A stretch of time: `00:15-00:24`.
#[must_use]
pub fn stretch(stretch: Stretch) -> String {
    format!("{}-{}", clock(stretch.from), clock(stretch.to))
}

/// A moment in seconds with milliseconds, counted from the start of load: `15.112`.
#[must_use]
pub fn moment(at: Moment) -> String {
    let (before, distance) = at.distance();
    let sign = if before { "-" } else { "" };
    format!("{sign}{:.3}", distance.as_secs_f64())
}

/// A moment in seconds with one digit, none when that is zero: `15`, `22.4`.
#[must_use]
pub fn tenth(at: Moment) -> String {
    format!("{}", (at.seconds() * 10.0).round() / 10.0)
}

/// A measured value.
#[must_use]
pub fn reading(reading: Reading) -> String {
    match reading {
        Reading::Ratio(share) => ratio(share),
        Reading::Time(length) => time(length),
        Reading::Rate(rate) => per_second(rate),
    }
}

/// `187.4/s`, with as many digits as matter.
#[must_use]
pub fn per_second(rate: f64) -> String {
    match rate {
        r if r >= 999.95 => format!("{}/s", count(r.round() as u64)),
        r if r >= 9.995 => format!("{r:.1}/s"),
        r => format!("{r:.2}/s"),
    }
}

/// `23.9 GiB`.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() < 0.05 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// With a capital first letter.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Offset;

    #[test]
    fn numbers_read_well() {
        let counts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let times = [
            0,
            640,
            6_200,
            18_420,
            412_000,
            2_510_000,
            64_800_000,
            190_000_000,
            7_300_000_000_u64,
        ];
        let texts = times.map(|us| time(Duration::from_micros(us)));
        assert_eq!(
            texts.each_ref().map(String::as_str),
            [
                "0 s",
                "640 µs",
                "6.20 ms",
                "18.4 ms",
                "412 ms",
                "2.51 s",
                "64.8 s",
                "3 min 10 s",
                "2 h 2 min"
            ]
        );
        assert_eq!(bytes(24 << 30), "24 GiB");
        assert_eq!(bytes(1_500), "1.5 KiB");
    }

    #[test]
    fn nearly_all_is_never_all() {
        assert_eq!(ratio(1.0), "100.00 %");
        assert_eq!(ratio(0.999_999_9), "99.99 %");
        assert_eq!(ratio(0.999), "99.90 %");
        assert_eq!(ratio(0.0), "0.00 %");
    }

    #[test]
    fn moments_count_from_the_start_of_load() {
        let at = |us| Moment::new(Offset(us), Offset(1_400_000));
        assert_eq!(clock(at(16_400_000)), "00:15");
        assert_eq!(clock(at(0)), "-00:01");
        assert_eq!(clock(at(3_724_400_000)), "1:02:03");
        assert_eq!(moment(at(16_512_000)), "15.112");
        assert_eq!(tenth(at(16_442_000)), "15");
    }
}
