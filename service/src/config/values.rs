//! How the sources of a configuration are laid over each other: every value by itself, so that one that is wrong hides no
//! other.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::Config;
use crate::config_error::ConfigError;

/// Longest configuration file that is read: a device that never ends is none.
const LONGEST: u64 = 4 << 20;

pub(super) fn read(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    let shown = file.display().to_string();
    let failed =
        |error: &dyn std::fmt::Display| ConfigError::general(error.to_string()).in_source(&shown);
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| failed(&error))?;
    opened
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > LONGEST {
        return Err(failed(&format!("is longer than {LONGEST} bytes")));
    }
    if file.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|error| failed(&error))
    } else {
        toml::from_str(&text).map_err(|error| failed(&error))
    }
}

/// The tree of values so far. Each value is tried alone on the defaults before it is taken over, so that one wrong
/// value hides no other.
pub(super) struct Values {
    pub(super) tree: Map<String, Value>,
    defaults: Map<String, Value>,
}

impl Values {
    pub(super) fn new() -> Self {
        let defaults = match serde_json::to_value(Config::default()) {
            Ok(Value::Object(defaults)) => defaults,
            _ => Map::new(), // a struct is always an object
        };
        Self {
            tree: defaults.clone(),
            defaults,
        }
    }

    pub(super) fn add_tree(
        &mut self,
        tree: &Map<String, Value>,
        source: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        let defaults = Value::Object(self.defaults.clone());
        self.walk(
            "",
            &Value::Object(tree.clone()),
            Some(&defaults),
            source,
            errors,
        );
    }

    /// Goes down where the defaults have a fixed set of keys; everything else is one value.
    fn walk(
        &mut self,
        at: &str,
        value: &Value,
        default: Option<&Value>,
        source: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        if let (Value::Object(pairs), Some(Value::Object(known))) = (value, default)
            && !known.is_empty()
        {
            for (name, value) in pairs {
                let key = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                self.walk(&key, value, known.get(name), source, errors);
            }
        } else {
            self.add(at, value.clone(), source, errors);
        }
    }

    fn default_of(&self, key: &str) -> Option<&Value> {
        let mut parts = key.split('.');
        let first = self.defaults.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Adds a value that is known as text only, reading it as its default's type.
    pub(super) fn add_text(
        &mut self,
        key: &str,
        text: &str,
        source: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        let value = match self.default_of(key) {
            None | Some(Value::String(_)) => Value::String(text.to_owned()),
            // Optional: a text, a list written as JSON, or a number where no text is taken.
            Some(Value::Null) => match serde_json::from_str(text) {
                Ok(list @ Value::Array(_)) => list,
                Ok(number @ Value::Number(_)) if !self.takes(key, text.into()) => number,
                _ => Value::String(text.to_owned()),
            },
            Some(_) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
            }
        };
        self.add(key, value, source, errors);
    }

    /// The defaults with this one value.
    fn alone(&self, key: &str, value: Value) -> serde_json::Result<Config> {
        let mut alone = self.defaults.clone();
        set(&mut alone, &key.split('.').collect::<Vec<_>>(), value);
        serde_json::from_value(Value::Object(alone))
    }

    fn takes(&self, key: &str, value: Value) -> bool {
        self.alone(key, value).is_ok()
    }

    pub(super) fn add(
        &mut self,
        key: &str,
        value: Value,
        source: &str,
        errors: &mut Vec<ConfigError>,
    ) {
        let parts: Vec<&str> = key.split('.').collect();
        if self.default_of(key).is_none() {
            errors.push(ConfigError::unknown(key, &self.siblings(&parts)).in_source(source));
            return;
        }
        let value = match (value, self.default_of(key)) {
            // A list as people write it: `gpu,4k`.
            (Value::String(text), Some(Value::Array(_))) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect(),
            (value, _) => value,
        };
        match self.alone(key, value.clone()) {
            Ok(_) => set(&mut self.tree, &parts, value),
            Err(error) => errors.push(ConfigError::at(key, error.to_string()).in_source(source)),
        }
    }

    /// The key's siblings, to choose the right one from; none where nothing is known above it either.
    fn siblings(&self, parts: &[&str]) -> Vec<&str> {
        let above = &parts[..parts.len() - 1];
        let siblings = match above {
            [] => Some(&self.defaults),
            _ => self.default_of(&above.join(".")).and_then(Value::as_object),
        };
        siblings
            .map(|keys| keys.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }
}

fn set(tree: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            tree.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let below = tree
                .entry((*first).to_owned())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(below) = below {
                set(below, rest, value);
            }
        }
    }
}
