//! The name of a place, which is the automatic name of the sessions that work there.
//!
//! The name depends on the place alone, so that it is the same every day: the repository's name,
//! followed by what distinguishes places within the repository, the worktree and the package.

use std::path::Path;

use rusqlite::Row;

use crate::protocol::names;
use crate::sys::git::Repository;

/// The place where a peer works.
pub struct WorkingPlace {
    /// The directory; canonical where the canonical form is known.
    pub directory: String,
    /// The canonical git common directory.
    pub repo: Option<String>,
    /// The root of the git worktree.
    worktree: Option<String>,
}

impl WorkingPlace {
    /// The columns that [`WorkingPlace::read`] expects.
    pub const COLUMNS: &str = "coalesce(directory, cwd), repo, worktree";

    /// Reads a place from a row; `at` is the index of the first of [`WorkingPlace::COLUMNS`].
    pub fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self { directory: row.get(at)?, repo: row.get(at + 1)?, worktree: row.get(at + 2)? })
    }

    /// Returns the name of this place.
    ///
    /// `shop` for a repository, `shop-login` for its worktree `login`, `shop-api` for its package
    /// `api`; without a repository, the name of the directory.
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

    /// Returns the worktree's root.
    ///
    /// A session of an earlier version does not report it. Its directory counts as the root then, if
    /// it is not below the main worktree.
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

/// Returns the worktree that a repository was created with: `shop` of `shop/.git`.
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
        WorkingPlace { directory, repo: owned(repo), worktree: owned(worktree) }.name()
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
            // A session of an earlier version does not report its worktree.
            ("/src/shop", git, None, "shop"),
            ("/src/shop/packages/api", git, None, "shop-api"),
            ("/src/login", git, None, "shop-login"),
            // A session that has moved since it reported its worktree.
            ("/src/shop/packages/api", git, Some("/src/login"), "shop-api"),
        ] {
            assert_eq!(name(directory, repo, worktree), called, "{directory}");
        }
    }
}
