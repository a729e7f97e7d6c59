//! What every report shows, as text and numbers ready to be laid out.

use self::context::Context;
use super::chart::{Chart, chart};
use super::file_name;
use super::headline::sentence;
use super::humanize::counted;
use super::operations::{Operation, operations};
use crate::judge::{Conclusion, RowOutcome, Status, Verdict};
use crate::plan::{ExpectationId, Format, NodeStart, Plan, RuntimeKind};
use crate::record::format::{EVENTS_FILE, RECORD_FILE};
use crate::record::{Record, Timeline};

mod context;
mod evidence;
mod tiles;

/// Events listed in a report, the last of them cut away.
const MOST_EVENTS: usize = 400;

/// Everything a report shows.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Name of the scenario.
    pub name: String,
    /// What it shows, in the author's words.
    pub about: Option<String>,
    /// The verdict in a word.
    pub conclusion: Conclusion,
    /// Exit code and its meaning.
    pub exit: (u8, &'static str),
    /// The verdict in a sentence.
    pub sentence: String,
    /// When, how long, seed, what, where.
    pub meta: Vec<String>,
    /// Start of the run in UTC, RFC 3339.
    pub started: Option<String>,
    /// Length of the whole run.
    pub took: std::time::Duration,
    /// Seed.
    pub seed: u64,
    /// Five numbers.
    pub tiles: Vec<Tile>,
    /// Expectations, failing first.
    pub rows: Vec<RowView>,
    /// Faults in order of time.
    pub faults: Vec<FaultView>,
    /// Operation by phase.
    pub operations: Vec<Operation>,
    /// Load, error class, how often.
    pub errors: Vec<(String, String, u64)>,
    /// Slowest good requests.
    pub slowest: Vec<RequestView>,
    /// Failed requests.
    pub failed: Vec<RequestView>,
    /// Accepted work.
    pub ledger: Option<LedgerView>,
    /// Name and value.
    pub environment: Vec<(&'static str, String)>,
    /// Warnings and unexpected exits.
    pub warnings: Vec<String>,
    /// Moment and text.
    pub events: Vec<(String, String)>,
    /// Events that are not listed.
    pub events_cut: usize,
    /// Command that repeats the run.
    pub repeat: String,
    /// Files beside the page.
    pub files: Vec<&'static str>,
    /// What is drawn.
    pub chart: Chart,
}

/// A number with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Of what.
    pub label: &'static str,
    /// The number.
    pub value: String,
    /// What it is made of.
    pub note: String,
    /// What expectations about it came to; `None` when there are none.
    pub status: Option<Status>,
}

/// An expectation in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowView {
    /// What it is called.
    pub id: ExpectationId,
    /// What came of it.
    pub outcome: RowOutcome,
    /// What must hold.
    pub text: String,
    /// When.
    pub scope: String,
    /// What was found.
    pub observed: String,
    /// Limit, number of samples, window.
    pub detail: String,
    /// Where it did not hold: the most telling facts.
    pub evidence: Vec<String>,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultView {
    /// Name.
    pub name: String,
    /// What was done to what.
    pub what: String,
    /// From when to when.
    pub when: String,
    /// Evidence that it bit.
    pub proof: String,
    /// Evidence that it is gone.
    pub undo: String,
    /// First bad request.
    pub first_impact: String,
    /// First alarm.
    pub detected: String,
    /// What that was.
    pub detected_by: String,
    /// Time to steady.
    pub recovered: String,
    /// Requests hurt.
    pub hurt: String,
    /// Whether it touched anything and all went well with it.
    pub sound: bool,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// Intended start.
    pub due: String,
    /// Load and step.
    pub operation: String,
    /// How it ended.
    pub outcome: String,
    /// From the intended start.
    pub response: String,
    /// From sending.
    pub service: String,
    /// Request id.
    pub id: String,
}

/// Accepted work, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerView {
    /// Name and number.
    pub counts: Vec<(&'static str, u64)>,
    /// Id, and what is wrong with it.
    pub troubled: Vec<(String, String)>,
}

impl View {
    /// Works out everything.
    #[must_use]
    pub fn new(record: &Record, verdict: &Verdict) -> Self {
        let timeline = Timeline::of(record);
        let origin = timeline.load.map(|load| load.from).unwrap_or_default();
        let context = Context {
            record,
            timeline: &timeline,
            origin,
        };
        let mut rows: Vec<_> = verdict.rows.iter().map(|row| context.row(row)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.outcome.status()));
        let listed = context.events();
        let exit = verdict.exit();
        let plan = &record.plan;
        Self {
            name: plan.name.clone(),
            about: plan.about.clone(),
            conclusion: verdict.conclusion,
            exit: (exit.code(), exit.meaning()),
            sentence: sentence(plan, verdict),
            meta: context.meta(),
            started: context.started(),
            took: timeline.end.duration(),
            seed: plan.seed,
            tiles: tiles::tiles(verdict, &context),
            rows,
            faults: verdict
                .faults
                .iter()
                .map(|fault| context.fault(fault))
                .collect(),
            operations: operations(record, &timeline, verdict),
            errors: context.errors(),
            slowest: record
                .exemplars
                .slowest
                .iter()
                .map(|e| context.request(e))
                .collect(),
            failed: record
                .exemplars
                .failed
                .iter()
                .map(|e| context.request(e))
                .collect(),
            ledger: context.ledger(),
            environment: context.environment(),
            warnings: context.warnings(),
            events_cut: listed.len().saturating_sub(MOST_EVENTS),
            events: listed.into_iter().take(MOST_EVENTS).collect(),
            repeat: repeat(plan),
            files: [RECORD_FILE, EVENTS_FILE]
                .into_iter()
                .chain(plan.formats.iter().copied().map(file_name))
                .filter(|file| *file != file_name(Format::Html))
                .collect(),
            chart: chart(record, &timeline, origin),
        }
    }

    /// Pass, inconclusive or fail.
    #[must_use]
    pub fn status(&self) -> Status {
        self.conclusion.status()
    }

    /// Whether the run passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.conclusion == Conclusion::Pass
    }
}

fn repeat(plan: &Plan) -> String {
    if plan.file.is_empty() {
        return format!(
            "the scenario `{}` was built in code; its seed was {}",
            plan.name, plan.seed
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let file = match plan.file.chars().all(plain) {
        true => plan.file.clone(),
        false => format!("'{}'", plan.file.replace('\'', r"'\''")),
    };
    format!("clip-harness run {file} --seed {}", plan.seed)
}

/// `process runtime · 1 gateway, 3 processors`.
pub(crate) fn system(plan: &Plan) -> String {
    let runtime = match plan.system.runtime {
        RuntimeKind::Embedded => "embedded runtime",
        RuntimeKind::Process => "process runtime",
    };
    let mut parts = Vec::new();
    for role in plan.system.sut().roles().iter().filter(|role| role.counted) {
        let nodes = plan.system.nodes.iter();
        let n = nodes.filter(|node| node.role() == Some(role.name)).count() as u64;
        if n > 0 {
            parts.push(counted(n, role.name));
        }
    }
    let others = plan.system.nodes.iter();
    let others = others
        .filter(|node| matches!(node.start, NodeStart::Run { .. }))
        .count() as u64;
    if others > 0 {
        parts.push(counted(others, "other program"));
    }
    match parts.is_empty() {
        true => runtime.to_owned(),
        false => format!("{runtime} · {}", parts.join(", ")),
    }
}
