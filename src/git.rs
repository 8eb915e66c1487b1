//! What the `git` program knows about a directory: repository, branch, names of recent files.
//! Registration asks for the repository, because it is the `repo` scope; the automatic summary
//! asks for the rest. Nothing here may read a file's contents, run a program that the repository
//! itself configures (where git lets us refuse), touch the network, take a lock that the user's
//! own git would meet, or keep a caller waiting: each question ends after a second, and "git
//! could not tell" is an ordinary answer.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::programs::end_group;

#[cfg(test)]
mod tests;

/// git answers in some 4 ms; one that has not answered by now hangs on a dead mount.
const PATIENCE: Duration = Duration::from_secs(1);
/// Enough for thousands of names, whatever lies in the directory.
const MAX_OUTPUT: u64 = 256 * 1024;
/// Directory entries that are looked at where there is no repository.
const MAX_ENTRIES: usize = 2000;
/// What a git before 2.31 prints back when it does not know the option.
const ABSOLUTE: &str = "--path-format=absolute";

/// A directory's repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The worktree's root, canonical. Of a bare repository, or within a `.git` directory:
    /// `common_dir`.
    pub top: PathBuf,
    /// The repository's identity, canonical: the same for all its worktrees and subdirectories.
    pub common_dir: PathBuf,
}

impl Repository {
    /// What people call the repository. The same in all its worktrees, so taken from
    /// `common_dir`: `app` for `app/.git`, `app.git`, `app/.bare` and `super/.git/modules/app`.
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

/// The repository that holds `dir`; `None` where there is none or git cannot tell. Needs a
/// runtime with I/O and time, as everything here does.
pub async fn repository(dir: &Path) -> Option<Repository> {
    Git::new(std::env::vars_os()).repository(dir).await
}

/// The branch that is checked out, also while it has no commit yet; `None` on a detached HEAD.
pub async fn branch(dir: &Path) -> Option<String> {
    Git::new(std::env::vars_os()).branch(dir).await
}

/// At most `limit` names of files at or below `dir` that changed recently: uncommitted ones,
/// then those of the last commits, relative to the worktree's root. Where there is no
/// repository: the visible files that lie directly in `dir`, newest first. Names that look like
/// secrets are left out.
pub async fn recent_files(dir: &Path, limit: usize) -> Vec<String> {
    Git::new(std::env::vars_os()).recent_files(dir, limit).await
}

/// How git is called. The environment is a value, so that a test can hold it.
struct Git {
    environment: Vec<(OsString, OsString)>,
    patience: Duration,
}

/// What git printed.
struct Answer {
    success: bool,
    stdout: Vec<u8>,
}

impl Git {
    /// Under a git hook, `GIT_DIR` and its kind name another repository than the directory's.
    fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let environment = environment
            .into_iter()
            .filter(|(name, _)| !name.as_bytes().starts_with(b"GIT_"))
            .collect();
        Self { environment, patience: PATIENCE }
    }

    async fn repository(&self, dir: &Path) -> Option<Repository> {
        // The common directory first: a bare repository prints it before it fails at the top.
        let question = ["rev-parse", ABSOLUTE, "--git-common-dir", "--show-toplevel"];
        let answer = self.ask(dir, &question).await?;
        let said = answer.stdout.as_slice();
        let said = said.strip_prefix(format!("{ABSOLUTE}\n").as_bytes()).unwrap_or(said);
        let said = said.strip_suffix(b"\n")?;
        if !answer.success {
            let common_dir = canonical(dir, said).await?;
            return Some(Repository { top: common_dir.clone(), common_dir });
        }
        let lines: Vec<&[u8]> = said.split(|byte| *byte == b'\n').collect();
        let (common_dir, top) = if let [common_dir, top] = lines[..] {
            (common_dir, top.to_vec())
        } else {
            // A path with a newline. Knowing where the top ends, we know where it begins.
            let answer = self.ask(dir, &["rev-parse", "--show-toplevel"]).await?;
            let top = answer.stdout.strip_suffix(b"\n")?.to_vec();
            (said.strip_suffix(&*top)?.strip_suffix(b"\n")?, top)
        };
        Some(Repository {
            top: canonical(dir, &top).await?,
            common_dir: canonical(dir, common_dir).await?,
        })
    }

    async fn branch(&self, dir: &Path) -> Option<String> {
        // `rev-parse --abbrev-ref HEAD` would fail in a repository without a commit.
        let question = ["symbolic-ref", "--short", "-q", "HEAD"];
        let answer = self.ask(dir, &question).await.filter(|a| a.success)?;
        let name = String::from_utf8_lossy(answer.stdout.strip_suffix(b"\n")?).into_owned();
        Some(name).filter(|name| !name.is_empty())
    }

