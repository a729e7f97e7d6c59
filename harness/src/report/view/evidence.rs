//! Why something does not hold: the worst stretch, the most frequent error, the line of log that belongs to it.

use super::context::Context;
use crate::event::EventKind;
use crate::judge::{Finding, Row, Scope, SecondState, seconds};
use crate::report::humanize::{counted, moment, time};
use crate::scenario::expr::Expr;
use crate::series::Window;

impl Context<'_> {
    /// Up to three facts that tell most about why something does not hold.
    pub(super) fn evidence(&self, row: &Row) -> Vec<String> {
        let mut facts = Vec::new();
        let window = match (&row.finding, &row.scope) {
            (Finding::Measure(found), _) => Some(found.window),
            (Finding::Amplification(found), _) => Some(found.window),
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
        let loads = self.loads_of(row);
        if let Some(worst) = self.worst_run(window) {
            let bad = loads
                .iter()
                .map(|load| self.record.series.counts(*load, worst).bad())
                .sum();
            let bad = counted(bad, "bad request");
            facts.push(format!("worst: {}, {bad}", self.stretch(worst)));
        }
        let errors = loads
            .iter()
            .flat_map(|load| self.record.series.errors(*load, window));
        match errors.max_by_key(|(_, n)| *n) {
            Some((class, n)) => {
                facts.push(format!(
                    "most frequent error: {class}, {}",
                    counted(n, "time")
                ));
            }
            None => facts.extend(self.slowest(&loads, window)),
        }
        facts.extend(self.log_line(window));
        facts.truncate(3);
        facts
    }

    /// The load that an expectation is about; all of them when it is about none in particular.
    fn loads_of(&self, row: &Row) -> Vec<usize> {
        let expect = &self.record.plan.expect;
        let mut written = expect.always.iter().chain(expect.during.values().flatten());
        let about = written.find_map(|expectation| match &expectation.expr {
            Expr::Measure(measure) if expectation.text == row.text => {
                self.record.series.load(&measure.load)
            }
            _ => None,
        });
        match about {
            Some(load) => vec![load],
            None => (0..self.record.plan.load.len()).collect(),
        }
    }

    /// The slowest good request of these loads in a window, if it is among those kept.
    fn slowest(&self, loads: &[usize], window: Window) -> Option<String> {
        let kept = self.record.exemplars.slowest.iter();
        let inside = kept.filter(|e| loads.contains(&e.load) && window.contains(e.due));
        let slowest = inside.max_by_key(|e| e.done.since(e.due))?;
        let id = slowest.request_id.as_deref().unwrap_or("without an id");
        let response = time(slowest.done.since(slowest.due));
        Some(format!(
            "slowest: {response}, due {}, request {id}",
            moment(slowest.due, self.origin)
        ))
    }

    /// The longest run of bad seconds within a window.
    fn worst_run(&self, window: Window) -> Option<Window> {
        let mut worst: Option<Window> = None;
        let mut current: Option<Window> = None;
        for (second, state) in seconds(self.record, self.timeline) {
            if second.to <= window.from || second.from >= window.to {
                continue;
            }
            if state != SecondState::Bad {
                current = None;
                continue;
            }
            let run = Window::new(current.map_or(second.from, |run| run.from), second.to);
            current = Some(run);
            if worst.is_none_or(|worst| run.length() > worst.length()) {
                worst = Some(run);
            }
        }
        worst
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
}
