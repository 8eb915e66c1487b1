//! Finds the repository of a directory as git does, but without running git.
//!
//! Only a few small files are read, so registration, hooks and commands can all afford it.
//!
//! The content of a directory may come from an untrusted source, such as an archive. So a pointer that
//! leads out of the directory is not trusted by itself. A `.git` that points elsewhere counts only if
//! the repository there names this same place as one of its worktrees ([`repository_at`]).
//! `core.worktree` is used for nothing but this check. No file is opened that could block the reader,
//! and files of other users are not used.

use std::path::{Path, PathBuf};

use crate::sys::git::files::{first_line, resolve, same_file};
use crate::sys::git::owner::Trust;
use crate::sys::git::repository::{DOT_GIT, NoRepository, Repository};
use crate::sys::git::settings;

/// A repository, with the place of the git files of this one worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub repository: Repository,
    pub git_dir: GitDir,
}

/// What may be read of the repository beyond its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitDir {
    /// The directory with HEAD and index of the worktree.
    Worktree(PathBuf),
    /// The directory with HEAD. There is no worktree.
    Bare(PathBuf),
    /// The `.git` points to a directory that does not point back. It may belong to another
    /// repository, so it is not read.
    Unproven,
}

/// Finds the repository that holds `dir`.
///
/// The nearest `.git` in the directory or above decides. A directory that looks like a bare repository
/// is one only outside of worktrees: within a worktree it is content, which may have been committed by
/// any author.
///
/// # Errors
///
/// If there is no repository, or none that may be used.
pub fn find(dir: &Path, trust: &Trust) -> Result<Found, NoRepository> {
    let start = std::fs::canonicalize(dir).map_err(|_| NoRepository::Nowhere)?;
    let file_system_of_start = file_system(&start);
    let mut bare: Option<PathBuf> = None;
    for level in start.ancestors() {
        // As git does: the search ends at the border of the file system.
        if file_system(level) != file_system_of_start {
            break;
        }
        if let Some(found) = worktree(level, trust) {
            return match (bare, found) {
                (Some(bare), Ok(found)) if !is_part(&bare, &found) => Ok(found),
                (Some(bare), _) => bare_repository(bare, trust),
                (None, found) => found,
            };
        }
        if bare.is_none() && common_of(level).is_some() {
            bare = Some(level.to_owned());
        }
    }
    bare.map_or(Err(NoRepository::Nowhere), |bare| bare_repository(bare, trust))
}

fn file_system(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|data| data.dev())
}

/// Returns whether a directory that looks like a repository is part of the one above, not content.
fn is_part(bare: &Path, above: &Found) -> bool {
    bare.starts_with(&above.repository.common_dir)
}

fn bare_repository(git_dir: PathBuf, trust: &Trust) -> Result<Found, NoRepository> {
    trust.check(&[&git_dir], &git_dir)?;
    let common = common_of(&git_dir).filter(|common| lists(common, &git_dir));
    let common_dir = common.unwrap_or_else(|| git_dir.clone());
    let repository = Repository { top: common_dir.clone(), common_dir };
    Ok(Found { repository, git_dir: GitDir::Bare(git_dir) })
}

/// Returns the repository whose worktree has its root at `level`, if there is one.
fn worktree(level: &Path, trust: &Trust) -> Option<Result<Found, NoRepository>> {
    let entry = level.join(DOT_GIT);
    let data = std::fs::symlink_metadata(&entry).ok()?;
    if data.is_dir() {
        // An empty directory, or something else of that name: git searches further up.
        common_of(&entry)?;
        return Some(repository_at(level, &entry, entry.clone(), trust));
    }
    let target = std::fs::canonicalize(&entry).ok()?;
    if target.is_dir() {
        common_of(&target)?;
        return Some(repository_at(level, &entry, target, trust));
    }
    let git_dir = pointed_at(&entry).filter(|git_dir| common_of(git_dir).is_some());
    Some(match git_dir {
        Some(git_dir) => repository_at(level, &entry, git_dir, trust),
        None => Err(NoRepository::Broken { pointer: entry }),
    })
}

/// Returns the directory to which a `.git` file points.
fn pointed_at(file: &Path) -> Option<PathBuf> {
    let line = first_line(file)?;
    let target = line.strip_prefix(b"gitdir:")?.trim_ascii_start();
    resolve(file.parent()?, target)
}

fn repository_at(
    level: &Path,
    entry: &Path,
    git_dir: PathBuf,
    trust: &Trust,
) -> Result<Found, NoRepository> {
    trust.check(&[entry, level, &git_dir], level)?;
    let top = level.to_owned();
    Ok(match proven(level, entry, &git_dir) {
        Some(common_dir) => {
            Found { repository: Repository { top, common_dir }, git_dir: GitDir::Worktree(git_dir) }
        }
        // The `.git` itself is the identity, which only the directories below it share.
        None => Found {
            repository: Repository { top, common_dir: entry.to_owned() },
            git_dir: GitDir::Unproven,
        },
    })
}

/// Returns the common directory of the repository whose worktree is `level`, if one of these holds:
///
/// * the git directory is `level/.git` itself, and has no other common directory;
/// * it is a directory in which a repository keeps a linked worktree, and records this `.git`;
/// * its `core.worktree` is `level`: a submodule, or a directory set up by hand;
/// * it is below `level`, is not the `.git` of another directory, and names no other worktree.
///
/// A repository of `git init --separate-git-dir` records nothing that could be compared.
fn proven(level: &Path, entry: &Path, git_dir: &Path) -> Option<PathBuf> {
    let common = common_of(git_dir)?;
    if common != git_dir {
        let recorded = first_line(&git_dir.join("gitdir"))?;
        let back = resolve(git_dir, &recorded)?;
        return (lists(&common, git_dir) && same_file(&back, entry)).then_some(common);
    }
    if git_dir == entry {
        return Some(common);
    }
    let own = match core_worktree(git_dir) {
        Some(recorded) => same_file(&git_dir.join(recorded), level),
        None => git_dir.starts_with(level) && !git_dir.ends_with(DOT_GIT),
    };
    own.then_some(common)
}

/// Returns whether a repository keeps this git directory for a linked worktree.
fn lists(common: &Path, git_dir: &Path) -> bool {
    git_dir.parent() == Some(&common.join("worktrees"))
}

fn core_worktree(git_dir: &Path) -> Option<PathBuf> {
    let last = |file: &str| {
        let recorded = settings::values(&git_dir.join(file), "core", "worktree").pop()?;
        Some(PathBuf::from(recorded))
    };
    last("config.worktree").or_else(|| last("config"))
}

/// Returns the common directory of a git directory, which may be itself; `None` if it is not a git
/// directory.
fn common_of(git_dir: &Path) -> Option<PathBuf> {
    let pointer = git_dir.join("commondir");
    let common = if std::fs::symlink_metadata(&pointer).is_ok() {
        resolve(git_dir, &first_line(&pointer)?)?
    } else {
        git_dir.to_owned()
    };
    let is_whole = crate::sys::git::head::is_head(&git_dir.join("HEAD"))
        && common.join("objects").is_dir()
        && common.join("refs").is_dir();
    is_whole.then_some(common)
}
