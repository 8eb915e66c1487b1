//! Tests with real repositories in temporary directories and the real git; a replacement stands for
//! git only where it has to be slow, old or verbose.

use std::time::{Instant, SystemTime};

use crate::sys::git::*;

mod strangers;

/// A directory with its canonical path, because macOS keeps temporary ones behind a link.
fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// Returns the environment of this test run, without the user's own git settings.
#[expect(clippy::disallowed_methods, reason = "the tests run the git that is installed")]
fn environment() -> Vec<(OsString, OsString)> {
    let mut all: Vec<_> = std::env::vars_os().collect();
    all.retain(|(name, _)| name != "HOME" && !name.as_bytes().starts_with(b"XDG_"));
    all.push(("HOME".into(), "/nonexistent".into()));
    all
}

fn with(name: &str, value: impl Into<OsString>) -> Git {
    let mut all = environment();
    all.retain(|(other, _)| other != name);
    all.push((name.into(), value.into()));
    patient(all)
}

fn plain() -> Git {
    patient(environment())
}

/// A long time limit, because these tests do not measure the speed of a loaded machine.
fn patient(environment: Vec<(OsString, OsString)>) -> Git {
    Git { patience: Duration::from_secs(20), ..Git::new(environment) }
}

/// Returns the names of the files that git lists, in order; `None` if it cannot tell.
async fn listed(git: &Git, dir: &Path) -> Option<Vec<String>> {
    let names = match git.files(dir).await {
        Files::Listed { names, .. } => names,
        Files::Bare => Vec::new(),
        Files::Unknown => return None,
    };
    let mut names: Vec<_> =
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort();
    names.dedup();
    Some(names)
}

fn git(dir: &Path, arguments: &[&str]) {
    let status = std::process::Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=n", "-c", "user.email=e@example.org"])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .env_clear()
        .envs(Git::new(environment()).environment)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn init(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
}

fn commit(dir: &Path, file: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, file).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", file]);
}

/// Creates a replacement for git, and returns a PATH with it and the shell's tools.
fn stand_in(script: &str) -> (tempfile::TempDir, Git) {
    let (dir, path) = temporary();
    let program = path.join("git");
    // Written by another process: a child that another test is just forking could inherit a
    // descriptor of ours, and the program would be "busy" until that child has ended.
    let written = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\""])
        .arg(&program)
        .arg(script)
        .status()
        .unwrap();
    assert!(written.success());
    let path_of = |(name, value): (OsString, OsString)| (name == "PATH").then_some(value);
    let rest = environment().into_iter().find_map(path_of).unwrap().into_string().unwrap();
    let git = with("PATH", format!("{}:{rest}", path.display()));
    (dir, git)
}

#[tokio::test]
async fn subdirectories_and_worktrees_are_one_repository() {
    let (_guard, base) = temporary();
    let main = base.join("app");
    init(&main);
    commit(&main, "src/deep/a.rs");
    git(&main, &["worktree", "add", "-q", "-b", "side", "../tree"]);

    let found = plain().repository(&main).await.unwrap();
    assert_eq!(found.top, main);
    assert_eq!(found.common_dir, main.join(".git"));
    assert_eq!(found.name().as_deref(), Some("app"));
    let deep = plain().repository(&main.join("src/deep")).await.unwrap();
    assert_eq!(deep, found);

    let tree = plain().repository(&base.join("tree")).await.unwrap();
    assert_eq!(tree.common_dir, found.common_dir);
    assert_eq!(tree.top, base.join("tree"));
    assert_eq!(tree.name(), found.name());
    let branch = plain().branch(&base.join("tree")).await;
    assert_eq!(branch.as_deref(), Some("side"));
}

#[tokio::test]
async fn a_symbolic_link_leads_to_the_same_repository() {
    let (_guard, base) = temporary();
    init(&base.join("app"));
    std::os::unix::fs::symlink(base.join("app"), base.join("link")).unwrap();
    let direct = plain().repository(&base.join("app")).await.ok();
    assert!(direct.is_some());
    assert_eq!(plain().repository(&base.join("link")).await.ok(), direct);
}

#[tokio::test]
async fn a_bare_repository_is_its_own_top() {
    let (_guard, base) = temporary();
    git(&base, &["init", "-q", "--bare", "app.git"]);
    let found = plain().repository(&base.join("app.git")).await.unwrap();
    assert_eq!(found.top, base.join("app.git"));
    assert_eq!(found.common_dir, found.top);
    assert_eq!(found.name().as_deref(), Some("app"));
}

#[tokio::test]
async fn worktrees_of_a_hidden_bare_repository_carry_the_name_above_it() {
    let (_guard, base) = temporary();
    init(&base.join("source"));
    commit(&base.join("source"), "a");
    let hidden = base.join("app/.bare");
    std::fs::create_dir(base.join("app")).unwrap();
    git(&base, &["clone", "-q", "--bare", "source", "app/.bare"]);
    git(&hidden, &["worktree", "add", "-q", "../main"]);
    let found = plain().repository(&base.join("app/main")).await.unwrap();
    assert_eq!(found.common_dir, hidden);
    assert_eq!(found.name().as_deref(), Some("app"));
}

