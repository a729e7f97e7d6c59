//! The five numbers at the top.

use super::gap::gap;
use super::recovery;
use crate::judge::Status;
use crate::report::humanize::{capital, count, counted, ratio, seconds, stretch, time};
use crate::report::model::{Expectation, Recovery, Report, Scope};
use crate::scenario::expr::Metric;

/// A number with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Of what.
    pub label: String,
    /// The number.
    pub value: String,
    /// What it is made of.
    pub note: String,
    /// What expectations about it came to; `None` when there are none.
    pub status: Option<Status>,
}

/// The five numbers.
#[must_use]
pub fn tiles(report: &Report) -> [Tile; 5] {
    [
        availability(report),
        outage(report),
        latency(report),
        recovering(report),
        work(report),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

/// The worst that came of what is stated about a metric.
fn measures(report: &Report, wanted: fn(Metric) -> bool) -> Option<Status> {
    let stated = |one: &Expectation| {
        matches!(
            one.scope,
            Scope::Always | Scope::During(_) | Scope::Stage(_)
        )
    };
    report.worst(|one| stated(one) && one.metric.is_some_and(wanted))
}

fn about_success(report: &Report) -> Option<Status> {
    measures(report, |metric| {
        matches!(metric, Metric::Success | Metric::Within(_))
    })
}

fn availability(report: &Report) -> Tile {
    let counts = report.headline.counts;
    Tile {
        label: "Availability".to_owned(),
        value: counts.success().map_or(dash(), ratio),
        note: format!(
            "{} of {}",
            count(counts.ok),
            counted(counts.offered(), "request")
        ),
        status: about_success(report),
    }
}

fn outage(report: &Report) -> Tile {
    let headline = &report.headline;
    let met = objective(headline.objective);
    Tile {
        label: "Longest outage".to_owned(),
        value: match headline.seconds {
            0 => dash(),
            _ => seconds(headline.longest_outage),
        },
        note: match headline.outage {
            None if headline.seconds == 0 => "no request was made".to_owned(),
            None => format!("every second met {met}"),
            Some(outage) => format!(
                "{}; {} of {} seconds met {met}",
                stretch(outage),
                count(headline.good_seconds),
                count(headline.seconds),
            ),
        },
        status: about_success(report).filter(|_| !headline.longest_outage.is_zero()),
    }
}

fn latency(report: &Report) -> Tile {
    let headline = &report.headline;
    let p99 = headline.steady_p99.map_or(dash(), time);
    Tile {
        label: "p99, steady → worst fault".to_owned(),
        value: match &headline.worst_p99 {
            Some((worst, _)) => format!("{p99} → {}", time(*worst)),
            None => p99,
        },
        note: match (&headline.load, &headline.worst_p99) {
            (Some(load), Some((_, fault))) => {
                format!("{load}, during {fault}; from intended start")
            }
            (Some(load), None) => format!("{load}; from intended start"),
            (None, _) => "no load".to_owned(),
        },
        status: measures(report, |metric| {
            matches!(
                metric,
                Metric::Quantile(_) | Metric::OkQuantile(_) | Metric::Max
            )
        }),
    }
}

fn recovering(report: &Report) -> Tile {
    let (faults, slowest) = (report.faults.len(), &report.headline.slowest_recovery);
    Tile {
        label: "Time to recover".to_owned(),
        value: slowest
            .as_ref()
            .map_or(dash(), |(found, _)| recovery(found)),
        note: match slowest {
            None => "nothing was broken".to_owned(),
            Some((Recovery::Unknown(why), _)) => gap(why),
            Some((_, fault)) if faults == 1 => format!("after {fault}"),
            Some((Recovery::After(after), _)) if after.is_zero() => {
                format!("after each of {faults} faults")
            }
            Some((_, fault)) => format!("after {fault}, slowest of {faults} faults"),
        },
        status: report.worst(|one| matches!(one.scope, Scope::Recover(_))),
    }
}

fn work(report: &Report) -> Tile {
    let (work, words) = (report.headline.work, report.words);
    Tile {
        label: format!("{}s accepted → lost", capital(words.work)),
        value: work.map_or(dash(), |work| {
            format!("{} → {}", count(work.accepted), count(work.lost))
        }),
        note: match work {
            None => format!("no {} was submitted", words.work),
            Some(work) => match work.decoded {
                Some(decoded) => format!("{} decoded and sound", counted(decoded, words.result)),
                None => format!("{} without a definite answer", count(work.unknown)),
            },
        },
        status: report.worst(|one| one.scope == Scope::End),
    }
}

/// `99.9 %`, as an author would write it.
fn objective(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}
