//! What is wrong with a configuration, as data: the key, where its value came from, and what is said of it.
//!
//! Every section judges its own values with these records, so that whoever shows a problem can point at the value it is
//! about and never has to read a sentence to find it.

use std::fmt;

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key it is about (`jobs.lease`); `None` when a whole source is (a file that cannot be read).
    pub key: Option<String>,
    /// Where the value came from: a file, a variable, `the command line`; `None` when it is about values as they came out
    /// of all sources together.
    pub source: Option<String>,
    /// What is wrong.
    pub message: String,
    /// Whether nothing reads the key. The message names it then.
    pub unknown_key: bool,
}

impl ConfigError {
    /// The value of a key is wrong.
    pub fn at(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: Some(key.into()),
            source: None,
            message: message.into(),
            unknown_key: false,
        }
    }

    /// Nothing reads this key. `known` are its siblings.
    #[must_use]
    pub fn unknown(key: &str, known: &[&str]) -> Self {
        let known = match known {
            [] => String::new(),
            known => format!("; known here are {}", known.join(", ")),
        };
        Self {
            unknown_key: true,
            ..Self::at(key, format!("unknown key `{key}`{known}"))
        }
    }

    /// It is about no single key.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            key: None,
            source: None,
            message: message.into(),
            unknown_key: false,
        }
    }

    /// The same, with the source of the value.
    #[must_use]
    pub fn in_source(self, source: &str) -> Self {
        Self {
            source: Some(source.to_owned()),
            ..self
        }
    }

    /// The same, in a section of what it was said of: `open` becomes `breaker.open`.
    #[must_use]
    pub fn below(self, section: &str) -> Self {
        Self {
            key: self.key.map(|key| format!("{section}.{key}")),
            ..self
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        if let Some(key) = self.key.as_ref().filter(|_| !self.unknown_key) {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "configuration: {one}"),
            many => {
                write!(f, "configuration: {} problems", many.len())?;
                many.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_shown_with_its_source_and_its_key() {
        let value = ConfigError::at("open", "must be above 0s").below("breaker");
        assert_eq!(value.key.as_deref(), Some("breaker.open"));
        assert_eq!(value.to_string(), "breaker.open: must be above 0s");
        let placed = value.in_source("c.toml");
        assert_eq!(placed.to_string(), "c.toml: breaker.open: must be above 0s");
        let unknown = ConfigError::unknown("jobs.pole", &["lease", "poll"]).in_source("CLIP_X");
        assert_eq!(
            unknown.to_string(),
            "CLIP_X: unknown key `jobs.pole`; known here are lease, poll"
        );
        assert_eq!(unknown.key.as_deref(), Some("jobs.pole"));
        let whole = ConfigError::general("c.toml: no such file");
        assert_eq!(
            ConfigErrors(vec![whole]).to_string(),
            "configuration: c.toml: no such file"
        );
    }
}
