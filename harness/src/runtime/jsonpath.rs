//! The paths into JSON answers that scenarios use: `$`, `$.job_id`, `$.clips[0].url`.

use serde_json::Value;

/// The value at `path`; `None` when there is none, or the path is not of this form.
#[must_use]
pub fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = value;
    let mut rest = path.strip_prefix('$')?;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, tail) = after.split_at(end);
            if key.is_empty() {
                return None;
            }
            at = at.get(key)?;
            rest = tail;
        } else {
            let (index, tail) = rest.strip_prefix('[')?.split_once(']')?;
            at = at.get(index.parse::<usize>().ok()?)?;
            rest = tail;
        }
    }
    Some(at)
}

/// A value as the text that a later request would hold: strings without quotes.
#[must_use]
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_reach_fields_and_items() {
        let value = json!({"job_id": "j1", "clips": [{"url": "/a"}, {"url": "/b", "rank": 2}]});
        let at = |path| find(&value, path).and_then(text);
        assert_eq!(at("$.job_id").as_deref(), Some("j1"));
        assert_eq!(at("$.clips[1].url").as_deref(), Some("/b"));
        assert_eq!(at("$.clips[1].rank").as_deref(), Some("2"));
        assert_eq!(find(&value, "$"), Some(&value));
        for wrong in [
            "job_id",
            "$.nothing",
            "$.clips[2]",
            "$.clips[x]",
            "$..a",
            "$.clips[",
        ] {
            assert_eq!(find(&value, wrong), None, "{wrong}");
        }
        assert_eq!(at("$.clips"), None);
    }
}
