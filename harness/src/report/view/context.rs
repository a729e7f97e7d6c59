//! A record and its verdict in words: rows, faults, requests, accepted work, environment.

use super::{FaultView, LedgerView, RequestView, RowView, system};
use crate::event::{Accepted, EventKind, Fate, LedgerEntry, Offset, Outcome};
use crate::judge::{FaultRow, Finding, LedgerFinding, Recovered, Row};
use crate::plan::{FaultSpec, LedgerCheck};
use crate::record::{Exemplar, Record, Timeline};
use crate::report::humanize::{self, capital, clock, count, counted, moment, seconds, time};
use crate::report::terminal::event_text;
use crate::scenario::expr::BreakerChange;
use crate::series::{Base, Observation, Reading, Window};

pub(super) fn recovered_text(recovered: &Recovered) -> String {
    match recovered {
        Recovered::After(after) => seconds(*after),
        Recovered::Never => "never".to_owned(),
        Recovered::Unknown(_) => "unknown".to_owned(),
    }
}

fn counted_tries(tries: u64) -> String {
    match tries {
        1 => "1 try".to_owned(),
        more => format!("{} tries", count(more)),
    }
}

/// `62 % less`, where one load is compared with another.
fn saving(observed: Reading, base: &Base) -> Option<String> {
    let other_load = base.name.contains('.');
    let saving = observed.saving(base.reading).filter(|_| other_load)?;
    let percent = saving * 100.0;
    Some(match percent < 0.0 {
        true => format!("{:.0} % more", -percent),
        false => format!("{percent:.0} % less"),
    })
}

pub(super) struct Context<'a> {
    pub(super) record: &'a Record,
    pub(super) timeline: &'a Timeline,
    /// Start of load: every moment shown counts from here.
    pub(super) origin: Offset,
}

