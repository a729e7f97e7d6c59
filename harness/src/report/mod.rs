//! Say it: one [`View`] made from a record and its verdict, written as HTML, JSON, JUnit, Markdown and terminal text.
//!
//! Every text and number is worked out once, in the view, so that no two reports of a run can disagree. Reports know
//! nothing of how a run is driven; [`progress`] watches one as a [`Sink`](crate::event::Sink) like any recorder does.

use std::io;
use std::path::{Path, PathBuf};

use crate::judge::Verdict;
use crate::plan::Format;
use crate::record::Record;
use crate::record::format::write_whole;

mod chart;
mod headline;
mod html;
pub mod humanize;
mod json;
mod junit;
mod markdown;
mod operations;
pub mod progress;
pub mod suite;
pub mod terminal;
pub mod view;

pub use chart::Chart;
pub use json::SHAPE_VERSION;
pub use operations::{Operation, Phase};
pub use view::View;

/// Name of the file of a format.
#[must_use]
pub fn file_name(format: Format) -> &'static str {
    match format {
        Format::Html => "report.html",
        Format::Json => "report.json",
        Format::Junit => "junit.xml",
        Format::Markdown => "summary.md",
    }
}

/// Writes the reports of a run into its directory, each complete or not at all, and returns their paths in the order
/// asked for.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_all(
    record: &Record,
    verdict: &Verdict,
    directory: &Path,
    formats: &[Format],
) -> io::Result<Vec<PathBuf>> {
    let view = View::new(record, verdict);
    let mut paths = Vec::new();
    for format in formats {
        let path = directory.join(file_name(*format));
        let text = match format {
            Format::Html => html::page(&view),
            Format::Json => json::text(record, verdict, &view)?,
            Format::Junit => junit::text(&view)?,
            Format::Markdown => markdown::text(&view),
        };
        write_whole(&path, |out| out.write_all(text.as_bytes()))?;
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
