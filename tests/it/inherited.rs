//! Promise 6: signals that our parent ignores or blocks harm neither a session nor the tests.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit, umask};
use serde_json::json;

use crate::support::{Sandbox, Session, SessionOptions, ends, until};

/// Starts a program with signals ignored, as `nohup` does.
fn ignore(command: &mut Command, signals: &'static [i32]) {
    let begin = move || {
        for signal in signals {
            // SAFETY: no handler is installed.
            unsafe { libc::signal(*signal, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(begin) };
}

/// Starts a program with every signal blocked.
fn block_all(command: &mut Command) {
    let begin = || {
        // SAFETY: `set` is filled before it is read.
        unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigfillset(&raw mut set);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(begin) };
}

#[test]
fn a_broker_is_started_where_the_caller_ignores_the_end_of_its_children() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["peers"]);
    ignore(&mut command, &[libc::SIGCHLD]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(sandbox.status_is("running"));
}

#[test]
fn a_broker_that_was_started_with_signals_blocked_or_ignored_stops_when_it_is_told_to() {
    type Way = fn(&mut Command);
    let ways: [Way; 2] = [block_all, |command| ignore(command, &[libc::SIGTERM, libc::SIGCHLD])];
    for way in ways {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(["broker"]);
        way(&mut command);
        let mut broker = sandbox.start_broker_by(command.stderr(Stdio::null()));
        sandbox.broker().unwrap().ask_to_stop();
        assert!(ends(&mut broker).success());
    }
}

#[test]
fn a_server_that_was_started_with_signals_blocked_ends_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    let mut command = SessionOptions::new("blocked").command(&sandbox);
    block_all(&mut command);
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    session.me();
    session.signal(Signal::TERM);
    assert_eq!(session.wait_end().0, 0);
}

/// `nohup claude`: the session and its server go on after the end of the terminal.
#[test]
fn a_server_whose_client_outlives_its_terminal_outlives_it_too() {
    let sandbox = Sandbox::new();
    let mut command = SessionOptions::new("lasting").command(&sandbox);
    ignore(&mut command, &[libc::SIGHUP]);
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    until("it is live", || session.me()["live"] == true);
    session.signal(Signal::HUP);
    for _ in 0..20 {
        session.call("list_peers", json!({}));
    }
    assert_eq!(sandbox.live_names(), ["lasting"]);
    session.close_input();
    assert_eq!(session.wait_end().0, 0);
}

/// The tests themselves, started as by `nohup`, a CI runner, a git hook or a careful shell.
#[test]
fn the_tests_pass_whatever_the_test_process_inherits() {
    let tests = [
        "start::the_broker_outlives_the_terminal_that_started_it",
        "lifetime::a_server_ends_on_each_termination_signal",
        "refusals::users::files_and_sockets_are_for_their_owner_alone_whatever_the_umask",
        "scopes::a_scope_reaches_all_live_sessions_in_it_but_the_sender",
    ];
    let sandbox = Sandbox::new();
    for mask in [0o000, 0o077] {
        let mut suite = Command::new(std::env::current_exe().unwrap());
        suite
            .args(["--exact", "--test-threads=2"])
            .args(tests)
            .env("GIT_DIR", sandbox.path().join("no-repository"))
            .env("CLAUDE_PEERS_PORT", "1")
            .env("XDG_RUNTIME_DIR", sandbox.path().join("nowhere"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        ignore(&mut suite, &[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD]);
        let begin = move || {
            umask(Mode::from_raw_mode(mask));
            let maximum = getrlimit(Resource::Nofile).maximum;
            setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum })?;
            Ok(())
        };
        // SAFETY: the closure makes system calls only.
        unsafe { suite.pre_exec(begin) };
        let output = suite.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "umask {mask:03o}: {told}");
        assert!(told.contains(&format!("{} passed", tests.len())), "{told}");
    }
}