#[tokio::test]
async fn a_submodule_is_a_repository_of_its_own() {
    let (_guard, base) = temporary();
    init(&base.join("part"));
    commit(&base.join("part"), "a");
    let whole = base.join("whole");
    init(&whole);
    let source = base.join("part");
    git(&whole, &["submodule", "add", "-q", source.to_str().unwrap(), "libs/part"]);
    let found = plain().repository(&whole.join("libs/part")).await.unwrap();
    assert_eq!(found.top, whole.join("libs/part"));
    assert_eq!(found.common_dir, whole.join(".git/modules/libs/part"));
    assert_eq!(found.name().as_deref(), Some("part"));
}

#[tokio::test]
async fn paths_may_hold_spaces_and_newlines() {
    for (name, subdirectory) in [("my app", "a b"), ("li\nne", "sub\n"), ("end\n", "x")] {
        let (_guard, base) = temporary();
        let top = base.join(name);
        init(&top);
        std::fs::create_dir(top.join(subdirectory)).unwrap();
        for dir in [top.clone(), top.join(subdirectory)] {
            let found = plain().repository(&dir).await.unwrap();
            assert_eq!(found.top, top, "{name:?}");
            assert_eq!(found.common_dir, top.join(".git"), "{name:?}");
        }
    }
}

#[tokio::test]
async fn without_a_repository_there_are_no_facts() {
    let (_guard, base) = temporary();
    assert_eq!(plain().repository(&base).await.ok(), None);
    assert_eq!(plain().branch(&base).await, None);
    assert_eq!(plain().repository(&base.join("missing")).await.ok(), None);
}

#[tokio::test]
async fn the_callers_git_variables_do_not_mislead() {
    let (_guard, base) = temporary();
    init(&base.join("here"));
    init(&base.join("other"));
    for (name, value) in [
        ("GIT_DIR", base.join("other/.git")),
        ("GIT_WORK_TREE", base.join("other")),
        ("GIT_COMMON_DIR", base.join("other/.git")),
        ("GIT_CEILING_DIRECTORIES", base.clone()),
    ] {
        let found = with(name, value).repository(&base.join("here")).await;
        assert_eq!(found.unwrap().top, base.join("here"), "{name}");
    }
    let astray = with("GIT_DIR", base.join("other/.git"));
    assert_eq!(astray.repository(&base).await.ok(), None);
}

#[tokio::test]
async fn an_empty_repository_has_a_branch_and_a_detached_one_has_none() {
    let (_guard, base) = temporary();
    init(&base);
    assert_eq!(plain().branch(&base).await.as_deref(), Some("main"));
    std::fs::write(base.join("first"), "").unwrap();
    assert_eq!(listed(&plain(), &base).await.unwrap(), ["first"]);
    commit(&base, "a");
    git(&base, &["checkout", "-q", "--detach"]);
    assert_eq!(plain().branch(&base).await, None);
}

/// Sets when a file was last changed.
fn changed(path: &Path, seconds_ago: u64) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
}

#[tokio::test]
async fn without_git_all_but_names_of_files_is_known() {
    let (_guard, base) = temporary();
    init(&base);
    std::fs::write(base.join("a"), "").unwrap();
    for path in ["/nonexistent", ".", ""] {
        let without = with("PATH", path);
        assert_eq!(without.repository(&base).await.unwrap().top, base);
        assert_eq!(without.branch(&base).await.as_deref(), Some("main"));
        assert_eq!(without.files(&base).await, Files::Unknown);
    }
}

#[tokio::test]
async fn a_git_that_hangs_is_ended_with_its_children() {
    let (guard, mut slow) = stand_in("sleep 31.4159 & echo $! > \"$(dirname \"$0\")/pid\"; wait");
    slow.patience = Duration::from_millis(300);
    let base = guard.path();
    init(base);
    let start = Instant::now();
    assert_eq!(slow.names(base, &base.join(".git"), base).await, None);
    assert!(start.elapsed() < Duration::from_secs(2));
    let pid = std::fs::read_to_string(guard.path().join("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(line) => line.contains(") Z "),
        Err(_) => rustix::process::test_kill_process(pid).is_err(),
    };
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(5), "the child lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_git_that_prints_for_ever_is_heard_to_a_limit() {
    let (guard, loud) = stand_in("yes 'status' | tr '\\n' '\\0'");
    let base = guard.path();
    init(base);
    let start = Instant::now();
    let names = loud.names(base, &base.join(".git"), base).await.unwrap();
    assert!(start.elapsed() < loud.patience);
    assert_eq!(names.len(), 8 * 1024 * 1024 / "status\0".len());
    assert!(names.iter().all(|name| name == b"status"));
}
