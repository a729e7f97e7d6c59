//! Each load as it is at the moment: what came in lately, as numbers and as a sparkline.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::{Offset, Outcome, Sample};
use crate::plan::LoadPlan;
use crate::printable::Text;
use crate::report::humanize::{ratio, time};

/// Requests are remembered so long.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Seconds in a sparkline.
const SPARK: u64 = 16;

/// A load as it is now, in words.
pub(super) struct LoadLine {
    pub(super) name: Text,
    pub(super) rate: f64,
    pub(super) ok: String,
    pub(super) p50: String,
    pub(super) p99: String,
    pub(super) steady_p99: String,
    pub(super) unsent: u64,
    pub(super) accepted: Option<u64>,
    pub(super) spark: String,
}

#[derive(Debug, Default)]
pub(super) struct LoadState {
    /// Intended start, response, whether ok; in order of arrival.
    recent: VecDeque<(Offset, Duration, bool)>,
    offered: u64,
    ok: u64,
    unsent: u64,
    accepted: u64,
    pub(super) steady_p99: Option<Duration>,
}

impl LoadState {
    pub(super) fn take(&mut self, sample: &Sample, ledger: bool, now: Offset) {
        let ok = sample.outcome == Outcome::Ok;
        self.offered += 1;
        self.ok += u64::from(ok);
        self.accepted += u64::from(ok && ledger);
        self.unsent += u64::from(sample.outcome == Outcome::Unsent);
        let response = sample.done.since(sample.due);
        self.recent.push_back((sample.due, response, ok));
        let oldest = earlier(now, REMEMBERED);
        while self.recent.front().is_some_and(|(due, ..)| *due < oldest) {
            self.recent.pop_front();
        }
    }

    /// In words, rate and percentiles since `from`.
    pub(super) fn line(&self, plan: &LoadPlan, from: Offset, now: Offset) -> LoadLine {
        let dash = || "-".to_owned();
        let due = self.recent.iter().filter(|(due, ..)| *due >= from).count();
        let q = |q| self.quantile(q, from, now).map_or(dash(), time);
        let share = (self.offered > 0).then(|| ratio(self.ok as f64 / self.offered as f64));
        let ledger = plan.steps.iter().any(|step| step.ledger);
        LoadLine {
            name: Text::from(&plan.name),
            rate: due as f64 / now.since(from).as_secs_f64().max(1e-3),
            ok: share.unwrap_or_else(dash),
            p50: q(0.5),
            p99: q(0.99),
            steady_p99: self.steady_p99.map_or(dash(), time),
            unsent: self.unsent,
            accepted: ledger.then_some(self.accepted),
            spark: self.sparkline(now),
        }
    }

    pub(super) fn quantile(&self, q: f64, from: Offset, to: Offset) -> Option<Duration> {
        let inside = self
            .recent
            .iter()
            .filter(|(due, ..)| *due >= from && *due < to);
        let mut times: Vec<_> = inside.map(|(_, response, _)| *response).collect();
        times.sort_unstable();
        let rank = (q * times.len() as f64).ceil().max(1.0) as usize;
        times.get(rank - 1).copied()
    }

    /// Slowest request of each of the last seconds, on a log scale between the extremes; `×` where one failed.
    fn sparkline(&self, now: Offset) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let second = now.0 / 1_000_000;
        let mut seconds = vec![(0.0_f64, false); usize::try_from(SPARK).unwrap_or(0)];
        for (due, response, ok) in &self.recent {
            let age = second.saturating_sub(due.0 / 1_000_000);
            if (1..=SPARK).contains(&age) {
                let slot = &mut seconds[usize::try_from(SPARK - age).unwrap_or(0)];
                slot.0 = slot.0.max(response.as_secs_f64());
                slot.1 |= !ok;
            }
        }
        let known = || {
            seconds
                .iter()
                .map(|(slowest, _)| *slowest)
                .filter(|slowest| *slowest > 0.0)
        };
        let (low, high) = (
            known().fold(f64::MAX, f64::min),
            known().fold(0.0, f64::max),
        );
        // Less than a factor of four between the extremes is noise: it is drawn small.
        let span = (high / low).ln().max(4.0_f64.ln());
        let bar = |(slowest, failed): &(f64, bool)| match (*slowest > 0.0, failed) {
            (_, true) => '×',
            (false, _) => ' ',
            (true, _) => BARS[(((slowest / low).ln() / span * 7.0).round() as usize).min(7)],
        };
        seconds
            .iter()
            .map(bar)
            .collect::<String>()
            .trim_start()
            .to_owned()
    }
}

/// So long before.
pub(super) fn earlier(at: Offset, by: Duration) -> Offset {
    Offset(at.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}
