//! What is done to a system under test: the acting half of [`super::Sut`], for the modules that run something.
//!
//! It stands below [`crate::runtime`] and says nothing of processes and threads: a role is started from a command line or
//! from a future, and which of them is a runtime's decision.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clip_service::observe::Notices;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::clip_service::ClipService;
use super::{SYSTEMS, SutKind};

/// A system that has something to be done to.
pub trait Acting: Sync {
    /// Whether the program that runs its roles is on this machine.
    ///
    /// # Errors
    /// Where it was looked for, and how to get it.
    fn present(&self) -> Result<(), String>;

    /// The command line that runs a role as a child process, which says by a notice where it listens.
    ///
    /// # Errors
    /// Why there is none.
    fn command(&self, place: &Place<'_>) -> Result<CommandLine, String>;

    /// The future that runs a role in this process.
    ///
    /// # Errors
    /// Why there is none.
    fn body(&self, place: &Place<'_>) -> Result<Body, String>;

    /// Makes fixtures and hands them to the system; their ids by name.
    fn prepare<'a>(
        &'a self,
        fixtures: &'a [String],
        entry: SocketAddr,
    ) -> BoxFuture<'a, Result<BTreeMap<String, String>, String>>;

    /// What a node has counted for a probe that is a ratio, since the node was started. `None` when it does not say.
    fn counts<'a>(
        &'a self,
        probe: &'a str,
        client: &'a reqwest::Client,
        node: SocketAddr,
    ) -> BoxFuture<'a, Option<Counts>>;

    /// Does what a child is asked for that a role in this process starts from this program; `None` in any other process.
    fn answer_helper_verb(&self) -> Option<ExitCode>;

    /// What looks at results.
    ///
    /// # Errors
    /// Why nothing can.
    fn inspector(&self) -> Result<Box<dyn Inspector>, String>;
}

/// Does what a node in this process asks of a child that it starts from this program, if this is such a child; the exit
/// code then.
#[must_use]
pub fn answer_helper_verb() -> Option<ExitCode> {
    let systems = SYSTEMS.iter().filter_map(|kind| acting(*kind));
    systems.into_iter().find_map(Acting::answer_helper_verb)
}

/// What looks at results. A file is looked at by itself, so the results of any system can be.
///
/// # Errors
/// Why nothing can.
pub fn inspector() -> Result<Box<dyn Inspector>, String> {
    let able = SYSTEMS.iter().find_map(|kind| acting(*kind));
    able.ok_or_else(|| "no system brings a way to look at results".to_owned())?
        .inspector()
}

/// How a system is acted on; `None` where a plan says all there is.
#[must_use]
pub fn acting(kind: SutKind) -> Option<&'static dyn Acting> {
    match kind {
        SutKind::ClipService => Some(&ClipService),
        SutKind::Programs => None,
    }
}

/// The two numbers of a ratio. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// What is counted.
    pub counted: u64,
    /// For so many of the other.
    pub per: u64,
}

/// A role that is to be started, and where.
#[derive(Debug)]
pub struct Place<'a> {
    /// Name of the node.
    pub node: &'a str,
    /// Its role.
    pub role: &'a str,
    /// Keys of its configuration that differ from the defaults.
    pub config: &'a Map<String, Value>,
    /// Folder that all nodes of the system share.
    pub data: &'a Path,
    /// The host and port to dial for each peer that the node has a link to.
    pub routes: Option<&'a BTreeMap<String, String>>,
}

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What a node in this process does: runs until `shutdown` is cancelled, says by `notices` where it listens.
pub type Body =
    Arc<dyn Fn(Notices, CancellationToken) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Looks at results of accepted work.
pub trait Inspector: Send + Sync {
    /// How the file of a result ends, as programs that read it expect: `.mp4`.
    fn suffix(&self) -> &'static str;

    /// Whether a result is what it should be, to its end; what is wrong otherwise.
    fn inspect<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<(), String>>;
}
