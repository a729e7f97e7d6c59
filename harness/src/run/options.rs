//! What a run needs to know besides its plan.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::file_limit::FileLimit;
use crate::load::Goose;
use crate::load::drive::Driver;
use crate::runtime::Runtimes;

/// What a run needs to know besides its plan.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identifies the run and everything it leaves behind; unique, and fit for a file name.
    pub run_id: String,
    /// Directory for the nodes' log files; made when missing.
    pub logs: PathBuf,
    /// Directory of undo journals.
    pub journal: PathBuf,
    /// How nodes are run.
    pub runtimes: Runtimes,
    /// What drives the load.
    pub load: Arc<dyn Driver>,
    /// Whether a run that this machine lacks something for ends as skipped; otherwise it ends as not ready.
    pub skip: bool,
    /// The limit on open files that processes of the system get, where this process has raised its own.
    pub files: Option<FileLimit>,
    /// Cut waiting short: undo is still done, draining is not waited for.
    pub force: CancellationToken,
}

impl Options {
    /// Options with the usual journal.
    #[must_use]
    pub fn new(run_id: impl Into<String>, logs: impl Into<PathBuf>) -> Self {
        Self {
            run_id: run_id.into(),
            logs: logs.into(),
            journal: crate::journal::directory(),
            runtimes: Runtimes::default(),
            load: Arc::new(Goose),
            skip: true,
            files: None,
            force: CancellationToken::new(),
        }
    }
}