impl Context<'_> {
    pub(super) fn stretch(&self, window: Window) -> String {
        format!(
            "{}-{}",
            clock(window.from, self.origin),
            clock(window.to, self.origin)
        )
    }

    pub(super) fn started(&self) -> Option<String> {
        let at = jiff::Timestamp::from_millisecond(self.record.wall_ms()?).ok()?;
        Some(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    pub(super) fn meta(&self) -> Vec<String> {
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
        let memory = humanize::bytes(environment.memory);
        meta.push(format!(
            "{}, {memory}",
            counted(environment.cores as u64, "core")
        ));
        meta
    }

    pub(super) fn row(&self, row: &Row) -> RowView {
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
            Finding::Amplification(found) => {
                let observed = match found.observed {
                    Some(factor) => format!("{factor:.2} tries per call"),
                    None => "no reading".to_owned(),
                };
                let mut detail = vec![format!("limit {}", found.limit)];
                match &found.missing {
                    Some(missing) => detail.push(missing.clone()),
                    None => detail.push(format!(
                        "{} for {}",
                        counted_tries(found.tries),
                        counted(found.calls, "call")
                    )),
                }
                (observed, detail.join(", "))
            }
            Finding::Recovery { within, recovered } => {
                let detail = match recovered {
                    Recovered::Unknown(why) => why.clone(),
                    _ => format!("limit {}", seconds(*within)),
                };
                (recovered_text(recovered), detail)
            }
            Finding::Ledger(found) => ledger_text(found),
            Finding::Nothing { reason } => (reason.clone(), String::new()),
        };
        RowView {
            id: row.id.clone(),
            outcome: row.outcome,
            text: match row.must_fail {
                true => format!("must fail: {}", row.text),
                false => row.text.clone(),
            },
            scope: row.scope.to_string(),
            observed,
            detail,
            evidence: row.evidence.iter().map(|fact| self.fact(fact)).collect(),
        }
    }

    fn observed(&self, found: &Observation) -> (String, String) {
        let Some(observed) = found.observed else {
            let why = found.missing.as_ref().map(ToString::to_string);
            return ("no reading".to_owned(), why.unwrap_or_default());
        };
        let mut detail = Vec::new();
        match (found.limit, &found.base) {
            (Some(limit), Some(base)) => {
                detail.push(format!(
                    "limit {} ({} {})",
                    humanize::reading(limit),
                    base.name,
                    humanize::reading(base.reading)
                ));
                detail.extend(saving(observed, base));
            }
            (Some(limit @ (Reading::Time(_) | Reading::Rate(_))), None) => {
                detail.push(format!("limit {}", humanize::reading(limit)))
            }
            _ => {}
        }
        match observed {
            Reading::Ratio(_) => detail.push(self.share_of(found)),
            Reading::Rate(_) => {
                detail.push(format!("{} of {} ok", count(found.ok), count(found.n)));
            }
            Reading::Time(_) => detail.push(format!("n {}", count(found.n))),
        }
        let whole = self.timeline.load.is_some_and(|load| load == found.window);
        let fault = self
            .timeline
            .faults
            .iter()
            .any(|fault| fault.window(self.timeline.end) == Some(found.window));
        let stage = self
            .timeline
            .stages
            .iter()
            .any(|(_, stage)| *stage == found.window);
        if !whole && !fault && !stage {
            detail.push(format!("worst window {}", self.stretch(found.window)));
        }
        if found.holds.is_none() {
            detail.extend(found.missing.as_ref().map(ToString::to_string));
        }
        (humanize::reading(observed), detail.join(", "))
    }

    /// How many requests a share is of.
    fn share_of(&self, found: &Observation) -> String {
        let of = |ok| format!("{} of {}", count(ok), count(found.n));
        match found.observed {
            // Of those answered within a time, which are not all that were answered.
            Some(Reading::Ratio(share)) => of((share * found.n as f64).round() as u64),
            _ => of(found.ok),
        }
    }

    pub(super) fn fault(&self, fault: &FaultRow) -> FaultView {
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
            Some(FaultSpec::Status(spec)) => match spec.share < 1.0 {
                true => format!(
                    "{} for {:.0} % of requests on {targets}",
                    spec.code,
                    spec.share * 100.0
                ),
                false => format!("{} on {targets}", spec.code),
            },
            Some(FaultSpec::Slow(spec)) => format!("{}x slow {targets}", spec.factor),
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
            proof: match (fault.errors.is_empty(), fault.injected) {
                (false, _) => fault.errors.join("; "),
                (true, None) => "never in place".to_owned(),
                (true, Some(_)) => joined(&fault.proofs, "touched nothing"),
            },
            undo: match fault.injected {
                Some(_) => joined(&fault.undos, "undo not proved"),
                None => "nothing to undo".to_owned(),
            },
            first_impact: match (fault.first_impact, fault.injected) {
                (Some(after), _) => format!("+{}", seconds(after)),
                (None, Some(_)) => "none".to_owned(),
                (None, None) => "-".to_owned(),
            },
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

    pub(super) fn errors(&self) -> Vec<(String, String, u64)> {
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

    pub(super) fn request(&self, exemplar: &Exemplar) -> RequestView {
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

    pub(super) fn ledger(&self) -> Option<LedgerView> {
        let entries = &self.record.ledger.as_ref()?.entries;
        if entries.is_empty() {
            return None;
        }
        let number = |wanted: &dyn Fn(&LedgerEntry) -> bool| {
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

    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
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
            ("memory", humanize::bytes(here.memory)),
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

    pub(super) fn warnings(&self) -> Vec<String> {
        let events = self.record.events.iter();
        events
            .filter_map(|event| match &event.kind {
                EventKind::Warning { message } => Some(capital(message)),
                EventKind::NodeExited {
                    node,
                    how,
                    expected: false,
                    ..
                } => Some(format!(
                    "{node} ended by itself at {}: {how}",
                    moment(event.at, self.origin)
                )),
                _ => None,
            })
            .collect()
    }

    pub(super) fn events(&self) -> Vec<(String, String)> {
        let events = self.record.events.iter();
        events
            .filter_map(|event| {
                Some((
                    moment(event.at, self.origin),
                    event_text(&event.kind)?.join("  "),
                ))
            })
            .collect()
    }
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
