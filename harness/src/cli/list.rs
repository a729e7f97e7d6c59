//! `list`: what a scenario can use, from the tables that the parser reads; and the scenarios there are.

use std::io;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::check::scenario_files;
use super::{Exit, ListArgs, Terminal};
use crate::plan::{Format, LedgerCheck, Plan, PlanOptions, RuntimeKind};
use crate::printable::{Text, printable_json};
use crate::scenario::expr::{Dimension, METRICS, Metric};
use crate::scenario::fault::KINDS;
use crate::scenario::model::Vocabulary;
use crate::sut;
use crate::sut::probe::Form;
use crate::sut::probes;

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Kinds of faults
    Faults,
    /// What can be expected
    Checks,
    /// Scenario files
    Scenarios,
    /// Report formats
    Formats,
    /// Files for `$(fixture.NAME)`
    Fixtures,
}

pub(super) fn main(args: &ListArgs, terminal: &mut Terminal<'_>) -> io::Result<Exit> {
    let rows = match args.what {
        What::Faults => faults(),
        What::Checks => checks(),
        What::Formats => vocabulary::<Format>(),
        What::Fixtures => sut::fixtures()
            .map(|(_, it)| vec![("name", it.name.to_owned()), ("is", it.about.to_owned())])
            .collect(),
        What::Scenarios if !args.folder.is_dir() => {
            writeln!(
                terminal.err,
                "error: {} is not a folder",
                Text::of(args.folder.display())
            )?;
            return Ok(Exit::InvalidScenario);
        }
        What::Scenarios => scenarios(args),
    };
    if args.json {
        let rows: Vec<Json> = rows
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|(key, value)| (key.to_owned(), json!(value)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            })
            .collect();
        let json = format!("{:#}", Json::from(rows));
        writeln!(terminal.out, "{}", printable_json(&json))?;
    } else {
        write!(terminal.out, "{}", table(&rows))?;
    }
    Ok(Exit::Pass)
}

type Row = Vec<(&'static str, String)>;

fn faults() -> Vec<Row> {
    KINDS
        .iter()
        .map(|kind| {
            let runtimes: Vec<_> = RuntimeKind::ALL
                .iter()
                .filter(|(.., runtime)| {
                    let can = runtime.capabilities();
                    kind.needs.iter().all(|need| can.contains(need))
                })
                .map(|(word, ..)| *word)
                .collect();
            let settings = match kind.settings {
                [] => "-".to_owned(),
                settings => settings.join(", "),
            };
            vec![
                ("fault", kind.name.to_owned()),
                ("target", kind.target.word().to_owned()),
                ("settings", settings),
                ("runtimes", runtimes.join(", ")),
                ("does", kind.summary.to_owned()),
                ("undone by", kind.undo.to_owned()),
            ]
        })
        .collect()
}

fn checks() -> Vec<Row> {
    let row = |form: String, place: &str, help: &str| {
        vec![
            ("check", form),
            ("under", place.to_owned()),
            ("holds when", help.to_owned()),
        ]
    };
    let measured = METRICS.iter().map(|(name, help, metric)| {
        let form = match metric {
            Metric::Within(_) => format!("LOAD.{name}(250ms) >= 99.9%"),
            other => match other.dimension() {
                Dimension::Share => format!("LOAD.{name} >= 99.9%"),
                Dimension::Rate => format!("LOAD.{name} >= 40/s"),
                Dimension::Time => format!("LOAD.{name} <= 250ms"),
            },
        };
        row(form, "steady, always, during, abort", help)
    });
    let others = [
        (
            "LOAD.p99 <= 2x steady",
            "always, during, abort",
            "so many times the same measure in the steady window",
        ),
        (
            "LOAD.max <= steady + 50ms",
            "always, during, abort",
            "so much more than the same measure in the steady window",
        ),
        (
            "LOAD.goodput >= 0.9x STAGE",
            "always, during",
            "so many times the same measure during a named stage",
        ),
        (
            "LOAD.p95 <= 0.5x OTHER.p95",
            "steady, always, during, abort",
            "so many times a measure of another load over the same time",
        ),
        (
            "… over 5s",
            "always, during, abort",
            "in every window of that length",
        ),
        (
            "recover: { within: 2s, stays: true }",
            "expect",
            "the steady state holds again in time, after every fault; `stays`: and until the next one",
        ),
    ];
    let ledger = LedgerCheck::ALL
        .iter()
        .map(|(word, help, _)| row((*word).to_owned(), "end: ledger", help));
    let probes = probes().map(|(sut, probe)| {
        let place = match probe.form {
            Form::Change { .. } => "during",
            Form::Ratio(_) => "always, during",
        };
        row(
            probe.shape(),
            place,
            &format!("{}; a probe of {}", probe.help, sut.title()),
        )
    });
    measured
        .chain(others.map(|(form, place, help)| row(form.to_owned(), place, help)))
        .chain(probes)
        .chain(ledger)
        .collect()
}

fn vocabulary<T: Vocabulary>() -> Vec<Row> {
    T::ALL
        .iter()
        .map(|(word, help, _)| vec![("name", (*word).to_owned()), ("is", (*help).to_owned())])
        .collect()
}

fn scenarios(args: &ListArgs) -> Vec<Row> {
    scenario_files(&args.folder)
        .iter()
        .map(|file| {
            let about = match Plan::prepare(file, &PlanOptions::default()) {
                Ok(prepared) => prepared.plan.about.unwrap_or_default(),
                Err(problems) => problems.summary(),
            };
            vec![("file", file.display().to_string()), ("about", about)]
        })
        .collect()
}

/// Aligned columns; the last one runs free.
fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return "none\n".to_owned();
    };
    let heads: Vec<String> = first.iter().map(|(head, _)| (*head).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heads)
        .chain(rows.iter().map(|row| {
            row.iter()
                .map(|(_, cell)| Text::from(cell).to_string())
                .collect()
        }))
        .collect();
    let widths: Vec<usize> = (0..first.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("{cell:width$}   "));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}
