//! Real repositories in temporary directories, asked through the real git; stand-ins for git
//! only where a git is wanted that is slow, old or loud.

use std::ffi::OsStr;
use std::time::{Instant, SystemTime};

use crate::sys::git::names::looks_secret;
use crate::sys::git::*;

mod strangers;

/// A directory with its canonical path, because macOS keeps temporary ones behind a link.
fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// The environment of this test run, without the settings of whoever runs it.
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

/// What these tests ask is not how fast a loaded machine is.
fn patient(environment: Vec<(OsString, OsString)>) -> Git {
    Git { patience: Duration::from_secs(20), ..Git::new(environment) }
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

/// A `git` of our own, as the only directory of a PATH that still finds the shell's tools.
fn stand_in(script: &str) -> (tempfile::TempDir, Git) {
    let (dir, path) = temporary();
    let program = path.join("git");
    // Written by another process: a descriptor of ours could be inherited by a child that some
    // other test is just forking, and the program would be "busy" until that one is gone.
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
    assert_eq!(plain().recent_files(&base, 9).await, ["first"]);
    commit(&base, "a");
    git(&base, &["checkout", "-q", "--detach"]);
    assert_eq!(plain().branch(&base).await, None);
}

/// Sets when a file was changed last.
fn changed(path: &Path, seconds_ago: u64) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago)).unwrap();
}

#[tokio::test]
async fn the_files_that_were_changed_last_come_first_tracked_or_not() {
    let (_guard, base) = temporary();
    init(&base);
    for (age, file) in
        ["z.rs", "dir name/x", "li\nne", ".env", "deploy/id_rsa.pub", "old"].into_iter().enumerate()
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
    let files = plain().recent_files(&base, 30).await;
    let expected = ["new", "latin-\u{fffd}", "fresh/", "z.rs", "dir name/x", "li\nne"];
    assert_eq!(files, expected);
    assert_eq!(plain().recent_files(&base, 2).await, expected[..2]);
    // A subdirectory's session works on what lies there.
    let files = plain().recent_files(&base.join("dir name"), 30).await;
    assert_eq!(files, ["dir name/x"]);
}

#[tokio::test]
async fn without_a_repository_the_newest_visible_files_stand_for_it() {
    let (_guard, base) = temporary();
    let old = SystemTime::now() - Duration::from_secs(60);
    for (name, age) in [("older", 9), ("newer", 1), ("b", 5), (".history", 0), ("my.key", 0)] {
        let file = std::fs::File::create(base.join(name)).unwrap();
        file.set_modified(old - Duration::from_secs(age)).unwrap();
    }
    std::fs::create_dir(base.join("dir")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", base.join("link")).unwrap();
    assert_eq!(plain().recent_files(&base, 9).await, ["newer", "b", "older"]);
    assert_eq!(plain().recent_files(&base, 1).await, ["newer"]);
    assert!(plain().recent_files(&base.join("no"), 9).await.is_empty());
}

#[tokio::test]
async fn without_git_there_is_an_answer_all_the_same() {
    let (_guard, base) = temporary();
    init(&base);
    std::fs::write(base.join("a"), "").unwrap();
    for path in ["/nonexistent", ".", ""] {
        let without = with("PATH", path);
        assert_eq!(without.repository(&base).await.unwrap().top, base);
        assert_eq!(without.branch(&base).await.as_deref(), Some("main"));
        assert_eq!(without.recent_files(&base, 9).await, ["a"]);
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
        assert!(looks_secret(name), "{name}");
    }
    for name in ["src/environment.rs", "keyboard.c", "monkey", "README.md", "idea_rsa.txt"] {
        assert!(!looks_secret(name), "{name}");
    }
}
