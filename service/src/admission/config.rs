//! Settings of admission.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gradient::Bounds;
use crate::config_error::ConfigError;
use crate::units::HumanDuration;

/// How many requests one tenant may send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Requests a second that a tenant may send for ever. 0: no limit.
    pub per_second: f64,
    /// Requests that a tenant who was quiet may send at once.
    pub burst: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            per_second: 0.0,
            burst: 100,
        }
    }
}

/// When a node that has too much to do refuses requests, the least important first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShedConfig {
    /// Whether it does.
    pub enabled: bool,
    /// Least limit on requests being worked on.
    pub min: u32,
    /// Where the limit begins, and where it returns to in calm. 0: 256 for a gateway, 64 for a processor.
    pub initial: u32,
    /// Greatest limit.
    pub max: u32,
    /// Share by which latency may exceed its usual value under load before the limit falls.
    pub buffer: f64,
    /// Requests of one priority that may wait for their turn.
    pub queue: usize,
    /// Longest wait for a turn.
    pub wait: HumanDuration,
    /// Wait of the oldest that a queue may always have; one that has more for 100 ms stands still and is cut.
    pub target: HumanDuration,
}

impl Default for ShedConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            min: 4,
            initial: 0,
            max: 1024,
            buffer: 0.25,
            queue: 64,
            wait: HumanDuration::millis(100),
            target: HumanDuration::millis(5),
        }
    }
}

impl ShedConfig {
    /// Bounds of the limit for a role that begins at `usual` unless told otherwise.
    #[must_use]
    pub fn bounds(&self, usual: u32) -> Bounds {
        let initial = match self.initial {
            0 => usual.clamp(self.min, self.max),
            given => given,
        };
        Bounds {
            min: f64::from(self.min),
            initial: f64::from(initial),
            max: f64::from(self.max),
            buffer: self.buffer,
        }
    }
}

/// How much of one kind of work a node does at a time; one more is refused at once. Tasks have `jobs.at_once`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadsConfig {
    /// Uploads being received.
    pub upload: usize,
    /// Downloads being sent.
    pub stream: usize,
    /// Frames and probes being made or fetched.
    pub read: usize,
}

impl Default for BulkheadsConfig {
    fn default() -> Self {
        Self {
            upload: 64,
            stream: 512,
            read: 512,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AdmissionConfig {
    /// Per tenant.
    pub rate_limit: RateLimitConfig,
    /// Per node.
    pub shed: ShedConfig,
    /// Per kind of work.
    pub bulkheads: BulkheadsConfig,
}

impl AdmissionConfig {
    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let mut check = |bad: bool, key: &str, message: String| {
            if bad {
                problems.push(ConfigError::at(key, message));
            }
        };
        let RateLimitConfig { per_second, burst } = self.rate_limit;
        check(
            per_second != 0.0 && !(0.001..=1e6).contains(&per_second),
            "rate_limit.per_second",
            format!("{per_second} is not within 0.001 to 1000000 (0: no limit)"),
        );
        check(
            burst == 0,
            "rate_limit.burst",
            "must be at least 1".to_owned(),
        );
        let shed = &self.shed;
        check(shed.min == 0, "shed.min", "must be at least 1".to_owned());
        check(
            shed.max < shed.min,
            "shed.max",
            format!("{} is less than shed.min ({})", shed.max, shed.min),
        );
        check(
            shed.initial != 0 && !(shed.min..=shed.max.max(shed.min)).contains(&shed.initial),
            "shed.initial",
            format!(
                "{} is not within shed.min to shed.max ({} to {}; 0: by role)",
                shed.initial, shed.min, shed.max
            ),
        );
        check(
            !(0.0..=10.0).contains(&shed.buffer),
            "shed.buffer",
            format!("{} is not within 0 to 10", shed.buffer),
        );
        check(
            shed.target.get().is_zero(),
            "shed.target",
            "must be above 0s".to_owned(),
        );
        let bulkheads = &self.bulkheads;
        for (key, size) in [
            ("upload", bulkheads.upload),
            ("stream", bulkheads.stream),
            ("read", bulkheads.read),
        ] {
            check(
                !(1..=1_000_000).contains(&size),
                &format!("bulkheads.{key}"),
                format!("{size} is not within 1 to 1000000"),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_problem_with_its_key() {
        assert_eq!(AdmissionConfig::default().problems(), Vec::new());
        let config = AdmissionConfig {
            rate_limit: RateLimitConfig {
                per_second: f64::NAN,
                burst: 0,
            },
            shed: ShedConfig {
                min: 8,
                max: 4,
                initial: 2,
                buffer: -1.0,
                target: HumanDuration::default(),
                ..ShedConfig::default()
            },
            bulkheads: BulkheadsConfig {
                upload: 0,
                ..BulkheadsConfig::default()
            },
        };
        let problems = config.problems();
        let keys: Vec<_> = problems.iter().filter_map(|p| p.key.as_deref()).collect();
        assert_eq!(
            keys,
            [
                "rate_limit.per_second",
                "rate_limit.burst",
                "shed.max",
                "shed.initial",
                "shed.buffer",
                "shed.target",
                "bulkheads.upload"
            ]
        );
    }
}
