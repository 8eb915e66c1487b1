//! Promise 1: file systems and resource limits that are in the way, each with a hint that fits.

use std::process::{Command, Stdio};

use super::with_history;
#[cfg(target_os = "linux")]
use crate::support::chmod;
use crate::support::http::{RawPeer, Request};
use crate::support::{PROGRAM, Sandbox, mounted, until};

/// The program under test under a limit that `sh` sets.
fn limited(sandbox: &Sandbox, limit: &str, arguments: &str) -> Command {
    let script = format!("{limit} && exec \"$0\" {arguments}");
    sandbox.command_of("sh", ["-c", &script, PROGRAM])
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_like_another_and_nothing_accepted_is_lost() {
    let sandbox = Sandbox::unlimited();
    // In blocks of 512 bytes; the shared-memory index takes 64 of them.
    let mut broker = limited(&sandbox, "ulimit -f 400", "broker")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(sandbox.path().join("broker.log")).unwrap())
        .spawn()
        .unwrap();
    until("the broker serves", || sandbox.status_is("running"));
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let text = "x".repeat(8_000);
    let mut accepted = 0;
    let refused = loop {
        let answer = a.try_send(&sandbox, &b.id, &text);
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 200, "the limit was never met");
    };
    assert_eq!(refused.refusal(), (503, "storage".to_owned()));
    assert!(refused.json()["hint"].as_str().unwrap().contains("ulimit -f"), "{}", refused.json());
    assert!(accepted > 0);
    assert!(broker.try_wait().unwrap().is_none(), "it lives");
    assert_eq!(Request::get("/health").unix(&sandbox).status, 200);
    sandbox.ok(["kill-broker"]);
    broker.wait().unwrap();
    sandbox.ok(["peers"]);
    let log = sandbox.json(["log", "-n", "1000"]);
    assert_eq!(log["messages"].as_array().unwrap().len(), accepted);
}

/// A user id that no other process has, so that its processes are counted correctly.
#[cfg(target_os = "linux")]
const SOMEBODY: u32 = 54_321;

/// Gives the sandbox to that user. Returns a command that runs as that user.
#[cfg(target_os = "linux")]
fn of_somebody(sandbox: &Sandbox, script: &str) -> Option<Command> {
    use std::os::unix::fs::chown;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can act as another user");
        return None;
    }
    chmod(sandbox.path(), 0o755);
    for part in ["home", "run", "state", "config"] {
        chown(sandbox.path().join(part), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let program = sandbox.path().join("claude-peers");
    if !program.exists() {
        crate::support::copy_program(&program);
    }
    let (user, group) = (format!("--reuid={SOMEBODY}"), format!("--regid={SOMEBODY}"));
    let arguments = ["--clear-groups", &user, &group, "sh", "-c", script];
    let mut command = sandbox.command_of("setpriv", arguments);
    command.arg(program);
    Some(command)
}

#[cfg(target_os = "linux")]
#[test]
fn where_no_thread_can_be_started_a_command_says_so() {
    let sandbox = Sandbox::new();
    let Some(mut command) = of_somebody(&sandbox, "exec prlimit --nproc=1 \"$0\" peers") else {
        return;
    };
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("error: no thread can be started"), "{error}");
    assert!(error.contains("ulimit -u"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn where_no_thread_can_be_started_a_tool_call_is_answered() {
    let sandbox = Sandbox::new();
    // Pipes of that user: pipes of another user cannot be opened.
    let script = "cat | prlimit --nproc=1 \"$0\" mcp | cat";
    let Some(command) = of_somebody(&sandbox, script) else { return };
    let mut session = crate::support::Session::spawn(command);
    session.handshake("claude-code");
    let result = session.try_call("list_peers", serde_json::json!({}));
    assert_eq!(result["isError"], true, "{result}");
    let said = result["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("no thread can be started"), "{said}");
    assert!(said.contains("ulimit -u"), "{said}");
}

#[test]
fn a_read_only_home_is_told_where_else_to_go() {
    let sandbox = Sandbox::new();
    let home = sandbox.home();
    // The default: everything is in the home directory.
    let sandbox = sandbox.with("XDG_STATE_HOME", "").with("XDG_RUNTIME_DIR", "");
    let mount = "mount -t tmpfs -o ro tmpfs \"$1\"";
    let Some(mut command) = mounted(&sandbox, &home, mount, "exec \"$2\" peers") else { return };
    let output = command.env("XDG_RUNTIME_DIR", "/nowhere").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("Read-only file system"), "{error}");
    assert!(error.contains("XDG_STATE_HOME"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "{error}");
}

/// A FUSE file system as `bindfs` makes it, which allows no file to be mapped by several processes.
#[test]
fn a_file_system_without_shared_memory_takes_the_database_all_the_same() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path().join("disk");
    let source = sandbox.path().join("source");
    std::fs::create_dir(&disk).unwrap();
    std::fs::create_dir(&source).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", disk.join("peers.db").display().to_string());
    let mount = format!("bindfs -o direct_io '{}' \"$1\"", source.display());
    let Some(mut command) = mounted(&sandbox, &disk, &mount, "exec \"$2\" broker") else { return };
    let log = std::fs::File::create(sandbox.path().join("broker.log")).unwrap();
    let mut broker = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    until("the broker serves", || sandbox.status_is("running"));
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    backend.send("frontend", "by a file system of its own kind");
    assert_eq!(frontend.push()["content"], "by a file system of its own kind");
    let log = std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap();
    assert!(log.contains("does not support shared memory"), "{log}");
    let pid = broker.id().to_string();
    let there = ["-t", &pid, "-m", PROGRAM, "doctor", "--no-claude"];
    let doctor = sandbox.command_of("nsenter", there).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("on this file system only the broker can open it"), "{doctor}");
    assert!(doctor.contains("No problems found"), "{doctor}");
    // From here the file system cannot be seen.
    let doctor = String::from_utf8(sandbox.run(["doctor", "--no-claude"]).stdout).unwrap();
    assert!(doctor.contains("the broker sees other file systems"), "{doctor}");
    // After a kill the database is as good as on any other file system.
    drop((backend, frontend));
    sandbox.kill9_broker().unwrap();
    broker.wait().unwrap();
    until("the file system is gone", || !disk.join("peers.db").exists());
    let elsewhere = source.join("peers.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", elsewhere);
    let log = sandbox.json(["log"]);
    assert_eq!(log["messages"][0]["text"], "by a file system of its own kind");
}

#[test]
fn a_database_that_many_can_use_can_still_be_read_beside_the_broker() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "x");
    sandbox.ok(["peers"]);
    let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
    let count: i64 =
        connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}
