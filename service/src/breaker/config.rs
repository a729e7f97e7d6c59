//! Settings of a breaker.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config_error::ConfigError;
use crate::units::HumanDuration;

/// Trials that fit into the packed state.
pub(super) const MOST_TRIALS: u32 = 60;
/// Failures in a row that fit into the packed state.
const LONGEST_ROW: u32 = 1_000_000;
/// A ring of this many outcomes is 100 kB.
const MOST_CALLS: u32 = 100_000;

/// Settings of a breaker: what opens it, and how it closes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Off: failures are counted and nothing else. Neither breakers nor the balancer's failure penalty act on them.
    pub enabled: bool,
    /// Whether a breaker acts on what it finds, or only says so.
    pub mode: BreakerMode,
    /// Transport failures (refused, reset, timed out) in a row that open it.
    pub consecutive_failures: u32,
    /// Share of failed calls in the window, error statuses included, that opens it.
    pub failure_rate: f64,
    /// Calls in the window below which shares say nothing.
    pub min_calls: u32,
    /// A call that takes longer is slow, whatever its answer. Default: none is.
    pub slow_after: Option<HumanDuration>,
    /// Share of slow calls in the window that opens it.
    pub slow_rate: f64,
    /// How far back shares look. It moves on in tenths.
    pub window: HumanDuration,
    /// Counts the last so many calls instead, however long ago they were.
    pub window_calls: Option<u32>,
    /// Real calls that decide whether a half-open breaker closes, and the most that it admits at a time.
    pub half_open_permits: u32,
    /// How long it stays open at first, and how often an open instance is probed. Up to half of it is added at random.
    pub open: HumanDuration,
    /// How long it stays open at most when trial calls keep failing: each time twice as long as before.
    pub max_open: HumanDuration,
}

/// Whether a breaker acts on what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerMode {
    /// It opens.
    #[default]
    Enforce,
    /// It says when it would have opened, and admits every call.
    Observe,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: BreakerMode::Enforce,
            consecutive_failures: 5,
            failure_rate: 0.5,
            min_calls: 20,
            slow_after: None,
            slow_rate: 0.8,
            window: HumanDuration::secs(10),
            window_calls: None,
            half_open_permits: 3,
            open: HumanDuration::secs(1),
            max_open: HumanDuration::secs(60),
        }
    }
}

impl BreakerConfig {
    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let mut count = |key: &str, value: u32, most: u32| {
            if !(1..=most).contains(&value) {
                problems.push(ConfigError::at(
                    key,
                    format!("{value} is not within 1 to {most}"),
                ));
            }
        };
        count(
            "consecutive_failures",
            self.consecutive_failures,
            LONGEST_ROW,
        );
        count("min_calls", self.min_calls, u32::MAX);
        count("half_open_permits", self.half_open_permits, MOST_TRIALS);
        if let Some(calls) = self.window_calls {
            count("window_calls", calls, MOST_CALLS);
            if calls < self.min_calls {
                problems.push(ConfigError::at("min_calls", format!("{} calls never fit into window_calls ({calls}), so no share would ever open it",
                    self.min_calls
                )));
            }
        }
        for (key, share) in [
            ("failure_rate", self.failure_rate),
            ("slow_rate", self.slow_rate),
        ] {
            if !(share > 0.0 && share <= 1.0) {
                problems.push(ConfigError::at(
                    key,
                    format!("{share} is not above 0 and at most 1"),
                ));
            }
        }
        let mut shortest = |key: &str, value: HumanDuration, least: Duration| {
            if value.get() < least {
                let least = HumanDuration(least);
                problems.push(ConfigError::at(
                    key,
                    format!("{value} is shorter than {least}"),
                ));
            }
        };
        if let Some(slow_after) = self.slow_after {
            shortest("slow_after", slow_after, Duration::from_millis(1));
        }
        shortest("window", self.window, Duration::from_millis(100));
        shortest("open", self.open, Duration::from_millis(1));
        if self.max_open < self.open {
            problems.push(ConfigError::at(
                "max_open",
                format!("{} is shorter than open ({})", self.max_open, self.open),
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_need_not_be_written() {
        assert_eq!(BreakerConfig::default().problems(), Vec::new());
        let short = r#"{"enabled":true,"consecutive_failures":5,"open":"1s"}"#;
        let read: BreakerConfig = serde_json::from_str(short).expect("known keys");
        assert_eq!(read, BreakerConfig::default());
        assert!(serde_json::from_str::<BreakerConfig>(r#"{"mode":"off"}"#).is_err());
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let config = BreakerConfig {
            consecutive_failures: 0,
            failure_rate: f64::NAN,
            min_calls: 0,
            slow_after: Some(HumanDuration::default()),
            slow_rate: 1.1,
            window: HumanDuration::millis(99),
            window_calls: Some(0),
            half_open_permits: 61,
            open: HumanDuration::default(),
            ..BreakerConfig::default()
        };
        let problems = config.problems();
        let keys: Vec<_> = problems
            .iter()
            .filter_map(|problem| problem.key.as_deref())
            .collect();
        let expected = [
            "consecutive_failures",
            "min_calls",
            "half_open_permits",
            "window_calls",
            "failure_rate",
            "slow_rate",
            "slow_after",
            "window",
            "open",
        ];
        assert_eq!(keys, expected);
        let config = BreakerConfig {
            window_calls: Some(10),
            max_open: HumanDuration::millis(999),
            ..BreakerConfig::default()
        };
        let said: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "min_calls: 20 calls never fit into window_calls (10), so no share would ever open it",
                "max_open: 999ms is shorter than open (1s)",
            ]
        );
    }
}
