//! A plan as a chart in the terminal: one line per load, fault and phase, over a common axis of time.

use std::time::Duration;

use clip_service::units::HumanDuration;
use unicode_width::UnicodeWidthStr as _;

use crate::plan::timeline::Timeline;
use crate::plan::{FaultPlan, LoadModel, LoadPlan, Moment, Need, Plan, Shape, StartPlan};
use crate::scenario::fault::{Aimed, length};

/// Narrower terminals get lines that wrap.
const NARROWEST: usize = 80;
/// Rates of a load that are named one by one.
const MOST_RATES: usize = 6;
/// Wider charts are harder to read, not easier.
const WIDEST: usize = 160;

/// Renders a plan for a terminal of so many columns.
pub(super) fn render(plan: &Plan, width: usize) -> String {
    let width = width.clamp(NARROWEST, WIDEST);
    let timeline = Timeline::estimate(plan);
    let rows = rows(plan, &timeline);
    let label = rows
        .iter()
        .map(|row| row.label.width())
        .max()
        .unwrap_or(0)
        .clamp(5, 20);
    let note = rows
        .iter()
        .map(|row| row.note.width())
        .max()
        .unwrap_or(0)
        .clamp(10, width * 2 / 5);
    let cells = width - label - note - 5;
    let axis = Axis::new(&timeline, cells);
    let mut out = header(plan, width);
    out.push('\n');
    let mut line = |label_text: &str, chart: &str, note_text: &str| {
        for (index, part) in wrapped(note_text, note).iter().enumerate() {
            let (label_text, chart) = if index == 0 {
                (label_text, chart)
            } else {
                ("", "")
            };
            let text = format!(
                " {}  {}  {part}",
                padded(&cut(label_text, label), label),
                padded(chart, cells)
            );
            out.push_str(text.trim_end());
            out.push('\n');
        }
    };
    line("time", &axis.ticks(), "");
    for row in &rows {
        line(&row.label, &row.bar.draw(&axis), &row.note);
    }
    out
}

fn header(plan: &Plan, width: usize) -> String {
    // The program of the system itself is no news; the line has little room.
    let needs = plan.needs().into_iter();
    let needs: Vec<String> = needs
        .filter(|need| !matches!(need, Need::Program(_)))
        .map(|need| need.to_string())
        .collect();
    let needs = match needs.is_empty() {
        true => "needs: nothing".to_owned(),
        false => format!("needs: {}", needs.join(", ")),
    };
    let left = format!("{}   seed {}   {needs}", plan.name, plan.seed);
    let settle = plan.expect.end.settle.get();
    let right = format!(
        "about {}, at most {}",
        length(plan.estimate.get() + settle.min(Duration::from_secs(5))),
        length(plan.limit.get())
    );
    let gap = width.saturating_sub(left.width() + right.width()).max(3);
    format!("{left}{}{right}\n", " ".repeat(gap))
}

struct Row {
    label: String,
    bar: Bar,
    note: String,
}

enum Bar {
    /// Arrivals per second over time.
    Rate(LoadPlan),
    /// Filled from start to end.
    Fault(Duration, Duration),
    /// Bracketed from start to end.
    Span(Duration, Duration),
}

fn rows(plan: &Plan, timeline: &Timeline) -> Vec<Row> {
    let mut rows: Vec<Row> = plan
        .load
        .iter()
        .map(|load| Row {
            label: load.name.clone(),
            bar: Bar::Rate(load.clone()),
            note: load_note(load),
        })
        .collect();
    for stage in plan.stages() {
        rows.push(Row {
            label: stage.name.to_owned(),
            bar: Bar::Span(stage.from, stage.to),
            note: format!("{} of {}", length(stage.to - stage.from), stage.load),
        });
    }
    if let Some((from, to)) = timeline.steady {
        rows.push(Row {
            label: "steady".to_owned(),
            bar: Bar::Span(from, to),
            note: length(to - from),
        });
    }
    for (fault, (start, end)) in plan.faults.iter().zip(&timeline.faults) {
        rows.push(Row {
            label: fault.name.clone(),
            bar: Bar::Fault(*start, *end),
            note: fault_note(fault),
        });
    }
    if !timeline.settle.is_zero() {
        rows.push(Row {
            label: "drain".to_owned(),
            bar: Bar::Span(timeline.end(), timeline.end() + timeline.settle),
            note: format!("up to {}", length(timeline.settle)),
        });
    }
    rows
}

