//! What is known of a directory: its repository, branch, names of files. Registration, hooks
//! and commands ask for the repository, because it is the `repo` scope; the automatic summary asks
//! for the rest.
//!
//! Repository and branch are read from git's own small files (`discover`). Only names of files
//! need the `git` program, and of it only a command that opens no file of the worktree: what a
//! directory holds may be a stranger's, and its configuration and attributes name programs
//! (filters, drivers, monitors, hooks, transports) that git would run for any other. Nothing here
//! may read a file's contents, touch the network, take a lock that the user's own git would meet,
//! or keep a caller waiting: each question ends after a second, and "could not tell" is an ordinary
//! answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::sys::subprocess::{end_group, in_absolute_path, in_background};
use discover::{Found, GitDir};
use head::Head;
use owner::Trust;

mod discover;
mod files;
mod head;
mod owner;
mod repository;
mod settings;
#[cfg(test)]
mod tests;

pub use repository::{NoRepository, Repository};

/// git answers in some 4 ms; one that has not answered by now hangs on a dead mount.
const PATIENCE: Duration = Duration::from_secs(1);
/// Enough for a hundred thousand names, whatever lies in the directory.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// Asks git, and reads its files, in a given environment.
pub struct Git {
    environment: Vec<(OsString, OsString)>,
    patience: Duration,
}

/// The files of a directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Files {
    /// Their names, relative to the worktree's root `top`. A name that ends in a slash is that of a
    /// directory without any tracked files.
    Listed { top: PathBuf, names: Vec<Vec<u8>> },
    /// The directory is part of a bare repository: its files are git's own.
    Bare,
    /// The directory is in no repository, or git cannot tell.
    Unknown,
}

/// What git printed.
struct Answer {
    success: bool,
    stdout: Vec<u8>,
}

