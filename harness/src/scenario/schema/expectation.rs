//! The form of expectations.

use serde_json::{Value as Json, json};

use crate::scenario::expr::{Dimension, METRICS};
use crate::scenario::value::{DURATION, PERCENT, RATE};
use crate::sut::probe::{Form, Probe};
use crate::sut::probes;

/// How many of what is compared with what.
const NUMBER: &str = r"[0-9]+\.?[0-9]*";

/// One small rule after the other, so that a validator prints the one that does not hold.
pub(super) fn expectation() -> Json {
    let metrics = |dimension: Option<Dimension>| {
        METRICS
            .iter()
            .filter(|(.., metric)| dimension.is_none_or(|only| metric.dimension() == only))
            .map(|(word, ..)| match *word {
                "within" => format!(r"within\s*\(\s*{DURATION}\)"),
                word => word.replace('.', r"\."),
            })
            .collect::<Vec<_>>()
            .join("|")
    };
    let name = "[A-Za-z0-9_-]+";
    let cmp = "(>=|<=|>|<|≥|≤)";
    // What is fixed, what is a multiple of the steady window, of a stage or of another load.
    let over = format!(r"(\s*over\s+{DURATION})?\s*$");
    let compared = |dimension, fixed: String| {
        let own = metrics(Some(dimension));
        // A share that is 100 % in the steady window has no multiple that means anything.
        let other = match dimension {
            Dimension::Share => format!(r"(?!steady\s*(over|$)){name}"),
            Dimension::Rate | Dimension::Time => name.to_owned(),
        };
        json!({
            "if": { "pattern": format!(r"^\s*{name}\s*\.({own})\s*{cmp}\s*[^\s<>=]") },
            "then": { "pattern": format!(
                r"{cmp}\s*({fixed}|{NUMBER}\s*x\s+{other}(\.({own}))?){over}"
            ) },
        })
    };
    let measure = format!(r"^\s*{name}\s*\.({})(?![A-Za-z0-9_.])", metrics(None));
    let any_probe = probes_of(|_| true);
    let mut rules = vec![
        json!({ "pattern": format!(r"^\s*({any_probe})\s*\(|{measure}") }),
        json!({
            "if": { "pattern": measure },
            "then": { "pattern": format!(r"^[^<>=!≥≤]*{cmp}\s*[^\s<>=!]") },
        }),
        compared(Dimension::Share, PERCENT.to_owned()),
        compared(Dimension::Rate, RATE.to_owned()),
        compared(
            Dimension::Time,
            format!(r"{DURATION}|steady\s*\+\s*{DURATION}"),
        ),
    ];
    rules.extend(probes().map(|(_, probe)| {
        let claim = match &probe.form {
            Form::Change { changes, .. } => {
                let words: Vec<_> = changes.iter().map(|change| change.word).collect();
                format!(r"({})\s+within\s+{DURATION}$", words.join("|"))
            }
            Form::Ratio(_) => format!(r"{cmp}\s*{NUMBER}\s*$"),
        };
        json!({
            "if": { "pattern": format!(r"^\s*{}\s*\(", probe.name) },
            "then": { "pattern": format!(r"\(\s*{name}\s*\)\s*{claim}") },
        })
    }));
    json!({
        "if": { "not": { "pattern": r"\$\(" } },
        "then": { "allOf": rules },
    })
}

/// The names of probes, one of which may stand here.
pub(super) fn probes_of(wanted: impl Fn(&Probe) -> bool) -> String {
    let names: Vec<_> = probes()
        .filter(|(_, probe)| wanted(probe))
        .map(|(_, probe)| probe.name)
        .collect();
    names.join("|")
}
