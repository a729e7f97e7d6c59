//! `index.html` of a suite: its runs with their tiles in small, failing first, then what was skipped and why.

use std::cmp::Reverse;

use super::View;
use super::html::{STYLE, class, esc, put, sign};
use super::humanize::{counted, time};
use crate::judge::Status;

/// A run of a suite.
#[derive(Debug, Clone, Copy)]
pub struct SuiteRun<'a> {
    /// What its report shows.
    pub view: &'a View,
    /// Its report, relative to the index.
    pub report: &'a str,
}

/// A scenario that was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// What is missing.
    pub reason: String,
}

/// The page.
#[must_use]
pub fn index(title: &str, runs: &[SuiteRun<'_>], skipped: &[Skipped]) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let of = |status| {
        runs.iter()
            .filter(|run| run.view.status() == status)
            .count() as u64
    };
    let (passed, open, failed) = (of(Status::Pass), of(Status::Inconclusive), of(Status::Fail));
    // A suite in which nothing ran has not passed.
    let worst = runs
        .iter()
        .map(|run| run.view.status())
        .max()
        .unwrap_or(Status::Inconclusive);
    let word = match worst {
        Status::Pass => "PASS",
        Status::Inconclusive => "INCONCLUSIVE",
        Status::Fail => "FAIL",
    };
    let title = esc(title);
    put(
        &mut out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{word}: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header><h1><span class=\"verdict {}\"><span aria-hidden=\"true\">{}</span> {word}</span> \
             {title}</h1>\n",
            class(worst),
            sign(worst),
        ),
    );
    let mut parts = vec![format!("{passed} passed")];
    for (n, what) in [
        (failed, "failed"),
        (open, "undecided"),
        (skipped.len() as u64, "skipped"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let all = counted(runs.len() as u64 + skipped.len() as u64, "scenario");
    let sentence = format!("{all}: {}.", parts.join(", "));
    put(
        &mut out,
        format_args!("<p class=\"sentence\">{}</p></header>\n", esc(&sentence)),
    );

    let mut sorted = runs.to_vec();
    sorted.sort_by_key(|run| Reverse(run.view.status()));
    for run in sorted {
        entry(&mut out, run);
    }
    if !skipped.is_empty() {
        out.push_str("<section aria-labelledby=\"skipped\"><h2 id=\"skipped\">Skipped</h2><ul>\n");
        for skipped in skipped {
            let (name, reason) = (esc(&skipped.name), esc(&skipped.reason));
            put(
                &mut out,
                format_args!("<li><strong>{name}</strong>: {reason}</li>\n"),
            );
        }
        out.push_str("</ul></section>\n");
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn entry(out: &mut String, run: SuiteRun<'_>) {
    let view = run.view;
    let status = view.status();
    put(
        out,
        format_args!(
            "<section class=\"run\"><h2><span class=\"word {class}\"><span aria-hidden=\"true\">{sign}</span> \
             {word}</span> <a href=\"{href}\">{name}</a></h2>\n<p class=\"about\">{sentence}</p>\n\
             <dl class=\"tiles mini\">\n",
            class = class(status),
            sign = sign(status),
            word = view.conclusion,
            href = esc(run.report),
            name = esc(&view.name),
            sentence = esc(&view.sentence),
        ),
    );
    for tile in &view.tiles {
        let (mark, style) = match tile.status {
            None | Some(Status::Pass) => (String::new(), ""),
            Some(status) => (
                format!(
                    " <span class=\"badge {}\">{}</span>",
                    class(status),
                    sign(status)
                ),
                class(status),
            ),
        };
        put(
            out,
            format_args!(
                "<div class=\"tile {style}\"><dt>{}{mark}</dt><dd><strong>{}</strong></dd></div>\n",
                esc(tile.label),
                esc(&tile.value)
            ),
        );
    }
    put(
        out,
        format_args!(
            "</dl>\n<p class=\"help\">{}, seed {}</p></section>\n",
            time(view.took),
            view.seed
        ),
    );
}
