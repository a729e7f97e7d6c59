//! What every report shows, as text and numbers ready to be laid out.

use crate::event::{Accepted, EventKind, Fate, Offset, Outcome};
use crate::judge::{
    Conclusion, FaultRow, Finding, Headline, LedgerFinding, Recovered, Row, Scope, Status, Verdict,
    Word,
};
use crate::plan::{FaultSpec, LedgerCheck, NodeStart, Plan, RuntimeKind, ServiceRole};
use crate::record::{Exemplar, Record, Timeline};
use crate::scenario::expr::{BreakerChange, Expr, Metric};
use crate::series::{Observation, Reading, Window};

use super::chart::{Chart, chart};
use super::operations::{Operation, operations};
use super::sentence::sentence;
use super::words::{self, capital, clock, count, counted, moment, ratio, seconds, time};

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
    /// What came of it.
    pub word: Word,
    /// What must hold.
    pub text: String,
    /// When.
    pub scope: String,
    /// What was found.
    pub observed: String,
    /// Limit, number of samples, window.
    pub detail: String,
    /// Where it did not hold: the most telling facts.
    pub facts: Vec<String>,
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
        rows.sort_by_key(|row| std::cmp::Reverse(row.word.status()));
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
            tiles: tiles(verdict, &context),
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
            chart: chart(record, &timeline, origin),
        }
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

fn tiles(verdict: &Verdict, context: &Context<'_>) -> Vec<Tile> {
    let Headline {
        availability,
        load,
        steady_p99,
        worst_p99,
        slowest_recovery,
        accepted,
        lost,
        unknown,
        decoded,
    } = &verdict.headline;
    let status = |about: &dyn Fn(&Row) -> bool| {
        verdict
            .rows
            .iter()
            .filter(|row| about(row))
            .map(Row::status)
            .max()
    };
    let measures = |wanted: fn(Metric) -> bool| {
        let plan = &context.record.plan;
        let expectations = plan
            .expect
            .always
            .iter()
            .chain(plan.expect.during.values().flatten());
        let texts: Vec<_> = expectations
            .filter(|e| matches!(&e.expr, Expr::Measure(measure) if wanted(measure.metric)))
            .map(|e| e.text.as_str())
            .collect();
        status(&move |row| texts.contains(&row.text.as_str()))
    };
    let about_success = measures(|metric| metric == Metric::Success);
    let counts = availability.counts;
    let dash = || "-".to_owned();
    let p99 = steady_p99.map_or(dash(), time);
    let window = availability.outage.map(|outage| context.stretch(outage));
    vec![
        Tile {
            label: "Availability",
            value: counts.success().map_or(dash(), ratio),
            note: format!(
                "{} of {}",
                count(counts.ok),
                counted(counts.offered(), "request")
            ),
            status: about_success,
        },
        Tile {
            label: "Longest outage",
            value: seconds(availability.longest_outage),
            note: match window {
                None if availability.seconds == 0 => "no request was made".to_owned(),
                None => format!("every second met {}", objective(availability.objective)),
                Some(window) => format!(
                    "{window}; {} of {} seconds met {}",
                    count(availability.good_seconds),
                    count(availability.seconds),
                    objective(availability.objective)
                ),
            },
            status: about_success.filter(|_| !availability.longest_outage.is_zero()),
        },
        Tile {
            label: "p99, steady → worst fault",
            value: match worst_p99 {
                Some((worst, _)) => format!("{p99} → {}", time(*worst)),
                None => p99,
            },
            note: match (load, worst_p99) {
                (Some(load), Some((_, fault))) => {
                    format!("{load}, during {fault}; from intended start")
                }
                (Some(load), None) => format!("{load}; from intended start"),
                (None, _) => "no load".to_owned(),
            },
            status: measures(|metric| matches!(metric, Metric::Quantile(_) | Metric::Max)),
        },
        Tile {
            label: "Time to recover",
            value: slowest_recovery
                .as_ref()
                .map_or(dash(), |(recovered, _)| recovered_text(recovered)),
            note: match slowest_recovery {
                None => "nothing was broken".to_owned(),
                Some((Recovered::Unknown(why), _)) => why.clone(),
                Some((_, fault)) if verdict.faults.len() == 1 => format!("after {fault}"),
                Some((Recovered::After(after), _)) if after.is_zero() => {
                    format!("all {} faults", verdict.faults.len())
                }
                Some((_, fault)) => {
                    format!("after {fault}, slowest of {} faults", verdict.faults.len())
                }
            },
            status: status(&|row| matches!(row.scope, Scope::Recover(_))),
        },
        Tile {
            label: "Jobs accepted → lost",
            value: match (accepted, lost) {
                (Some(accepted), Some(lost)) => format!("{} → {}", count(*accepted), count(*lost)),
                _ => dash(),
            },
            note: match (accepted, decoded, unknown) {
                (None, ..) => "no job was submitted".to_owned(),
                (_, Some(decoded), _) => format!("{} decoded and sound", counted(*decoded, "clip")),
                (_, None, Some(unknown)) => {
                    format!("{} without a definite answer", count(*unknown))
                }
                _ => String::new(),
            },
            status: status(&|row| row.scope == Scope::End),
        },
    ]
}

