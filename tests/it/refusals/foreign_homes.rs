//! Promise 4: root in a user's home, and a user in another's home, change nothing there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::{PROGRAM, Sandbox, Session, chmod, copy_program};

/// The owner of the home, and another user.
const OWNER: u32 = 54_331;
const OTHER: u32 = 54_332;

/// A sandbox whose home belongs to a user, with everything in its usual place and the traces of the
/// user's own broker.
fn home() -> Option<Sandbox> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be in another user's home");
        return None;
    }
    let sandbox = Sandbox::new()
        .with("XDG_STATE_HOME", "")
        .with("XDG_CONFIG_HOME", "")
        .with("XDG_RUNTIME_DIR", "");
    chmod(sandbox.path(), 0o755);
    copy_program(&sandbox.path().join("claude-peers"));
    chown(sandbox.home(), Some(OWNER), Some(OWNER)).unwrap();
    let output = by(&sandbox, OWNER, &["peers"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    let output = by(&sandbox, OWNER, &["kill-broker"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    Some(sandbox)
}

fn by(sandbox: &Sandbox, user: u32, arguments: &[&str]) -> Output {
    as_user(sandbox, user).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn as_user(sandbox: &Sandbox, user: u32) -> Command {
    let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
    let mut command = sandbox.command_of("setpriv", ["--clear-groups", &user, &group]);
    command.arg(sandbox.path().join("claude-peers"));
    command
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Everything below a directory, with owner and inode.
fn all(directory: &Path) -> BTreeMap<PathBuf, (u32, u64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap().flatten() {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                left.push(entry.path());
            }
            found.insert(entry.path(), (metadata.uid(), metadata.ino()));
        }
    }
    found
}

#[track_caller]
fn is_refused(output: &Output, words_wanted: &[&str]) {
    let error = words(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}{}", words(&output.stdout));
    assert!(output.stdout.is_empty(), "{}", words(&output.stdout));
    let lines: Vec<&str> = error.lines().collect();
    let [what, hint] = lines[..] else { panic!("more than what and why: {error}") };
    assert!(what.starts_with("error: ") && hint.starts_with("hint: "), "{error}");
    for wanted in words_wanted {
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn root_in_a_users_home_is_refused_by_every_command_that_does_anything() {
    let Some(sandbox) = home() else { return };
    let before = all(&sandbox.home());
    for arguments in [
        &["status"][..],
        &["peers"],
        &["send", "somebody", "hello"],
        &["inbox"],
        &["log"],
        &["doctor", "--no-claude"],
        &["demo"],
        &["token"],
        &["setup", "claude", "--yes"],
        &["setup", "--undo", "claude"],
        &["service", "status"],
        &["service", "install"],
        &["kill-broker"],
        &["broker"],
    ] {
        let output = sandbox.run(arguments);
        let home = sandbox.home().display().to_string();
        is_refused(&output, &[&home, &format!("user id {OWNER}"), "as root", "sudo"]);
    }
    for arguments in [&["--help"][..], &["--version"], &["completions", "bash"], &["help", "send"]]
    {
        assert!(!sandbox.ok(arguments).is_empty());
    }
    assert_eq!(all(&sandbox.home()), before, "nothing was changed");
    let output = by(&sandbox, OWNER, &["peers"]);
    assert!(output.status.success(), "its user goes on: {}", words(&output.stderr));
    by(&sandbox, OWNER, &["kill-broker"]);
}

#[test]
fn roots_hook_in_a_users_home_is_silent_and_its_server_says_why() {
    let Some(sandbox) = home() else { return };
    let before = all(&sandbox.home());
    for event in ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"] {
        let mut hook = sandbox
            .command(["hook", event])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = json!({ "session_id": "s", "cwd": "/", "hook_event_name": event });
        // The hook may have exited without reading it.
        let _ = hook.stdin.take().unwrap().write_all(input.to_string().as_bytes());
        let output = hook.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!((words(&output.stdout), words(&output.stderr)), (String::new(), String::new()));
    }
    let mut session = Session::spawn(sandbox.command(["mcp"]));
    session.handshake("claude-code");
    let result = session.try_call("list_peers", json!({}));
    assert_eq!(result["isError"], true, "{result}");
    let said = result["content"][0]["text"].as_str().unwrap();
    assert!(said.contains(&format!("user id {OWNER}")) && said.contains("sudo"), "{said}");
    drop(session);
    assert_eq!(all(&sandbox.home()), before, "nothing was changed");
}

#[test]
fn root_is_refused_where_a_setting_leads_into_a_users_place() {
    let Some(sandbox) = home() else { return };
    let own = Sandbox::new();
    let there = sandbox.home().join("not/there/yet");
    for (name, place) in [
        ("CLAUDE_PEERS_DB", there.join("peers.db")),
        ("XDG_STATE_HOME", there.clone()),
        ("XDG_CONFIG_HOME", there.clone()),
    ] {
        let output = own.command(["peers"]).env(name, &place).output().unwrap();
        is_refused(&output, &[name, &format!("user id {OWNER}")]);
    }
    // The setting may come from the configuration file, or through a link.
    let config = own.path().join("config/claude-peers");
    std::fs::create_dir(&config).unwrap();
    let link = own.path().join("link.db");
    std::os::unix::fs::symlink(there.join("peers.db"), &link).unwrap();
    for place in [&there.join("peers.db"), &link] {
        let text = format!("database = \"{}\"\n", place.display());
        std::fs::write(config.join("config.toml"), text).unwrap();
        is_refused(&own.run(["peers"]), &["CLAUDE_PEERS_DB", &format!("user id {OWNER}")]);
    }
    assert!(!there.exists());
}

#[test]
fn a_user_in_another_users_home_is_refused_unless_it_is_writable() {
    let Some(sandbox) = home() else { return };
    chmod(&sandbox.home(), 0o755);
    let before = all(&sandbox.home());
    let output = by(&sandbox, OTHER, &["peers"]);
    is_refused(&output, &[&format!("user id {OWNER}"), &format!("user id {OTHER}"), "Set HOME"]);
    assert_eq!(all(&sandbox.home()), before);
    // A home that a group shares, as some container platforms have it.
    let shared = sandbox.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    chown(&shared, Some(OWNER), Some(OTHER)).unwrap();
    chmod(&shared, 0o775);
    let sandbox = sandbox.with("HOME", shared.display().to_string());
    let output = by(&sandbox, OTHER, &["peers"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    by(&sandbox, OTHER, &["kill-broker"]);
}

/// A user namespace shows users that have no number in it as nobody, so the owner of such a home
/// cannot be determined.
#[test]
fn in_a_user_namespace_the_home_belongs_to_root_or_its_owner_is_unknown() {
    let sandbox = Sandbox::new();
    let inside = |sandbox: &Sandbox, arguments: &[&str]| {
        let all = [&["--user", "--map-root-user", PROGRAM], arguments].concat();
        sandbox.command_of("unshare", all).stdin(Stdio::null()).output().unwrap()
    };
    if !inside(&sandbox, &["--version"]).status.success() {
        println!("skipped: no user namespaces here");
        return;
    }
    let output = inside(&sandbox, &["peers"]);
    assert!(output.status.success(), "{}", words(&output.stderr));
    inside(&sandbox, &["kill-broker"]);
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // A user that has no number in the namespace.
    chown(sandbox.home(), Some(OWNER), Some(OWNER)).unwrap();
    let output = inside(&sandbox, &["status"]);
    let error = words(&output.stderr);
    assert!(!error.contains("belongs to user id"), "{error}");
    chown(sandbox.home(), Some(0), Some(0)).unwrap();
}
