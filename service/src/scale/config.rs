//! Settings of the scaler.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config_error::ConfigError;
use crate::units::HumanDuration;

/// How many processors there should be, and when that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScaleConfig {
    /// Fewest processors.
    pub min: usize,
    /// Most processors. Not above `min`: the number stays as it is.
    pub max: usize,
    /// More are wanted when a task that could be worked on has waited for this long.
    pub queue_age: HumanDuration,
    /// More are wanted at this utilisation: the share of task slots taken, or of the reads that processors are good for.
    pub high: f64,
    /// Fewer are wanted when one less would still be used no more than this. The gap to `high` keeps the number from
    /// swinging.
    pub low: f64,
    /// Reads in flight that one processor is good for, for the utilisation.
    pub reads: u32,
    /// How long a reason for more must last, and the pause after a change before there may be more again.
    pub grow_after: HumanDuration,
    /// How long a reason for fewer must last, and the pause after a change before there may be fewer.
    pub shrink_after: HumanDuration,
    /// How often a gateway looks.
    pub every: HumanDuration,
}

impl Default for ScaleConfig {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            queue_age: HumanDuration::secs(2),
            high: 0.8,
            low: 0.5,
            reads: 16,
            grow_after: HumanDuration::secs(2),
            shrink_after: HumanDuration::secs(30),
            every: HumanDuration::millis(500),
        }
    }
}

impl ScaleConfig {
    /// Whether there is anything to decide.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.max > self.min
    }

    /// Everything that is wrong with it, each with its key.
    #[must_use]
    pub fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        if self.min == 0 {
            problems.push(ConfigError::at("min", "must be at least 1"));
        }
        if self.max < self.min {
            problems.push(ConfigError::at(
                "max",
                format!("{} is below min ({})", self.max, self.min),
            ));
        }
        if self.max > MOST {
            problems.push(ConfigError::at(
                "max",
                format!("{} is above {MOST}", self.max),
            ));
        }
        if !(self.high > 0.0 && self.high <= 1.0) {
            problems.push(ConfigError::at(
                "high",
                format!("{} is not above 0 and at most 1", self.high),
            ));
        }
        if !(self.low >= 0.0 && self.low < self.high) {
            problems.push(ConfigError::at(
                "low",
                format!(
                    "{} is not below high ({}), so the number would swing",
                    self.low, self.high
                ),
            ));
        }
        if self.reads == 0 {
            problems.push(ConfigError::at("reads", "must be at least 1"));
        }
        for (key, value) in [
            ("queue_age", self.queue_age),
            ("grow_after", self.grow_after),
            ("shrink_after", self.shrink_after),
        ] {
            if value.get().is_zero() {
                problems.push(ConfigError::at(key, "must be above 0s"));
            }
        }
        if self.every.get().as_millis() < 10 {
            problems.push(ConfigError::at(
                "every",
                format!("{} is shorter than 10ms", self.every),
            ));
        }
        problems
    }
}

/// More processors than this behind one gateway are a typing error.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound_and_leave_the_number_alone() {
        let config = ScaleConfig::default();
        assert_eq!(config.problems(), Vec::new());
        assert!(!config.enabled());
    }

    #[test]
    fn every_problem_is_named() {
        let config = ScaleConfig {
            min: 0,
            max: 2000,
            high: 0.4,
            low: 0.4,
            reads: 0,
            queue_age: HumanDuration::secs(0),
            every: HumanDuration::millis(1),
            ..ScaleConfig::default()
        };
        let problems = config.problems();
        let keys: Vec<_> = problems.iter().filter_map(|p| p.key.as_deref()).collect();
        assert_eq!(keys, ["min", "max", "low", "reads", "queue_age", "every"]);
    }
}
