//! Variables in the way of shells and other tools, `${NAME}` and `$NAME`, where only `$(name)` is filled in.

use crate::scenario::command::Command;
use crate::scenario::read::Reader;
use crate::scenario::text::diagnostic::{Diagnostic, nearest};
use crate::scenario::text::source::Span;

/// The first `${NAME}` of a text, as written, and its name.
pub(super) fn variable(text: &str) -> Option<(String, String)> {
    text.match_indices("${").find_map(|(open, _)| {
        let inner = text[open + 2..].split_once('}')?.0;
        let name: String = inner.chars().take_while(|c| is_part(*c)).collect();
        let after = inner[name.len()..].chars().next();
        // `${NAME:-default}` and `${NAME}`, but no `${}` and no `${ code }`.
        (starts_a_name(&name) && after.is_none_or(|c| c == ':' || c == '-'))
            .then(|| (format!("${{{inner}}}"), name))
    })
}

/// The first `$NAME` of a text in the capitals of an environment variable.
fn bare_variable(text: &str) -> Option<(String, String)> {
    text.match_indices('$').find_map(|(at, _)| {
        let name: String = text[at + 1..].chars().take_while(|c| is_part(*c)).collect();
        let capitals = !name.chars().any(|c| c.is_ascii_lowercase());
        (starts_a_name(&name) && capitals).then(|| (format!("${name}"), name))
    })
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn starts_a_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// `${NAME}` stands where nothing fills it in.
pub(super) fn not_filled_in(written: &str, name: &str, span: Span, cx: &Reader) -> Diagnostic {
    let help = match nearest(name, cx.vars.iter().map(String::as_str)) {
        Some(meant) => format!("write $({meant})"),
        None => format!(
            "write $({name}) and define `{name}` under `vars:`; --var {name}=\"${name}\" passes an environment variable"
        ),
    };
    let problem = Diagnostic::error(
        within(span, written, cx),
        format!("`{written}` is not filled in"),
    );
    problem.help(help)
}

/// A program that is started without a shell gets `$PORT` as it is written.
pub(super) fn without_a_shell(command: &Command, cx: &mut Reader) {
    if command.is_for_a_shell() {
        return;
    }
    for word in &command.0 {
        let text = word.value.0.as_str();
        if let Some((written, _)) = variable(text).or_else(|| bare_variable(text)) {
            cx.report(
                Diagnostic::warning(
                    within(word.span, &written, cx),
                    format!("no shell expands `{written}` here"),
                )
                .help(format!("write run: {}", command.for_a_shell())),
            );
        }
    }
}

/// Where a text stands in a scalar; all of it where that cannot be said.
fn within(span: Span, text: &str, cx: &Reader) -> Span {
    match cx.source.slice(span).find(text) {
        Some(at) => Span::new(span.start + at..span.start + at + text.len()),
        None => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_shells_are_found() {
        let found = |text| variable(text).map(|(written, _)| written);
        assert_eq!(found("/u?n=${USER}&x").as_deref(), Some("${USER}"));
        assert_eq!(found("${HOME:-/root}").as_deref(), Some("${HOME:-/root}"));
        assert_eq!(found("a${}b${ x }${1}$USER$(user)"), None);
        let bare = |text| bare_variable(text).map(|(written, _)| written);
        assert_eq!(bare("--port=$PORT").as_deref(), Some("$PORT"));
        assert_eq!(bare("cost: $5, $each, ^a$"), None);
    }
}
