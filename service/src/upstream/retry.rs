//! Whether a failed try is made again, and when. Pure; the budget is asked separately, after this has said yes.

use std::time::Duration;

use http::StatusCode;

use super::call::TryError;
use super::config::RetryConfig;

const BASE: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(1);

/// What is known about a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent: safe to repeat, whatever it was.
    NotSent,
    /// Something may have been done.
    Unknown,
    /// Repeating cannot help.
    Final,
}

impl Failure {
    pub(super) fn of_error(error: &TryError) -> Self {
        match error {
            TryError::Connect(_) => Self::NotSent,
            TryError::Broken(_) | TryError::Timeout(_) => Self::Unknown,
            TryError::TooLong(_) | TryError::Invalid(_) => Self::Final,
        }
    }

    /// `None`: not a failure.
    pub(super) fn of_status(status: StatusCode) -> Option<Self> {
        match status {
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
    /// Tries made so far.
    pub(super) attempts: u32,
    /// Whether another instance could be asked.
    pub(super) other: bool,
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
        Failure::Final => false,
    };
    if !config.enabled || !allowed || facts.attempts > config.max {
        return None;
    }
    let wait = if facts.attempts == 1 && facts.other {
        // The failure was one instance's. Another has no reason to need a pause.
        Duration::ZERO
    } else {
        let doubled = BASE.saturating_mul(2_u32.saturating_pow(facts.attempts));
        doubled.min(LONGEST).mul_f64(facts.jitter)
    };
    (wait + facts.usual < facts.left).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            failure: Failure::Unknown,
            idempotent: true,
            attempts: 1,
            other: true,
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
                    attempts: 2,
                    ..facts()
                }
            ),
            Some(Duration::from_millis(50))
        );
        assert_eq!(
            decide(
                &config,
                Facts {
                    attempts: 3,
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
}
