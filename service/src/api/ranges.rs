//! Byte ranges and validators of RFC 9110, for one representation whose strong ETag and length are known.

use http::{HeaderMap, header};

/// What part of a representation to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: 200.
    Whole,
    /// Nothing, the client has it: 304.
    Unchanged,
    /// Bytes `first..=last`: 206.
    Part { first: u64, last: u64 },
    /// A range outside the representation: 416.
    Unsatisfiable,
}

/// Decides from the request's headers. `etag` is in quotes.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, length: u64) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(list) = text(header::IF_NONE_MATCH) {
        // Weak comparison, as the RFC wants it for this header.
        let known = list
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        if known.into_iter().any(|tag| tag == etag || tag == "*") {
            return Wanted::Unchanged;
        }
    }
    let Some(range) = text(header::RANGE) else {
        return Wanted::Whole;
    };
    // Strong comparison; a date never matches, because we send no Last-Modified.
    if text(header::IF_RANGE).is_some_and(|tag| tag.trim() != etag) {
        return Wanted::Whole;
    }
    match range.trim().strip_prefix("bytes=") {
        Some(set) if !set.contains(',') => one_range(set.trim(), length),
        // Other units, and several ranges at once, may be answered with the whole.
        _ => Wanted::Whole,
    }
}

fn one_range(set: &str, length: u64) -> Wanted {
    let Some((first, last)) = set.split_once('-') else {
        return Wanted::Whole;
    };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(length.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, length.saturating_sub(1)),
        (Err(_), Ok(0)) if first.is_empty() => return Wanted::Unsatisfiable,
        (Err(_), Ok(suffix)) if first.is_empty() => {
            (length.saturating_sub(suffix), length.saturating_sub(1))
        }
        _ => return Wanted::Whole, // not a range at all: as if it were not there
    };
    if part.0 < length {
        Wanted::Part {
            first: part.0,
            last: part.1,
        }
    } else {
        Wanted::Unsatisfiable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(pairs: &[(header::HeaderName, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name, value.parse().unwrap());
        }
        wanted(&headers, "\"abc\"", 100)
    }

    #[test]
    fn ranges() {
        let part = |first, last| Wanted::Part { first, last };
        for (range, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=10-", part(10, 99)),
            ("bytes=-10", part(90, 99)),
            ("bytes=-1000", part(0, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=100-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=9-3", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
        ] {
            assert_eq!(with(&[(header::RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn validators() {
        let part = Wanted::Part { first: 1, last: 2 };
        let range = (header::RANGE, "bytes=1-2");
        assert_eq!(with(&[range.clone(), (header::IF_RANGE, "\"abc\"")]), part);
        assert_eq!(
            with(&[range.clone(), (header::IF_RANGE, "\"old\"")]),
            Wanted::Whole
        );
        assert_eq!(
            with(&[range.clone(), (header::IF_RANGE, "W/\"abc\"")]),
            Wanted::Whole
        );
        assert_eq!(
            with(&[range.clone(), (header::IF_NONE_MATCH, "\"x\", W/\"abc\"")]),
            Wanted::Unchanged
        );
        assert_eq!(with(&[(header::IF_NONE_MATCH, "*")]), Wanted::Unchanged);
        assert_eq!(with(&[(header::IF_NONE_MATCH, "\"x\"")]), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_inside(range in "bytes=[0-9]{0,4}-[0-9]{0,4}", length in 0_u64..500) {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().unwrap());
            if let Wanted::Part { first, last } = wanted(&headers, "\"e\"", length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