/// `0 -> 100/s -> 0, poisson`; `10 users, thinking 1s to 3s`.
pub(super) fn load_note(load: &LoadPlan) -> String {
    match &load.model {
        LoadModel::Arrivals { shape, stages, .. } => {
            let mut rates: Vec<f64> = Vec::new();
            for stage in stages {
                for rate in [stage.from, stage.to] {
                    if rates.last().is_none_or(|last| (last - rate).abs() > 1e-9) {
                        rates.push(rate);
                    }
                }
            }
            let rates = match rates.as_slice() {
                // Many steps are told by their ends and their number; the line shows them.
                [first, .., last] if rates.len() > MOST_RATES => vec![
                    per_second(*first),
                    format!("{} rates", rates.len() - 2),
                    per_second(*last),
                ],
                few => few.iter().map(|rate| per_second(*rate)).collect(),
            };
            let shape = match shape {
                Shape::Even => "",
                Shape::Poisson => ", poisson",
            };
            format!("{}{shape}", rates.join(" -> "))
        }
        LoadModel::Users { count, think, .. } => {
            let plural = if *count == 1 { "" } else { "s" };
            match think {
                (low, high) if high.get().is_zero() && low == high => {
                    format!("{count} user{plural}")
                }
                (low, high) if low == high => format!("{count} user{plural}, thinking {low}"),
                (low, high) => format!("{count} user{plural}, thinking {low} to {high}"),
            }
        }
    }
}

/// A rate in the largest unit of time that needs no fraction of a request.
fn per_second(rate: f64) -> String {
    if rate == 0.0 {
        return "0".to_owned();
    }
    let (number, unit) = match rate {
        rate if rate >= 0.1 => (rate, "s"),
        rate if rate * 60.0 >= 0.1 => (rate * 60.0, "m"),
        rate => (rate * 3600.0, "h"),
    };
    format!("{}/{unit}", (number * 100.0).round() / 100.0)
}

fn fault_note(fault: &FaultPlan) -> String {
    let targets: Vec<_> = fault.targets.iter().map(|target| target.name()).collect();
    let targets = match targets.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => few.join(", "),
    };
    let several = fault.targets.len() > 1;
    let names = &targets;
    let what = fault.inject.phrase(Aimed { names, several }).note;
    match &fault.start {
        StartPlan::At(_) => what,
        StartPlan::After {
            fault,
            moment,
            offset,
        } => {
            let moment = match moment {
                Moment::Start => "start",
                Moment::End => "end",
                Moment::Recovered => "recovered",
            };
            let offset = match offset.get().is_zero() {
                true => String::new(),
                false => format!(" + {}", length(offset.get())),
            };
            format!("{what}, after {fault}.{moment}{offset}")
        }
    }
}

/// Time to columns.
struct Axis {
    cells: usize,
    total: f64,
}

impl Axis {
    fn new(timeline: &Timeline, cells: usize) -> Self {
        let end = timeline.end().as_secs_f64();
        // The drain may be long and mostly is not; it gets a third of the chart at most.
        let settle = timeline.settle.as_secs_f64().min(end * 0.5);
        Self {
            cells,
            total: (end + settle).max(1.0),
        }
    }

    fn column(&self, time: Duration) -> usize {
        let at = time.as_secs_f64() / self.total * self.cells as f64;
        (at.round() as usize).min(self.cells)
    }

