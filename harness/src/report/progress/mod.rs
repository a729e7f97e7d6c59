//! A run while it goes on. On a terminal: a block that is redrawn in place, events scrolling up above it. Elsewhere: one
//! line per event with the time of day, and a line per load every ten seconds.
//!
//! Time is the run's own: the block is redrawn when what comes in is new enough (the host is sampled every second), so
//! the same events always give the same text. A stream that cannot be written is left alone; it must not stop a run.

use std::io::Write;
use std::time::Duration;

use crossterm::QueueableCommand as _;
use crossterm::cursor::MoveToPreviousLine;
use crossterm::terminal::{Clear, ClearType};

use self::loads::{LoadLine, LoadState};
use super::humanize::{self, count};
use super::model::Moment;
use super::prose::event_text;
use super::terminal::{Look, columns, fit};
use crate::event::{Event, EventKind, LedgerEntry, Offset, Sample, Sink};
use crate::plan::{LedgerCheck, Plan};

mod block;
mod loads;

/// Redrawn at most this often.
const REDRAW: Duration = Duration::from_millis(200);
/// Rate and percentiles are of the last seconds.
const RECENT: Duration = Duration::from_secs(5);
/// Lines about load, where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Hands everything to two sinks, first the one and then the other; nests for more.
#[derive(Debug)]
pub struct Tee<A, B>(pub A, pub B);

impl<A: Sink, B: Sink> Sink for Tee<A, B> {
    fn event(&mut self, event: &Event) {
        self.0.event(event);
        self.1.event(event);
    }

    fn sample(&mut self, sample: &Sample) {
        self.0.sample(sample);
        self.1.sample(sample);
    }

    fn ledger(&mut self, entries: &[LedgerEntry], checks: &[LedgerCheck]) {
        self.0.ledger(entries, checks);
        self.1.ledger(entries, checks);
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A block redrawn in place.
    Live,
    /// Lines.
    Plain,
}

impl Mode {
    /// What this terminal can show.
    #[must_use]
    pub fn of(look: Look) -> Self {
        match look.movable {
            true => Self::Live,
            false => Self::Plain,
        }
    }
}

/// Shows a run while it goes on.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    mode: Mode,
    look: Look,
    /// Whether the width is that of the terminal, which may change.
    follows_terminal: bool,
    plan: Plan,
    now: Offset,
    drawn_at: Option<Offset>,
    drawn_lines: u16,
    /// Events that have not been written above the block.
    pending: Vec<String>,
    wall_ms: i64,
    ready: Option<Offset>,
    load_started: Option<Offset>,
    load_ended: Option<Offset>,
    steady: Option<(Offset, Offset)>,
    faults: Vec<FaultState>,
    settling: Option<(u64, u64)>,
    settled: Option<Duration>,
    loads: Vec<LoadState>,
    told_at: Offset,
}

#[derive(Debug, Clone, Copy, Default)]
struct FaultState {
    injected: Option<Offset>,
    reverted: Option<Offset>,
    recovered: Option<Offset>,
    failed: bool,
}

impl Progress<std::io::Stderr> {
    /// On standard error: live when that is a terminal, lines when not.
    #[must_use]
    pub fn stderr(plan: &Plan) -> Self {
        let err = std::io::stderr();
        let terminal = std::io::IsTerminal::is_terminal(&err);
        let look = Look::of(terminal);
        let mode = Mode::of(look);
        Self {
            follows_terminal: mode == Mode::Live,
            ..Self::new(plan, err, mode, look)
        }
    }
}

impl<W: Write + Send> Progress<W> {
    /// On any stream.
    #[must_use]
    pub fn new(plan: &Plan, out: W, mode: Mode, look: Look) -> Self {
        Self {
            out,
            mode,
            look,
            follows_terminal: false,
            now: Offset(0),
            drawn_at: None,
            drawn_lines: 0,
            pending: Vec::new(),
            wall_ms: 0,
            ready: None,
            load_started: None,
            load_ended: None,
            steady: None,
            faults: vec![FaultState::default(); plan.faults.len()],
            settling: None,
            settled: None,
            loads: plan.load.iter().map(|_| LoadState::default()).collect(),
            told_at: Offset(0),
            plan: plan.clone(),
        }
    }

    fn fault(&mut self, name: &str) -> Option<&mut FaultState> {
        let at = self
            .plan
            .faults
            .iter()
            .position(|fault| fault.name == name)?;
        self.faults.get_mut(at)
    }

