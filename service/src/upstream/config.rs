//! Settings of the client stack.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::breaker::BreakerConfig;
use crate::config_error::ConfigError;
use crate::units::HumanDuration;

/// How a gateway calls processors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamConfig {
    /// How an instance is chosen.
    pub balance: Balance,
    /// What else the choice goes by.
    pub balancing: Balancing,
    /// Where the caller is: instances of the same zone are preferred. `None` prefers none.
    pub zone: Option<String>,
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
    /// The one of two drawn at random that will answer first, by latency (peak-sensitive moving average), recent failures,
    /// calls in flight and weight.
    #[default]
    #[serde(alias = "peak-ewma")]
    LeastResponseTime,
    /// The one with the fewest calls in flight for its weight; in a pool of more than eight, of two drawn at random.
    LeastConnections,
    /// In turn, whatever the weights.
    RoundRobin,
    /// In turn, by weight, the turns of a heavy one spread.
    Weighted,
    /// By what the call reads, so that an instance is asked again for what it has cached. Calls that read nothing in
    /// particular go by least response time.
    ConsistentHash,
    /// At random, by weight.
    Random,
}

/// What the choice of an instance goes by, beside the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Balancing {
    /// An instance that comes back, or joins a pool that works, gets its share over this time, beginning at a tenth. 0 gives
    /// it all at once.
    pub slow_start: HumanDuration,
    /// How fast the share rises: 1 evenly, above 1 faster at first, below 1 slower.
    pub slow_start_aggression: f64,
    /// `consistent-hash`: an instance has at most this many times its share of the calls in flight; more go to the next
    /// one. At least 1.
    pub hash_bound: f64,
    /// Whether instances of the own zone are preferred, as long as they can carry the calls.
    pub zone_aware: bool,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            slow_start: HumanDuration::secs(10),
            slow_start_aggression: 1.0,
            hash_bound: 1.25,
            zone_aware: true,
        }
    }
}

impl Balancing {
    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if self.slow_start.get() > LONGEST_SLOW_START {
            problems.push(ConfigError::at(
                "balancing.slow_start",
                format!(
                    "{} is longer than {}",
                    self.slow_start,
                    HumanDuration(LONGEST_SLOW_START)
                ),
            ));
        }
        for (key, value, least, most) in [
            (
                "slow_start_aggression",
                self.slow_start_aggression,
                0.1,
                10.0,
            ),
            ("hash_bound", self.hash_bound, 1.0, 100.0),
        ] {
            if !(least..=most).contains(&value) {
                problems.push(ConfigError::at(
                    format!("balancing.{key}"),
                    format!("{value} is not within {least} to {most}"),
                ));
            }
        }
        problems
    }
}

/// Longer is no warming up any more.
const LONGEST_SLOW_START: Duration = Duration::from_secs(3600);

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
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems: Vec<ConfigError> = self
            .breaker
            .problems()
            .into_iter()
            .map(|problem| problem.below("breaker"))
            .collect();
        problems.extend(self.balancing.problems());
        for (key, ratio) in [
            ("retry.budget_ratio", self.retry.budget_ratio),
            ("hedge.budget_ratio", self.hedge.budget_ratio),
        ] {
            if !(0.0..=10.0).contains(&ratio) {
                problems.push(ConfigError::at(
                    key,
                    format!("{ratio} is not within 0 to 10"),
                ));
            }
        }
        let HedgeConfig {
            min_delay,
            max_delay,
            ..
        } = &self.hedge;
        if max_delay < min_delay {
            problems.push(ConfigError::at(
                "hedge.max_delay",
                format!("{max_delay} is shorter than min_delay ({min_delay})"),
            ));
        }
        let throttle = &self.throttle;
        if !(throttle.k >= 1.0 && throttle.k.is_finite()) {
            let k = throttle.k;
            problems.push(ConfigError::at(
                "throttle.k",
                format!("{k} is not a number of at least 1"),
            ));
        }
        if !(0.0..1.0).contains(&throttle.cap) {
            problems.push(ConfigError::at("throttle.cap", format!("{} is not at least 0 and below 1: some calls must find out when the overload is over",
                throttle.cap
            )));
        }
        if !(throttle.min_rate >= 0.0 && throttle.min_rate.is_finite()) {
            problems.push(ConfigError::at(
                "throttle.min_rate",
                format!("{} is not a number of at least 0", throttle.min_rate),
            ));
        }
        let timeouts = &self.timeouts;
        if timeouts.read_try < timeouts.read_try_min {
            problems.push(ConfigError::at(
                "timeouts.read_try_min",
                format!(
                    "{} is longer than read_try ({})",
                    timeouts.read_try_min, timeouts.read_try
                ),
            ));
        }
        for (key, value) in [
            ("timeouts.read_try", timeouts.read_try),
            ("hedge.min_delay", *min_delay),
            ("hedge.default_delay", self.hedge.default_delay),
            ("throttle.window", throttle.window),
            ("timeouts.read_try_min", timeouts.read_try_min),
            ("timeouts.task_try", timeouts.task_try),
            ("timeouts.task_idle", timeouts.task_idle),
            ("timeouts.probe", timeouts.probe),
        ] {
            if value.get() < Duration::from_millis(1) {
                problems.push(ConfigError::at(key, format!("{value} is shorter than 1ms")));
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
        assert_eq!(UpstreamConfig::default().problems(), Vec::new());
    }

    #[test]
    fn names_every_problem_with_its_key() {
        let mut config = UpstreamConfig::default();
        config.breaker.consecutive_failures = 0;
        config.breaker.failure_rate = f64::NAN;
        config.breaker.max_open = HumanDuration::millis(1);
        config.balancing.slow_start = HumanDuration::secs(3601);
        config.balancing.slow_start_aggression = 0.0;
        config.balancing.hash_bound = f64::NAN;
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
            .filter_map(|problem| problem.key.as_deref())
            .collect();
        assert_eq!(
            keys,
            [
                "breaker.consecutive_failures",
                "breaker.failure_rate",
                "breaker.max_open",
                "balancing.slow_start",
                "balancing.slow_start_aggression",
                "balancing.hash_bound",
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

    #[test]
    fn a_policy_is_a_plain_word_and_its_old_name_is_understood() {
        for (word, balance) in [
            ("peak-ewma", Balance::LeastResponseTime),
            ("least-response-time", Balance::LeastResponseTime),
            ("least-connections", Balance::LeastConnections),
            ("round-robin", Balance::RoundRobin),
            ("weighted", Balance::Weighted),
            ("consistent-hash", Balance::ConsistentHash),
            ("random", Balance::Random),
        ] {
            let text = format!(r#"{{"balance":"{word}","balancing":{{"slow_start":"3s"}}}}"#);
            let config: UpstreamConfig = serde_json::from_str(&text).expect("known keys");
            assert_eq!(config.balance, balance);
            assert_eq!(config.balancing.slow_start, HumanDuration::secs(3));
        }
    }
}
