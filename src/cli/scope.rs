//! A scope, as seen from the directory that one stands in.

use clap::ValueEnum;

use crate::cli::error::Failure;
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

/// What a scope refers to here.
#[derive(Debug, Default)]
pub struct Place {
    pub directory: Option<String>,
    pub repo: Option<String>,
}

impl Place {
    /// As far as `scope` needs it.
    pub async fn here(scope: Scope, config: &Config) -> Result<Self, Failure> {
        let here = || {
            std::env::current_dir().and_then(std::fs::canonicalize).map_err(|error| {
                Failure::new(format!("the directory that you are in cannot be found: {error}"))
                    .hint("Change into one that is there.")
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
                    // The broker says so, in the words that it has for sessions.
                    Err(NoRepository::Nowhere) => None,
                    Err(error) => return Err(refused(&error)),
                };
                Self { directory: None, repo }
            }
        })
    }
}

/// There is a repository, and it does not count.
fn refused(error: &NoRepository) -> Failure {
    let failure = Failure::new(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
