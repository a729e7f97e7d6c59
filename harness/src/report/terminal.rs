//! A run as terminal text: the line of an event, and the summary at the end. Text only; who prints it where is
//! [`super::progress`]'s and the command line's business. Colour is a second signal, never the only one.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use clip_service::observe::Subject;
use unicode_width::UnicodeWidthStr as _;

use super::View;
use super::humanize::{count, seconds};
use super::view::RowView;
use crate::event::{EventKind, RunOutcome};
use crate::judge::Status;

/// How text is made for a terminal, or for what is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours may be used.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// Without colours, for files and tests.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            colour: false,
            width: 110,
        }
    }

    /// For a stream that is a terminal or is not: `NO_COLOR` switches colours off, the width is the terminal's, at
    /// least 80.
    #[must_use]
    pub fn of(terminal: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = match terminal {
            true => crossterm::terminal::size().map_or(100, |(columns, _)| usize::from(columns)),
            false => 110,
        };
        Self {
            colour: terminal && !no_colour,
            width: width.max(80),
        }
    }

    pub(super) fn paint(self, style: Style, text: &str) -> String {
        match self.colour {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }

    fn status(self, status: Status, text: &str) -> String {
        self.paint(status_style(status), text)
    }
}

pub(super) fn status_style(status: Status) -> Style {
    let colour = match status {
        Status::Pass => AnsiColor::Green,
        Status::Inconclusive => AnsiColor::Yellow,
        Status::Fail => AnsiColor::Red,
    };
    colour.on_default()
}

pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();

/// Text in a column: padded on the right, or cut with `…` when it is too long.
pub(super) fn fit(text: &str, width: usize) -> String {
    let wide = text.width();
    if wide <= width {
        return format!("{text}{}", " ".repeat(width - wide));
    }
    let mut kept = String::new();
    for c in text.chars() {
        let mut next = kept.clone();
        next.push(c);
        if next.width() + 1 > width {
            break;
        }
        kept = next;
    }
    let missing = width.saturating_sub(kept.width() + 1);
    format!("{kept}…{}", " ".repeat(missing))
}

fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// What happened, as who and what; `None` for what is shown otherwise or not at all (samples of the host, readiness of
/// single nodes).
#[must_use]
pub fn event_text(kind: &EventKind) -> Option<[String; 2]> {
    let told = |who: &str, what: String| Some([who.to_owned(), what]);
    match kind {
        EventKind::RunStarted { run_id, .. } => told("run", format!("started, {run_id}")),
        EventKind::NodeStarted {
            node,
            incarnation,
            pid,
        } => {
            let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
            match incarnation {
                0 | 1 => told(node, format!("started{pid}")),
                again => told(node, format!("started again, {again}{pid}")),
            }
        }
        EventKind::NodeReady { node, took_us } => told(
            node,
            format!(
                "ready after {}",
                seconds(std::time::Duration::from_micros(*took_us))
            ),
        ),
        EventKind::NodeExited {
            node,
            how,
            expected,
            ..
        } => {
            let surprise = if *expected {
                ""
            } else {
                ", which nobody asked for"
            };
            told(node, format!("{how}{surprise}"))
        }
        EventKind::SystemReady => told("system", "ready".to_owned()),
        EventKind::LoadStarted => told("load", "started".to_owned()),
        EventKind::SteadyReached { .. } => told("steady", "reached".to_owned()),
        EventKind::FaultInjected { fault, detail, .. } => told(fault, detail.clone()),
        EventKind::FaultReverted {
            fault,
            target,
            proof,
            undo,
        } => {
            let proof = proof.as_deref().unwrap_or("touched nothing");
            told(fault, format!("over on {target}: {proof}; {undo}"))
        }
        EventKind::FaultFailed {
            fault,
            target,
            error,
            undo,
        } => {
            let what = if *undo {
                "could not be undone"
            } else {
                "could not be injected"
            };
            told(fault, format!("{what} on {target}: {error}"))
        }
        EventKind::FaultRecovered { fault, .. } => {
            told(fault, "recovered: steady again".to_owned())
        }
        EventKind::Transition(change) => {
            let kind = match change.subject {
                Subject::Breaker => "breaker ",
                Subject::Instance | Subject::Scale => "",
                Subject::Job => return None,
            };
            let reason = match change.reason.as_str() {
                "" => String::new(),
                reason => format!(", {reason}"),
            };
            told(
                &change.source,
                format!(
                    "{kind}{}: {} -> {}{reason}",
                    change.name, change.from, change.to
                ),
            )
        }
        EventKind::NodeLog { node, line } => told(node, line.clone()),
        EventKind::LoadEnded => told("load", "ended".to_owned()),
        EventKind::Settling { open, accepted } => told(
            "ledger",
            format!(
                "waiting for {} of {} accepted",
                count(*open),
                count(*accepted)
            ),
        ),
        EventKind::Settled { took_us } => told(
            "ledger",
            format!(
                "settled after {}",
                seconds(std::time::Duration::from_micros(*took_us))
            ),
        ),
        EventKind::Warning { message } => told("warning", message.clone()),
        EventKind::Generator { .. } | EventKind::Host { .. } | EventKind::UpstreamCounts { .. } => {
            None
        }
        EventKind::RunEnded { outcome } => told(
            "run",
            match outcome {
                RunOutcome::Completed => "completed".to_owned(),
                RunOutcome::Aborted { reason } => format!("aborted: {reason}"),
                RunOutcome::Interrupted => "interrupted".to_owned(),
                RunOutcome::NotReady { reason } => format!("not ready: {reason}"),
                RunOutcome::Broken { reason } => format!("broken: {reason}"),
                RunOutcome::UndoFailed { leftovers } => {
                    format!("left behind: {}", leftovers.join("; "))
                }
            },
        ),
    }
}