    fn time(&self, column: f64) -> f64 {
        column / self.cells as f64 * self.total
    }

    fn ticks(&self) -> String {
        const STEPS: [u64; 14] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600,
        ];
        const APART: f64 = 8.0;
        let fits = |step: &&u64| **step as f64 / self.total * self.cells as f64 >= APART;
        let step = STEPS.iter().find(fits).copied().unwrap_or(86_400);
        let mut line = String::new();
        let mut time = 0;
        while time as f64 <= self.total {
            let column = self.column(Duration::from_secs(time));
            let label = HumanDuration::secs(time).to_string();
            if column < line.width() + usize::from(time > 0) || column + label.width() > self.cells
            {
                break;
            }
            line.push_str(&" ".repeat(column - line.width()));
            line.push_str(&label);
            time += step;
        }
        line
    }
}

impl Bar {
    fn draw(&self, axis: &Axis) -> String {
        match self {
            Self::Rate(load) => rate_cells(load, axis),
            Self::Fault(start, end) => {
                let (from, to) = columns(*start, *end, axis);
                format!("{}{}", " ".repeat(from), "█".repeat(to - from))
            }
            Self::Span(start, end) => {
                let (from, to) = columns(*start, *end, axis);
                let inner = match to - from {
                    1 => "│".to_owned(),
                    wide => format!("├{}┤", "─".repeat(wide - 2)),
                };
                format!("{}{inner}", " ".repeat(from))
            }
        }
    }
}

/// First column and one past the last; at least one column, inside the chart.
fn columns(start: Duration, end: Duration, axis: &Axis) -> (usize, usize) {
    let from = axis.column(start).min(axis.cells - 1);
    (from, axis.column(end).max(from + 1))
}

fn rate_cells(load: &LoadPlan, axis: &Axis) -> String {
    let stages: Vec<(f64, f64, f64)> = match &load.model {
        LoadModel::Arrivals { stages, .. } => stages
            .iter()
            .map(|stage| (stage.length.get().as_secs_f64(), stage.from, stage.to))
            .collect(),
        LoadModel::Users {
            count,
            ramp_up,
            stay,
            ..
        } => {
            let (up, count) = (ramp_up.get().as_secs_f64(), *count as f64);
            vec![
                (up, 0.0, count),
                (stay.get().as_secs_f64() - up, count, count),
            ]
        }
    };
    let highest = stages
        .iter()
        .map(|(_, from, to)| from.max(*to))
        .fold(0.0, f64::max);
    let mut held: Vec<f64> = stages
        .iter()
        .filter(|(_, from, to)| from == to && *to > 0.0)
        .map(|(_, rate, _)| *rate)
        .collect();
    held.sort_by(f64::total_cmp);
    held.dedup();
    // Three heights of line are enough for most; steps need to be told apart.
    let stepped = held.len() > 3;
    (0..axis.cells)
        .map(|cell| {
            let middle = axis.time(cell as f64 + 0.5);
            let mut begin = 0.0;
            for (length, from, to) in &stages {
                if middle < begin + length {
                    return match from.partial_cmp(to) {
                        Some(std::cmp::Ordering::Less) => '╱',
                        Some(std::cmp::Ordering::Greater) => '╲',
                        _ if *to <= 0.0 => ' ',
                        _ if stepped => height(to / highest),
                        _ if to / highest > 0.7 => '▔',
                        _ if to / highest > 0.3 => '─',
                        _ => '▁',
                    };
                }
                begin += length;
            }
            ' '
        })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// A block of eight heights; the highest is left out, for it would touch the line above.
fn height(share: f64) -> char {
    const BLOCKS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
    let at = (share * BLOCKS.len() as f64).ceil() as usize;
    BLOCKS[at.clamp(1, BLOCKS.len()) - 1]
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width - 1).collect();
    format!("{kept}…")
}

/// Lines of at most `width` columns, broken between words; a longer word keeps its line to itself.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
