//! Facts about a directory: its repository, branch, and names of files.
//!
//! Registration, hooks and commands use the repository, because it is the scope `repo`; the automatic
//! summary uses the rest.
//!
//! Repository and branch are read from git's own small files (`discover`). Only names of files need
//! the `git` program, and only a command of it that opens no file of the worktree. The directory may
//! come from an untrusted source, and its configuration and attributes name programs (filters,
//! drivers, monitors, hooks, transports) that other git commands would run. Nothing here may read the
//! content of a file, use the network, take a lock that could block the user's own git, or block a
//! caller: each query ends after a second, and "unknown" is an ordinary answer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::sys::subprocess::{find_in_absolute_path, kill_group, run_in_background};
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

/// The time limit for a query. git answers in some 4 ms, unless a file system hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most bytes of output: enough for a hundred thousand names.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// Runs git, and reads its files, in a given environment.
pub struct Git {
    environment: Vec<(OsString, OsString)>,
    patience: Duration,
}

/// The files of a directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Files {
    /// The names, relative to the worktree's root `top`. A name with a slash at its end is a
    /// directory without tracked files.
    Listed { top: PathBuf, names: Vec<Vec<u8>> },
    /// The directory is part of a bare repository, so its files are git's own.
    Bare,
    /// The directory is in no repository, or git cannot tell.
    Unknown,
}

/// The output of git.
struct Answer {
    success: bool,
    stdout: Vec<u8>,
}

impl Git {
    /// Takes an environment, without its variables for git.
    ///
    /// Under a git hook, `GIT_DIR` and similar variables name another repository than the directory's.
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

    /// Sets another time limit for each query.
    #[cfg(test)]
    #[must_use]
    pub fn with_timeout(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Finds the repository of `dir`, without blocking other tasks.
    ///
    /// Needs a runtime with timers, like all methods below.
    ///
    /// # Errors
    ///
    /// If there is no repository, or none that may be used or can be read within the time limit.
    pub async fn repository(&self, dir: &Path) -> Result<Repository, NoRepository> {
        self.found(dir).await.map(|found| found.repository)
    }

    async fn found(&self, dir: &Path) -> Result<Found, NoRepository> {
        let (dir, trust) = (dir.to_owned(), Trust::of(&self.environment));
        let found = self.blocking(move || discover::find(&dir, &trust)).await;
        found.unwrap_or(Err(NoRepository::Nowhere))
    }

    /// Runs `work` on a thread, which is abandoned after the time limit if a file system hangs.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        timeout(self.patience, run_in_background("git", work)).await.ok()?.ok()
    }

    /// Returns the branch that is checked out, even if it has no commit yet; `None` on a detached
    /// HEAD.
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

    /// Returns the names, relative to `top`, of the files at or below `dir` that git tracks or would
    /// track; `None` if git cannot tell.
    ///
    /// This runs the only git command here. It reads the index and lists directories, and opens no
    /// file but git's own.
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
            // Untracked directories by their name only, and ignored files not at all.
            "--directory",
            "--no-empty-directory",
            "--exclude-standard",
            "--",
            ".",
        ];
        let answer = self.ask(dir, git_dir, top, &question).await.filter(|a| a.success)?;
        // After the last NUL comes nothing, or a name that MAX_OUTPUT has cut.
        let mut names: Vec<&[u8]> = answer.stdout.split(|byte| *byte == 0).collect();
        names.pop();
        Some(names.into_iter().filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// Runs git in `dir`, for the repository that was found and no other.
    ///
    /// `None` if git cannot be started, is killed, or has not ended in time. Does not use
    /// [`crate::sys::subprocess`], because a caller may be cancelled and the output is limited.
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
            // No query needs these. They are set because a repository can name programs in them,
            // and a daemon started by such a program would keep our pipe open.
            .args(["-c", "core.fsmonitor=false"])
            .args(["-c", "core.hooksPath=/dev/null"])
            .args(["-c", "submodule.recurse=false"])
            .args(question)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // These override the worktree in the configuration.
            .env("GIT_DIR", git_dir)
            .env("GIT_WORK_TREE", top)
            // A partial clone fetches missing objects, with programs that it names. The first
            // variable prevents that in newer versions of git, the second in all versions.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A process group of its own, so that the children of git can be killed with it.
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

    /// Returns the path of git. Relative directories of `PATH` are skipped, because they could hold a
    /// git in the directory that is examined.
    fn program(&self) -> Option<PathBuf> {
        let (_, path) = self.environment.iter().find(|(name, _)| name == "PATH")?;
        find_in_absolute_path(path, "git")
    }
}

/// Returns the output of the child and its exit status; no status if the output is too long.
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

/// Kills the child and the processes that it started.
async fn end(child: &mut Child) {
    // Without an id the child has been reaped, and its pid may have been reused.
    if let Some(group) = child.id() {
        kill_group(group);
    }
    // A child that waits for a hanging file system cannot end now; tokio reaps it later.
    let _ = timeout(Duration::from_millis(100), child.wait()).await;
}
