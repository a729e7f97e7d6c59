//! What is done to the clip service: `start.rs` starts its roles, `fixtures.rs` makes media and uploads it, `results.rs`
//! decodes clips, `counts.rs` asks a gateway for what it has counted.

mod counts;
mod fixtures;
mod results;
mod start;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::future::BoxFuture;

use super::ClipService;
use crate::sut::acting::{Acting, Body, CommandLine, Counts, Inspector, Place};

impl Acting for ClipService {
    fn present(&self) -> Result<(), String> {
        binary().map(drop)
    }

    fn command(&self, place: &Place<'_>) -> Result<CommandLine, String> {
        start::command(place)
    }

    fn body(&self, place: &Place<'_>) -> Result<Body, String> {
        start::body(place)
    }

    fn prepare<'a>(
        &'a self,
        fixtures: &'a [String],
        entry: SocketAddr,
    ) -> BoxFuture<'a, Result<BTreeMap<String, String>, String>> {
        Box::pin(fixtures::prepare(fixtures, entry))
    }

    fn counts<'a>(
        &'a self,
        probe: &'a str,
        client: &'a reqwest::Client,
        node: SocketAddr,
    ) -> BoxFuture<'a, Option<Counts>> {
        Box::pin(counts::ask(probe, client, node))
    }

    fn answer_helper_verb(&self) -> Option<ExitCode> {
        clip_service::media::worker::answer_worker_verb()
    }

    fn inspector(&self) -> Result<Box<dyn Inspector>, String> {
        Ok(Box::new(results::Decoder::new()?))
    }
}

/// The service's binary: beside this program, or one directory up when this is a test in `deps/`.
fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("clip-service{}", std::env::consts::EXE_SUFFIX);
    let directories = own.ancestors().skip(1).take(2);
    directories
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            format!(
                "{name} is not beside {}; build it with `cargo build -p clip-service`",
                own.display()
            )
        })
}
