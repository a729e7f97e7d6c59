//! Problems in a scenario: what is wrong, where, and what to write instead. Gathered, never thrown one at a time.

use std::fmt;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use super::source::{Source, Span};
use crate::printable::printable;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The scenario cannot run.
    Error,
    /// It can, but not as the author may think.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a fragment: `unknown key `sytem``.
    pub message: String,
    /// Where, if it has a place.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: Some(span),
            help: None,
        }
    }

    /// An error that concerns the file as a whole.
    #[must_use]
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            help: None,
        }
    }

    /// Something to know at a place.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// With a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All problems of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    source: Arc<Source>,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// None yet.
    #[must_use]
    pub fn new(source: Arc<Source>) -> Self {
        Self {
            source,
            items: Vec::new(),
        }
    }

    /// Adds one; the same problem at the same place is said once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if !self.items.contains(&diagnostic) {
            self.items.push(diagnostic);
        }
    }

    /// Adds all of another collection about the same source.
    pub fn extend(&mut self, more: Vec<Diagnostic>) {
        for diagnostic in more {
            self.push(diagnostic);
        }
    }

    /// Whether any of them keeps the scenario from running.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items
            .iter()
            .any(|item| item.severity == Severity::Error)
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The problems, by their place in the file; those without one first.
    #[must_use]
    pub fn items(&self) -> Vec<&Diagnostic> {
        let mut items: Vec<_> = self.items.iter().collect();
        items.sort_by_key(|item| item.span.map(|span| span.start));
        items
    }

    /// What they are about.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// For people, with the lines concerned.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let mut out = String::new();
        for item in self.items() {
            self.render_one(&mut out, item, colours);
            out.push('\n');
        }
        out.push_str(&self.summary());
        out.push('\n');
        out
    }

    /// `5 problems in FILE; nothing was started`.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |severity| {
            self.items
                .iter()
                .filter(|item| item.severity == severity)
                .count()
        };
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let name = printable(&self.source.name);
        match (errors, warnings) {
            (0, 0) => format!("no problems in {name}"),
            (0, warnings) => format!("{} in {name}", plural(warnings, "warning")),
            (errors, 0) => format!(
                "{} in {name}; nothing was started",
                plural(errors, "problem")
            ),
            (errors, warnings) => format!(
                "{} and {} in {name}; nothing was started",
                plural(errors, "problem"),
                plural(warnings, "warning")
            ),
        }
    }

    fn render_one(&self, out: &mut String, item: &Diagnostic, colours: bool) {
        let paint = |style: Style| if colours { style } else { Style::new() };
        let (word, colour) = match item.severity {
            Severity::Error => ("error", AnsiColor::Red),
            Severity::Warning => ("warning", AnsiColor::Yellow),
        };
        let strong = paint(colour.on_default().bold());
        let frame = paint(AnsiColor::Blue.on_default());
        let bold = paint(Style::new().bold());
        let message = printable(&item.message);
        let help = item.help.as_deref().map(printable);
        out.push_str(&format!(
            "{strong}{word}{strong:#}{bold}: {message}{bold:#}\n"
        ));
        let Some(span) = item.span else {
            out.extend(help.map(|help| format!("   {help}\n")));
            return;
        };
        let name = printable(&self.source.name);
        let (line_number, column) = self.source.line_column(span.start);
        let (line, line_start) = self.source.line(span.start);
        let window = Window::around(line, span.start - line_start, span.end - line_start);
        let (text, indent) = (&window.text, " ".repeat(window.indent));
        let carets = "^".repeat(window.carets);
        let help = help.map(|help| format!(" {help}")).unwrap_or_default();
        let gutter = " ".repeat(line_number.to_string().len() + 1);
        out.push_str(&format!(
            " {gutter}{frame}┌─{frame:#} {name}:{line_number}:{column}\n"
        ));
        out.push_str(&format!(" {frame}{line_number} │{frame:#} {text}\n"));
        out.push_str(&format!(
            " {gutter}{frame}│{frame:#} {indent}{strong}{carets}{strong:#}{help}\n"
        ));
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let problems: Vec<_> = self
            .items()
            .into_iter()
            .map(|item| {
                let place = item.span.map(|span| self.source.line_column(span.start));
                serde_json::json!({
                    "severity": item.severity,
                    "message": item.message,
                    "line": place.map(|(line, _)| line),
                    "column": place.map(|(_, column)| column),
                    "help": item.help,
                })
            })
            .collect();
        serde_json::json!({ "file": self.source.name, "problems": problems })
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// The part of a source line that is shown, and where the carets go.
struct Window {
    text: String,
    indent: usize,
    carets: usize,
}

impl Window {
    /// Lines longer than this are cut around the place.
    const WIDEST: usize = 110;

    fn around(line: &str, start: usize, end: usize) -> Self {
        let start = start.min(line.len());
        let end = end.clamp(start, line.len());
        let clean = |part: Option<&str>| printable(part.unwrap_or_default()).into_owned();
        let (before, marked, after) = (
            clean(line.get(..start)),
            clean(line.get(start..end)),
            clean(line.get(end..)),
        );
        if before.width() + marked.width() + after.width() <= Self::WIDEST {
            return Self {
                indent: before.width(),
                carets: marked.width().max(1),
                text: format!("{before}{marked}{after}"),
            };
        }
        let before = match before.chars().count().checked_sub(30) {
            None | Some(0) => before,
            Some(skipped) => {
                let kept: String = before.chars().skip(skipped).collect();
                format!("…{}", kept.trim_start())
            }
        };
        let first = |text: String, most: usize| match text.chars().count() > most {
            true => text.chars().take(most).chain(['…']).collect(),
            false => text,
        };
        let (marked, after) = (first(marked, 50), first(after, 30));
        Self {
            indent: before.width(),
            carets: marked.width().max(1),
            text: format!("{before}{marked}{after}"),
        }
    }
}

/// The known word nearest to `word`, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison is quadratic, and a word of that length is not a misspelt key.
    if word.chars().count() > 60 {
        return None;
    }
    let folded = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| {
            let longest = candidate.chars().count().max(folded.chars().count());
            *distance <= (longest / 3).max(1) && *distance < longest
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