    async fn recent_files(&self, dir: &Path, limit: usize) -> Vec<String> {
        if self.repository(dir).await.is_none() {
            return plain_files(dir.to_owned(), limit).await;
        }
        let (uncommitted, committed) = tokio::join!(self.uncommitted(dir), self.committed(dir));
        let mut seen = HashSet::new();
        uncommitted
            .into_iter()
            .chain(committed)
            .filter(|name| !looks_secret(name) && seen.insert(name.clone()))
            .take(limit)
            .collect()
    }

    async fn uncommitted(&self, dir: &Path) -> Vec<String> {
        // Submodules would cost a git process each; renames would cost a second name per entry.
        let question = [
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=normal",
            "--ignore-submodules=all",
            "--no-renames",
            "--",
            ".",
        ];
        let names = self.names(dir, &question).await;
        // Two letters of state and a space stand before each name.
        names.iter().filter_map(|entry| entry.get(3..)).map(lossy).collect()
    }

    async fn committed(&self, dir: &Path) -> Vec<String> {
        let question = [
            "log",
            "-n",
            "5",
            "--name-only",
            "--pretty=format:",
            "-z",
            "--no-renames",
            "--no-color",
            "--",
            ".",
        ];
        let names = self.names(dir, &question).await;
        names.iter().map(|name| lossy(name)).collect()
    }

    /// The names in an answer that ends each with a NUL.
    async fn names(&self, dir: &Path, question: &[&str]) -> Vec<Vec<u8>> {
        let Some(answer) = self.ask(dir, question).await.filter(|a| a.success) else {
            return Vec::new();
        };
        // Behind the last NUL stands nothing, or what MAX_OUTPUT has left of a name.
        let mut names: Vec<&[u8]> = answer.stdout.split(|byte| *byte == 0).collect();
        names.pop();
        let names = names.into_iter().filter(|name| !name.is_empty());
        names.map(<[u8]>::to_vec).collect()
    }

    /// Runs git. `None` if it cannot be started, is killed or has not ended in time. Not by
    /// [`crate::programs`]: who asks may be cancelled, and hears so much and no more.
    async fn ask(&self, dir: &Path, question: &[&str]) -> Option<Answer> {
        let mut command = Command::new("git");
        command
            .args(["--no-optional-locks", "-C"])
            .arg(dir)
            // A repository names programs in these, which a mere question should not start, and
            // a daemon started by one would hold our pipe open.
            .args(["-c", "core.fsmonitor=false"])
            .args(["-c", "log.showSignature=false"])
            .args(["-c", "log.follow=false"])
            .args(["-c", "diff.relative=false"])
            .args(question)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            // A partial clone fetches what it lacks.
            .env("GIT_NO_LAZY_FETCH", "1")
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

/// A path that git printed, which an old git prints relative to where it was asked.
async fn canonical(dir: &Path, printed: &[u8]) -> Option<PathBuf> {
    if printed.is_empty() {
        return None;
    }
    let path = dir.join(OsStr::from_bytes(printed));
    timeout(PATIENCE, tokio::fs::canonicalize(path)).await.ok()?.ok()
}

async fn plain_files(dir: PathBuf, limit: usize) -> Vec<String> {
    let listing = tokio::task::spawn_blocking(move || newest_files(&dir, limit));
    match timeout(PATIENCE, listing).await {
        Ok(Ok(names)) => names,
        _ => Vec::new(),
    }
}

/// Hidden files are left out: in a home directory the newest are shell histories and the like.
fn newest_files(dir: &Path, limit: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut files: Vec<(SystemTime, String)> = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = lossy(entry.file_name().as_bytes());
            if name.starts_with('.') || looks_secret(&name) {
                return None;
            }
            let data = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((data.modified().ok()?, name))
        })
        .collect();
    files.sort_by(|(a, a_name), (b, b_name)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    files.into_iter().map(|(_, name)| name).take(limit).collect()
}

/// Whether even the name is better kept to ourselves. Wrong in doubt: a name too few harms nobody.
fn looks_secret(path: &str) -> bool {
    const NAMES: [&str; 7] =
        [".netrc", ".npmrc", ".pypirc", ".pgpass", ".htpasswd", ".ssh", ".gnupg"];
    const STARTS: [&str; 7] =
        [".env", "credential", "secret", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"];
    const ENDS: [&str; 11] = [
        ".env",
        ".pem",
        ".key",
        ".ppk",
        ".p12",
        ".pfx",
        ".jks",
        ".keystore",
        ".kdbx",
        ".gpg",
        ".asc",
    ];
    path.split('/').any(|part| {
        let part = part.to_lowercase();
        NAMES.contains(&&*part)
            || STARTS.iter().any(|start| part.starts_with(start))
            || ENDS.iter().any(|end| part.ends_with(end))
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
