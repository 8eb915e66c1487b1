//! The service where there is no service manager, and what clients say of a service that is not
//! used. Orders to a real systemd are a system test.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use claude_peers::service::systemd::{SOCKET, UNITS, units};
use serde_json::Value;

use crate::support::{Sandbox, until};

/// The user's own unit directory.
fn unit_directory(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("config/systemd/user")
}

fn everything_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What `install` writes, put there by hand: a sandbox has no manager for which it would.
fn place_units(sandbox: &Sandbox) {
    let directory = unit_directory(sandbox);
    std::fs::create_dir_all(directory.join("sockets.target.wants")).unwrap();
    for (name, text) in units::texts(Path::new("/opt/claude-peers")).unwrap() {
        std::fs::write(directory.join(name), text).unwrap();
    }
    symlink(directory.join(SOCKET), directory.join("sockets.target.wants").join(SOCKET)).unwrap();
}

#[test]
fn without_a_manager_every_order_says_so_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let before = everything_below(sandbox.path());
    for order in ["install", "uninstall", "start", "stop", "restart", "status"] {
        let (code, error) = sandbox.fails(["service", order]);
        assert_eq!(code, 1, "{order}: {error}");
        assert!(error.contains("for this user") && error.contains("hint: "), "{order}: {error}");
    }
    assert_eq!(everything_below(sandbox.path()), before);
    // And all goes on as it does without a service.
    sandbox.ok(["peers"]);
}

#[test]
fn uninstall_removes_its_own_units_even_without_a_manager_and_no_others() {
    let sandbox = Sandbox::new();
    place_units(&sandbox);
    let other = unit_directory(&sandbox).join("other.socket");
    std::fs::write(&other, "[Socket]\n").unwrap();
    let said = sandbox.ok(["service", "uninstall"]);
    for unit in UNITS {
        assert!(
            said.contains(&format!("Removed {}", unit_directory(&sandbox).join(unit).display()))
        );
    }
    assert_eq!(everything_below(&unit_directory(&sandbox)), std::slice::from_ref(&other));
    std::fs::remove_file(other).unwrap();

    // Links that enable what somebody has removed.
    place_units(&sandbox);
    for unit in UNITS {
        std::fs::remove_file(unit_directory(&sandbox).join(unit)).unwrap();
    }
    let said = sandbox.ok(["service", "uninstall"]);
    assert_eq!(said, format!("Disabled {SOCKET}.\n"));
    assert!(!unit_directory(&sandbox).exists());

    place_units(&sandbox);
    // What somebody else has written is not ours to remove.
    std::fs::write(unit_directory(&sandbox).join(SOCKET), "[Socket]\n").unwrap();
    sandbox.ok(["service", "uninstall"]);
    assert_eq!(
        everything_below(&unit_directory(&sandbox)),
        [unit_directory(&sandbox).join(SOCKET)]
    );
}

#[test]
fn status_says_why_no_service_serves() {
    let sandbox = Sandbox::new();
    place_units(&sandbox);
    let reason = |sandbox: &Sandbox| {
        let output = sandbox.run(["status", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["no_service"]["reason"].as_str().unwrap().to_owned()
    };
    // A sandbox has a port of its own.
    assert!(reason(&sandbox).contains("another socket"), "{}", reason(&sandbox));

    let socket = unit_directory(&sandbox).join(SOCKET);
    std::fs::remove_file(&socket).unwrap();
    symlink("/dev/null", &socket).unwrap();
    assert_eq!(reason(&sandbox), format!("{SOCKET} is masked"));
    let said = text(&sandbox.run(["status"]));
    assert!(said.contains(&format!("service   not used: {SOCKET} is masked; ")), "{said}");
    assert!(said.contains("unmask"), "{said}");

    // A client starts the broker all the same, and the broker remembers why.
    sandbox.ok(["peers"]);
    let broker = sandbox.holder().unwrap();
    assert_eq!(broker.fallback_reason.as_deref(), Some(&*format!("{SOCKET} is masked")));
    std::fs::remove_file(&socket).unwrap();
    let said = sandbox.ok(["status"]);
    assert!(said.contains(&format!("service   not used: {SOCKET} is masked; ")), "{said}");
}

#[test]
fn a_session_at_the_default_port_is_served_where_units_lie_and_no_manager_runs() {
    let sandbox = Sandbox::new();
    // The default port's own socket and locks, and a port that nobody needs to reach.
    let runtime = sandbox.path().join("run/claude-peers/broker.sock");
    let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", runtime.display().to_string());
    place_units(&sandbox);
    sandbox.ok(["peers"]);
    let why = sandbox.holder().unwrap().fallback_reason;
    assert_eq!(why.as_deref(), Some("no service manager runs for this user"));
}

#[test]
fn logs_shows_the_file_of_a_broker_that_a_client_started() {
    let sandbox = Sandbox::new();
    let (code, error) = sandbox.fails(["service", "logs"]);
    assert_eq!(code, 1);
    assert!(error.contains("there is no log yet"), "{error}");
    sandbox.ok(["peers"]);
    let shown = || sandbox.ok(["service", "logs"]);
    until("the log has the start", || shown().contains("serves"));
    assert_eq!(sandbox.ok(["service", "logs", "--lines", "1"]).lines().count(), 1);
    let (_, error) = sandbox.fails(["service", "logs", "--since", "-1h"]);
    assert!(error.contains("needs a journal"), "{error}");
}