    fn note(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::RunStarted { wall_ms, .. } => self.wall_ms = *wall_ms,
            EventKind::SystemReady => self.ready = Some(at),
            EventKind::LoadStarted => (self.load_started, self.told_at) = (Some(at), at),
            EventKind::LoadEnded => self.load_ended = Some(at),
            EventKind::SteadyReached { from } => {
                self.steady = Some((*from, at));
                for load in &mut self.loads {
                    load.steady_p99 = load.quantile(0.99, *from, at);
                }
            }
            EventKind::FaultInjected { fault, .. } => {
                if let Some(state) = self.fault(fault) {
                    state.injected.get_or_insert(at);
                }
            }
            EventKind::FaultReverted { fault, .. } => {
                if let Some(state) = self.fault(fault) {
                    state.reverted = Some(at);
                }
            }
            EventKind::FaultRecovered { fault, .. } => {
                if let Some(state) = self.fault(fault) {
                    state.recovered = Some(at);
                }
            }
            EventKind::FaultFailed { fault, .. } => {
                if let Some(state) = self.fault(fault) {
                    state.failed = true;
                }
            }
            EventKind::Settling { open, accepted } => self.settling = Some((*open, *accepted)),
            EventKind::Settled { took_us } => self.settled = Some(Duration::from_micros(*took_us)),
            _ => {}
        }
    }

    fn told(&self, event: &Event) -> Option<String> {
        let [who, what] = event_text(&event.kind)?;
        let stamp = match self.mode {
            Mode::Plain => self.time_of_day(event.at),
            Mode::Live => match self.load_started {
                Some(origin) => format!("{:>7}", humanize::moment(Moment::new(event.at, origin))),
                None => format!("{:>7.3}", event.at.seconds()),
            },
        };
        Some(format!("{stamp}  {}  {what}", fit(&who, 12)))
    }

    fn time_of_day(&self, at: Offset) -> String {
        let ms = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(self.wall_ms.saturating_add(ms))
            .map(|at| at.strftime("%H:%M:%S%.3f").to_string())
            .unwrap_or_default()
    }

    /// Draws if enough of the run's time has passed, or if it must be.
    fn draw(&mut self, must: bool) {
        let due = self.drawn_at.is_none_or(|at| self.now.since(at) >= REDRAW);
        if !(must || due) {
            return;
        }
        self.drawn_at = Some(self.now);
        match self.mode {
            // A stream that is gone is no reason to stop a run.
            Mode::Live => self.draw_block().unwrap_or_default(),
            Mode::Plain => {
                let driving = self.load_started.is_some() && self.load_ended.is_none();
                if driving && self.now.since(self.told_at) >= PLAIN_EVERY {
                    self.told_at = self.now;
                    let lines = self.plain_load_lines();
                    self.pending.extend(lines);
                }
                for line in self.pending.split_off(0) {
                    writeln!(self.out, "{line}").unwrap_or_default();
                }
            }
        }
        self.out.flush().unwrap_or_default();
    }

    fn erase(&mut self) -> std::io::Result<()> {
        if self.drawn_lines > 0 {
            self.out.queue(MoveToPreviousLine(self.drawn_lines))?;
            self.out.queue(Clear(ClearType::FromCursorDown))?;
            self.drawn_lines = 0;
        }
        Ok(())
    }

    fn draw_block(&mut self) -> std::io::Result<()> {
        self.erase()?;
        if self.follows_terminal {
            self.look.width = columns().unwrap_or(self.look.width);
        }
        // A line that fills the last column makes some terminals begin a new one.
        let width = self.look.width.saturating_sub(1);
        for line in self.pending.split_off(0) {
            let line = fit(&line, width);
            writeln!(self.out, "{}", line.trim_end())?;
        }
        let block = self.block(width);
        self.drawn_lines = u16::try_from(block.len()).unwrap_or(u16::MAX);
        for line in block {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// A line for each load that reads by itself.
    fn plain_load_lines(&self) -> Vec<String> {
        let stamp = self.time_of_day(self.now);
        let lines = self.load_states().into_iter().map(|state| {
            let LoadLine {
                name,
                rate,
                ok,
                p50,
                p99,
                unsent,
                accepted,
                ..
            } = state;
            let accepted = accepted.map_or(String::new(), |n| format!(", accepted {}", count(n)));
            let unsent = match unsent {
                0 => String::new(),
                n => format!(", {} never sent", count(n)),
            };
            let name = fit(&name, 12);
            format!("{stamp}  {name}  {rate:.1}/s, ok {ok}, p50 {p50}, p99 {p99}{unsent}{accepted}")
        });
        lines.collect()
    }

    /// The stream, when the run is over.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write + Send> Sink for Progress<W> {
    fn event(&mut self, event: &Event) {
        self.now = self.now.max(event.at);
        self.note(event);
        let told = self.told(event);
        let must = told.is_some();
        self.pending.extend(told);
        if matches!(event.kind, EventKind::RunEnded { .. }) && self.mode == Mode::Live {
            // The summary takes the place of the block.
            self.draw(true);
            self.erase().unwrap_or_default();
            self.out.flush().unwrap_or_default();
            return;
        }
        self.draw(must);
    }

    fn sample(&mut self, sample: &Sample) {
        self.now = self.now.max(sample.done);
        let ledger = self
            .plan
            .load
            .get(sample.load)
            .and_then(|load| load.steps.get(sample.step));
        let ledger = ledger.is_some_and(|step| step.ledger);
        if let Some(load) = self.loads.get_mut(sample.load) {
            load.take(sample, ledger, self.now);
        }
        self.draw(false);
    }

    fn ledger(&mut self, _: &[LedgerEntry], _: &[LedgerCheck]) {}
}
