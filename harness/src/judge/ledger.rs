//! What became of accepted work. Only what was definitely accepted and is then unknown to the system is lost; a submit
//! without a definite answer may or may not have happened and proves nothing either way.

use std::collections::BTreeMap;

use super::{Finding, Gap, LedgerFinding, Row, RowOutcome, Scope};
use crate::event::{Accepted, Fate, LedgerEntry};
use crate::plan::{ExpectationId, LedgerCheck};
use crate::record::Record;
use crate::sut::Vocabulary;

/// Ids named in a finding.
const EXAMPLES: usize = 10;

pub(super) fn rows(record: &Record) -> Vec<Row> {
    let checks = &record.plan.expect.end.ledger;
    let words = record.plan.system.vocabulary();
    let row = |check: &LedgerCheck| {
        let found = match &record.ledger {
            None => Finding::nothing(Gap::WorkNotRead),
            Some(ledger) => {
                let found = look(*check, &ledger.entries);
                (outcome_of(&found), Finding::Ledger(found))
            }
        };
        Row::new(
            ExpectationId::ledger(*check),
            Scope::End,
            text(*check, words),
            found,
        )
    };
    checks.iter().map(row).collect()
}

/// The rule in words.
fn text(check: LedgerCheck, words: &Vocabulary) -> String {
    let Vocabulary { work, result, .. } = words;
    match check {
        LedgerCheck::NoLost => format!("ledger: no accepted {work} is lost"),
        LedgerCheck::NoDuplicate => "ledger: nothing is done twice".to_owned(),
        LedgerCheck::AllTerminal => format!("ledger: every accepted {work} is finished"),
        LedgerCheck::AllPlayable => format!("ledger: every {result} can be played"),
    }
}

fn outcome_of(found: &LedgerFinding) -> RowOutcome {
    if found.bad > 0 {
        RowOutcome::Fail
    } else if found.accepted == 0 || found.results == Some(0) {
        RowOutcome::NotEnoughSamples
    } else if found.unverified > 0 {
        RowOutcome::Inconclusive
    } else {
        RowOutcome::Pass
    }
}

enum Look {
    Fine,
    Bad(String),
    Unverified(String),
}

fn look(check: LedgerCheck, entries: &[LedgerEntry]) -> LedgerFinding {
    let accepted: Vec<_> = entries
        .iter()
        .filter(|entry| entry.accepted == Accepted::Ok)
        .collect();
    let mut ids = BTreeMap::<&str, u64>::new();
    for id in accepted.iter().filter_map(|entry| entry.id.as_deref()) {
        *ids.entry(id).or_default() += 1;
    }
    let mut found = LedgerFinding {
        check,
        accepted: accepted.len() as u64,
        bad: 0,
        unverified: 0,
        results: (check == LedgerCheck::AllPlayable).then_some(0),
        examples: Vec::new(),
    };
    let mut unsure = Vec::new();
    for entry in accepted {
        let id = entry.id.as_deref().unwrap_or("(no id)");
        let looked = match (&entry.fate, check) {
            (None, _) => Look::Unverified("was not read back".to_owned()),
            (Some(Fate::Unreadable { reason }), _) => {
                Look::Unverified(format!("could not be read back: {reason}"))
            }
            (Some(fate), LedgerCheck::NoLost) => lost(fate),
            (Some(fate), LedgerCheck::NoDuplicate) => {
                twice(fate, ids.get(id).copied().unwrap_or(0))
            }
            (Some(fate), LedgerCheck::AllTerminal) => terminal(fate),
            (Some(fate), LedgerCheck::AllPlayable) => {
                if let (Some(seen), Fate::Done { results, .. }) = (&mut found.results, fate) {
                    *seen += u64::from(*results);
                }
                playable(fate)
            }
        };
        match looked {
            Look::Fine => {}
            Look::Bad(why) => {
                found.bad += 1;
                if found.examples.len() < EXAMPLES {
                    found.examples.push((id.to_owned(), why));
                }
            }
            Look::Unverified(why) => {
                found.unverified += 1;
                unsure.push((id.to_owned(), why));
            }
        }
    }
    let room = EXAMPLES - found.examples.len();
    found.examples.extend(unsure.into_iter().take(room));
    found
}

fn lost(fate: &Fate) -> Look {
    match fate {
        Fate::Lost => Look::Bad("was accepted, and is unknown now".to_owned()),
        _ => Look::Fine,
    }
}

fn twice(fate: &Fate, same_id: u64) -> Look {
    if same_id > 1 {
        return Look::Bad(format!("was given to {same_id} accepted requests"));
    }
    match fate {
        Fate::Done { duplicates, .. } if *duplicates > 0 => {
            Look::Bad(format!("{duplicates} results appear more than once"))
        }
        _ => Look::Fine,
    }
}

fn terminal(fate: &Fate) -> Look {
    match fate {
        Fate::Done { .. } => Look::Fine,
        Fate::Failed { reason } => Look::Bad(format!("failed: {reason}")),
        Fate::Open { state } => Look::Bad(format!("is still {state}")),
        Fate::Lost => Look::Bad("is unknown now".to_owned()),
        Fate::Unreadable { reason } => Look::Unverified(reason.clone()),
    }
}

/// About the results of what was done; work that was not done is another check's business.
fn playable(fate: &Fate) -> Look {
    match fate {
        Fate::Done {
            results,
            decoded,
            trouble,
            ..
        } => match (decoded, trouble) {
            (_, Some(trouble)) => Look::Bad(trouble.clone()),
            (Some(decoded), None) if decoded < results => {
                Look::Bad(format!("{decoded} of {results} could be decoded"))
            }
            (Some(_), None) => Look::Fine,
            (None, None) => Look::Unverified("was not decoded".to_owned()),
        },
        _ => Look::Fine,
    }
}
