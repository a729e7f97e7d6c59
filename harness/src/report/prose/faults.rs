//! A fault in words: what was done, when, with which proof, and which requests it hurt.

use crate::printable::Text;
use crate::report::humanize::{count, list, seconds, tenth};
use crate::report::model::{Fault, Slowed};
use crate::scenario::fault::Aimed;

/// A fault, as the cells of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultWords {
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
    /// What it did to latency; empty where that is no more than chance.
    pub slowed: String,
    /// First alarm.
    pub detected: String,
    /// What that was.
    pub detected_by: String,
    /// Time to steady.
    pub recovered: String,
    /// Requests hurt.
    pub hurt: String,
}

impl FaultWords {
    /// First bad request, and what was done to latency.
    #[must_use]
    pub fn impact(&self) -> String {
        match self.slowed.is_empty() {
            true => self.first_impact.clone(),
            false => format!("{}; {}", self.first_impact, self.slowed),
        }
    }

    /// Of a fault.
    #[must_use]
    pub fn of(fault: &Fault) -> Self {
        let joined = |texts: &[Text], none: &str| match texts.is_empty() {
            true => none.to_owned(),
            false => texts.join("; "),
        };
        let in_place = fault.injected.is_some();
        Self {
            what: what(fault),
            when: match (fault.injected, fault.reverted) {
                (Some(from), Some(to)) => format!("{}-{} s", tenth(from), tenth(to)),
                (Some(from), None) => format!("from {} s", tenth(from)),
                (None, _) => "never in place".to_owned(),
            },
            proof: match (fault.errors.is_empty(), in_place) {
                (false, _) => fault.errors.join("; "),
                (true, false) => "never in place".to_owned(),
                (true, true) => joined(&fault.proofs, "touched nothing"),
            },
            undo: match in_place {
                true => joined(&fault.undos, "undo not proved"),
                false => "nothing to undo".to_owned(),
            },
            first_impact: match (fault.first_impact, in_place) {
                (Some(after), _) => format!("+{}", seconds(after)),
                (None, true) if fault.slowed.is_some() => "none failed".to_owned(),
                (None, true) => "none".to_owned(),
                (None, false) => "-".to_owned(),
            },
            slowed: fault.slowed.as_ref().map_or(String::new(), slower),
            detected: fault.detected.map_or("-".to_owned(), seconds),
            detected_by: fault
                .detected_by
                .as_ref()
                .map_or(String::new(), Text::to_string),
            recovered: super::recovery(&fault.recovery),
            hurt: match fault.carried_in {
                0 => count(fault.hurt),
                carried => format!("{} + {} under way", count(fault.hurt), count(carried)),
            },
        }
    }
}

/// `kill processor-2`, `+400 ms ±100 ms on gateway-1->processor-1`.
fn what(fault: &Fault) -> String {
    let names = fault.targets.join(", ");
    match &fault.inject {
        Some(inject) => inject.phrase(aimed(fault, &names)).note,
        None => format!("{} {names}", fault.kind),
    }
}

/// What was done, for a sentence: `processor-2 was killed`.
pub(super) fn deed(fault: &Fault) -> String {
    let targets: Vec<String> = fault.targets.iter().map(Text::to_string).collect();
    let names = list(&targets);
    let aimed = aimed(fault, &names);
    match &fault.inject {
        Some(inject) => inject.phrase(aimed).clause,
        None => format!("{names} {} hit by {}", aimed.were(), fault.name),
    }
}

fn aimed<'a>(fault: &Fault, names: &'a str) -> Aimed<'a> {
    Aimed {
        names,
        several: fault.targets.len() > 1,
    }
}

/// What it did to latency: `120 slow from +0.1 s, 700x`.
fn slower(slowed: &Slowed) -> String {
    format!(
        "{} slow from +{}, {}x",
        count(slowed.requests),
        seconds(slowed.after),
        factor(slowed)
    )
}

/// How many times as long as before, to two digits.
pub(super) fn factor(slowed: &Slowed) -> String {
    match slowed.factor {
        small if small < 10.0 => format!("{small:.1}"),
        large => count(large.round() as u64),
    }
}
