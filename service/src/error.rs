//! Why a role could not start or had to stop, in one line a person can act on, with its exit code.
//!
//! Errors of single requests are [`crate::http::Problem`]s, those of single calls live beside the call.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigErrors;
use crate::store::StoreError;

/// Why a role ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The configuration is wrong; every problem is listed.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {reason}", path.display())]
    Data {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else that ends a role.
    #[error("{0}")]
    Failed(String),
}

impl RoleError {
    /// Exit code of the program: 2 when the configuration is at fault, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Bind { .. } | Self::Data { .. } | Self::Store(_) | Self::Failed(_) => 1,
        }
    }
}

/// Result of running a role.
pub type RoleResult = Result<(), RoleError>;
