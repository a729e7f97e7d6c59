//! The block that is redrawn in place: what runs, where it is, and each load as it is at the moment. No line of it is
//! wider than the terminal, so that moving the cursor up finds its beginning.

use std::io::Write;
use std::time::Duration;

use unicode_width::UnicodeWidthStr as _;

use super::loads::{LoadLine, earlier};
use super::{FaultState, Progress, RECENT};
use crate::event::Offset;
use crate::judge::Status;
use crate::plan::{FaultPlan, Moment, StartPlan};
use crate::printable::Text;
use crate::report::humanize::{self, count};
use crate::report::model::{self, System};
use crate::report::prose::system;
use crate::report::terminal::{BOLD, DIM, fit, status_style};

/// Columns below which a title says too little beside the times.
const ROOM_FOR_A_TITLE: usize = 24;

fn seconds(length: Duration) -> String {
    format!("{:.1}s", length.as_secs_f64())
}

/// `01:05`.
fn minutes(at: Offset) -> String {
    humanize::clock(model::Moment::new(at, Offset(0)))
}

impl<W: Write + Send> Progress<W> {
    /// The lines that are redrawn in place.
    pub(super) fn block(&self, width: usize) -> Vec<String> {
        let mut block = vec![String::new()];
        let about = self
            .ready
            .unwrap_or_default()
            .plus(self.plan.estimate.get());
        let times = format!(
            "{} of about {}",
            minutes(self.now),
            minutes(about.max(self.now))
        );
        let title = Text::from(format!(
            "{}   seed {}   {}",
            self.plan.name,
            self.plan.seed,
            system(&System::of(&self.plan))
        ));
        // The times have a line of their own where there is no room for both.
        let beside = width.saturating_sub(times.len() + 2);
        match beside >= ROOM_FOR_A_TITLE {
            true => {
                let title = self.look.paint(BOLD, &fit(&title, beside));
                block.push(format!("{title}  {times}"));
            }
            false => {
                let title = fit(&title, width);
                block.push(self.look.paint(BOLD, title.trim_end()));
                block.push(fit(&times, width).trim_end().to_owned());
            }
        }
        block.push(String::new());
        block.extend(self.phases(width));
        block.push(String::new());
        let mut lines = self.load_lines().into_iter();
        let head = lines.next().unwrap_or_default();
        block.push(self.look.paint(DIM, fit(&head, width).trim_end()));
        block.extend(lines.map(|line| fit(&line, width).trim_end().to_owned()));
        block
    }

    /// Where the run is.
    fn phases(&self, width: usize) -> Vec<String> {
        let mut phases: Vec<(Option<Status>, String)> = Vec::new();
        phases.push(match self.ready {
            Some(ready) => (
                Some(Status::Pass),
                format!("start ✓ {}", seconds(ready.duration())),
            ),
            None => (None, format!("start ▶ {}", seconds(self.now.duration()))),
        });
        let load = self.load_started;
        if self.plan.steady.is_some() {
            phases.push(match (self.steady, load) {
                (Some((from, to)), _) => (
                    Some(Status::Pass),
                    format!("steady ✓ {}", seconds(to.since(from))),
                ),
                (None, Some(load)) => (None, format!("steady ▶ {}", seconds(self.now.since(load)))),
                (None, None) => (None, "steady".to_owned()),
            });
        }
        for (plan, state) in self.plan.faults.iter().zip(&self.faults) {
            phases.push(self.fault_phase(plan, state));
        }
        phases.push(match (self.settled, self.settling, self.load_ended) {
            (Some(took), ..) => (Some(Status::Pass), format!("drain ✓ {}", seconds(took))),
            (None, Some((open, accepted)), Some(_)) => (
                None,
                format!("drain ▶ {} of {} open", count(open), count(accepted)),
            ),
            (None, None, Some(ended)) => {
                (None, format!("drain ▶ {}", seconds(self.now.since(ended))))
            }
            _ => (None, "drain".to_owned()),
        });
        self.lay_out(phases, width)
    }

