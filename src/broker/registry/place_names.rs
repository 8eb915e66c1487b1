//! What a place is called: the automatic name of the sessions that work there.
//!
//! It follows from the place alone, so that it is the same every day: the repository's name, and
//! before it what tells places within the repository apart, its worktree and its package.

use std::path::Path;

use rusqlite::Row;

use crate::protocol::names;
use crate::sys::git::Repository;

/// Where a peer works.
pub struct Place {
    /// Canonical where that is known.
    pub directory: String,
    /// The canonical git common directory.
    pub repo: Option<String>,
    /// The root of the git worktree.
    worktree: Option<String>,
}

impl Place {
    /// The columns that [`Place::read`] wants.
    pub const COLUMNS: &str = "coalesce(directory, cwd), repo, worktree";

    /// Reads them where they begin in a row.
    pub fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self { directory: row.get(at)?, repo: row.get(at + 1)?, worktree: row.get(at + 2)? })
    }

    /// Returns the name that this place gives: `shop`, `shop-login` for the worktree `login` of
    /// `shop`, `shop-api` for its package `api`; without a repository that of the directory.
    pub fn name(&self) -> String {
        let directory = Path::new(&self.directory);
        let Some(common_dir) = self.repo.as_deref().map(Path::new) else {
            return names::from_text(&last(directory));
        };
        let main = main_worktree(common_dir);
        let top = self.top(directory, common_dir, main);
        let repository = Repository { top: top.into(), common_dir: common_dir.into() };
        let repository = repository.name().unwrap_or_default();
        let mut name = repository.clone();
        if Some(top) != main && top != common_dir {
            name = names::within(&name, &last(top));
        }
        let package = last(directory);
        let says_more = names::canonical(&package) != names::canonical(&repository);
        if directory != top && says_more {
            name = names::within(&name, &package);
        }
        names::from_text(&name)
    }

    /// The worktree's root. A session of an earlier version does not tell it: then the directory
    /// counts as one, where it is not below the main worktree.
    fn top<'a>(
        &'a self,
        directory: &'a Path,
        common_dir: &'a Path,
        main: Option<&'a Path>,
    ) -> &'a Path {
        let told = self.worktree.as_deref().map(Path::new);
        [told, Some(common_dir), main]
            .into_iter()
            .flatten()
            .find(|top| directory.starts_with(top))
            .unwrap_or(directory)
    }
}

/// The worktree that a repository was made with: `shop` of `shop/.git`.
fn main_worktree(common_dir: &Path) -> Option<&Path> {
    common_dir.parent().filter(|_| common_dir.ends_with(".git"))
}

fn last(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(directory: &str, repo: Option<&str>, worktree: Option<&str>) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let directory = directory.to_owned();
        Place { directory, repo: owned(repo), worktree: owned(worktree) }.name()
    }

    #[test]
    fn a_worktree_or_package_stands_behind_its_repository() {
        let git = Some("/src/shop/.git");
        for (directory, repo, worktree, called) in [
            ("/src/shop", git, Some("/src/shop"), "shop"),
            ("/src/shop/packages/api", git, Some("/src/shop"), "shop-api"),
            ("/src/shop/shop", git, Some("/src/shop"), "shop"),
            ("/src/login", git, Some("/src/login"), "shop-login"),
            ("/src/shop-login", git, Some("/src/shop-login"), "shop-login"),
            ("/src/shop-login/packages/api", git, Some("/src/shop-login"), "shop-login-api"),
            (
                "/src/shop/.claude/worktrees/login",
                git,
                Some("/src/shop/.claude/worktrees/login"),
                "shop-login",
            ),
            ("/src/login/shop", git, Some("/src/login"), "shop-login"),
            ("/src/店/支払い", Some("/src/店/.git"), Some("/src/店"), "店-支払い"),
            ("/src/shop/main", Some("/src/shop/.bare"), Some("/src/shop/main"), "shop-main"),
            ("/src/shop.git", Some("/src/shop.git"), Some("/src/shop.git"), "shop"),
            ("/src/big/app", Some("/src/big/.git/modules/app"), Some("/src/big/app"), "app"),
            ("/src/plain", None, None, "plain"),
            ("/", None, None, "session"),
            // A session of an earlier version does not tell its worktree.
            ("/src/shop", git, None, "shop"),
            ("/src/shop/packages/api", git, None, "shop-api"),
            ("/src/login", git, None, "shop-login"),
            // It has moved since it told it.
            ("/src/shop/packages/api", git, Some("/src/login"), "shop-api"),
        ] {
            assert_eq!(name(directory, repo, worktree), called, "{directory}");
        }
    }
}
