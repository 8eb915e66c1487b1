//! Service: without a service manager, and what clients say of a service that is not used.
//!
//! A real systemd is tested by `tests/system/systemd`.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
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

/// Writes by hand what `install` writes: a sandbox has no manager for which it would.
fn place_units(sandbox: &Sandbox) {
    let directory = unit_directory(sandbox);
    std::fs::create_dir_all(directory.join("sockets.target.wants")).unwrap();
    for (name, text) in units::texts(Path::new("/opt/claude-peers")).unwrap() {
        std::fs::write(directory.join(name), text).unwrap();
    }
    symlink(directory.join(SOCKET), directory.join("sockets.target.wants").join(SOCKET)).unwrap();
}

#[test]
fn without_a_manager_every_command_says_so_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let before = everything_below(sandbox.path());
    for order in ["install", "uninstall", "start", "stop", "restart", "status"] {
        let (code, error) = sandbox.fails(["service", order]);
        assert_eq!(code, 1, "{order}: {error}");
        assert!(error.contains("for this user") && error.contains("hint: "), "{order}: {error}");
    }
    assert_eq!(everything_below(sandbox.path()), before);
    // Everything works as it does without a service.
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

    // Links that enable units which were removed by hand.
    place_units(&sandbox);
    for unit in UNITS {
        std::fs::remove_file(unit_directory(&sandbox).join(unit)).unwrap();
    }
    let said = sandbox.ok(["service", "uninstall"]);
    assert_eq!(said, format!("Disabled {SOCKET}.\n"));
    assert!(!unit_directory(&sandbox).exists());

    place_units(&sandbox);
    // A unit that another program wrote is not removed.
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
    assert!(reason(&sandbox).contains("a different socket"), "{}", reason(&sandbox));

    let socket = unit_directory(&sandbox).join(SOCKET);
    std::fs::remove_file(&socket).unwrap();
    symlink("/dev/null", &socket).unwrap();
    assert_eq!(reason(&sandbox), format!("{SOCKET} is masked"));
    let said = text(&sandbox.run(["status"]));
    assert!(said.contains(&format!("service   not used: {SOCKET} is masked; ")), "{said}");
    assert!(said.contains("unmask"), "{said}");

    // A client starts the broker nevertheless, and the broker remembers the reason.
    sandbox.ok(["peers"]);
    let broker = sandbox.broker().unwrap();
    assert_eq!(broker.fallback_reason.as_deref(), Some(&*format!("{SOCKET} is masked")));
    std::fs::remove_file(&socket).unwrap();
    let said = sandbox.ok(["status"]);
    assert!(said.contains(&format!("service   not used: {SOCKET} is masked; ")), "{said}");
}

#[test]
fn a_session_at_the_default_port_is_served_where_units_lie_and_no_manager_runs() {
    let sandbox = Sandbox::new();
    // The default port's socket and locks, with a port of the test's own.
    let runtime = sandbox.path().join("run/claude-peers/broker.sock");
    let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", runtime.display().to_string());
    place_units(&sandbox);
    sandbox.ok(["peers"]);
    let why = sandbox.broker().unwrap().fallback_reason;
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

/// Makes it look as if a service manager ran for the user.
fn with_manager(sandbox: &Sandbox) -> UnixListener {
    let directory = sandbox.path().join("run/systemd");
    std::fs::create_dir_all(&directory).unwrap();
    UnixListener::bind(directory.join("private")).unwrap()
}

#[test]
fn logs_shows_the_file_of_a_clients_broker_also_where_there_is_a_journal() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let _manager = with_manager(&sandbox);
    let shown = || sandbox.run(["service", "logs"]);
    until("the log has the start", || text(&shown()).contains("serves"));
    let output = shown();
    assert!(output.status.success(), "{}", text(&output));
    let aside = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(aside.contains("a session started the broker") && aside.contains("broker"), "{aside}");
    sandbox.ok(["kill-broker"]);
    assert!(text(&shown()).contains("serves"), "also when it has ended");
}

#[test]
fn uninstall_names_the_units_that_it_leaves_alone() {
    let sandbox = Sandbox::new();
    place_units(&sandbox);
    let directory = unit_directory(&sandbox);
    for name in UNITS {
        std::fs::write(directory.join(name), "[Unit]\nDescription=of somebody\n").unwrap();
    }
    let before = everything_below(&directory);
    let said = sandbox.ok(["service", "uninstall"]);
    assert!(said.contains("were not written by `claude-peers service install`"), "{said}");
    assert!(said.contains(directory.join(SOCKET).to_str().unwrap()), "{said}");
    assert!(!said.contains("not installed"), "{said}");
    assert_eq!(everything_below(&directory), before);

    // Two units are of another program and one is ours: ours is removed, the others are named.
    place_units_text(&directory, UNITS[2]);
    let said = sandbox.ok(["service", "uninstall"]);
    assert!(said.contains(&format!("Removed {}", directory.join(UNITS[2]).display())), "{said}");
    assert!(said.contains("were not written by `claude-peers service install`"), "{said}");
    assert!(directory.join(SOCKET).exists());
}

fn place_units_text(directory: &Path, unit: &str) {
    let texts = units::texts(Path::new("/opt/claude-peers")).unwrap();
    let (name, text) = texts.iter().find(|(name, _)| *name == unit).unwrap();
    std::fs::write(directory.join(name), text).unwrap();
}

#[test]
fn units_of_the_users_own_packages_are_seen() {
    for (name, value, place) in [
        ("XDG_DATA_HOME", "data", "data/systemd/user"),
        ("XDG_DATA_DIRS", "nix/share", "nix/share/systemd/user"),
    ] {
        let sandbox = Sandbox::new();
        let place = sandbox.path().join(place);
        std::fs::create_dir_all(&place).unwrap();
        for (name, text) in units::texts(Path::new("/opt/claude-peers")).unwrap() {
            std::fs::write(place.join(name), text).unwrap();
        }
        let value = sandbox.path().join(value).display().to_string();
        let sandbox = sandbox.with(name, value);
        let said = sandbox.run(["status", "--json"]);
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        let reason = report["no_service"]["reason"].as_str().unwrap();
        // A sandbox has a port of its own.
        assert!(reason.contains("a different socket"), "{name}: {reason}");
    }
}