    fn fault_phase(&self, plan: &FaultPlan, state: &FaultState) -> (Option<Status>, String) {
        let name = Text::from(&plan.name);
        match state {
            FaultState { failed: true, .. } => (Some(Status::Fail), format!("{name} ✗")),
            FaultState {
                recovered: Some(_),
                reverted: Some(end),
                injected: Some(start),
                ..
            } => (
                Some(Status::Pass),
                format!("{name} ✓ {}", seconds(end.since(*start))),
            ),
            FaultState {
                reverted: Some(end),
                injected: Some(start),
                ..
            } => match self.plan.steady {
                Some(_) => (
                    None,
                    format!("{name} recovering {}", seconds(self.now.since(*end))),
                ),
                None => (
                    Some(Status::Pass),
                    format!("{name} ✓ {}", seconds(end.since(*start))),
                ),
            },
            FaultState {
                injected: Some(start),
                ..
            } => (
                Some(Status::Inconclusive),
                format!(
                    "{name} ▶ {} of {}",
                    seconds(self.now.since(*start)),
                    seconds(plan.length.get())
                ),
            ),
            _ => (None, self.ahead(&name, &plan.start)),
        }
    }

    /// Phases that do not fit on one line go to the next.
    fn lay_out(&self, phases: Vec<(Option<Status>, String)>, width: usize) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut used = 0;
        for (status, text) in phases {
            let text = fit(&text, text.width().min(width.saturating_sub(1)));
            let wide = text.width() + 3;
            if used > 0 && used + wide > width + 2 {
                lines.push(String::new());
                used = 0;
            }
            used += wide;
            let text = match status {
                Some(status) => self.look.paint(status_style(status), &text),
                None => text,
            };
            if let Some(line) = lines.last_mut() {
                line.push_str(&format!(" {text}  "));
            }
        }
        lines
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn ahead(&self, name: &str, start: &StartPlan) -> String {
        match start {
            StartPlan::At(at) => {
                let passed = self
                    .load_started
                    .map_or(Duration::ZERO, |load| self.now.since(load));
                match at.get().checked_sub(passed) {
                    Some(left) => format!("{name} in {:.0}s", left.as_secs_f64().ceil()),
                    None => format!("{name} when steady"),
                }
            }
            StartPlan::After { fault, moment, .. } => {
                let fault = Text::from(fault);
                let moment = match moment {
                    Moment::Start => "began",
                    Moment::End => "is over",
                    Moment::Recovered => "has recovered",
                };
                format!("{name} once {fault} {moment}")
            }
        }
    }

    /// A head and a line for each load.
    fn load_lines(&self) -> Vec<String> {
        let names = self
            .plan
            .load
            .iter()
            .map(|load| Text::from(&load.name).width())
            .max()
            .unwrap_or(0)
            .max(4);
        let head = format!(
            " {:names$}  {:>9}  {:>9}  {:>8}  {:>8}  {:>10}  {:>6}",
            "", "offered", "ok", "p50", "p99", "steady p99", "unsent"
        );
        let mut lines = vec![head];
        for line in self.load_states() {
            let LoadLine {
                name,
                rate,
                ok,
                p50,
                p99,
                steady_p99,
                unsent,
                accepted,
                spark,
            } = line;
            let tail = accepted.map_or(spark, |n| format!("accepted {}", count(n)));
            let unsent = count(unsent);
            let name = fit(&name, names);
            lines.push(format!(
                " {name}  {rate:>7.1}/s  {ok:>9}  {p50:>8}  {p99:>8}  {steady_p99:>10}  {unsent:>6}  {tail}"
            ));
        }
        lines
    }

    pub(super) fn load_states(&self) -> Vec<LoadLine> {
        // Before the first second is over a rate says nothing.
        let began = self.load_started.unwrap_or(self.now);
        let recent = RECENT
            .min(self.now.since(began))
            .max(Duration::from_secs(1));
        let from = earlier(self.now, recent);
        let loads = self.plan.load.iter().zip(&self.loads);
        loads
            .map(|(plan, load)| load.line(plan, from, self.now))
            .collect()
    }
}
