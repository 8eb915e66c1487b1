//! Promise 4: sessions in directories whose content comes from strangers.
//!
//! Nothing in them is run, they bring no session into another repository's scope, and no foreign
//! name is sent to the summary's endpoint.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Behaviour, Endpoint, Sandbox, Session, SessionOptions, git, repository, until, write_program,
};

const SUMMARY: &str = "Works on something.";

/// Starts a session and waits for its automatic summary: by then it has read all that it reads of
/// its directory. Returns the request to the endpoint as well.
fn described(sandbox: &Sandbox, name: &str, directory: &Path) -> (Session, String) {
    let endpoint = Endpoint::new([Behaviour::Says(SUMMARY.to_owned())]);
    let mut session = endpoint.options(name).directory(directory).start(sandbox);
    until("it is described", || session.me()["summary"] == SUMMARY);
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    (session, asked[0].clone())
}

fn in_repository(session: &mut Session) -> Vec<String> {
    let listed = session.call("list_peers", json!({ "scope": "repo" }));
    let peers = listed["structuredContent"]["peers"].as_array().unwrap().clone();
    peers.iter().map(|peer| peer["id"].as_str().unwrap().to_owned()).collect()
}

/// A program that leaves a mark beside itself when it is run.
fn trap(directory: &Path) -> (PathBuf, PathBuf) {
    let (program, mark) = (directory.join("trap"), directory.join("sprung"));
    write_program(&program, format!("#!/bin/sh\n: > '{}'\ncat\n", mark.display()));
    (program, mark)
}

