//! Deadlines across hops: the header `x-timeout-ms` says how much time is *left*, so that no clock but one's own counts,
//! and every hop sends on less than it was given.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// Milliseconds left for the request.
pub const X_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-timeout-ms");

/// Kept back for the hop itself: an answer on the last millisecond is an answer too late.
const OWN_SHARE: Duration = Duration::from_millis(5);

/// The request's time was up when it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's time was up when it arrived")]
pub struct Expired;

/// Deadline of a request that has just arrived: what its header leaves, at most `most`. A header that is not a number
/// counts as absent.
///
/// # Errors
/// [`Expired`] when nothing is left.
pub fn arriving(headers: &HeaderMap, now: Instant, most: Duration) -> Result<Instant, Expired> {
    let left = headers
        .get(X_TIMEOUT_MS)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<u64>().ok())
        .map(Duration::from_millis);
    match left {
        Some(Duration::ZERO) => Err(Expired),
        left => Ok(now + left.map_or(most, |left| left.min(most))),
    }
}

/// Writes what is left until `until` into `headers`, replacing what a hop before said.
pub fn forward(headers: &mut HeaderMap, now: Instant, until: Instant) {
    let left = until.saturating_duration_since(now).as_millis();
    let left = u64::try_from(left).unwrap_or(u64::MAX);
    headers.insert(X_TIMEOUT_MS, HeaderValue::from(left));
}

/// Bound of one try: the try's own, but inside the deadline. `None` when nothing is left to try in.
#[must_use]
pub fn of_try(own: Duration, now: Instant, deadline: Instant) -> Option<Duration> {
    let left = deadline
        .saturating_duration_since(now)
        .saturating_sub(OWN_SHARE);
    (!left.is_zero()).then(|| own.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(10);

    fn header(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(X_TIMEOUT_MS, text.parse().expect("a header value"));
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn an_arriving_request_gets_the_smaller_bound() {
        let now = Instant::now();
        for (text, expected) in [
            ("1500", Ok(now + Duration::from_millis(1500))),
            ("99999999999", Ok(now + MOST)),
            ("soon", Ok(now + MOST)),
            ("-5", Ok(now + MOST)),
            ("0", Err(Expired)),
        ] {
            assert_eq!(arriving(&header(text), now, MOST), expected, "{text}");
        }
        assert_eq!(arriving(&HeaderMap::new(), now, MOST), Ok(now + MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn every_hop_sends_on_less() {
        let start = Instant::now();
        let deadline = arriving(&header("1000"), start, MOST).expect("time is left");
        let mut headers = header("1000");
        forward(&mut headers, start + Duration::from_millis(300), deadline);
        assert_eq!(headers.get(X_TIMEOUT_MS), Some(&HeaderValue::from(700_u64)));
        forward(&mut headers, start + Duration::from_secs(2), deadline);
        assert_eq!(arriving(&headers, start, MOST), Err(Expired));
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_ends_before_the_deadline() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(of_try(ms(250), now, now + ms(1000)), Some(ms(250)));
        assert_eq!(of_try(ms(250), now, now + ms(100)), Some(ms(95)));
        assert_eq!(of_try(ms(250), now, now + ms(5)), None);
        assert_eq!(of_try(ms(250), now + ms(9), now), None);
    }
}
