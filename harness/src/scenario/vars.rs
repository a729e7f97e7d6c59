//! Variables: `$(name)` is replaced before anything else looks at a value.

use serde_json::Value as Json;

use super::read::Reader;
use super::text::diagnostic::{Diagnostic, nearest};
use super::text::node::{Node, Value};

/// Replaces every variable of the document by its value.
pub(crate) fn fill_in(root: &mut Node, overrides: &[(String, String)], cx: &mut Reader) {
    let Value::Map(entries) = &mut root.value else {
        return;
    };
    let mut vars: Vec<(String, Value)> = Vec::new();
    if let Some((_, block)) = entries.iter().find(|(key, _)| key.name == "vars")
        && let Value::Map(defined) = &block.value
    {
        for (key, value) in defined {
            match value.value {
                Value::Map(_) | Value::List(_) => cx.report(
                    Diagnostic::error(value.span, format!("`{}` is not a single value", key.name))
                        .help("a variable is a text, a number, true or false"),
                ),
                _ => vars.push((key.name.clone(), value.value.clone())),
            }
        }
    }
    for (name, text) in overrides {
        match vars.iter_mut().find(|(known, _)| known == name) {
            Some((_, value)) => *value = scalar(text),
            None => {
                let help = match nearest(name, vars.iter().map(|(name, _)| name.as_str())) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "define it under `vars:` with a default".to_owned(),
                };
                cx.report(
                    Diagnostic::general(format!("the scenario has no variable `{name}`"))
                        .help(help),
                );
            }
        }
    }
    cx.vars = vars.iter().map(|(name, _)| name.clone()).collect();
    for (key, node) in entries.iter_mut() {
        if key.name != "vars" {
            replace(node, &vars);
        }
    }
}

/// A value from the command line: a number or a boolean where it looks like one.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Json::Number(number)) => Value::Number(number),
        Ok(Json::Bool(value)) => Value::Bool(value),
        _ => Value::Text(text.to_owned()),
    }
}

fn replace(node: &mut Node, vars: &[(String, Value)]) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| replace(item, vars)),
        Value::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| replace(value, vars)),
        Value::Text(text) => {
            if let Some(value) = filled(text, vars) {
                node.value = value;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The value of a text with variables; `None` when it has none.
fn filled(text: &str, vars: &[(String, Value)]) -> Option<Value> {
    let find = |name: &str| vars.iter().find(|(known, _)| known == name);
    let mut out = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(open) = rest.find("$(") {
        let Some(close) = rest[open..].find(')').map(|close| open + close) else {
            break;
        };
        let name = rest[open + 2..close].trim();
        match find(name) {
            // A variable that is the whole of a value keeps its kind: a number stays one.
            Some((_, value)) if open == 0 && close + 1 == text.len() && out.is_empty() => {
                return Some(value.clone());
            }
            Some((_, value)) => {
                found = true;
                out.push_str(&rest[..open]);
                match value {
                    Value::Text(text) => out.push_str(text),
                    Value::Number(number) => out.push_str(&number.to_string()),
                    Value::Bool(value) => out.push_str(&value.to_string()),
                    Value::Null | Value::List(_) | Value::Map(_) => {}
                }
            }
            None => out.push_str(&rest[..=close]),
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    found.then_some(Value::Text(out))
}
