//! Names of recently changed files, without those that look like secrets.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::sys::git::{Files, Git};
use crate::sys::subprocess::run_in_background;

/// Longest time for looking at the files. A dead mount may take forever.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Most directory entries that are looked at where there is no repository.
const MAX_ENTRIES: usize = 2000;

/// Returns at most `limit` names of files at or below `dir`, relative to the worktree's root, those
/// that changed last first.
///
/// Where there is no repository, they are the visible files directly in `dir`. Names that look like
/// secrets are left out.
pub async fn recent_files(git: &Git, dir: &Path, limit: usize) -> Vec<String> {
    recent_files_within(TIMEOUT, git, dir, limit).await
}

async fn recent_files_within(
    timeout: Duration,
    git: &Git,
    dir: &Path,
    limit: usize,
) -> Vec<String> {
    let files = git.files(dir).await;
    let dir = dir.to_owned();
    let look = move || match files {
        Files::Listed { top, names } => newest_listed(&top, names, limit, timeout / 2),
        Files::Bare => Vec::new(),
        Files::Unknown => newest_in_directory(&dir, limit),
    };
    let looked = tokio::time::timeout(timeout, run_in_background("recent files", look)).await;
    looked.ok().and_then(Result::ok).unwrap_or_default()
}

/// Returns the `names` below `top` that changed last. It stops after `timeout`, because not all of
/// many files on a slow disk can be looked at.
fn newest_listed(top: &Path, names: Vec<Vec<u8>>, limit: usize, timeout: Duration) -> Vec<String> {
    let since = Instant::now();
    let found = names
        .into_iter()
        .take_while(|_| since.elapsed() < timeout)
        .filter_map(|name| {
            let is_directory = name.ends_with(b"/");
            // Links are not followed, so that only names of this directory are told.
            let data = top.join(OsStr::from_bytes(&name)).symlink_metadata().ok()?;
            (data.is_dir() == is_directory).then_some(())?;
            Some((data.modified().ok()?, lossy(&name)))
        })
        .filter(|(_, name)| !is_secret_name(name))
        .collect();
    in_order(found, limit)
}

/// Returns the visible files directly in `dir`, newest first. Hidden files are left out: in a home
/// directory the newest ones are shell histories and the like.
fn newest_in_directory(dir: &Path, limit: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let found = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = lossy(entry.file_name().as_bytes());
            if name.starts_with('.') || is_secret_name(&name) {
                return None;
            }
            let data = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((data.modified().ok()?, name))
        })
        .collect();
    in_order(found, limit)
}

fn in_order(mut found: Vec<(SystemTime, String)>, limit: usize) -> Vec<String> {
    found.sort_by(|(a, a_name), (b, b_name)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
    found.dedup();
    found.into_iter().map(|(_, name)| name).take(limit).collect()
}

/// Whether even the name should stay on this machine. When in doubt it should: a missing name does no
/// harm.
fn is_secret_name(path: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::config::Environment;

    fn git(dir: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=n", "-c", "user.email=e@example.org"])
            .args(arguments)
            .env_clear()
            .env("PATH", Environment::of_this_process().search_path())
            .env("HOME", "/nonexistent")
            .output()
            .unwrap();
        assert!(status.status.success(), "git {arguments:?}");
    }

    fn commit(dir: &Path, file: &str) {
        let path = dir.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        git(dir, &["add", "--", file]);
        git(dir, &["commit", "-q", "-m", "m"]);
    }

    /// Sets when a file was changed last.
    fn changed(path: &Path, seconds_ago: u64) {
        let file = std::fs::File::open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
    }

    async fn recent(dir: &Path, limit: usize) -> Vec<String> {
        // These tests are not about the speed of a loaded machine.
        let timeout = Duration::from_secs(20);
        let git = Git::new(Environment::of_this_process().iter()).with_timeout(timeout);
        recent_files_within(timeout, &git, dir, limit).await
    }

    #[tokio::test]
    async fn the_files_that_were_changed_last_come_first_tracked_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        git(&base, &["init", "-q", "-b", "main"]);
        for (age, file) in ["z.rs", "dir name/x", "li\nne", ".env", "deploy/id_rsa.pub", "old"]
            .into_iter()
            .enumerate()
        {
            commit(&base, file);
            changed(&base.join(file), 1_000 + age as u64);
        }
        let name = OsStr::from_bytes(b"latin-\xe9");
        std::fs::create_dir(base.join("fresh")).unwrap();
        for (age, file) in [
            (10, OsStr::new("new")),
            (20, name),
            (0, OsStr::new("server.pem")),
            (30, OsStr::new("fresh/y")),
        ] {
            std::fs::write(base.join(file), "").unwrap();
            changed(&base.join(file), age);
        }
        changed(&base.join("fresh"), 30);
        std::fs::write(base.join(".gitignore"), "*.o\n.gitignore\n").unwrap();
        std::fs::write(base.join("made.o"), "").unwrap();
        std::fs::remove_file(base.join("old")).unwrap();
        let files = recent(&base, 30).await;
        let expected = ["new", "latin-\u{fffd}", "fresh/", "z.rs", "dir name/x", "li\nne"];
        assert_eq!(files, expected);
        assert_eq!(recent(&base, 2).await, expected[..2]);
        // A session in a subdirectory works on the files there.
        let files = recent(&base.join("dir name"), 30).await;
        assert_eq!(files, ["dir name/x"]);
    }

    #[tokio::test]
    async fn without_a_repository_the_newest_visible_files_stand_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        for (name, age) in [("older", 9), ("newer", 1), ("b", 5), (".history", 0), ("my.key", 0)] {
            let file = std::fs::File::create(base.join(name)).unwrap();
            file.set_modified(old - Duration::from_secs(age)).unwrap();
        }
        std::fs::create_dir(base.join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", base.join("link")).unwrap();
        assert_eq!(recent(&base, 9).await, ["newer", "b", "older"]);
        assert_eq!(recent(&base, 1).await, ["newer"]);
        assert!(recent(&base.join("no"), 9).await.is_empty());
    }

    #[test]
    fn names_that_look_like_secrets_are_known() {
        for name in [
            ".env",
            "a/.env.local",
            "prod.env",
            "tls/server.PEM",
            "x.key",
            "id_ed25519",
            "credentials.json",
            "home/.ssh/known_hosts",
            ".aws/credentials",
            "secrets/db.txt",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["src/environment.rs", "keyboard.c", "monkey", "README.md", "idea_rsa.txt"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
