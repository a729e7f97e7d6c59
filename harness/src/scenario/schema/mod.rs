//! The JSON Schema of scenario files: what the reader's tables describe, and the rules between keys that a schema can say.
//!
//! Generic validators print the rule that failed, so the rules are small: words are an `enum`, an absent key is absent and
//! not `null`, and what depends on another key is `if` and `then` instead of a choice between whole forms. What needs
//! names that are defined elsewhere in the file is left to the reader.

mod expectation;
mod keys;
mod merge;
mod readable;
mod rules;

use schemars::{Schema, SchemaGenerator};

use super::model::Document;

pub(super) use keys::exactly_one;
pub(super) use merge::merge;

/// The schema of a scenario file.
pub(super) fn of_scenarios() -> Schema {
    let root = SchemaGenerator::default().into_root_schema_for::<Document>();
    let mut root = root.to_value();
    root["title"] = "Scenario".into();
    readable::readable(&mut root);
    for (name, rules) in rules::rules() {
        let definition = match name {
            "Document" => &mut root,
            name => &mut root["$defs"][name],
        };
        merge(definition, rules);
    }
    Schema::try_from(root).unwrap_or_default()
}