/// What is printed when a run is over: the verdict, every expectation (failing first, with the most telling facts), every
/// fault, and where to go from here.
#[must_use]
pub fn summary(view: &View, report: Option<&Path>, look: Look) -> String {
    let mut out = String::new();
    let status = view.status();
    let word = view.conclusion.to_string();
    out.push_str(&format!(
        "{}   {}   {}   seed {}\n",
        look.paint(status_style(status).bold(), &word),
        look.paint(BOLD, &view.name),
        super::humanize::time(view.took),
        view.seed
    ));
    for line in wrap(&view.sentence, look.width.min(110)) {
        out.push_str(&format!("{line}\n"));
    }
    if !view.rows.is_empty() {
        out.push('\n');
        expectations(&mut out, view, look);
    }
    if !view.faults.is_empty() {
        out.push('\n');
        faults(&mut out, view, look);
    }
    for warning in &view.warnings {
        out.push_str(&format!(
            "\n {} {warning}",
            look.status(Status::Inconclusive, "warning")
        ));
    }
    if !view.warnings.is_empty() {
        out.push('\n');
    }
    out.push('\n');
    if let Some(report) = report {
        out.push_str(&format!(
            " {}   {}\n",
            look.paint(DIM, "report"),
            short(report).display()
        ));
    }
    out.push_str(&format!(
        " {}   {}\n",
        look.paint(DIM, "repeat"),
        view.repeat
    ));
    out
}

/// The path as seen from the working directory, where it lies below that.
fn short(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

fn expectations(out: &mut String, view: &View, look: Look) {
    // A scope that says nothing more than the text does is left out.
    let what = |row: &RowView| match row.text.starts_with("ledger") {
        true => row.text.clone(),
        false => format!("{}, {}", row.text, row.scope),
    };
    let widest = |texts: Vec<usize>| texts.into_iter().max().unwrap_or(0);
    let words = widest(
        view.rows
            .iter()
            .map(|row| row.outcome.to_string().width())
            .collect(),
    );
    // One space in front, two between columns.
    let room = look.width.saturating_sub(words + 5);
    let first = widest(view.rows.iter().map(|row| what(row).width()).collect()).min(room * 11 / 20);
    let found = |row: &RowView| {
        format!("{}  {}", row.observed, row.detail)
            .trim_end()
            .to_owned()
    };
    let second = widest(view.rows.iter().map(|row| found(row).width()).collect());
    let second = second.min(room.saturating_sub(first));
    let head = format!(" {}  {}", fit("expectation", first), "observed");
    out.push_str(&format!("{}\n", look.paint(DIM, &head)));
    // What one row has told, the next need not.
    let mut told = std::collections::BTreeSet::new();
    for row in &view.rows {
        out.push_str(&format!(
            " {}  {}  {}\n",
            fit(&what(row), first),
            fit(&found(row), second),
            look.status(row.outcome.status(), &row.outcome.to_string())
        ));
        for fact in row
            .evidence
            .iter()
            .filter(|fact| told.insert(fact.as_str()))
        {
            let fact = fit(fact, look.width.saturating_sub(5));
            out.push_str(&format!("     {}\n", look.paint(DIM, fact.trim_end())));
        }
    }
}

fn faults(out: &mut String, view: &View, look: Look) {
    let heads = ["first impact", "detected", "recovered", "requests hurt"];
    let cells: Vec<_> = view
        .faults
        .iter()
        .map(|fault| {
            [
                &fault.first_impact,
                &fault.detected,
                &fault.recovered,
                &fault.hurt,
            ]
        })
        .collect();
    let widths: Vec<_> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = cells.iter().map(|cells| cells[column].width());
            cells.chain([head.width()]).max().unwrap_or(0)
        })
        .collect();
    let numbers: usize = widths.iter().map(|width| width + 2).sum();
    let longest = view.faults.iter().map(|fault| fault.name.width()).max();
    let names = longest.unwrap_or(0).clamp(5, 24);
    let room = look.width.saturating_sub(names + numbers + 3);
    let proofs = view
        .faults
        .iter()
        .map(|fault| fault.proof.width())
        .max()
        .unwrap_or(0)
        .clamp(5, 60)
        .min(room.max(12));
    let line = |name: &str, proof: &str, cells: [&str; 4]| {
        let cells: String = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("  {}", right(cell, *width)))
            .collect();
        format!(" {}  {}{cells}", fit(name, names), fit(proof, proofs))
    };
    out.push_str(&format!(
        "{}\n",
        look.paint(DIM, &line("fault", "proof", heads))
    ));
    for (fault, cells) in view.faults.iter().zip(cells) {
        let text = line(&fault.name, &fault.proof, cells.map(String::as_str));
        let text = match fault.sound {
            true => text,
            false => look.status(Status::Fail, &text),
        };
        out.push_str(&format!("{text}\n"));
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last().map_or(0, |line| line.width());
        if last > 0 && last + 1 + word.width() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
