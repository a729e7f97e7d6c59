//! Say it: one [`Report`] made from a record and its verdict, written as HTML, JSON, JUnit, Markdown and terminal text.
//!
//! Every number is worked out once, in the [`model`], so that no two formats can disagree; every sentence is made by the
//! formats, of the same [`prose`]. Reports know nothing of how a run is driven; [`progress`] watches one as a
//! [`Sink`](crate::event::Sink) like any recorder does.

use std::io;
use std::path::{Path, PathBuf};

use crate::plan::Format;
use crate::record::format::write_whole;

mod html;
pub mod humanize;
mod json;
mod junit;
mod markdown;
pub mod model;
pub mod progress;
pub mod prose;
pub mod terminal;

pub use html::suite;
pub use json::{SHAPE_VERSION, schema};
pub use model::Report;

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

/// Writes a report into the directory of its run in these formats, each complete or not at all, and returns their paths
/// in the order asked for.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write_all(
    report: &Report,
    directory: &Path,
    formats: &[Format],
) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for format in formats {
        let path = directory.join(file_name(*format));
        let text = match format {
            Format::Html => html::page(report),
            Format::Json => json::text(report)?,
            Format::Junit => junit::text(report)?,
            Format::Markdown => markdown::text(report),
        };
        write_whole(&path, |out| out.write_all(text.as_bytes()))?;
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests;
