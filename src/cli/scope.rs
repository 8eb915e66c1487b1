//! The scope of a command, seen from the current directory.

use clap::ValueEnum;

use crate::cli::error::CliError;
use crate::config::Config;
use crate::protocol::scope::Scope;
use crate::sys::git::{Git, NoRepository};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ScopeArgument {
    Machine,
    Directory,
    Repo,
}

impl From<ScopeArgument> for Scope {
    fn from(argument: ScopeArgument) -> Self {
        match argument {
            ScopeArgument::Machine => Self::Machine,
            ScopeArgument::Directory => Self::Directory,
            ScopeArgument::Repo => Self::Repo,
        }
    }
}

/// The directory or repository that a scope refers to.
#[derive(Debug, Default)]
pub struct ScopeContext {
    pub directory: Option<String>,
    pub repo: Option<String>,
}

impl ScopeContext {
    /// Finds out what `scope` needs to know of the current directory.
    pub async fn here(scope: Scope, config: &Config) -> Result<Self, CliError> {
        let here = || {
            std::env::current_dir().and_then(std::fs::canonicalize).map_err(|error| {
                CliError::new(format!("the current directory cannot be found: {error}"))
                    .hint("Change into a directory that exists.")
            })
        };
        Ok(match scope {
            Scope::Machine => Self::default(),
            Scope::Directory => {
                Self { directory: Some(here()?.to_string_lossy().into_owned()), repo: None }
            }
            Scope::Repo => {
                let repo = match Git::new(config.environment.iter()).repository(&here()?).await {
                    Ok(found) => Some(found.common_dir.to_string_lossy().into_owned()),
                    // The broker reports that, as it does to sessions.
                    Err(NoRepository::Nowhere) => None,
                    Err(error) => return Err(refused(&error)),
                };
                Self { directory: None, repo }
            }
        })
    }
}

/// There is a repository, but it is not used.
fn refused(error: &NoRepository) -> CliError {
    let failure = CliError::new(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
