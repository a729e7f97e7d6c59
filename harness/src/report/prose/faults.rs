//! A fault in words: what was done, when, with which proof, and whom it hurt.

use crate::plan::FaultSpec;
use crate::printable::Text;
use crate::report::humanize::{count, list, seconds, tenth};
use crate::report::model::Fault;

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
                (None, true) => "none".to_owned(),
                (None, false) => "-".to_owned(),
            },
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

/// `kill processor-2`, `+400 ms ± 100 ms on gateway-1->processor-1`.
fn what(fault: &Fault) -> String {
    let targets = fault.targets.join(", ");
    match &fault.inject {
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
    }
}

/// What was done, for a sentence: `processor-2 was killed`.
pub(super) fn deed(fault: &Fault) -> String {
    let targets: Vec<String> = fault.targets.iter().map(Text::to_string).collect();
    let targets = list(&targets);
    let were = if fault.targets.len() == 1 {
        "was"
    } else {
        "were"
    };
    match &fault.inject {
        Some(FaultSpec::Kill) => format!("{targets} {were} killed"),
        Some(FaultSpec::Pause) => format!("{targets} {were} frozen"),
        Some(FaultSpec::Latency(_)) => format!("the link {} grew slow", arrow(&targets)),
        Some(FaultSpec::Down) => format!("the link {} {were} cut", arrow(&targets)),
        Some(FaultSpec::Status(answer)) => format!(
            "the link {} answered {} itself",
            arrow(&targets),
            answer.code
        ),
        Some(FaultSpec::Slow(slow)) => {
            format!("{targets} {were} slowed {} times", slow.factor)
        }
        Some(FaultSpec::Restart(_)) => format!("{targets} {were} restarted"),
        Some(FaultSpec::RollingRestart(_)) => {
            format!("{targets} {were} restarted one after the other")
        }
        None => format!("{targets} {were} hit by {}", fault.name),
    }
}

/// A link in prose.
fn arrow(link: &str) -> String {
    link.replace("->", "→")
}
