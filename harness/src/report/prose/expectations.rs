//! What was expected, and what was found about it.

use super::gap::gap;
use crate::plan::LedgerCheck;
use crate::printable::Text;
use crate::report::humanize::{count, counted, reading, seconds, stretch};
use crate::report::model::{Base, Expectation, Found, Measured, Recovery, Report, Scope};
use crate::series::Reading;
use crate::sut::probe::Noun;

/// What must hold, or must not.
pub fn what(expectation: &Expectation) -> String {
    match expectation.must_fail {
        true => format!("must fail: {}", expectation.text),
        false => expectation.text.to_string(),
    }
}

/// When it must hold.
pub fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Steady => "before the first fault".to_owned(),
        Scope::Always => "always".to_owned(),
        Scope::During(name) | Scope::Stage(name) => format!("during {name}"),
        Scope::Recover(fault) => format!("after {fault}"),
        Scope::End => "at the end".to_owned(),
    }
}

/// How long it took to be steady again.
#[must_use]
pub fn recovery(recovery: &Recovery) -> String {
    match recovery {
        Recovery::After(after) => seconds(*after),
        Recovery::Never => "never".to_owned(),
        Recovery::Unknown(_) => "unknown".to_owned(),
    }
}

/// What was found.
pub fn observed(found: &Found) -> String {
    match found {
        Found::Measure(measured) => match measured.observed {
            Some(observed) => reading(observed),
            None => "no reading".to_owned(),
        },
        Found::Change { word, after, .. } => after.map_or_else(|| format!("never {word}"), seconds),
        Found::Ratio { observed, unit, .. } => match observed {
            Some(factor) => format!("{factor:.2} {}", unit.name),
            None => "no reading".to_owned(),
        },
        Found::Recovery {
            recovery: found, ..
        } => recovery(found),
        Found::Ledger { check, bad, .. } => {
            let word = match check {
                LedgerCheck::NoLost => "lost",
                LedgerCheck::NoDuplicate => "twice",
                LedgerCheck::AllTerminal => "not finished",
                LedgerCheck::AllPlayable => "not playable",
            };
            format!("{} {word}", count(*bad))
        }
        Found::Nothing(why) => gap(why),
    }
}

/// Limit, number of samples, window; empty when there is no more to say.
pub fn detail(report: &Report, found: &Found) -> String {
    match found {
        Found::Measure(found) => measured(found),
        Found::Change {
            within,
            source,
            reason,
            ..
        } => {
            let by = [source, reason].into_iter().flatten();
            let by: Vec<&str> = by.map(|text| &**text).collect();
            match by.is_empty() {
                true => format!("limit {}", seconds(*within)),
                false => by.join(": "),
            }
        }
        Found::Ratio {
            limit,
            counted,
            per,
            unit,
            missing,
            ..
        } => match missing {
            Some(missing) => format!("limit {limit}, {missing}"),
            None => {
                let several = |n: u64, noun: Noun| format!("{} {}", count(n), noun.of(n));
                let (counted, per) = (several(*counted, unit.counted), several(*per, unit.per));
                format!("limit {limit}, {counted} for {per}")
            }
        },
        Found::Recovery { within, recovery } => match recovery {
            Recovery::Unknown(why) => gap(why),
            _ => format!("limit {}", seconds(*within)),
        },
        Found::Ledger {
            accepted,
            unverified,
            results,
            ..
        } => {
            let mut parts = vec![counted(
                *accepted,
                &format!("accepted {}", report.words.work),
            )];
            parts.extend(results.map(|results| counted(results, report.words.result)));
            if *unverified > 0 {
                parts.push(format!("{} could not be looked at", count(*unverified)));
            }
            parts.join(", ")
        }
        Found::Nothing(_) => String::new(),
    }
}

fn measured(found: &Measured) -> String {
    let missing = || {
        let missing = found.missing.as_ref();
        missing.map(|missing| Text::from(missing.to_string()).to_string())
    };
    let Some(observed) = found.observed else {
        return missing().unwrap_or_default();
    };
    let mut parts = Vec::new();
    match (found.limit, &found.base) {
        (Some(limit), Some(base)) => {
            parts.push(format!(
                "limit {} ({} {})",
                reading(limit),
                base.name,
                reading(base.reading)
            ));
            parts.extend(saving(observed, base));
        }
        (Some(limit @ (Reading::Time(_) | Reading::Rate(_))), None) => {
            parts.push(format!("limit {}", reading(limit)));
        }
        _ => {}
    }
    parts.push(match observed {
        // Of those answered within a time, which are not all that were answered.
        Reading::Ratio(share) => format!(
            "{} of {}",
            count((share * found.n as f64).round() as u64),
            count(found.n)
        ),
        Reading::Rate(_) => format!("{} of {} ok", count(found.ok), count(found.n)),
        Reading::Time(_) => format!("n {}", count(found.n)),
    });
    if found.worst_window {
        parts.push(format!("worst window {}", stretch(found.stretch)));
    }
    parts.extend(missing());
    parts.join(", ")
}

/// `62 % less`, where one load is compared with another.
fn saving(observed: Reading, base: &Base) -> Option<String> {
    let saving = observed.saving(base.reading).filter(|_| base.other_load)?;
    let percent = saving * 100.0;
    Some(match percent < 0.0 {
        true => format!("{:.0} % more", -percent),
        false => format!("{percent:.0} % less"),
    })
}
