//! What an author may have meant: the remedies of problems, made from what was written.

use super::expr;
use super::read::Reader;
use super::template::{Template, TemplateError};
use super::text::diagnostic::{Diagnostic, nearest};
use super::text::node::{Node, Value};
use super::text::source::Span;

/// What a duration without a unit, or with one of another language, may have meant: `10` is `10s or 10ms`.
pub(crate) fn with_duration_unit(text: &str) -> Option<String> {
    let text = text.trim();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if !expr::is_decimal(number) {
        return None;
    }
    let unit = match unit.trim().to_lowercase().trim_end_matches('s') {
        "" if unit.trim().is_empty() => return Some(format!("{number}s or {number}ms")),
        "" | "sec" | "second" => "s",
        "m" | "msec" | "milli" | "millisecond" => "ms",
        "min" | "minute" => "m",
        "h" | "hr" | "hour" => "h",
        "u" | "µ" | "usec" | "microsecond" => "us",
        _ => return None,
    };
    Some(format!("{number}{unit}"))
}

/// What a rate without a unit, or with one of another language, may have meant: `20` is `20/s`.
pub(crate) fn with_rate_unit(text: &str) -> Option<String> {
    let text = text.trim();
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.trim().trim_start_matches('/').trim().to_lowercase();
    let unit = match unit.as_str() {
        "" | "s" | "sec" | "second" | "rps" | "qps" | "hz" | "per second" | "ps" => "s",
        "min" | "minute" | "rpm" | "per minute" => "m",
        "hour" | "hr" | "per hour" => "h",
        _ => return None,
    };
    expr::is_decimal(number).then(|| format!("{number}/{unit}"))
}

/// What a share without its sign may have meant: `0.99` is `99%`.
pub(crate) fn with_percent_sign(text: &str) -> Option<String> {
    let number = text.trim();
    let share: f64 = number.parse().ok().filter(|_| expr::is_decimal(number))?;
    match share {
        share if share <= 1.0 => {
            let percent = (share * 100.0 * 1e9).round() / 1e9;
            Some(format!("{percent}%"))
        }
        share if share <= 100.0 => Some(format!("{number}%")),
        _ => None,
    }
}

/// Reads a node as the value of a key, only to see whether that works.
pub(super) type TryRead = fn(&Node, &mut Reader);

impl Reader {
    /// An unknown name in `$(…)`, with what may be meant: a variable, or a name captured earlier.
    /// `None` where nothing can be captured.
    pub(crate) fn unknown_variable(
        &self,
        name: &str,
        captured: Option<&[&str]>,
        span: Span,
    ) -> Diagnostic {
        let problem = Diagnostic::error(span, format!("unknown variable `{name}`"));
        let known = self.vars.iter().map(String::as_str);
        if let Some(meant) = nearest(
            name,
            known.chain(captured.unwrap_or_default().iter().copied()),
        ) {
            return problem.help(format!("did you mean `$({meant})`?"));
        }
        let plain = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        problem.help(match name.split_once('.') {
            Some(("env" | "ENV", variable)) if plain(variable) => format!(
                "environment variables are not read: define `{variable}` under `vars:`, \
                 write $({variable}), and run with --var {variable}=\"${variable}\""
            ),
            Some((one, other)) if plain(one) && plain(other) => {
                "$(…) holds a variable, a capture, fixture.NAME or link.NODE".to_owned()
            }
            _ if !plain(name) => {
                "$(…) holds the name of a variable; for a shell's own substitution use backquotes"
                    .to_owned()
            }
            _ if captured.is_some() => {
                "define it under `vars:`, or capture it in an earlier step".to_owned()
            }
            _ => "define it under `vars:`".to_owned(),
        })
    }

    /// Reports an unknown name in `$(…)`, at its place.
    pub(super) fn report_unknown(&mut self, name: &str, captured: Option<&[&str]>, span: Span) {
        let known = captured.map(|names| names.iter().copied().chain(["uuid"]).collect::<Vec<_>>());
        let span = self.call_in(span, name);
        let problem = self.unknown_variable(name, known.as_deref(), span);
        self.report(problem);
    }

    /// A text taken apart; what is no template is reported.
    pub(super) fn template(&mut self, text: &str, span: Span) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                let problem = Diagnostic::error(span, error.to_string());
                self.report(problem.help(match error {
                    TemplateError::Unclosed => "add `)`",
                    TemplateError::NotARange(_) => "write $(random 0..59) or $(random 0.0..59.9)",
                    TemplateError::Unknown(_) => "define it under `vars:`",
                }));
                None
            }
        }
    }

    /// The place of `$(name)` in a scalar; all of it where that cannot be said.
    pub(crate) fn call_in(&self, span: Span, name: &str) -> Span {
        let written = self.source.slice(span);
        let found = written.match_indices("$(").find_map(|(open, _)| {
            let inner = written[open + 2..].split(')').next()?;
            (inner.trim() == name).then(|| open..open + 2 + inner.len() + 1)
        });
        match found {
            Some(place) => {
                Span::new(span.start + place.start..span.start + place.end.min(written.len()))
            }
            None => span,
        }
    }

    /// How what stands here would be written as a list.
    pub(super) fn as_list(&self, node: &Node) -> String {
        match &node.value {
            Value::Map(entries) => match entries.as_slice() {
                [
                    (
                        key,
                        Node {
                            value: Value::Map(_),
                            ..
                        },
                    ),
                    ..,
                ] => {
                    format!("begin each entry with `-`: - {{ name: {}, … }}", key.name)
                }
                _ => "put it in brackets, or begin it with `-`".to_owned(),
            },
            _ => match self.source.slice(node.span) {
                "" => "write it in brackets: [ … ]".to_owned(),
                written
                    if written.contains([',', '{', '}', '[', ']'])
                        && !written.starts_with(['"', '\'']) =>
                {
                    format!("write [ \"{}\" ]", written.replace('"', "\\\""))
                }
                written => format!("write [ {written} ]"),
            },
        }
    }

    /// The first of these keys (with whether it must be there) whose value can be what stands here, as the mapping would be written: `{ add: 200ms }`.
    pub(crate) fn as_mapping(
        &self,
        node: &Node,
        keys: &[(&'static str, bool, TryRead)],
    ) -> Option<String> {
        let fits = |read: &TryRead, value: Value| {
            let mut trial = Self {
                source: self.source.clone(),
                problems: Vec::new(),
                vars: Vec::new(),
                trial: true,
            };
            let span = node.span;
            read(&Node { value, span }, &mut trial);
            trial.problems.is_empty()
        };
        // What takes any text says nothing of what was meant, unless it is the mapping's first key.
        let any_text = |read| fits(read, Value::Text("any text?".to_owned()));
        let (key, ..) = keys
            .iter()
            .enumerate()
            .find(|(index, (_, _, read))| {
                fits(read, node.value.clone()) && (*index == 0 || !any_text(read))
            })
            .map(|(_, key)| key)?;
        let others = keys
            .iter()
            .filter(|(other, required, _)| *required && other != key);
        let others: String = others.map(|(other, ..)| format!(", {other}: …")).collect();
        let written = self.source.slice(node.span);
        Some(format!("{{ {key}: {written}{others} }}"))
    }
}