#[test]
fn a_clone_with_a_directory_shaped_like_a_repository_runs_nothing() {
    let sandbox = Sandbox::new();
    let (program, mark) = trap(sandbox.path());
    let shop = sandbox.path().join("shop");
    repository(&shop);
    let docs = shop.join("docs");
    std::fs::create_dir_all(docs.join("objects")).unwrap();
    std::fs::create_dir_all(docs.join("refs")).unwrap();
    std::fs::create_dir_all(docs.join("info")).unwrap();
    std::fs::write(docs.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    std::fs::copy(shop.join(".git/index"), docs.join("index")).unwrap();
    let config = format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = {}\n\tfsmonitor = {trap}\n[filter \"x\"]\n\tclean = {trap}\n\tprocess = {trap}\n[diff]\n\texternal = {trap}\n",
        shop.display(),
        trap = program.display(),
    );
    std::fs::write(docs.join("config"), config).unwrap();
    std::fs::write(docs.join("info/attributes"), "* filter=x diff=x\n").unwrap();
    // The index is out of date, so a comparison of contents runs the filter.
    std::fs::write(shop.join("src/deep/file.txt"), "CONTENTS-STAY-HERE, changed\n").unwrap();
    let status = Command::new("git")
        .args(["status", "--porcelain"])
        .current_dir(&docs)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output();
    assert!(status.is_ok() && mark.exists(), "git itself runs the filter here");
    std::fs::remove_file(&mark).unwrap();

    let (mut top, _) = described(&sandbox, "top", &shop);
    let (mut in_docs, request) = described(&sandbox, "docs", &docs);
    assert!(!mark.exists());
    assert!(!request.contains("CONTENTS-STAY-HERE"), "{request}");
    // It is content of the clone, and a session in it belongs to the clone.
    assert_eq!(in_repository(&mut top), [in_docs.id()]);
    assert_eq!(in_repository(&mut in_docs), [top.id()]);
    let listed =
        sandbox.command(["peers", "--scope", "repo", "--json"]).current_dir(&docs).output();
    let listed: Value = serde_json::from_slice(&listed.unwrap().stdout).unwrap();
    assert_eq!(listed["peers"].as_array().unwrap().len(), 2);
    assert!(!mark.exists());
}

#[test]
fn a_pointer_to_a_repository_elsewhere_leads_no_session_into_it() {
    let sandbox = Sandbox::new();
    let secret = sandbox.path().join("secret");
    repository(&secret);
    std::fs::write(secret.join("merger-plan.txt"), "").unwrap();
    git(&secret, &["checkout", "-q", "-b", "takeover-of-acme"]);
    git(&secret, &["add", "."]);
    git(&secret, &["commit", "-q", "-m", "second"]);
    let mut owner = described(&sandbox, "owner", &secret).0;
    let theirs = secret.join(".git");
    let by_file = |evil: &Path| {
        std::fs::write(evil.join(".git"), format!("gitdir: {}\n", theirs.display())).unwrap();
    };
    let by_link = |evil: &Path| symlink(&theirs, evil.join(".git")).unwrap();
    let by_worktree = |evil: &Path| {
        git(evil, &["init", "-q"]);
        git(evil, &["config", "core.worktree", secret.to_str().unwrap()]);
    };
    let ways: [&dyn Fn(&Path); 3] = [&by_file, &by_link, &by_worktree];
    for (number, make) in ways.into_iter().enumerate() {
        let evil = sandbox.path().join(format!("evil-{number}"));
        std::fs::create_dir(&evil).unwrap();
        std::fs::write(evil.join("visible.txt"), "").unwrap();
        make(&evil);
        let (mut session, request) = described(&sandbox, &format!("evil-{number}"), &evil);
        for name in ["merger-plan", "takeover-of-acme", "src/deep"] {
            assert!(!request.contains(name), "{number}: {name}: {request}");
        }
        assert!(request.contains("visible.txt"), "{number}: {request}");
        assert_eq!(in_repository(&mut session), [""; 0], "{number}");
        assert_eq!(in_repository(&mut owner), [""; 0], "{number}");
    }
}

#[test]
fn a_repository_of_another_user_or_none_is_named_as_such() {
    let sandbox = Sandbox::new();
    let shop = sandbox.path().join("shop");
    repository(&shop);
    let asked = |directory: &Path| {
        let mut command = sandbox.command(["peers", "--scope", "repo"]);
        let output = command.current_dir(directory).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Without git in PATH it is a repository nevertheless.
    let mut without = sandbox.command(["peers", "--scope", "repo"]);
    let without = without.current_dir(&shop).env("PATH", "/nonexistent").output().unwrap();
    assert!(without.status.success(), "{}", String::from_utf8_lossy(&without.stderr));
    assert_eq!(asked(&shop).0, Some(0));
    let (code, words) = asked(sandbox.path());
    assert_eq!(code, Some(1));
    assert!(words.contains("not inside a git repository"), "{words}");
    let broken = sandbox.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join(".git"), "gitdir: /nowhere/at/all\n").unwrap();
    let (code, words) = asked(&broken);
    assert_eq!(code, Some(1));
    assert!(words.contains("broken/.git names no git directory"), "{words}");

    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    std::os::unix::fs::chown(shop.join(".git"), Some(12_345), None).unwrap();
    let mut session = SessionOptions::new("shop").directory(&shop).at_once().start(&sandbox);
    for (tool, arguments) in [
        ("list_peers", json!({ "scope": "repo" })),
        ("send_message", json!({ "to_id": "scope:repo", "message": "x" })),
    ] {
        let told = session.try_call(tool, arguments);
        assert_eq!(told["isError"], true);
        let words = told["content"][0]["text"].as_str().unwrap();
        assert!(words.contains("belongs to another user"), "{tool}: {words}");
    }
    let (code, words) = asked(&shop);
    assert_eq!(code, Some(1));
    assert!(words.contains("belongs to another user") && words.contains("12345"), "{words}");
    assert!(words.contains("safe.directory"), "{words}");
    let config = format!("[safe]\n\tdirectory = {}\n", shop.display());
    std::fs::write(sandbox.home().join(".gitconfig"), config).unwrap();
    assert_eq!(asked(&shop).0, Some(0));
}
