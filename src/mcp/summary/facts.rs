//! What the summary's endpoint learns about a session: names, and never the contents of a file.

use std::path::Path;

use crate::config::Environment;
use crate::mcp::summary::recent_files::recent_files;
use crate::sys::git::Git;

/// Most names of recent files.
pub const MAX_FILES: usize = 30;

/// All that the endpoint learns about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// The working directory, with `~` for the home directory, so that it names no user.
    pub directory: String,
    /// The repository's name.
    pub repository: Option<String>,
    pub branch: Option<String>,
    /// Names only, newest work first.
    pub recent_files: Vec<String>,
}

/// Returns the facts about the session in `cwd`. Takes two seconds at most.
pub async fn facts(cwd: &Path, environment: &Environment) -> SessionFacts {
    let git = Git::new(environment.iter());
    let (repository, branch, recent_files) =
        tokio::join!(git.repository(cwd), git.branch(cwd), recent_files(&git, cwd, MAX_FILES));
    SessionFacts {
        directory: without_home(cwd, environment.path("HOME").as_deref()),
        repository: repository.ok().and_then(|repository| repository.name()),
        branch,
        recent_files,
    }
}

pub(super) fn without_home(directory: &Path, home: Option<&Path>) -> String {
    let home = home.filter(|home| home.parent().is_some());
    match home.and_then(|home| directory.strip_prefix(home).ok()) {
        Some(rest) => Path::new("~").join(rest).display().to_string(),
        None => directory.display().to_string(),
    }
}
