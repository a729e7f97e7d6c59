//! The five numbers at the top.

use super::Tile;
use super::context::{Context, recovered_text};
use crate::judge::{Headline, Recovered, Row, Scope, Verdict};
use crate::report::humanize::{count, counted, ratio, seconds, time};
use crate::scenario::expr::{Expr, Metric};

pub(super) fn tiles(verdict: &Verdict, context: &Context<'_>) -> Vec<Tile> {
    let Headline {
        availability,
        load,
        steady_p99,
        worst_p99,
        slowest_recovery,
        accepted,
        lost,
        unknown,
        decoded,
    } = &verdict.headline;
    let status = |about: &dyn Fn(&Row) -> bool| {
        verdict
            .rows
            .iter()
            .filter(|row| about(row))
            .map(Row::status)
            .max()
    };
    let measures = |wanted: fn(Metric) -> bool| {
        status(&move |row| {
            let stated = matches!(
                row.scope,
                Scope::Always | Scope::During(_) | Scope::Stage(_)
            );
            stated && matches!(&row.expr, Some(Expr::Measure(measure)) if wanted(measure.metric))
        })
    };
    let about_success = measures(|metric| matches!(metric, Metric::Success | Metric::Within(_)));
    let counts = availability.counts;
    let dash = || "-".to_owned();
    let p99 = steady_p99.map_or(dash(), time);
    let window = availability.outage.map(|outage| context.stretch(outage));
    vec![
        Tile {
            label: "Availability",
            value: counts.success().map_or(dash(), ratio),
            note: format!(
                "{} of {}",
                count(counts.ok),
                counted(counts.offered(), "request")
            ),
            status: about_success,
        },
        Tile {
            label: "Longest outage",
            value: match availability.seconds {
                0 => dash(),
                _ => seconds(availability.longest_outage),
            },
            note: match window {
                None if availability.seconds == 0 => "no request was made".to_owned(),
                None => format!("every second met {}", objective(availability.objective)),
                Some(window) => format!(
                    "{window}; {} of {} seconds met {}",
                    count(availability.good_seconds),
                    count(availability.seconds),
                    objective(availability.objective)
                ),
            },
            status: about_success.filter(|_| !availability.longest_outage.is_zero()),
        },
        Tile {
            label: "p99, steady → worst fault",
            value: match worst_p99 {
                Some((worst, _)) => format!("{p99} → {}", time(*worst)),
                None => p99,
            },
            note: match (load, worst_p99) {
                (Some(load), Some((_, fault))) => {
                    format!("{load}, during {fault}; from intended start")
                }
                (Some(load), None) => format!("{load}; from intended start"),
                (None, _) => "no load".to_owned(),
            },
            status: measures(|metric| {
                matches!(
                    metric,
                    Metric::Quantile(_) | Metric::OkQuantile(_) | Metric::Max
                )
            }),
        },
        Tile {
            label: "Time to recover",
            value: slowest_recovery
                .as_ref()
                .map_or(dash(), |(recovered, _)| recovered_text(recovered)),
            note: match slowest_recovery {
                None => "nothing was broken".to_owned(),
                Some((Recovered::Unknown(why), _)) => why.clone(),
                Some((_, fault)) if verdict.faults.len() == 1 => format!("after {fault}"),
                Some((Recovered::After(after), _)) if after.is_zero() => {
                    format!("after each of {} faults", verdict.faults.len())
                }
                Some((_, fault)) => {
                    format!("after {fault}, slowest of {} faults", verdict.faults.len())
                }
            },
            status: status(&|row| matches!(row.scope, Scope::Recover(_))),
        },
        Tile {
            label: "Jobs accepted → lost",
            value: match (accepted, lost) {
                (Some(accepted), Some(lost)) => format!("{} → {}", count(*accepted), count(*lost)),
                _ => dash(),
            },
            note: match (accepted, decoded, unknown) {
                (None, ..) => "no job was submitted".to_owned(),
                (_, Some(decoded), _) => format!("{} decoded and sound", counted(*decoded, "clip")),
                (_, None, Some(unknown)) => {
                    format!("{} without a definite answer", count(*unknown))
                }
                _ => String::new(),
            },
            status: status(&|row| row.scope == Scope::End),
        },
    ]
}

/// `99.9 %`, as an author would write it.
fn objective(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}
