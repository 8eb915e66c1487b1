//! Which repository holds a directory, found as git finds it and without starting git: a few
//! small files are read, so that registration, a hook and a command may all ask.
//!
//! What lies in a directory was perhaps written by a stranger: unpacked from an archive, or, but
//! for the name `.git`, cloned. So nothing here is believed that leads out of it. A `.git` that
//! points elsewhere counts as its repository's only if that repository names this very place as
//! one of its worktrees ([`repository_at`]); `core.worktree` says where a repository's files
//! are to git, and to us only whether such a pointer is returned. No file is opened that could
//! hold a reader up, and what belongs to another user is not gone by.

use std::path::{Path, PathBuf};

use crate::sys::git::files::{first_line, resolve, same_file};
use crate::sys::git::owner::Trust;
use crate::sys::git::repository::{DOT_GIT, NoRepository, Repository};
use crate::sys::git::settings;

/// A repository, and where git keeps what belongs to this one worktree of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub repository: Repository,
    pub git_dir: GitDir,
}

/// What may be read of it beyond its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitDir {
    /// HEAD and index of the worktree lie here.
    Worktree(PathBuf),
    /// There is no worktree; HEAD lies here.
    Bare(PathBuf),
    /// The `.git` points at something that does not point back: whatever stands there may be
    /// another repository's, so it is not read.
    Unproven,
}

/// Finds the repository that holds `dir`.
///
/// The nearest `.git` above decides. A directory that is itself shaped like a repository is a
/// bare one only where no worktree holds it: within one it is content, which anybody may have
/// committed.
///
/// # Errors
///
/// If there is none, or none that may be used.
pub fn find(dir: &Path, trust: &Trust) -> Result<Found, NoRepository> {
    let start = std::fs::canonicalize(dir).map_err(|_| NoRepository::Nowhere)?;
    let file_system_of_start = file_system(&start);
    let mut bare: Option<PathBuf> = None;
    for level in start.ancestors() {
        // As git does: what another file system holds is another matter.
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

/// Whether what is shaped like a repository is a part of the one found above it, and not content.
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

/// The repository whose worktree begins at `level`; `None` if none does.
fn worktree(level: &Path, trust: &Trust) -> Option<Result<Found, NoRepository>> {
    let entry = level.join(DOT_GIT);
    let data = std::fs::symlink_metadata(&entry).ok()?;
    if data.is_dir() {
        // An empty one, or something else of that name: git looks further up.
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

/// Where a `.git` file points.
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
        // A place of its own: one for all who work below it, and for nobody else.
        None => Found {
            repository: Repository { top, common_dir: entry.to_owned() },
            git_dir: GitDir::Unproven,
        },
    })
}

/// The identity of the repository whose worktree `level` is, if it agrees:
///
/// * the git directory is `level/.git` itself, complete in itself;
/// * it is one of those in which a repository keeps its linked worktrees, and the path recorded
///   in it is this `.git`;
/// * its `core.worktree` is `level`: a submodule, or a directory set up by hand;
/// * it lies below `level`, is no other directory's `.git` and names no other worktree.
///
/// `git init --separate-git-dir` leaves nothing that could be compared.
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

/// Whether a repository keeps this git directory for a linked worktree.
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

/// The directory that a git directory shares with its repository's other worktrees, itself where
/// it shares nothing; `None` if it is no git directory.
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
