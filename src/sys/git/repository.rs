//! The repository of a directory, or why it has none that may be used.

use std::path::{Path, PathBuf};

/// The file or directory that marks the root of a worktree.
pub const DOT_GIT: &str = ".git";

/// A directory's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The worktree's root, canonical. Of a bare repository, or within a `.git` directory:
    /// `common_dir`.
    pub top: PathBuf,
    /// The repository's identity, canonical: the same for all its worktrees and subdirectories.
    /// For a worktree whose `.git` points to a repository that does not record it: that `.git`.
    pub common_dir: PathBuf,
}

impl Repository {
    /// Returns the name of the repository, which is the same in all its worktrees.
    ///
    /// Derived from `common_dir`: `app` for `app/.git`, `app.git`, `app/.bare` and
    /// `super/.git/modules/app`.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let last = self.common_dir.file_name()?.to_string_lossy();
        if !last.starts_with('.') {
            return Some(last.strip_suffix(".git").unwrap_or(&last).to_owned());
        }
        let parent = self.common_dir.parent()?.file_name()?;
        Some(parent.to_string_lossy().into_owned())
    }
}

/// Why there is no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRepository {
    #[error("this is not inside a git repository")]
    Nowhere,
    #[error(
        "the git repository here belongs to another user: {} is of user {owner}", .path.display()
    )]
    Foreign { path: PathBuf, owner: u32 },
    #[error(
        "the git repository here cannot be used: {} names no git directory", .pointer.display()
    )]
    Broken { pointer: PathBuf },
}

impl NoRepository {
    /// Returns a hint what to do, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Nowhere => None,
            Self::Foreign { path, .. } => Some(format!(
                "If you trust it: git config --global --add safe.directory '{}'",
                worktree_of(path).display()
            )),
            Self::Broken { .. } => {
                Some("git status says more; git worktree repair may help.".to_owned())
            }
        }
    }
}

/// Returns the worktree of a `.git`, which is the value for `safe.directory`.
///
/// The worktree may belong to the user while its `.git` does not.
fn worktree_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if path.ends_with(DOT_GIT) => parent,
        _ => path,
    }
}
