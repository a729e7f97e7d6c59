//! The real [`Env`]: TCP, the machine's clock and entropy, SQLite and a folder on disk, FFmpeg in worker processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::env::{Env, Exec, SharedRng, WallClock};
use crate::error::RoleError;
use crate::media::worker::WorkerPool;
use crate::media::{MediaEngine, NoMedia};
use crate::net::TcpNet;
use crate::observe::Notices;
use crate::shortage::file_limit;
use crate::store::{Blobs, JobStore, LocalBlobs, MemoryBlobs, MemoryStore, SqliteStore};

/// What a role needs of the machine beyond the network. A role gets nothing it does not need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The job database.
    pub store: bool,
    /// Sources and clips.
    pub blobs: bool,
    /// Worker processes.
    pub media: bool,
}

impl Needs {
    /// Of the registry.
    pub const REGISTRY: Self = Self {
        store: false,
        blobs: false,
        media: false,
    };
    /// Of a gateway.
    pub const GATEWAY: Self = Self {
        store: true,
        blobs: true,
        media: false,
    };
    /// Of a processor.
    pub const PROCESSOR: Self = Self {
        store: false,
        blobs: true,
        media: true,
    };
    /// Of everything in one process.
    pub const SERVE: Self = Self {
        store: true,
        blobs: true,
        media: true,
    };
}

/// How long the first workers may take to start.
const WARM_UP: Duration = Duration::from_secs(20);

/// Opens the world for a role. `name` is the node's name unless the configuration has one.
///
/// # Errors
/// The data folder cannot be used, or worker processes cannot be started.
pub async fn open(
    config: &Config,
    name: &str,
    needs: Needs,
    notices: Notices,
    shutdown: CancellationToken,
) -> Result<Env, RoleError> {
    let data = |reason: String| RoleError::Data {
        path: config.data.clone(),
        reason,
    };
    if needs.store || needs.blobs {
        std::fs::create_dir_all(&config.data).map_err(|e| data(e.to_string()))?;
    }
    let store: Arc<dyn JobStore> = if needs.store {
        let file = config.data.join("jobs.db");
        Arc::new(SqliteStore::open(&file).map_err(|e| data(format!("jobs.db: {e}")))?)
    } else {
        Arc::new(MemoryStore::default())
    };
    let blobs: Arc<dyn Blobs> = if needs.blobs {
        let folder = absolute(&config.data).map_err(|e| data(e.to_string()))?;
        Arc::new(LocalBlobs::open(&folder).map_err(|e| data(e.to_string()))?)
    } else {
        Arc::new(MemoryBlobs::default())
    };
    let media: Arc<dyn MediaEngine> = if needs.media {
        let failed = |e: &dyn std::fmt::Display| {
            RoleError::Failed(format!("cannot start worker processes: {e}"))
        };
        let pool = WorkerPool::new(config.media.clone()).map_err(|e| failed(&e))?;
        match tokio::time::timeout(WARM_UP, pool.warm()).await {
            Ok(warmed) => warmed.map_err(|e| failed(&e))?,
            Err(_) => return Err(failed(&format!("none answered within {WARM_UP:?}"))),
        }
        Arc::new(pool)
    } else {
        Arc::new(NoMedia)
    };
    Ok(Env {
        node: Arc::from(config.node.as_deref().unwrap_or(name)),
        net: Arc::new(TcpNet::new(config.routes.clone()).within(file_limit())),
        exec: Exec::Tokio,
        clock: WallClock::system(),
        rng: SharedRng::entropy(),
        store,
        blobs,
        media,
        notices,
        shutdown,
    })
}

/// Worker processes get paths, and need not share our working directory.
fn absolute(path: &Path) -> std::io::Result<std::path::PathBuf> {
    std::fs::canonicalize(path)
}
