//! A run and what is known of it, for steps that ask.

use super::draft::Draft;
use super::waiting::Step;
use crate::judge::{Row, Status, Verdict, judge};
use crate::plan::{ExpectPlan, Plan};
use crate::record::Record;
use crate::report::Report;
use crate::report::prose::{self, FaultWords};

/// A run and what is known of it.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) record: Record,
}

impl Ran {
    /// The record, asked everything that this plan expects.
    pub(super) fn asked(&self, plan: Plan) -> Result<Record, String> {
        let without = |plan: &Plan| Plan {
            expect: ExpectPlan::default(),
            ..plan.clone()
        };
        if without(&plan) != without(&self.record.plan) {
            return Err("the scenario was changed after it had run".to_owned());
        }
        Ok(Record {
            plan,
            ..self.record.clone()
        })
    }

    pub(super) fn verdict(&self, draft: &Draft) -> Result<Verdict, String> {
        self.asked(draft.plan()?).map(|record| judge(&record))
    }

    /// Requires every expectation that `chosen` picks to hold, and at least one to be picked.
    pub(super) fn holds(&self, draft: &Draft, what: &str, chosen: impl Fn(&Row) -> bool) -> Step {
        let record = self.asked(draft.sketch()?)?;
        let verdict = judge(&record);
        let picked: Vec<_> = verdict.rows.iter().filter(|row| chosen(row)).collect();
        if picked.is_empty() {
            return Err(format!(
                "the verdict says nothing of {what}\n{}",
                told(&record, &verdict)
            ));
        }
        match picked.iter().find(|row| row.status() != Status::Pass) {
            None => Ok(()),
            Some(row) => Err(format!(
                "{} {}: {}\n{}",
                row.scope,
                row.text,
                row.outcome,
                told(&record, &verdict)
            )),
        }
    }
}

/// The verdict in full, for people who look for the reason.
pub(super) fn told(record: &Record, verdict: &Verdict) -> String {
    let report = Report::new(record, verdict);
    let mut text = format!("{}: {}\n", report.conclusion, prose::sentence(&report));
    for one in report.failing_first() {
        text.push_str(&format!(
            "  {}: {} {}: {} {}\n",
            one.outcome,
            prose::scope(&one.scope),
            one.text,
            prose::observed(&one.found),
            prose::detail(&report, &one.found)
        ));
    }
    for fault in &report.faults {
        let words = FaultWords::of(fault);
        text.push_str(&format!(
            "  {}: {}, {}\n",
            fault.name, words.proof, words.undo
        ));
    }
    for error in &report.errors {
        text.push_str(&format!(
            "  {}: {} x {}\n",
            error.load, error.count, error.class
        ));
    }
    text
}
