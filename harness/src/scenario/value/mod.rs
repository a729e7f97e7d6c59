//! Values of a scenario file that are written as one scalar, or as a list of such: one file for each sort of them. What
//! they mean together is checked elsewhere.

mod after;
mod duration;
mod json;
mod language;
mod number;
mod percent;
mod rate;
mod status;
mod target;
mod text;

use schemars::{Schema, json_schema};

pub use after::After;
pub use duration::DurationRange;
pub use json::{Json, Settings};
pub use number::{Count, Factor};
pub use percent::Percent;
pub use rate::{Rate, RateRange};
pub use status::{Status, Statuses};
pub use target::Targets;
pub use text::{Name, TemplateText};

pub(crate) use duration::DURATION;
pub(crate) use percent::PERCENT;
pub(crate) use rate::{RATE, per_second};
pub(crate) use text::check_name;

/// Pattern of a name that the author chooses.
pub(crate) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$";

/// Pattern of a text with a number that is not zero, or with a variable.
pub(crate) const POSITIVE: &str = r"[1-9]|\$\(";

/// A text of the given form, or one that a variable fills in.
pub(crate) fn text_schema(description: &str, pattern: &str) -> Schema {
    json_schema!({
        "type": "string",
        "description": description,
        "pattern": format!(r"^\s*({pattern})\s*$|\$\("),
    })
}

/// What one of them is, or a list of such; keywords only hold for the types that they are about.
fn one_or_several(one: Schema) -> Schema {
    let mut several = one.clone();
    if let Some(serde_json::Value::Array(types)) = several.get_mut("type") {
        types.push("array".into());
    }
    several.insert("items".to_owned(), one.to_value());
    several.insert("minItems".to_owned(), 1.into());
    several
}
