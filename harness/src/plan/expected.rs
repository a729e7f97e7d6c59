//! What a plan expects, each expectation with the id that it keeps through verdict, reports and JSON.
//!
//! Ids follow from places in the scenario file (`always-1`, `during/crash-2`, `end/no_lost`), so they stay the same from
//! run to run as long as the file lists its expectations in the same order. Nothing is ever found by its wording.

use std::fmt;

use clip_service::units::HumanDuration;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EndPlan, LedgerCheck};
use crate::scenario::expr::{Expectation, Expr};

/// What an expectation is called in verdicts and reports: `always-1`, `during/crash-2`, `recover/crash`,
/// `stays/crash-1`, `fault/crash`, `exits/web`, `end/no_lost`, `steady`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct ExpectationId(String);

impl ExpectationId {
    /// Of the steady state before the first fault.
    #[must_use]
    pub fn steady() -> Self {
        Self("steady".to_owned())
    }

    /// Of the expectation at this index under `always`.
    #[must_use]
    pub fn always(index: usize) -> Self {
        Self(format!("always-{}", index + 1))
    }

    /// Of the expectation at this index under `during`, for a fault or a named stage.
    #[must_use]
    pub fn during(name: &str, index: usize) -> Self {
        Self(format!("during/{name}-{}", index + 1))
    }

    /// Of a fault's taking effect and being undone.
    #[must_use]
    pub fn fault(fault: &str) -> Self {
        Self(format!("fault/{fault}"))
    }

    /// Of the recovery from a fault.
    #[must_use]
    pub fn recover(fault: &str) -> Self {
        Self(format!("recover/{fault}"))
    }

    /// Of the part of the steady state at this index that must hold from the recovery on.
    #[must_use]
    pub fn stays(fault: &str, index: usize) -> Self {
        Self(format!("stays/{fault}-{}", index + 1))
    }

    /// Of a node's not ending by itself.
    #[must_use]
    pub fn exits(node: &str) -> Self {
        Self(format!("exits/{node}"))
    }

    /// Of a ledger check.
    #[must_use]
    pub fn ledger(check: LedgerCheck) -> Self {
        Self(format!("end/{}", check.word()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExpectationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An expectation of `always` or `during`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// What it is called.
    pub id: ExpectationId,
    /// As the author wrote it, white space folded.
    pub text: String,
    /// What it means.
    pub expr: Expr,
    /// Whether the scenario is a control that names it: it must not hold then.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub must_fail: bool,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExpectPlan {
    /// Over the whole of the load.
    pub always: Vec<Expected>,
    /// While a fault lasts, or during a named stage, by that name.
    pub during: IndexMap<String, Vec<Expected>>,
    /// Every fault must be recovered from within this time of its end.
    pub recover: Option<HumanDuration>,
    /// Whether the steady state must hold from then on.
    #[serde(default)]
    pub stays: bool,
    /// When load has ended.
    pub end: EndPlan,
}

impl ExpectPlan {
    /// Puts these under `always`.
    pub fn set_always(&mut self, each: impl IntoIterator<Item = Expectation>) {
        self.always = numbered(each, ExpectationId::always);
    }

    /// Puts these under `during`, for a fault or a named stage.
    pub fn set_during(&mut self, name: &str, each: impl IntoIterator<Item = Expectation>) {
        let each = numbered(each, |index| ExpectationId::during(name, index));
        self.during.insert(name.to_owned(), each);
    }

    /// Marks those that a control names, in the words that they are written in. Only here is wording compared: it is
    /// what the author refers to them by.
    pub fn set_control(&mut self, named: &[Expectation]) {
        let during = self.during.values_mut().flatten();
        for expected in self.always.iter_mut().chain(during) {
            expected.must_fail = named.iter().any(|one| one.text == expected.text);
        }
    }

    /// Everything under `always` and `during`.
    pub fn expressions(&self) -> impl Iterator<Item = &Expected> {
        self.always.iter().chain(self.during.values().flatten())
    }
}

fn numbered(
    each: impl IntoIterator<Item = Expectation>,
    id: impl Fn(usize) -> ExpectationId,
) -> Vec<Expected> {
    let each = each.into_iter().enumerate();
    each.map(|(index, Expectation { text, expr })| Expected {
        id: id(index),
        text,
        expr,
        must_fail: false,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_places_in_the_file() {
        let parse = |text| Expectation::parse(text).unwrap();
        let twice = "a.success >= 99%";
        let mut expect = ExpectPlan::default();
        expect.set_always([parse(twice), parse(twice)]);
        expect.set_during("crash", [parse("a.p99 <= 1s"), parse("a.max <= 2s")]);
        expect.set_control(&[parse("a.max <= 2s")]);
        let ids: Vec<_> = expect
            .expressions()
            .map(|expected| (expected.id.as_str(), expected.must_fail))
            .collect();
        assert_eq!(
            ids,
            [
                ("always-1", false),
                ("always-2", false),
                ("during/crash-1", false),
                ("during/crash-2", true)
            ]
        );
        assert_eq!(
            ExpectationId::ledger(LedgerCheck::NoLost).as_str(),
            "end/no_lost"
        );
    }
}
