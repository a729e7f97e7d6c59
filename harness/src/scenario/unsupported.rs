//! Vocabulary of the format that this version does not know yet. They are refused by name, not taken for typing errors.

use super::read::Reader;
use super::text::diagnostic::Diagnostic;
use super::text::node::{Node, Value};

/// Reports and removes what is not supported yet.
pub(crate) fn set_aside(root: &mut Node, cx: &mut Reader) {
    if let Some(system) = child(root, "system") {
        refuse(
            system,
            "stubs",
            "stub servers",
            "start the real thing under `nodes:`",
            cx,
        );
        if let Some(nodes) = child(system, "nodes")
            && let Value::Map(entries) = &mut nodes.value
        {
            for (_, node) in entries {
                let help = "give its command under `run:`";
                refuse(node, "container", "a container as a node", help, cx);
                refuse(node, "url", "a node that is already running", help, cx);
            }
        }
    }
    let Some(faults) = child(root, "faults") else {
        return;
    };
    if let Value::List(items) = &mut faults.value {
        items.retain(|item| {
            let Value::Map(entries) = &item.value else {
                return true;
            };
            let Some((key, _)) = entries.iter().find(|(key, _)| key.name == "draw") else {
                return true;
            };
            cx.report(
                Diagnostic::error(key.span, "a source of random faults is not supported yet")
                    .help("write its faults one by one"),
            );
            false
        });
    }
}

fn refuse(node: &mut Node, key: &str, what: &str, help: &str, cx: &mut Reader) {
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    entries.retain(|(written, _)| {
        if written.name != key {
            return true;
        }
        cx.report(
            Diagnostic::error(
                written.span,
                format!("`{key}`: {what} is not supported yet"),
            )
            .help(help),
        );
        false
    });
}

fn child<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    match &mut node.value {
        Value::Map(entries) => entries
            .iter_mut()
            .find(|(key, _)| key.name == name)
            .map(|(_, value)| value),
        _ => None,
    }
}
