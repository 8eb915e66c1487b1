//! Identity: a session that changes its working directory is listed and addressed where it is.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::hooks::context;
use crate::support::{Sandbox, Session, SessionOptions, git, repository};

fn session(sandbox: &Sandbox, name: &str, directory: &Path) -> Session {
    SessionOptions::new(name).directory(directory).without_channel().start(sandbox)
}

/// Runs a hook in this directory. Returns the context for the model.
fn at(sandbox: &Sandbox, name: &str, event: &str, cwd: &Path, more: Value) -> String {
    let mut input = json!({ "cwd": cwd });
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    context(sandbox, event, name, "t", input)
}

/// The names of the peers that this session finds in a scope.
fn found(session: &mut Session, scope: &str) -> Vec<String> {
    let listed = session.call("list_peers", json!({ "scope": scope }));
    let peers = listed["structuredContent"]["peers"].as_array().unwrap().clone();
    peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_session_that_moves_is_listed_and_addressed_where_it_is() {
    let sandbox = Sandbox::new();
    let (shop, blog) = (sandbox.path().join("shop"), sandbox.path().join("blog"));
    repository(&shop);
    repository(&blog);
    let mut mover = session(&sandbox, "mover", &shop);
    let mut stays = session(&sandbox, "stays", &shop);
    let mut there = session(&sandbox, "there", &blog);
    let (id, name) = (mover.id(), mover.me()["name"].as_str().unwrap().to_owned());
    assert_eq!(found(&mut stays, "directory"), [name.as_str()]);
    sandbox.ok(["send", &id, "on the way"]);

    let shown = at(&sandbox, "mover", "PostToolUse", &blog, json!({}));
    assert!(shown.contains("| on the way"), "mail comes with it: {shown}");
    let me = mover.me();
    assert_eq!((&me["id"], &me["name"]), (&json!(id), &json!(name)), "it is the same peer");
    assert_eq!(me["cwd"], json!(blog));
    for scope in ["directory", "repo"] {
        assert_eq!(found(&mut there, scope), [name.as_str()], "{scope}");
        assert_eq!(found(&mut stays, scope), [""; 0], "{scope}");
    }
    let told =
        there.call("send_message", json!({ "to_id": "scope:directory", "message": "hello" }));
    assert_eq!(told["structuredContent"]["recipients"][0]["id"], json!(id), "{told}");
    assert!(at(&sandbox, "mover", "UserPromptSubmit", &blog, json!({})).contains("| hello"));
    // A message shows the sender's directory.
    mover.send(there.id().as_str(), "from the new place");
    let shown = there.text("check_messages", json!({}));
    assert!(shown.contains(&format!(" in {}", blog.display())), "{shown}");
}

/// `EnterWorktree` goes into a directory below the one in which the session began.
#[test]
fn a_session_that_enters_a_worktree_keeps_its_repository_and_changes_its_directory() {
    let sandbox = Sandbox::new();
    let shop = sandbox.path().join("shop");
    repository(&shop);
    let tree = shop.join(".claude/worktrees/login");
    git(&shop, &["worktree", "add", "-q", tree.to_str().unwrap()]);
    let mut mover = session(&sandbox, "mover", &shop);
    let mut stays = session(&sandbox, "stays", &shop);
    let name = mover.me()["name"].as_str().unwrap().to_owned();
    at(&sandbox, "mover", "PostToolUse", &tree, json!({}));
    assert_eq!(mover.me()["cwd"], json!(tree));
    assert_eq!(found(&mut stays, "directory"), [""; 0]);
    assert_eq!(found(&mut stays, "repo"), [name.as_str()]);
    // And back.
    at(&sandbox, "mover", "Stop", &shop, json!({}));
    assert_eq!(mover.me()["cwd"], json!(shop));
    assert_eq!(found(&mut stays, "directory"), [name.as_str()]);
}

#[test]
fn what_is_no_working_directory_of_the_session_changes_nothing() {
    let sandbox = Sandbox::new();
    let (shop, other) = (sandbox.path().join("shop"), sandbox.path().join("other"));
    for directory in [&shop, &other] {
        std::fs::create_dir(directory).unwrap();
    }
    let mut stays = session(&sandbox, "stays", &shop);
    let agent = json!({ "agent_id": "a1", "agent_type": "x" });
    at(&sandbox, "stays", "PostToolUse", &other, agent);
    at(&sandbox, "stays", "PostToolUse", Path::new("other"), json!({}));
    at(&sandbox, "stays", "PostToolUse", Path::new(""), json!({}));
    at(&sandbox, "stays", "PostToolUse", &sandbox.path().join("gone"), json!({}));
    at(&sandbox, "stays", "SessionEnd", &other, json!({}));
    at(&sandbox, "nobody", "PostToolUse", &other, json!({}));
    at(&sandbox, "stays", "PostToolUse", &shop, json!({ "cwd": null }));
    assert_eq!(stays.me()["cwd"], json!(shop));
}
