//! Settings of the client stack.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::BreakerConfig;
use crate::units::HumanDuration;

/// How a gateway calls processors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// How an instance is chosen.
    pub balance: Balance,
    /// When an instance is taken out of the choice.
    pub breaker: BreakerConfig,
    /// When a call is made again.
    pub retry: RetryConfig,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// How an instance is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// The cheaper of two drawn at random, by latency (peak-sensitive moving average) and calls in flight.
    #[default]
    PeakEwma,
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
}

/// Settings of retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Off: each call is tried once.
    pub enabled: bool,
    /// Most retries of one call.
    pub max: u32,
    /// Retries per call, over all calls of the last ten seconds.
    pub budget_ratio: f64,
    /// Retries per second that are allowed on top, so that a quiet service may retry as well.
    pub min_per_second: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            max: 2,
            budget_ratio: 0.2,
            min_per_second: 10,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// One try of a read. Stretched to three times the usual latency when the whole pool is slower than that, so that
    /// load does not look like failure.
    pub read_try: HumanDuration,
    /// One try of a task, up to the head of its answer.
    pub task_try: HumanDuration,
    /// Silence between two pieces of a streamed answer.
    pub task_idle: HumanDuration,
    /// How long a call waits for a first instance to appear before it fails.
    pub empty_pool: HumanDuration,
    /// One probe of an instance whose breaker is open.
    pub probe: HumanDuration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            read_try: HumanDuration::millis(250),
            task_try: HumanDuration::secs(2),
            task_idle: HumanDuration::secs(5),
            empty_pool: HumanDuration::millis(50),
            probe: HumanDuration::millis(300),
        }
    }
}

impl UpstreamConfig {
    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self
            .breaker
            .problems()
            .into_iter()
            .map(|problem| format!("breaker.{problem}"))
            .collect();
        if !(0.0..=10.0).contains(&self.retry.budget_ratio) {
            problems.push(format!(
                "retry.budget_ratio: {} is not within 0 to 10",
                self.retry.budget_ratio
            ));
        }
        let timeouts = &self.timeouts;
        for (key, value) in [
            ("timeouts.read_try", timeouts.read_try),
            ("timeouts.task_try", timeouts.task_try),
            ("timeouts.task_idle", timeouts.task_idle),
            ("timeouts.probe", timeouts.probe),
        ] {
            if value.get() < Duration::from_millis(1) {
                problems.push(format!("{key}: {value} is shorter than 1ms"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(UpstreamConfig::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn names_every_problem_with_its_key() {
        let mut config = UpstreamConfig::default();
        config.breaker.consecutive_failures = 0;
        config.breaker.failure_rate = f64::NAN;
        config.breaker.max_open = HumanDuration::millis(1);
        config.retry.budget_ratio = -1.0;
        config.timeouts.probe = HumanDuration::default();
        let problems = config.problems();
        let keys: Vec<_> = problems
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(
            keys,
            [
                "breaker.consecutive_failures",
                "breaker.failure_rate",
                "breaker.max_open",
                "retry.budget_ratio",
                "timeouts.probe"
            ]
        );
    }

    #[test]
    fn refuses_keys_it_does_not_know() {
        assert!(serde_json::from_str::<UpstreamConfig>(r#"{"breaker":{"enabeld":true}}"#).is_err());
        let off: UpstreamConfig =
            serde_json::from_str(r#"{"balance":"round-robin","breaker":{"enabled":false}}"#)
                .expect("known keys");
        assert_eq!(
            (off.balance, off.breaker.enabled),
            (Balance::RoundRobin, false)
        );
    }
}
