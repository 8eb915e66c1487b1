//! Why a demo failed.

use std::io;

use crate::client::ClientError;
use crate::config::ConfigError;

/// A demo's failure.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A step did not happen, or not as it should.
    #[error("{0}")]
    Step(String),
}

impl DemoError {
    pub(super) fn step(problem: impl Into<String>) -> Self {
        Self::Step(problem.into())
    }
}
