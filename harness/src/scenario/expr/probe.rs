//! Expectations about what a system tells of itself: `breaker(processor-2) opened within 2s`. Which probes there are, what
//! stands in their brackets and how they are compared is in the tables of [`crate::sut::probe`].

use std::fmt;

use clip_service::units::HumanDuration;
use serde::{Deserialize, Serialize};

use super::{Cmp, is_decimal};
use crate::scenario::text::diagnostic::nearest;
use crate::scenario::text::syntax::{Scan, SyntaxError};
use crate::sut::probe::{Change, Form, Probe};
use crate::sut::{find_probe, probes};

/// `probe(node) claim`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeExpr {
    /// Name of the probe.
    pub probe: String,
    /// The node in its brackets.
    pub node: String,
    /// What must be true of it.
    pub claim: Claim,
}

/// What must be true of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// It changes in time, counted from a border of the fault it is written under.
    Change {
        /// The change in the author's word.
        word: String,
        /// At most this long after the border.
        within: HumanDuration,
    },
    /// Its ratio compares so.
    Ratio {
        /// How.
        cmp: Cmp,
        /// With what.
        limit: f64,
    },
}

impl ProbeExpr {
    /// The probe's row; `None` for one that no system has any more.
    #[must_use]
    pub fn row(&self) -> Option<&'static Probe> {
        find_probe(&self.probe).map(|(_, row)| row)
    }

    /// Whether it is about a change under a fault, and not about a number.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(self.claim, Claim::Change { .. })
    }
}

impl fmt::Display for ProbeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) ", self.probe, self.node)?;
        match &self.claim {
            Claim::Change { word, within } => write!(f, "{word} within {within}"),
            Claim::Ratio { cmp, limit } => write!(f, "{cmp} {limit}"),
        }
    }
}

impl Scan {
    /// What stands after a probe's name, from its bracket on. `start` is where the name begins.
    pub(super) fn probe(&mut self, name: &str, start: usize) -> Result<ProbeExpr, SyntaxError> {
        let Some((_, row)) = find_probe(name) else {
            let known: Vec<_> = probes().map(|(_, probe)| probe.name).collect();
            return Err(self.error(
                start..start + name.chars().count(),
                format!("there is no probe `{name}`"),
                match nearest(name, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known: {}", known.join(", ")),
                },
            ));
        };
        let help = format!("write {}", row.example);
        let node = self.bracketed(&format!("{} is expected here", row.argument.noun), &help)?;
        let claim = match &row.form {
            Form::Change { thing, changes, .. } => self.change(thing, changes, &help)?,
            Form::Ratio(unit) => self.ratio(unit.name, &help)?,
        };
        Ok(ProbeExpr {
            probe: name.to_owned(),
            node,
            claim,
        })
    }

    fn change(
        &mut self,
        thing: &str,
        changes: &[Change],
        help: &str,
    ) -> Result<Claim, SyntaxError> {
        self.space();
        let start = self.at();
        let word = self.name();
        if !changes.iter().any(|change| change.word == word) {
            let words: Vec<_> = changes
                .iter()
                .map(|change| format!("`{}`", change.word))
                .collect();
            let message = match word.is_empty() {
                true => format!("{} is expected here", words.join(" or ")),
                false => format!("`{word}` is not a change of {thing}"),
            };
            return Err(self.error(start..self.at().max(start + 1), message, help));
        }
        self.space();
        let start = self.at();
        if self.name() != "within" {
            return Err(self.error(
                start..self.at().max(start + 1),
                "`within` and a duration are expected here",
                help,
            ));
        }
        let within = self.duration(|_| Ok(()))?;
        Ok(Claim::Change { word, within })
    }

    fn ratio(&mut self, unit: &str, help: &str) -> Result<Claim, SyntaxError> {
        let cmp = self.cmp()?;
        self.space();
        let start = self.at();
        let text = self.take(|c| c.is_alphanumeric() || matches!(c, '.' | '%'));
        match text.parse::<f64>() {
            Ok(limit) if is_decimal(&text) && limit.is_finite() => Ok(Claim::Ratio { cmp, limit }),
            _ => {
                let message = match text.is_empty() {
                    true => format!("{unit} are expected here"),
                    false => format!("`{text}` is not a number of {unit}"),
                };
                Err(self.error(start..self.at().max(start + 1), message, help))
            }
        }
    }

    /// A name in brackets, of which the first comes next.
    fn bracketed(&mut self, missing: &str, help: &str) -> Result<String, SyntaxError> {
        self.advance();
        self.space();
        let start = self.at();
        let name = self.name();
        if name.is_empty() {
            return Err(self.error(start..start + 1, missing, help));
        }
        self.bracket(')', help)?;
        Ok(name)
    }
}
