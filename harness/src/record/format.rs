//! A record on disk: a directory `<reports>/<scenario>/<UTC time>-<seed>/` with `record.json` (written in one go when the
//! run is over) and `events.jsonl` (written line by line while it goes on).

use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Record;

/// Version of `record.json` that this program writes. 2 added what gateways count, named stages and entries of loads; 3
/// gave expectations their ids, and named what systems count and report as probes.
pub const FORMAT: u32 = 3;
/// Oldest version that it reads. A plan of an older one has expectations without ids and faults of another shape.
pub const OLDEST_FORMAT: u32 = 3;
/// The record.
pub const RECORD_FILE: &str = "record.json";
/// The events, one per line.
pub const EVENTS_FILE: &str = "events.jsonl";

/// A record could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Of what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Not JSON, or not of the right shape.
    #[error("{path} is damaged: {source}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        source: serde_json::Error,
    },
    /// Written by a version with another format.
    #[error(
        "{path} has format {found}; this program reads {}. Use the version of clip-harness that wrote it, or repeat the run",
        readable()
    )]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

fn readable() -> String {
    match OLDEST_FORMAT == FORMAT {
        true => format!("format {FORMAT}"),
        false => format!("formats {OLDEST_FORMAT} to {FORMAT}"),
    }
}

/// Directory for a run that began at this wall-clock time; not made yet, and free: a number is added when it is taken.
#[must_use]
pub fn run_dir(reports: &Path, scenario: &str, wall_ms: i64, seed: u64) -> PathBuf {
    let stamp = jiff::Timestamp::from_millisecond(wall_ms)
        .map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_else(|_| wall_ms.to_string());
    let folder = reports.join(file_name(scenario));
    let first = folder.join(format!("{stamp}-{seed}"));
    if !first.exists() {
        return first;
    }
    (2_u32..)
        .map(|n| folder.join(format!("{stamp}-{seed}-{n}")))
        .find(|path| !path.exists())
        .unwrap_or(first)
}

/// The name as a single harmless path component.
fn file_name(name: &str) -> String {
    let harmless: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
            _ => '-',
        })
        .collect();
    match harmless.trim_start_matches('.') {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// Writes `record.json` into the directory: complete, or not at all.
///
/// # Errors
///
/// When the directory or the file cannot be written.
pub fn save(record: &Record, directory: &Path) -> Result<PathBuf, RecordError> {
    let path = directory.join(RECORD_FILE);
    write_whole(&path, |out| {
        serde_json::to_writer(&mut *out, record).map_err(io::Error::from)
    })
    .map_err(|source| RecordError::Io {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Reads a record from its directory, or from its `record.json`.
///
/// # Errors
///
/// When there is none, it is damaged, or of another format.
pub fn open(path: &Path) -> Result<Record, RecordError> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
    }
    let path = if path.is_dir() {
        path.join(RECORD_FILE)
    } else {
        path.to_owned()
    };
    let io = |source| RecordError::Io {
        path: path.clone(),
        source,
    };
    let damaged = |source| RecordError::Damaged {
        path: path.clone(),
        source,
    };
    let file = std::fs::File::open(&path).map_err(io)?;
    // The format first: with another one, the shape of the rest says nothing.
    let header: Header = serde_json::from_reader(BufReader::new(&file)).map_err(damaged)?;
    if !(OLDEST_FORMAT..=FORMAT).contains(&header.format) {
        return Err(RecordError::Format {
            path,
            found: header.format,
        });
    }
    let text = std::fs::read_to_string(&path).map_err(io)?;
    serde_json::from_str(&text).map_err(damaged)
}

/// Writes a file beside its place and moves it there when it is complete, making the directory first.
///
/// # Errors
///
/// When the file system or `write` says no; the old file, if any, is untouched then.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    let mut out = BufWriter::new(file.as_file_mut());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
