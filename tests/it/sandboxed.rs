//! Promise 4: a command in a sandbox starts and ends no broker, and names the sandbox's setting.
//!
//! The sandbox forbids Unix sockets, or writing. The broker outside goes on.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::seccomp::{NO_CONNECTIONS, NO_UNIX_SOCKETS, Refused, refuse};
use crate::support::{Sandbox, SessionOptions, findings_of, mounted, until};

const SETTING: &str = "sandbox.network.allowUnixSockets";

fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn run_in(calls: &[Refused], mut command: Command) -> Output {
    refuse(&mut command, calls).output().unwrap()
}

/// Checks each command in the sandbox, with and without a broker outside.
#[track_caller]
fn nothing_is_harmed(calls: &[Refused]) {
    let sandbox = Sandbox::new();
    for with_broker in [false, true] {
        let mut session = with_broker.then(|| sandbox.session("outside"));
        let before = sandbox.broker().map(|broker| broker.pid);
        for words in [
            &["peers"][..],
            &["send", "outside", "hello"],
            &["inbox"],
            &["log"],
            &["status"],
            &["kill-broker"],
            &["token"],
        ] {
            let output = run_in(calls, sandbox.command(words));
            let said = both(&output);
            if !with_broker && (words == ["status"] || words == ["kill-broker"]) {
                // The lock may show that no broker runs, which is true.
                assert!(sandbox.broker().is_none(), "{words:?}: {said}");
                continue;
            }
            assert!(!output.status.success(), "{words:?}: {said}");
            assert!(said.contains(SETTING), "{words:?} names the setting: {said}");
            assert!(!said.contains("stops it"), "{words:?} advises no end: {said}");
            let now = sandbox.broker().map(|broker| broker.pid);
            assert_eq!(now, before, "{words:?} started and stopped nothing");
        }
        let output = run_in(calls, sandbox.command(["doctor", "--no-claude", "--json"]));
        let findings = findings_of(&output);
        assert!(both(&output).contains(SETTING), "{findings:#?}");
        for finding in &findings {
            let advice = finding["fix"].as_str().unwrap_or_default();
            assert!(!advice.contains("kill") && !advice.contains("rm "), "{finding}");
        }
        assert_eq!(sandbox.broker().map(|broker| broker.pid), before, "doctor harmed nothing");
        // The session outside goes on undisturbed.
        if let Some(session) = &mut session {
            sandbox.ok(["send", "outside", "still there"]);
            assert!(session.push().to_string().contains("still there"));
        }
    }
}

#[test]
fn a_sandbox_without_unix_sockets_harms_no_broker_and_is_named() {
    nothing_is_harmed(&NO_UNIX_SOCKETS);
}

#[test]
fn a_sandbox_that_refuses_the_connection_harms_no_broker_and_is_named() {
    nothing_is_harmed(&NO_CONNECTIONS);
}

#[test]
fn a_broker_that_cannot_check_for_another_replaces_none() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("outside");
    let before = sandbox.broker().unwrap().pid;
    // As a client would start one.
    let output = run_in(&NO_CONNECTIONS, sandbox.command(["broker", "--detached"]));
    assert!(!output.status.success());
    assert!(both(&output).contains("cannot determine whether"), "{}", both(&output));
    assert_eq!(sandbox.broker().unwrap().pid, before);
    sandbox.ok(["send", "outside", "still there"]);
    assert!(session.push().to_string().contains("still there"));
}

#[test]
fn a_session_without_descriptors_left_neither_starts_nor_stops_a_broker() {
    let sandbox = Sandbox::new();
    let _session = sandbox.session("outside");
    let before = sandbox.broker().unwrap().pid;
    let full = [Refused::always(libc::SYS_socket, libc::EMFILE)];
    let output = run_in(&full, sandbox.command(["peers"]));
    assert!(!output.status.success());
    assert!(both(&output).contains("ulimit -n"), "{}", both(&output));
    let output = run_in(&full, sandbox.command(["kill-broker"]));
    assert!(!output.status.success(), "{}", both(&output));
    assert_eq!(sandbox.broker().unwrap().pid, before);
}

/// The whole sandbox is read-only, as `workspace-write` and others make a home.
#[test]
fn a_read_only_file_system_harms_no_broker() {
    let sandbox = Sandbox::new();
    let _session = sandbox.session("outside");
    let before = sandbox.broker().unwrap().pid;
    let read_only = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let run = |then: &str, calls: &[Refused]| {
        let mut command = mounted(&sandbox, Path::new(sandbox.path()), read_only, then)?;
        Some(if calls.is_empty() { command.output().unwrap() } else { run_in(calls, command) })
    };
    for words in ["status", "peers", "doctor --no-claude", "kill-broker"] {
        let Some(output) = run(&format!("\"$2\" {words}"), &NO_UNIX_SOCKETS) else { return };
        let said = both(&output);
        assert!(said.contains(SETTING), "{words}: {said}");
        assert!(
            !said.contains("ends it")
                && !said.contains("stops it")
                && !said.contains("fix: claude-peers kill"),
            "{said}"
        );
        assert_eq!(sandbox.broker().unwrap().pid, before, "{words}: {said}");
    }
    // Where only writing is forbidden the broker is reached.
    let Some(output) = run("\"$2\" status && \"$2\" peers", &[]) else { return };
    assert!(output.status.success(), "{}", both(&output));
    assert!(!both(&output).contains("kill-broker"), "{}", both(&output));
    assert_eq!(sandbox.broker().unwrap().pid, before);
    until("it serves as before", || sandbox.status_is("running"));
}

/// A server in such a sandbox answers its client nevertheless.
#[test]
fn a_session_in_a_sandbox_is_told_by_its_tools() {
    let sandbox = Sandbox::new();
    let _session = sandbox.session("outside");
    let mut command = SessionOptions::new("inside").at_once().command(&sandbox);
    refuse(&mut command, &NO_UNIX_SOCKETS);
    let mut session = crate::support::Session::spawn(command);
    session.handshake("claude-code");
    let refused = session.try_call("list_peers", serde_json::json!({}));
    assert!(refused.to_string().contains(SETTING), "{refused}");
}