impl Git {
    /// Takes the environment of this process. What it says of git is left out: under a git hook,
    /// `GIT_DIR` and its kind name another repository than the directory's.
    pub fn new<N, V>(environment: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let environment = environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| !name.as_bytes().starts_with(b"GIT_"))
            .collect();
        Self { environment, patience: PATIENCE }
    }

    /// The same with another time limit for each question.
    #[cfg(test)]
    #[must_use]
    pub fn with_timeout(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Finds the repository that holds `dir`, and why there is none, for callers that must not be
    /// held up. Needs a runtime with time, as everything below does.
    ///
    /// # Errors
    ///
    /// If there is none, or none that may be used; what cannot be read within a second is nowhere.
    pub async fn repository(&self, dir: &Path) -> Result<Repository, NoRepository> {
        self.found(dir).await.map(|found| found.repository)
    }

    async fn found(&self, dir: &Path) -> Result<Found, NoRepository> {
        let (dir, trust) = (dir.to_owned(), Trust::of(&self.environment));
        let found = self.blocking(move || discover::find(&dir, &trust)).await;
        found.unwrap_or(Err(NoRepository::Nowhere))
    }

    /// What a dead mount may hold up is left to itself.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        timeout(self.patience, in_background("git", work)).await.ok()?.ok()
    }

    /// Returns the branch that is checked out, also while it has no commit yet; `None` on a
    /// detached HEAD.
    pub async fn branch(&self, dir: &Path) -> Option<String> {
        let found = self.found(dir).await.ok()?;
        let (GitDir::Worktree(git_dir) | GitDir::Bare(git_dir)) = &found.git_dir else {
            return None;
        };
        let of = git_dir.clone();
        let name = match self.blocking(move || head::read_head(&of)).await?? {
            Head::Branch(name) => name,
            Head::Detached => return None,
            Head::Elsewhere => {
                let question = ["symbolic-ref", "--short", "-q", "HEAD"];
                let top = &found.repository.top;
                let answer = self.ask(top, git_dir, top, &question).await.filter(|a| a.success)?;
                String::from_utf8_lossy(answer.stdout.strip_suffix(b"\n")?).into_owned()
            }
        };
        Some(name).filter(|name| !name.is_empty())
    }

    /// Returns the files at or below `dir` that git tracks, or would track if they were added.
    pub async fn files(&self, dir: &Path) -> Files {
        let found = self.found(dir).await.ok();
        let (top, git_dir) = match found.map(|found| (found.repository.top, found.git_dir)) {
            Some((top, GitDir::Worktree(git_dir))) => (top, git_dir),
            Some((_, GitDir::Bare(_))) => return Files::Bare,
            Some((_, GitDir::Unproven)) | None => return Files::Unknown,
        };
        match self.names(dir, &git_dir, &top).await {
            Some(names) => Files::Listed { top, names },
            None => Files::Unknown,
        }
    }

    /// The names of the files at or below `dir` that git tracks or would, from `top` on; `None`
    /// where git cannot tell. The one command here: it reads the index and lists directories, and
    /// opens no file that is not git's.
    async fn names(&self, dir: &Path, git_dir: &Path, top: &Path) -> Option<Vec<Vec<u8>>> {
        let of = git_dir.to_owned();
        if !self.blocking(move || files::has_own_index(&of)).await? {
            return None;
        }
        let question = [
            "ls-files",
            "-z",
            "--full-name",
            "--cached",
            "--others",
            // Untracked directories as such, and what the user ignores not at all.
            "--directory",
            "--no-empty-directory",
            "--exclude-standard",
            "--",
            ".",
        ];
        let answer = self.ask(dir, git_dir, top, &question).await.filter(|a| a.success)?;
        // Behind the last NUL stands nothing, or what MAX_OUTPUT has left of a name.
        let mut names: Vec<&[u8]> = answer.stdout.split(|byte| *byte == 0).collect();
        names.pop();
        Some(names.into_iter().filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// Runs git in `dir`, for the repository that was found and no other. `None` if it cannot be
    /// started, is killed or has not ended in time. Not by [`crate::sys::subprocess`]: who asks may be
    /// cancelled, and hears so much and no more.
    async fn ask(
        &self,
        dir: &Path,
        git_dir: &Path,
        top: &Path,
        question: &[&str],
    ) -> Option<Answer> {
        let mut command = Command::new(self.program()?);
        command
            .args(["--no-pager", "--no-optional-locks", "-C"])
            .arg(dir)
            // None of the questions needs these. Said all the same: a repository names programs
            // in them, and a daemon started by one would hold our pipe open.
            .args(["-c", "core.fsmonitor=false"])
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(["-c", "submodule.recurse=false"])
            .args(question)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // Whatever the configuration says of its worktree.
            .env("GIT_DIR", git_dir)
            .env("GIT_WORK_TREE", top)
            // A partial clone fetches what it lacks, with programs that it names. The first is
            // known to newer gits, the second leaves every git without a way to fetch.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own, so that git's own children end with it.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().ok()?;
        let answer = match timeout(self.patience, listen(&mut child)).await {
            Ok(Some((stdout, Some(status)))) => {
                let success = status.success();
                return status.code().map(|_| Answer { success, stdout });
            }
            Ok(Some((stdout, None))) => Some(Answer { success: true, stdout }),
            Ok(None) | Err(_) => None,
        };
        end(&mut child).await;
        answer
    }

    /// Where git is. A `PATH` with `.` in it would find one in the directory that we ask about.
    fn program(&self) -> Option<PathBuf> {
        let (_, path) = self.environment.iter().find(|(name, _)| name == "PATH")?;
        in_absolute_path(path, "git")
    }
}

/// What the child prints and how it ends; no end if it printed more than we want to hear.
async fn listen(child: &mut Child) -> Option<(Vec<u8>, Option<ExitStatus>)> {
    let mut stdout = Vec::new();
    let pipe = child.stdout.take()?;
    let length = pipe.take(MAX_OUTPUT).read_to_end(&mut stdout).await.ok()?;
    if length as u64 >= MAX_OUTPUT {
        return Some((stdout, None));
    }
    let status = child.wait().await.ok()?;
    Some((stdout, Some(status)))
}

/// Ends the child and what it started.
async fn end(child: &mut Child) {
    // No id: it has been reaped, and its number may be another's by now.
    if let Some(group) = child.id() {
        end_group(group);
    }
    // Sleeping on a dead mount it cannot even die; tokio reaps it whenever it does.
    let _ = timeout(Duration::from_millis(100), child.wait()).await;
}