fn recovered_text(recovered: &Recovered) -> String {
    match recovered {
        Recovered::After(after) => seconds(*after),
        Recovered::Never => "never".to_owned(),
        Recovered::Unknown(_) => "unknown".to_owned(),
    }
}

struct Context<'a> {
    record: &'a Record,
    timeline: &'a Timeline,
    /// Start of load: every moment shown counts from here.
    origin: Offset,
}

impl Context<'_> {
    fn stretch(&self, window: Window) -> String {
        format!(
            "{}-{}",
            clock(window.from, self.origin),
            clock(window.to, self.origin)
        )
    }

    fn started(&self) -> Option<String> {
        let at = jiff::Timestamp::from_millisecond(self.record.wall_ms()?).ok()?;
        Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    fn meta(&self) -> Vec<String> {
        let Record {
            plan, environment, ..
        } = self.record;
        let mut meta = Vec::new();
        if let Some(started) = self.started() {
            meta.push(format!("{} {} UTC", &started[..10], &started[11..16]));
        }
        meta.push(time(self.timeline.end.duration()));
        meta.push(format!("seed {}", plan.seed));
        meta.push(system(plan));
        if let Some(commit) = &environment.commit {
            meta.push(format!("commit {}", commit.get(..7).unwrap_or(commit)));
        }
        let memory = words::bytes(environment.memory);
        meta.push(format!(
            "{}, {memory}",
            counted(environment.cores as u64, "core")
        ));
        meta
    }

    fn row(&self, row: &Row) -> RowView {
        let (observed, detail) = match &row.finding {
            Finding::Measure(found) => self.observed(found),
            Finding::Breaker {
                change,
                within,
                after,
                source,
                reason,
            } => {
                let verb = match change {
                    BreakerChange::Opened => "opened",
                    BreakerChange::Closed => "closed",
                };
                let observed = after.map_or_else(|| format!("never {verb}"), seconds);
                let by = [source, reason].into_iter().flatten().map(String::as_str);
                let by: Vec<_> = by.filter(|text| !text.is_empty()).collect();
                let detail = match by.is_empty() {
                    true => format!("limit {}", seconds(*within)),
                    false => by.join(": "),
                };
                (observed, detail)
            }
            Finding::Recovery { within, recovered } => {
                let detail = match recovered {
                    Recovered::Unknown(why) => why.clone(),
                    _ => format!("limit {}", seconds(*within)),
                };
                (recovered_text(recovered), detail)
            }
            Finding::Ledger(found) => ledger_text(found),
            Finding::Nothing { reason } => (row.word.to_string(), reason.clone()),
        };
        RowView {
            word: row.word,
            text: row.text.clone(),
            scope: row.scope.to_string(),
            observed,
            detail,
            facts: match row.word {
                Word::Pass => Vec::new(),
                _ => self.facts(row),
            },
        }
    }

    fn observed(&self, found: &Observation) -> (String, String) {
        let Some(observed) = found.observed else {
            let why = found.missing.as_ref().map(ToString::to_string);
            return ("no reading".to_owned(), why.unwrap_or_default());
        };
        let mut detail = Vec::new();
        match (found.limit, found.steady) {
            (Some(limit), Some(steady)) => detail.push(format!(
                "limit {} (steady {})",
                words::reading(limit),
                words::reading(steady)
            )),
            (Some(limit @ Reading::Time(_)), None) => {
                detail.push(format!("limit {}", words::reading(limit)))
            }
            _ => {}
        }
        match observed {
            Reading::Ratio(_) => detail.push(format!("{} of {}", count(found.ok), count(found.n))),
            Reading::Time(_) => detail.push(format!("n {}", count(found.n))),
        }
        let whole = self.timeline.load.is_some_and(|load| load == found.window);
        let fault = self
            .timeline
            .faults
            .iter()
            .any(|fault| fault.window(self.timeline.end) == Some(found.window));
        if !whole && !fault {
            detail.push(format!("worst window {}", self.stretch(found.window)));
        }
        if found.holds.is_none() {
            detail.extend(found.missing.as_ref().map(ToString::to_string));
        }
        (words::reading(observed), detail.join(", "))
    }

    /// Up to three facts that tell most about why something does not hold.
    fn facts(&self, row: &Row) -> Vec<String> {
        let mut facts = Vec::new();
        let window = match (&row.finding, &row.scope) {
            (Finding::Measure(found), _) => Some(found.window),
            (Finding::Ledger(found), _) => {
                let examples = found.examples.iter().take(3);
                facts.extend(examples.map(|(id, why)| format!("{id} {why}")));
                None
            }
            (Finding::Nothing { .. }, _) => None,
            (_, Scope::During(fault)) => self
                .timeline
                .fault(fault)
                .and_then(|f| f.window(self.timeline.end)),
            (_, Scope::Recover(fault)) => {
                let end = self
                    .timeline
                    .fault(fault)
                    .and_then(|fault| fault.reverted());
                end.map(|end| Window::new(end, self.timeline.end))
            }
            _ => None,
        };
        let Some(window) = window else {
            return facts;
        };
        if let Some((from, to)) = self.worst_run(window) {
            let bad: u64 = (0..self.record.plan.load.len())
                .map(|load| self.record.series.counts(load, Window::new(from, to)).bad())
                .sum();
            facts.push(format!(
                "worst: {}, {}",
                self.stretch(Window::new(from, to)),
                counted(bad, "bad request")
            ));
        }
        let errors = (0..self.record.plan.load.len())
            .flat_map(|load| self.record.series.errors(load, window))
            .max_by_key(|(_, n)| *n);
        if let Some((class, n)) = errors {
            facts.push(format!("most frequent error: {class}, {} times", count(n)));
        }
        facts.extend(self.log_line(window));
        facts.truncate(3);
        facts
    }

    /// The longest run of bad seconds within a window.
    fn worst_run(&self, window: Window) -> Option<(Offset, Offset)> {
        let mut worst: Option<Window> = None;
        let mut current: Option<Window> = None;
        for (second, state) in crate::judge::seconds(self.record, self.timeline) {
            if second.to <= window.from || second.from >= window.to {
                continue;
            }
            if state != crate::judge::SecondState::Bad {
                current = None;
                continue;
            }
            let run = Window::new(current.map_or(second.from, |run| run.from), second.to);
            current = Some(run);
            if worst.is_none_or(|worst| run.length() > worst.length()) {
                worst = Some(run);
            }
        }
        worst.map(|worst| (worst.from, worst.to))
    }

    /// The first line of log that belongs to a window; errors before warnings.
    fn log_line(&self, window: Window) -> Option<String> {
        let lines = self
            .record
            .events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::NodeLog { node, line } if window.contains(event.at) => {
                    Some((!line.contains("ERROR"), event.at, node, line))
                }
                _ => None,
            });
        let (_, at, node, line) = lines.min_by_key(|(warning, at, ..)| (*warning, *at))?;
        Some(format!("{} {node}: {line}", moment(at, self.origin)))
    }

    fn fault(&self, fault: &FaultRow) -> FaultView {
        let planned = self
            .record
            .plan
            .faults
            .iter()
            .find(|planned| planned.name == fault.fault);
        let targets = fault.targets.join(", ");
        let what = match planned.map(|planned| &planned.inject) {
            Some(FaultSpec::Latency(spec)) => {
                let mut text = format!("+{}", spec.add);
                if !spec.jitter.get().is_zero() {
                    text.push_str(&format!(" ± {}", spec.jitter));
                }
                if spec.share < 1.0 {
                    text.push_str(&format!(" for {:.0} %", spec.share * 100.0));
                }
                format!("{text} on {targets}")
            }
            _ => format!("{} {targets}", fault.kind),
        };
        let joined = |texts: &[String], none: &str| match texts.is_empty() {
            true => none.to_owned(),
            false => texts.join("; "),
        };
        FaultView {
            name: fault.fault.clone(),
            what,
            when: match (fault.injected, fault.reverted) {
                (Some(from), Some(to)) => {
                    format!("{}-{} s", tenth(from, self.origin), tenth(to, self.origin))
                }
                (Some(from), None) => format!("from {} s", tenth(from, self.origin)),
                (None, _) => "never in place".to_owned(),
            },
            proof: match fault.errors.is_empty() {
                true => joined(&fault.proofs, "touched nothing"),
                false => fault.errors.join("; "),
            },
            undo: joined(&fault.undos, "undo not proved"),
            first_impact: fault
                .first_impact
                .map_or("none".to_owned(), |after| format!("+{}", seconds(after))),
            detected: fault.detected.map_or("-".to_owned(), seconds),
            detected_by: fault.detected_by.clone().unwrap_or_default(),
            recovered: recovered_text(&fault.recovered),
            hurt: match fault.carried_in {
                0 => count(fault.hurt),
                carried => format!("{} + {} under way", count(fault.hurt), count(carried)),
            },
            sound: fault.exercised && fault.errors.is_empty() && fault.reverted.is_some(),
        }
    }

    fn errors(&self) -> Vec<(String, String, u64)> {
        let whole = Window::new(Offset(0), Offset(u64::MAX));
        let loads = self.record.plan.load.iter().enumerate();
        loads
            .flat_map(|(index, load)| {
                let errors = self.record.series.errors(index, whole);
                errors
                    .into_iter()
                    .map(|(class, n)| (load.name.clone(), class, n))
            })
            .collect()
    }

    fn request(&self, exemplar: &Exemplar) -> RequestView {
        let load = self.record.plan.load.get(exemplar.load);
        let name = load.map_or("?", |load| load.name.as_str());
        let several = load.is_some_and(|load| load.steps.len() > 1);
        RequestView {
            due: moment(exemplar.due, self.origin),
            operation: match several {
                true => format!("{name} / {}", exemplar.step + 1),
                false => name.to_owned(),
            },
            outcome: match (&exemplar.outcome, exemplar.status) {
                (Outcome::Ok, Some(status)) => format!("ok {status}"),
                (Outcome::Ok, None) => "ok".to_owned(),
                (Outcome::Failed(class), _) => class.clone(),
                (Outcome::Unsent, _) => crate::series::UNSENT.to_owned(),
            },
            response: time(exemplar.done.since(exemplar.due)),
            service: exemplar
                .sent
                .map_or("-".to_owned(), |sent| time(exemplar.done.since(sent))),
            id: exemplar
                .request_id
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
        }
    }

    fn ledger(&self) -> Option<LedgerView> {
        let entries = &self.record.ledger.as_ref()?.entries;
        if entries.is_empty() {
            return None;
        }
        let number = |wanted: &dyn Fn(&crate::event::LedgerEntry) -> bool| {
            entries.iter().filter(|entry| wanted(entry)).count() as u64
        };
        let accepted = |fate: fn(&Fate) -> bool| {
            number(&move |e| e.accepted == Accepted::Ok && e.fate.as_ref().is_some_and(fate))
        };
        let troubled = entries.iter().filter_map(|entry| {
            let why = match (&entry.fate, entry.accepted) {
                (_, Accepted::Unknown) => "no definite answer to the submit".to_owned(),
                (Some(Fate::Lost), Accepted::Ok) => "lost".to_owned(),
                (Some(Fate::Failed { reason }), _) => format!("failed: {reason}"),
                (Some(Fate::Open { state }), _) => format!("still {state}"),
                (Some(Fate::Unreadable { reason }), _) => {
                    format!("could not be read back: {reason}")
                }
                (
                    Some(Fate::Done {
                        trouble: Some(trouble),
                        ..
                    }),
                    _,
                ) => trouble.clone(),
                _ => return None,
            };
            let at = clock(entry.due, self.origin);
            Some((
                entry
                    .id
                    .clone()
                    .unwrap_or_else(|| format!("submitted {at}")),
                why,
            ))
        });
        Some(LedgerView {
            counts: vec![
                ("accepted", number(&|e| e.accepted == Accepted::Ok)),
                (
                    "finished",
                    accepted(|fate| matches!(fate, Fate::Done { .. })),
                ),
                ("lost", accepted(|fate| *fate == Fate::Lost)),
                (
                    "failed",
                    accepted(|fate| matches!(fate, Fate::Failed { .. })),
                ),
                (
                    "not finished",
                    accepted(|fate| matches!(fate, Fate::Open { .. })),
                ),
                ("refused", number(&|e| e.accepted == Accepted::Refused)),
                (
                    "without a definite answer",
                    number(&|e| e.accepted == Accepted::Unknown),
                ),
            ],
            troubled: troubled.take(50).collect(),
        })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let here = &self.record.environment;
        let some = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let mut rows = vec![
            ("host", here.host.clone()),
            ("system", format!("{}, kernel {}", here.os, here.kernel)),
            (
                "processor",
                format!(
                    "{}, {}",
                    some(&here.cpu),
                    counted(here.cores as u64, "core")
                ),
            ),
            ("memory", words::bytes(here.memory)),
            (
                "program",
                format!("clip-harness {} ({} build)", here.version, here.profile),
            ),
            ("compiler", some(&here.rustc)),
            ("commit", some(&here.commit)),
            ("seed", self.record.plan.seed.to_string()),
        ];
        let lag = self
            .record
            .events
            .iter()
            .find_map(|event| match event.kind {
                EventKind::Generator {
                    lag_p99_us,
                    lag_max_us,
                    unsent,
                } => Some((lag_p99_us, lag_max_us, unsent)),
                _ => None,
            });
        if let Some((p99, max, unsent)) = lag {
            let of = |us| time(std::time::Duration::from_micros(us));
            rows.push((
                "load generator",
                format!(
                    "late by {} at p99, {} at most; {} never sent",
                    of(p99),
                    of(max),
                    count(unsent)
                ),
            ));
        }
        rows
    }

    fn warnings(&self) -> Vec<String> {
        let events = self.record.events.iter();
        events
            .filter_map(|event| match &event.kind {
                EventKind::Warning { message } => Some(capital(message)),
                EventKind::NodeExited {
                    node,
                    how,
                    expected: false,
                } => Some(format!(
                    "{node} ended by itself at {}: {how}",
                    moment(event.at, self.origin)
                )),
                _ => None,
            })
            .collect()
    }

    fn events(&self) -> Vec<(String, String)> {
        let events = self.record.events.iter();
        events
            .filter_map(|event| {
                Some((
                    moment(event.at, self.origin),
                    super::terminal::event_text(&event.kind)?.join("  "),
                ))
            })
            .collect()
    }
}

