//! Settings of the client stack.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// When a read is asked of a second instance as well.
    pub hedge: HedgeConfig,
    /// When calls are refused because instances shed too many.
    pub throttle: ThrottleConfig,
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

/// Settings of the breakers, one per instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Off: failures are counted and nothing else. Neither breakers nor the balancer's failure penalty act on them.
    pub enabled: bool,
    /// Transport failures (refused, reset, timed out) in a row that open it.
    pub consecutive_failures: u32,
    /// Share of failed calls, error statuses included, in the last ten seconds that opens it.
    pub failure_rate: f64,
    /// Calls in the last ten seconds below which the share says nothing.
    pub min_calls: u32,
    /// How long it stays open at first, and how often an open instance is probed. Up to half of it is added at random.
    pub open: HumanDuration,
    /// How long it stays open at most when calls keep failing after probes passed.
    pub max_open: HumanDuration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive_failures: 5,
            failure_rate: 0.5,
            min_calls: 20,
            open: HumanDuration::secs(1),
            max_open: HumanDuration::secs(60),
        }
    }
}

/// Settings of retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Off: each call is tried once.
    pub enabled: bool,
    /// Most retries of one call.
    pub max: u32,
    /// Retries per call, over all calls of the last ten seconds; also the share of the calls under way that may be
    /// retries at one moment (three may always be).
    pub budget_ratio: f64,
    /// Retries per second that are always allowed, so that a quiet service may retry as well.
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

/// Settings of hedging: a read that takes longer than usual is asked of a second instance, and the first answer counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HedgeConfig {
    /// Off: each try is alone.
    pub enabled: bool,
    /// Shortest wait before the second try. In between it is the p95 of the route's tries.
    pub min_delay: HumanDuration,
    /// Longest wait before the second try.
    pub max_delay: HumanDuration,
    /// Wait before the second try as long as fewer than 100 tries are known.
    pub default_delay: HumanDuration,
    /// Hedges per read, over all reads of the last ten seconds.
    pub budget_ratio: f64,
    /// Hedges per second that are always allowed.
    pub min_per_second: u32,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            min_delay: HumanDuration::millis(5),
            max_delay: HumanDuration::secs(1),
            default_delay: HumanDuration::millis(50),
            budget_ratio: 0.05,
            min_per_second: 2,
        }
    }
}

/// Settings of the throttle: when instances shed most of what they are asked, part of the calls is refused by the gateway
/// itself. Per kind of call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Off: every call is tried.
    pub enabled: bool,
    /// How long calls are remembered.
    pub window: HumanDuration,
    /// Calls made for each one accepted: 2 lets as many through again as are accepted.
    pub k: f64,
    /// Largest share that is refused. The rest finds out when instances accept again.
    pub cap: f64,
    /// Calls per second up to which nothing is refused.
    pub min_rate: f64,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: HumanDuration::secs(10),
            k: 2.0,
            cap: 0.75,
            min_rate: 5.0,
        }
    }
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Longest try of a read, and its bound as long as fewer than 1000 tries are known; then it is 1.5 times their
    /// p99.9. Stretched to three times the usual latency when the whole pool is slower than that, so that load does not
    /// look like failure.
    pub read_try: HumanDuration,
    /// Shortest bound of a try of a read.
    pub read_try_min: HumanDuration,
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
            read_try_min: HumanDuration::millis(100),
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
        let mut problems = Vec::new();
        let BreakerConfig {
            consecutive_failures,
            failure_rate,
            min_calls,
            open,
            max_open,
            ..
        } = &self.breaker;
        if *consecutive_failures == 0 {
            problems.push("breaker.consecutive_failures: must be at least 1".to_owned());
        }
        if !(*failure_rate > 0.0 && *failure_rate <= 1.0) {
            problems.push(format!(
                "breaker.failure_rate: {failure_rate} is not above 0 and at most 1"
            ));
        }
        if *min_calls == 0 {
            problems.push("breaker.min_calls: must be at least 1".to_owned());
        }
        if max_open < open {
            problems.push(format!(
                "breaker.max_open: {max_open} is shorter than open ({open})"
            ));
        }
        for (key, ratio) in [
            ("retry.budget_ratio", self.retry.budget_ratio),
            ("hedge.budget_ratio", self.hedge.budget_ratio),
        ] {
            if !(0.0..=10.0).contains(&ratio) {
                problems.push(format!("{key}: {ratio} is not within 0 to 10"));
            }
        }
        let HedgeConfig {
            min_delay,
            max_delay,
            ..
        } = &self.hedge;
        if max_delay < min_delay {
            problems.push(format!(
                "hedge.max_delay: {max_delay} is shorter than min_delay ({min_delay})"
            ));
        }
        let throttle = &self.throttle;
        if !(throttle.k >= 1.0 && throttle.k.is_finite()) {
            let k = throttle.k;
            problems.push(format!("throttle.k: {k} is not a number of at least 1"));
        }
        if !(0.0..1.0).contains(&throttle.cap) {
            problems.push(format!(
                "throttle.cap: {} is not at least 0 and below 1: some calls must find out when the overload is over",
                throttle.cap
            ));
        }
        if !(throttle.min_rate >= 0.0 && throttle.min_rate.is_finite()) {
            problems.push(format!(
                "throttle.min_rate: {} is not a number of at least 0",
                throttle.min_rate
            ));
        }
        let timeouts = &self.timeouts;
        if timeouts.read_try < timeouts.read_try_min {
            problems.push(format!(
                "timeouts.read_try_min: {} is longer than read_try ({})",
                timeouts.read_try_min, timeouts.read_try
            ));
        }
        for (key, value) in [
            ("breaker.open", *open),
            ("hedge.min_delay", *min_delay),
            ("hedge.default_delay", self.hedge.default_delay),
            ("throttle.window", throttle.window),
            ("timeouts.read_try_min", timeouts.read_try_min),
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
        config.hedge.budget_ratio = f64::NAN;
        config.hedge.max_delay = HumanDuration::millis(4);
        config.throttle.k = 0.5;
        config.throttle.cap = 1.0;
        config.throttle.min_rate = f64::INFINITY;
        config.timeouts.read_try = HumanDuration::millis(99);
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
                "hedge.budget_ratio",
                "hedge.max_delay",
                "throttle.k",
                "throttle.cap",
                "throttle.min_rate",
                "timeouts.read_try_min",
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
