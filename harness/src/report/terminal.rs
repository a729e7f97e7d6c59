//! A run as terminal text: the line of an event, and the summary at the end. Text only; who prints it where is
//! [`super::progress`]'s and the command line's business. Colour is a second signal, never the only one.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::humanize;
use super::model::{Expectation, Report};
use super::prose::{self, FaultWords};
use crate::judge::Status;
use crate::printable::Text;

/// Columns of what is no terminal, or does not say how many it has.
const USUAL_WIDTH: usize = 110;
/// With fewer columns than this there is no room for tables.
const NARROW: usize = 72;

/// How text is made for a terminal, or for what is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colours may be used.
    pub colour: bool,
    /// Whether the cursor may be moved.
    pub movable: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// Without colours, for files and tests.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            colour: false,
            movable: false,
            width: USUAL_WIDTH,
        }
    }

    /// For a stream that is a terminal or is not.
    #[must_use]
    pub fn of(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        match terminal {
            true => Self::of_terminal(dumb, set("NO_COLOR").is_some(), columns()),
            false => Self::plain(),
        }
    }

    /// A terminal that cannot move its cursor cannot colour either; `NO_COLOR` switches colours off.
    pub(super) fn of_terminal(dumb: bool, no_colour: bool, columns: Option<usize>) -> Self {
        Self {
            colour: !dumb && !no_colour,
            movable: !dumb,
            width: columns.unwrap_or(USUAL_WIDTH),
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

/// Columns of the terminal, as it is now; some say that they have none.
pub(super) fn columns() -> Option<usize> {
    let (columns, _) = crossterm::terminal::size().ok()?;
    (columns > 0).then_some(usize::from(columns))
}

/// Text in a column: padded on the right, or cut with `…` when it is too long.
pub(super) fn fit(text: &str, width: usize) -> String {
    let wide = text.width();
    if wide <= width {
        return format!("{text}{}", " ".repeat(width - wide));
    }
    if width == 0 {
        return String::new();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > width {
            break;
        }
        kept.push(c);
    }
    let missing = width.saturating_sub(kept.width() + 1);
    format!("{kept}…{}", " ".repeat(missing))
}

fn right(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// What is printed when a run is over: the verdict, every expectation (failing first, with the most telling facts), every
/// fault, and where to go from here.
#[must_use]
pub fn summary(report: &Report, page: Option<&Path>, look: Look) -> String {
    let mut out = String::new();
    heading(&mut out, report, look);
    for line in wrap(&prose::sentence(report), look.width.min(USUAL_WIDTH)) {
        out.push_str(&format!("{line}\n"));
    }
    let narrow = look.width < NARROW;
    if !report.expectations.is_empty() {
        out.push('\n');
        match narrow {
            true => expectations_stacked(&mut out, report, look),
            false => expectations(&mut out, report, look),
        }
    }
    if !report.faults.is_empty() {
        out.push('\n');
        match narrow {
            true => faults_stacked(&mut out, report, look),
            false => faults(&mut out, report, look),
        }
    }
    for warning in &report.warnings {
        let word = look.status(Status::Inconclusive, "warning");
        let text = prose::warning(warning);
        match narrow {
            true => out.push_str(&format!("\n {word}\n{}", indented(&text, look))),
            false => out.push_str(&format!("\n {word} {text}")),
        }
    }
    if !report.warnings.is_empty() {
        out.push('\n');
    }
    out.push('\n');
    // What is there to be copied is never cut.
    let mut line = |name: &str, value: &str| {
        let gap = if narrow { "\n " } else { "   " };
        out.push_str(&format!(" {}{gap}{value}\n", look.paint(DIM, name)));
    };
    if let Some(page) = page {
        line("report", &Text::from(short(page).display().to_string()));
    }
    line("repeat", &prose::repeat(report));
    out
}

fn heading(out: &mut String, report: &Report, look: Look) {
    let word = report.conclusion.to_string();
    let took = humanize::time(report.took);
    let parts = [
        (status_style(report.status()).bold(), word),
        (BOLD, report.name.to_string()),
        (Style::new(), took),
        (Style::new(), format!("seed {}", report.seed)),
    ];
    let (mut used, mut line) = (0, String::new());
    for (style, text) in parts {
        let text = fit(&text, text.width().min(look.width));
        let gap = match used {
            0 => "",
            used if used + 3 + text.width() > look.width => "\n",
            _ => "   ",
        };
        used = match gap {
            "\n" => text.width(),
            gap => used + gap.width() + text.width(),
        };
        line.push_str(gap);
        line.push_str(&look.paint(style, &text));
    }
    out.push_str(&format!("{line}\n"));
}

/// The path as seen from the working directory, where it lies below that.
fn short(path: &Path) -> &Path {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok())
        .unwrap_or(path)
}

/// What must hold, and when; a scope that says nothing more than the text does is left out.
fn stated(expectation: &Expectation) -> String {
    let what = prose::what(expectation);
    match expectation.text.starts_with("ledger") {
        true => what,
        false => format!("{what}, {}", prose::scope(&expectation.scope)),
    }
}

fn found(report: &Report, expectation: &Expectation) -> String {
    let (observed, detail) = (
        prose::observed(&expectation.found),
        prose::detail(report, &expectation.found),
    );
    format!("{observed}  {detail}").trim_end().to_owned()
}

fn widest(texts: impl Iterator<Item = String>) -> usize {
    texts.map(|text| text.width()).max().unwrap_or(0)
}

/// What one row has told, the next need not.
#[derive(Default)]
struct Told(std::collections::BTreeSet<String>);

impl Told {
    fn new_facts(&mut self, expectation: &Expectation) -> Vec<String> {
        let facts = expectation.evidence.iter().map(prose::fact);
        facts.filter(|fact| self.0.insert(fact.clone())).collect()
    }
}

fn expectations(out: &mut String, report: &Report, look: Look) {
    let sorted = report.failing_first();
    let rows = || sorted.iter().copied();
    let words = widest(rows().map(|row| row.outcome.to_string()));
    // One space in front, two between columns.
    let room = look.width.saturating_sub(words + 5);
    let first = widest(rows().map(stated)).min(room * 11 / 20);
    let second = widest(rows().map(|row| found(report, row))).min(room.saturating_sub(first));
    let head = format!(" {}  {}", fit("expectation", first), "observed");
    out.push_str(&format!("{}\n", look.paint(DIM, &head)));
    let mut told = Told::default();
    for row in rows() {
        out.push_str(&format!(
            " {}  {}  {}\n",
            fit(&stated(row), first),
            fit(&found(report, row), second),
            look.status(row.status(), &row.outcome.to_string())
        ));
        for fact in told.new_facts(row) {
            let fact = fit(&fact, look.width.saturating_sub(5));
            out.push_str(&format!("     {}\n", look.paint(DIM, fact.trim_end())));
        }
    }
}

fn expectations_stacked(out: &mut String, report: &Report, look: Look) {
    let mut told = Told::default();
    for row in report.failing_first() {
        let word = fit(&row.outcome.to_string(), look.width.saturating_sub(1));
        out.push_str(&format!(
            " {}\n",
            look.status(row.status(), word.trim_end())
        ));
        for text in [stated(row), found(report, row)]
            .iter()
            .chain(&told.new_facts(row))
        {
            out.push_str(&indented(text, look));
        }
    }
}

/// Lines below a word that they belong to.
fn indented(text: &str, look: Look) -> String {
    let lines = wrap(text, look.width.saturating_sub(3));
    lines.iter().map(|line| format!("   {line}\n")).collect()
}

const FAULT_HEADS: [&str; 4] = ["first impact", "detected", "recovered", "requests hurt"];

fn fault_cells(words: &FaultWords) -> [&str; 4] {
    [
        &words.first_impact,
        &words.detected,
        &words.recovered,
        &words.hurt,
    ]
}

fn faults(out: &mut String, report: &Report, look: Look) {
    let words: Vec<_> = report.faults.iter().map(FaultWords::of).collect();
    let widths = FAULT_HEADS.iter().enumerate().map(|(column, head)| {
        let cells = words.iter().map(|words| fault_cells(words)[column].width());
        cells.chain([head.width()]).max().unwrap_or(0)
    });
    let widths: Vec<usize> = widths.collect();
    let numbers: usize = widths.iter().map(|width| width + 2).sum();
    let longest = report.faults.iter().map(|fault| fault.name.width()).max();
    let names = longest.unwrap_or(0).clamp(5, 24);
    let room = look.width.saturating_sub(names + numbers + 3);
    let proofs = words.iter().map(|words| words.proof.width()).max();
    let proofs = proofs.unwrap_or(0).clamp(5, 60).min(room.max(5));
    let line = |name: &str, proof: &str, cells: [&str; 4]| {
        let cells: String = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("  {}", right(cell, *width)))
            .collect();
        format!(" {}  {}{cells}", fit(name, names), fit(proof, proofs))
    };
    let head = line("fault", "proof", FAULT_HEADS);
    out.push_str(&format!("{}\n", look.paint(DIM, &head)));
    for (fault, words) in report.faults.iter().zip(&words) {
        let text = line(&fault.name, &words.proof, fault_cells(words));
        let text = match fault.sound() {
            true => text,
            false => look.status(Status::Fail, &text),
        };
        out.push_str(&format!("{text}\n"));
        if !words.slowed.is_empty() {
            out.push_str(&indented(&words.slowed, look));
        }
    }
}

fn faults_stacked(out: &mut String, report: &Report, look: Look) {
    for fault in &report.faults {
        let words = FaultWords::of(fault);
        let name = fit(
            &fault.name,
            fault.name.width().min(look.width.saturating_sub(1)),
        );
        let name = match fault.sound() {
            true => name,
            false => look.status(Status::Fail, &name),
        };
        out.push_str(&format!(" {name}\n{}", indented(&words.proof, look)));
        for (head, cell) in FAULT_HEADS.iter().zip(fault_cells(&words)) {
            out.push_str(&indented(&format!("{head} {cell}"), look));
        }
        if !words.slowed.is_empty() {
            out.push_str(&indented(&words.slowed, look));
        }
    }
}

/// Lines of at most so many columns; a word that is longer than that is cut into pieces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        if used > 0 && used + 1 + word.width() > width {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            lines.last_mut().unwrap_or(&mut String::new()).push(' ');
            used += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used > 0 && used + wide > width {
                lines.push(String::new());
                used = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
            used += wide;
        }
    }
    lines
}
