//! Whether a failed try is made again, and when. Pure; the budget is asked separately, after this has said yes.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::call::TryError;
use super::config::RetryConfig;
use crate::http::X_SHED;

const BASE: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

/// Whether an answer refuses work for want of room, and nothing else is wrong.
pub(super) fn is_shed(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) && headers.contains_key(X_SHED)
}

/// What an answer says about when to ask again. Seconds; the form with a date would need a clock that both sides share.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// What is known about a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent: safe to repeat, whatever it was.
    NotSent,
    /// Something may have been done.
    Unknown,
    /// The instance had no room and did nothing. Another may have; but the whole pool is likely to be short of it.
    Shed,
    /// The instance asks for fewer calls (429).
    Limited,
    /// Repeating cannot help.
    Final,
}

impl Failure {
    pub(super) fn of_error(error: &TryError) -> Self {
        match error {
            TryError::Connect(_) | TryError::Shortage(_) => Self::NotSent,
            TryError::Broken(_) | TryError::Timeout(_) => Self::Unknown,
            TryError::TooLong(_) | TryError::Invalid(_) => Self::Final,
        }
    }

    /// `None`: not a failure.
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        match status {
            _ if is_shed(status, headers) => Some(Self::Shed),
            StatusCode::TOO_MANY_REQUESTS => Some(Self::Limited),
            StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) failure: Failure,
    pub(super) idempotent: bool,
    /// Retries made so far.
    pub(super) retries: u32,
    /// Whether an earlier try was shed, too.
    pub(super) shed_before: bool,
    /// Whether another instance could be asked.
    pub(super) other: bool,
    /// How long the answer asks to wait.
    pub(super) after: Option<Duration>,
    /// Time left to the deadline.
    pub(super) left: Duration,
    /// What a try usually takes.
    pub(super) usual: Duration,
    /// Uniform in `[0, 1)`.
    pub(super) jitter: f64,
}

/// How long to wait before the next try; `None` to give up.
pub(super) fn decide(config: &RetryConfig, facts: Facts) -> Option<Duration> {
    let allowed = match facts.failure {
        Failure::NotSent => true,
        Failure::Unknown => facts.idempotent,
        Failure::Shed => facts.other && !facts.shed_before,
        Failure::Limited => facts.after.is_some(),
        Failure::Final => false,
    };
    if !config.enabled || !allowed || facts.retries >= config.max {
        return None;
    }
    let doubled = BASE.saturating_mul(2_u32.saturating_pow(facts.retries + 1));
    let backoff = doubled.min(LONGEST).mul_f64(facts.jitter);
    let wait = match facts.failure {
        // The failure was one instance's. Another has no reason to need a pause.
        Failure::NotSent | Failure::Unknown if facts.retries == 0 && facts.other => Duration::ZERO,
        Failure::Shed => Duration::ZERO,
        _ => backoff.max(facts.after.unwrap_or_default()),
    };
    (wait.saturating_add(facts.usual) < facts.left).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            failure: Failure::Unknown,
            idempotent: true,
            retries: 0,
            shed_before: false,
            other: true,
            after: None,
            left: Duration::from_secs(1),
            usual: Duration::from_millis(20),
            jitter: 0.5,
        }
    }

    #[test]
    fn the_first_retry_goes_elsewhere_at_once_and_later_ones_wait() {
        let config = RetryConfig::default();
        assert_eq!(decide(&config, facts()), Some(Duration::ZERO));
        let alone = Facts {
            other: false,
            ..facts()
        };
        assert_eq!(decide(&config, alone), Some(Duration::from_millis(25)));
        assert_eq!(
            decide(
                &config,
                Facts {
                    retries: 1,
                    ..facts()
                }
            ),
            Some(Duration::from_millis(50))
        );
        assert_eq!(
            decide(
                &config,
                Facts {
                    retries: 2,
                    ..facts()
                }
            ),
            None
        );
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        let config = RetryConfig::default();
        for (failure, idempotent, expected) in [
            (Failure::NotSent, false, true),
            (Failure::Unknown, false, false),
            (Failure::Unknown, true, true),
            (Failure::Final, true, false),
        ] {
            let decided = decide(
                &config,
                Facts {
                    failure,
                    idempotent,
                    ..facts()
                },
            );
            assert_eq!(
                decided.is_some(),
                expected,
                "{failure:?}, idempotent: {idempotent}"
            );
        }
    }

    #[test]
    fn not_when_the_time_left_is_shorter_than_a_try() {
        let config = RetryConfig::default();
        let late = Facts {
            left: Duration::from_millis(15),
            ..facts()
        };
        assert_eq!(decide(&config, late), None);
    }

    #[test]
    fn switched_off_means_once() {
        let config = RetryConfig {
            enabled: false,
            ..RetryConfig::default()
        };
        assert_eq!(
            decide(
                &config,
                Facts {
                    failure: Failure::NotSent,
                    ..facts()
                }
            ),
            None
        );
    }

    #[test]
    fn what_was_shed_goes_to_another_once() {
        let config = RetryConfig::default();
        let shed = Facts {
            failure: Failure::Shed,
            idempotent: false,
            ..facts()
        };
        assert_eq!(decide(&config, shed), Some(Duration::ZERO));
        for facts in [
            Facts {
                shed_before: true,
                ..shed
            },
            Facts {
                other: false,
                ..shed
            },
        ] {
            assert_eq!(decide(&config, facts), None);
        }
    }

    #[test]
    fn waits_as_long_as_the_answer_asks() {
        let config = RetryConfig::default();
        let limited = Facts {
            failure: Failure::Limited,
            left: Duration::from_secs(3),
            ..facts()
        };
        assert_eq!(decide(&config, limited), None);
        let secs = |secs| Some(Duration::from_secs(secs));
        for (failure, other, after, expected) in [
            (Failure::Limited, true, secs(2), secs(2)),
            (Failure::Limited, true, secs(3), None),
            (Failure::Limited, true, secs(u64::MAX), None),
            (Failure::Unknown, false, secs(1), secs(1)),
            (Failure::Unknown, true, secs(1), secs(0)),
        ] {
            let facts = Facts {
                failure,
                other,
                after,
                ..limited
            };
            assert_eq!(decide(&config, facts), expected, "{failure:?} {after:?}");
        }
    }

    #[test]
    fn reads_answers() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs.iter().map(|(name, value)| {
                let value = http::HeaderValue::from_static(value);
                (http::HeaderName::from_static(name), value)
            });
            pairs.collect()
        };
        for (status, pairs, expected) in [
            (503, &[("x-shed", "queue")][..], Some(Failure::Shed)),
            (429, &[("x-shed", "limit")], Some(Failure::Shed)),
            (500, &[("x-shed", "limit")], Some(Failure::Unknown)),
            (503, &[], Some(Failure::Unknown)),
            (429, &[], Some(Failure::Limited)),
            (404, &[], None),
            (200, &[("x-shed", "limit")], None),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let failure = Failure::of_answer(status, &headers(pairs));
            assert_eq!(failure, expected, "{status} {pairs:?}");
        }
        let after = |value| retry_after(&headers(&[("retry-after", value)]));
        assert_eq!(after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(after("-1"), None);
    }
}
