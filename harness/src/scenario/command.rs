//! The command of a program: a list of its name and its arguments. No shell takes part, so nothing in it is expanded but
//! `$(…)`, and a text in its place is refused with the list that was meant.

use std::path::Path;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::read::{Reader, Scalar};
use super::text::diagnostic::Diagnostic;
use super::text::node::{Node, Value};
use super::text::source::Span;
use super::text::spanned::{Spanned, Written};
use super::value::TemplateText;

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Command(pub Vec<Spanned<TemplateText>>);

/// Programs that expand variables in their arguments.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox"];

impl Command {
    /// Whether a shell expands the arguments.
    #[must_use]
    pub fn is_for_a_shell(&self) -> bool {
        // `env sh -c …` is a shell too.
        let mut words = self.0.iter().map(|word| word.value.0.as_str());
        words
            .find(|word| !word.contains('=') && base_name(word) != "env")
            .is_some_and(|program| SHELLS.contains(&base_name(program)))
    }

    /// The same command as a shell would be given it.
    #[must_use]
    pub fn for_a_shell(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|word| word.value.0.as_str()).collect();
        let command = format!("exec {}", words.join(" "));
        format!("[ sh, -c, {} ]", in_quotes(&command))
    }
}

fn base_name(program: &str) -> &str {
    Path::new(program)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or(program)
}

impl Scalar for Command {
    const NAME: &'static str = "Command";

    fn read(node: &Node, cx: &mut Reader) -> Option<Self> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                cx.report(
                    Diagnostic::error(node.span, "the command is empty")
                        .help("write run: [ program, argument ]"),
                );
                None
            }
            Value::List(items) => {
                // All of them first, so that every problem is told.
                let words: Vec<_> = items
                    .iter()
                    .map(|item| Some(Spanned::new(TemplateText::read(item, cx)?, item.span)))
                    .collect();
                words.into_iter().collect::<Option<_>>().map(Self)
            }
            Value::Text(text) => {
                let whole = Span::new(node.span.start..node.span.end.max(node.span.start));
                cx.report(
                    Diagnostic::error(whole, "`run` is a list, not one text")
                        .help(format!("write run: {}", as_list(text))),
                );
                None
            }
            _ => {
                cx.wrong_kind(node, "a list", Some("write run: [ program, argument ]"));
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let word = generator.subschema_for::<Written<TemplateText>>();
        json_schema!({
            "type": "array",
            "description": "Program and arguments, each an entry of its own: [ python3, app.py ].",
            "items": word,
            "minItems": 1,
        })
    }
}

/// A command line as a list: split at its spaces, or given to a shell where it needs one.
fn as_list(text: &str) -> String {
    let needs_shell = |c: char| "|&;<>()$`\"'\\*?~#\n".contains(c);
    if text.contains(needs_shell) {
        return format!("[ sh, -c, {} ]", in_quotes(text.trim()));
    }
    let words: Vec<_> = text.split_whitespace().map(as_entry).collect();
    format!("[ {} ]", words.join(", "))
}

/// A word as an entry of a YAML list in brackets.
fn as_entry(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._/-+=@".contains(c);
    match word.chars().all(plain) && !word.starts_with('@') {
        true => word.to_owned(),
        false => in_quotes(word),
    }
}

fn in_quotes(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Command {
        let word = |word: &&str| Spanned::new(TemplateText((*word).to_owned()), Span::default());
        Command(words.iter().map(word).collect())
    }

    #[test]
    fn a_text_is_shown_as_the_list_it_means() {
        for (text, list) in [
            ("python3 mystack/app.py", "[ python3, mystack/app.py ]"),
            (
                "redis-server --port  6379",
                "[ redis-server, --port, 6379 ]",
            ),
            ("nginx -g daemon:off", "[ nginx, -g, \"daemon:off\" ]"),
            (
                "nginx -g 'daemon off;'",
                "[ sh, -c, \"nginx -g 'daemon off;'\" ]",
            ),
            (
                "redis-server --port $PORT",
                "[ sh, -c, \"redis-server --port $PORT\" ]",
            ),
            ("echo \"a\" | cat", "[ sh, -c, \"echo \\\"a\\\" | cat\" ]"),
        ] {
            assert_eq!(as_list(text), list, "{text}");
        }
    }

    #[test]
    fn shells_are_known_by_their_name() {
        for (words, shell) in [
            (&["sh", "-c", "exec x $PORT"][..], true),
            (&["/usr/bin/bash", "run.sh"], true),
            (&["env", "A=1", "sh", "-c", "x"], true),
            (&["redis-server", "--port", "$PORT"], false),
            (&["python3", "sh"], false),
            (&[], false),
        ] {
            assert_eq!(command(words).is_for_a_shell(), shell, "{words:?}");
        }
        assert_eq!(
            command(&["redis-server", "--port", "$PORT"]).for_a_shell(),
            "[ sh, -c, \"exec redis-server --port $PORT\" ]"
        );
    }
}
