//! Doctor: sockets, the port, the token, and files that other users could reach.

use std::os::unix::fs::MetadataExt as _;

use super::{examine, faults, find, follow, is_clean, is_found_and_fixed};
use crate::support::{Sandbox, chmod, mode, until};

#[test]
fn a_stale_socket_is_reported_though_the_examination_itself_fixes_it() {
    let sandbox = Sandbox::new();
    for text in [false, true] {
        sandbox.ok(["peers"]);
        sandbox.kill9_broker().unwrap();
        until("it is gone", || sandbox.broker().is_none());
        assert!(sandbox.socket().exists());
        if text {
            let told = sandbox.ok(["doctor", "--no-claude"]);
            assert!(told.contains("WARNING  socket "), "{told}");
            assert!(told.contains("fix: claude-peers peers\n"), "{told}");
            assert!(told.ends_with("\n0 failures, 1 warning.\n"), "{told}");
        } else {
            let found = find(&sandbox, "socket", "warning", &["stale", "had no listener"]);
            let running = sandbox.broker().unwrap().pid;
            follow(&sandbox, &found);
            assert_eq!(sandbox.broker().unwrap().pid, running, "the advice does no harm");
        }
        is_clean(&sandbox);
    }
}

#[test]
fn a_broker_that_lost_its_socket_is_reported_and_not_ended() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let running = sandbox.broker().unwrap().pid;
    std::fs::remove_file(sandbox.socket()).unwrap();
    is_found_and_fixed(&sandbox, "socket", "failure", &["has no listener", &running.to_string()]);
    assert_ne!(sandbox.broker().unwrap().pid, running);
}

/// Not a test: a foreign program on the port, run by the test below as a process of its own.
#[test]
#[ignore = "another test runs it, as a process of its own"]
fn the_foreign_program_on_the_port() {
    if let Ok(port) = std::env::var("CLAUDE_PEERS_TEST_FOREIGN_PORT") {
        let _listener = std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
}

#[cfg(target_os = "linux")]
fn foreign_program(port: u16) -> std::process::Child {
    use std::process::{Command, Stdio};

    let mut command = Command::new(std::env::current_exe().unwrap());
    crate::support::with_default_signals(&mut command);
    let child = command
        .args(["--exact", "doctor::endpoint::the_foreign_program_on_the_port", "--ignored"])
        .env("CLAUDE_PEERS_TEST_FOREIGN_PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    child
}

#[cfg(target_os = "linux")]
#[test]
fn a_foreign_program_on_the_port_is_named() {
    let sandbox = Sandbox::new();
    let mut program = foreign_program(sandbox.port());
    let pid = format!("process {}", program.id());
    is_found_and_fixed(&sandbox, "port", "warning", &["is held by", &pid]);
    program.wait().unwrap();

    // The port is free again, and the broker did not get it.
    sandbox.ok(["kill-broker"]);
    let mut program = foreign_program(sandbox.port());
    sandbox.ok(["peers"]);
    program.kill().unwrap();
    program.wait().unwrap();
    is_found_and_fixed(&sandbox, "port", "warning", &["is not open", "no other process"]);
}

#[test]
fn a_database_of_another_user_is_reported() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    std::os::unix::fs::chown(sandbox.database(), Some(12_345), None).unwrap();
    let (_, findings) = examine(&sandbox);
    let trip = faults(&findings).into_iter().find(|f| f["check"] == "round trip").unwrap();
    assert!(trip["finding"].as_str().unwrap().contains("belongs to user id 12345"), "{trip}");
    is_found_and_fixed(&sandbox, "database", "failure", &["belongs to user 12345"]);
    assert!(std::fs::metadata(sandbox.database()).unwrap().uid() == 0);
}

#[test]
fn a_token_that_others_could_read_is_replaced_by_the_advice() {
    let sandbox = Sandbox::new();
    for running in [true, false] {
        sandbox.ok(["peers"]);
        let token = sandbox.token();
        let path = sandbox.config().paths.token;
        if !running {
            sandbox.ok(["kill-broker"]);
        }
        chmod(&path, 0o644);
        let output = sandbox.run(["doctor", "--no-claude", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("is open to others (mode 0644)"), "{told}");
        assert!(!told.contains(&token), "{told}");
        if running {
            is_found_and_fixed(&sandbox, "files", "failure", &["token", "mode 0644"]);
        } else {
            // A broker that starts has made a new token by now.
            is_clean(&sandbox);
        }
        assert_eq!(mode(&path), 0o600);
        assert_ne!(sandbox.token(), token, "the old one is of no use");
    }
    std::fs::remove_file(sandbox.config().paths.token).unwrap();
    is_found_and_fixed(&sandbox, "files", "warning", &["token", "is missing"]);
    std::fs::write(sandbox.config().paths.token, "0".repeat(64)).unwrap();
    chmod(&sandbox.config().paths.token, 0o600);
    is_found_and_fixed(&sandbox, "port", "failure", &["refuses the token"]);
}

#[test]
fn directories_and_files_that_are_open_to_others_are_reported() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let paths = sandbox.config().paths;
    for (path, open, closed, check) in [
        (paths.runtime().to_owned(), 0o755, 0o700, "files"),
        (paths.state().to_owned(), 0o770, 0o700, "files"),
        (sandbox.database(), 0o640, 0o600, "database"),
    ] {
        chmod(&path, open);
        let words = ["is open to others", &path.display().to_string()];
        is_found_and_fixed(&sandbox, check, "warning", &words);
        assert_eq!(mode(&path), closed);
    }
    std::fs::create_dir_all(paths.config_file.parent().unwrap()).unwrap();
    std::fs::write(&paths.config_file, "").unwrap();
    chmod(&paths.config_file, 0o666);
    is_found_and_fixed(&sandbox, "files", "warning", &["configuration file", "open to others"]);
}
