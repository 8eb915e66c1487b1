//! Git repositories of a test's own.

use std::path::Path;
use std::process::Command;

/// Runs git, which must succeed, without the user's configuration.
pub fn git(directory: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.invalid"])
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(directory)
        // A git hook that runs the tests sets variables that name its own repository.
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a repository with one commit, of a file in `src/deep`.
pub fn repository(path: &Path) {
    std::fs::create_dir_all(path.join("src/deep")).unwrap();
    std::fs::write(path.join("src/deep/file.txt"), "CONTENTS-STAY-HERE\n").unwrap();
    git(path, &["init", "-q"]);
    git(path, &["add", "."]);
    git(path, &["commit", "-q", "-m", "first"]);
}