/// `99.9 %`, as an author would write it.
fn objective(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}

/// Seconds of load with one digit, none when it is zero.
fn tenth(at: Offset, origin: Offset) -> String {
    let seconds = ((at.0 as f64 - origin.0 as f64) / 1e5).round() / 10.0;
    format!("{seconds}")
}

fn ledger_text(found: &LedgerFinding) -> (String, String) {
    let bad = match found.check {
        LedgerCheck::NoLost => "lost",
        LedgerCheck::NoDuplicate => "twice",
        LedgerCheck::AllTerminal => "not finished",
        LedgerCheck::AllPlayable => "not playable",
    };
    let mut detail = counted(found.accepted, "accepted job");
    if let Some(results) = found.results {
        detail = format!("{detail}, {}", counted(results, "clip"));
    }
    if found.unverified > 0 {
        detail = format!(
            "{detail}, {} could not be looked at",
            count(found.unverified)
        );
    }
    (format!("{} {bad}", count(found.bad)), detail)
}

/// `process runtime · 1 gateway, 3 processors`.
pub(super) fn system(plan: &Plan) -> String {
    let runtime = match plan.system.runtime {
        RuntimeKind::Embedded => "embedded runtime",
        RuntimeKind::Process => "process runtime",
    };
    let mut parts = Vec::new();
    for (role, noun) in [
        (ServiceRole::Gateway, "gateway"),
        (ServiceRole::Processor, "processor"),
    ] {
        let nodes = plan.system.nodes.iter();
        let n = nodes
            .filter(
                |node| matches!(&node.start, NodeStart::Service { role: its, .. } if *its == role),
            )
            .count() as u64;
        if n > 0 {
            parts.push(counted(n, noun));
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
