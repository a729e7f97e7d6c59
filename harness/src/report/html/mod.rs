//! `report.html` and the index of a suite: files that need nothing but a browser. Text is laid out here; the chart is
//! drawn by the script from the numbers that travel in the page. [`maud`] closes every tag and escapes every text.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::judge::Status;

mod page;
pub mod suite;
mod tables;

pub(super) use page::page;

const STYLE: &str = include_str!("../assets/report.css");

/// The parts of the program, in the order in which they build on each other.
pub(super) const SCRIPTS: [(&str, &str); 6] = [
    ("scale.js", include_str!("../assets/scale.js")),
    ("dom.js", include_str!("../assets/dom.js")),
    ("lanes.js", include_str!("../assets/lanes.js")),
    ("cursor.js", include_str!("../assets/cursor.js")),
    ("chart.js", include_str!("../assets/chart.js")),
    ("input.js", include_str!("../assets/input.js")),
];

/// A whole page. `tail` comes after the text.
fn frame(title: &str, body: &Markup, tail: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                (tail)
            }
        }
    };
    page.into_string()
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Inconclusive => "open",
        Status::Fail => "fail",
    }
}

/// The second signal beside the colour.
fn sign(status: Status) -> Markup {
    let sign = match status {
        Status::Pass => "✓",
        Status::Inconclusive => "?",
        Status::Fail => "✗",
    };
    html! { span aria-hidden="true" { (sign) } }
}

/// A verdict in a word, and what it is of.
fn heading(status: Status, word: &str, name: &str) -> Markup {
    html! {
        h1 {
            span class={ "verdict " (class(status)) } { (sign(status)) " " (word) }
            " " (name)
        }
    }
}
