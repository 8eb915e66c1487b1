//! Promise 4: a process in a container is identified correctly by a broker outside, and vice versa.
//!
//! A bare process number means nothing across containers: two clients may have the same one.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::containers::{Container, Kind, contained, reached};
use crate::support::hooks::hook_of;
use crate::support::{PATIENCE, PROGRAM, Sandbox, Session, chmod, client_process, until};

/// Sends a message to a session, and checks that a hook of `session` shows it.
#[track_caller]
fn reads(sandbox: &Sandbox, container: &Container, id: &str, session: &str, text: &str) {
    sandbox.ok(["send", id, text]);
    let shown = container.hook(session, "UserPromptSubmit");
    assert!(shown.contains(&format!("| {text}")), "{shown:?}");
}

/// Two containers at once, so that both use the same process numbers.
#[test]
fn a_session_in_a_container_is_itself_for_the_broker_outside_also_after_clear() {
    for kind in [
        Kind::ClientFirst,
        Kind::ClientLater,
        Kind::WithoutProc,
        Kind::HostsProc,
        Kind::ServerAlone,
        Kind::OtherTime,
    ] {
        let sandbox = Sandbox::new();
        let mut host = sandbox.session("host");
        let start = |name: &str| Container::start(&sandbox, name, &format!("session-{name}"), kind);
        let (Some(mut left), Some(mut right)) = (start("left"), start("right")) else { continue };
        let (left_id, right_id) = (left.session.id(), right.session.id());
        assert_ne!(left_id, right_id, "{kind:?}");

        // Tools, in both directions.
        left.session.send("host", "from inside");
        assert_eq!(host.push()["content"], "from inside");
        host.send("right", "from outside");
        let taken = right.session.text("check_messages", json!({}));
        assert!(taken.contains("from outside"), "{kind:?}: {taken}");

        // Hooks, each of its own session.
        for (container, name) in [(&left, "left"), (&right, "right")] {
            assert_eq!(container.hook(&format!("session-{name}"), "SessionStart"), "");
        }
        reads(&sandbox, &left, &left_id, "session-left", "for the left");
        reads(&sandbox, &right, &right_id, "session-right", "for the right");
        // At each start the broker forgets clients that have ended. These have not.
        let hooked = |name: &str| (name.to_owned(), "hooks".to_owned());
        assert_eq!(reached(&sandbox)[1..], [hooked("left"), hooked("right")], "{kind:?}");

        // After /clear the client process shows another session, in each container.
        for (container, name) in [(&left, "left"), (&right, "right")] {
            assert_eq!(container.hook(&format!("cleared-{name}"), "SessionStart"), "");
        }
        reads(&sandbox, &left, &left_id, "cleared-left", "for the left, after /clear");
        reads(&sandbox, &right, &right_id, "cleared-right", "for the right, after /clear");
        let shown = right.hook("cleared-right", "PostToolUse");
        assert!(!shown.contains("for the left"), "{kind:?}: {shown}");
    }
}

/// A broker that a container started would open its own database at the host's socket.
#[test]
fn a_container_does_not_start_the_hosts_broker_and_finds_the_next_one() {
    for kind in [Kind::ClientFirst, Kind::ClientLater] {
        let sandbox = Sandbox::new();
        sandbox.ok(["peers"]);
        let Some(mut container) = Container::start(&sandbox, "box", "session", kind) else {
            return;
        };
        let id = container.session.id();
        assert_eq!(container.hook("session", "SessionStart"), "");
        sandbox.kill9_broker();
        let refused = container.session.try_call("list_peers", json!({})).to_string();
        assert!(refused.contains("ran outside this container and has ended"), "{refused}");
        assert!(sandbox.broker().is_none());
        sandbox.ok(["peers"]);
        assert_eq!(container.session.id(), id);
        until("it is live again", || sandbox.live_peers() == Some(1));
        reads(&sandbox, &container, &id, "session", "by another broker");
        assert!(!sandbox.path().join("box/.claude-peers.db").exists());
    }
}

/// Home and socket are on a volume that both share. The container that is left goes on.
#[test]
fn of_two_containers_with_one_database_each_may_start_the_broker() {
    let sandbox = Sandbox::new();
    let shared = sandbox.home();
    let start = |name: &str| {
        let mut command = contained(&sandbox, &shared, Kind::ClientFirst)?;
        command.env("CLAUDE_CODE_SESSION_ID", name).env("CLAUDE_PEERS_NAME", name);
        let mut session = Session::spawn({
            command.args(["sh", "-c", "\"$PROGRAM\" mcp; exit"]);
            command
        });
        session.handshake("claude-code");
        until("the session is live", || session.me()["live"] == true);
        Some(session)
    };
    let (Some(first), Some(mut second)) = (start("first"), start("second")) else { return };
    let old = sandbox.broker().unwrap();
    let id = second.send("first", "from one to the other");
    // All processes of the first container end with it, the broker included.
    drop(first);
    until("another broker serves", || {
        sandbox.broker().is_some_and(|new| new.process != old.process)
    });
    assert_eq!(second.me()["name"], "second");
    let messages = second.text("check_messages", json!({}));
    assert!(messages.contains(&id), "{messages}");
}

/// The hook spool holds process numbers of the container.
#[test]
fn a_hook_event_of_a_container_is_spooled_while_no_broker_runs() {
    for kind in [Kind::ClientFirst, Kind::ClientLater, Kind::OtherTime] {
        let sandbox = Sandbox::new();
        sandbox.ok(["peers"]);
        let Some(mut first) = Container::start(&sandbox, "first", "session", kind) else { return };
        let id = first.session.id();
        first.session.close_input();
        drop(first);
        sandbox.ok(["kill-broker"]);
        until("no broker runs", || sandbox.broker().is_none());

        let second = Container::without_server(&sandbox, "second", "thrown-away", kind);
        let mut second = second.unwrap();
        assert_eq!(second.hook("session", "SessionStart"), "");
        sandbox.ok(["peers"]);
        second.serve();
        assert_eq!(second.session.id(), id, "{kind:?}");
        assert_eq!(reached(&sandbox), [("first".to_owned(), "hooks".to_owned())], "{kind:?}");
    }
}

/// The broker sees none of their processes, and takes none for ended or for another.
#[test]
fn clients_outside_are_themselves_for_a_broker_in_a_container() {
    let sandbox = Sandbox::new();
    let socket = sandbox.socket().display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_SOCKET", socket);
    let inside = sandbox.path().join("inside");
    std::fs::create_dir_all(&inside).unwrap();
    let Some(mut command) = contained(&sandbox, &inside, Kind::ClientFirst) else { return };
    let mut broker = command.args([PROGRAM, "broker"]).stdin(Stdio::null()).spawn().unwrap();
    until("the broker serves", || sandbox.status_is("running"));

    let mut left = client_process(&sandbox, "left", "session-left");
    let mut right = client_process(&sandbox, "right", "session-right");
    let (left_id, right_id) = (left.id(), right.id());
    for (window, name) in [(&left, "left"), (&right, "right")] {
        assert_eq!(
            hook_of(
                &sandbox,
                window.pid(),
                &format!("session-{name}"),
                "SessionStart",
                Value::Null
            ),
            ""
        );
    }
    for (window, name) in [(&left, "left"), (&right, "right")] {
        assert_eq!(
            hook_of(
                &sandbox,
                window.pid(),
                &format!("cleared-{name}"),
                "SessionStart",
                Value::Null
            ),
            ""
        );
    }
    let hooked = |name: &str| (name.to_owned(), "hooks".to_owned());
    assert_eq!(reached(&sandbox), [hooked("left"), hooked("right")]);
    for (window, id, name) in [(&left, left_id, "left"), (&right, right_id, "right")] {
        sandbox.ok(["send", &id, &format!("for the {name}")]);
        let shown = hook_of(
            &sandbox,
            window.pid(),
            &format!("cleared-{name}"),
            "UserPromptSubmit",
            Value::Null,
        );
        assert!(shown.contains(&format!("| for the {name}")), "{shown}");
    }
    let _ = broker.kill();
    let _ = broker.wait();
}

/// A user of a container may have another user id outside.
#[test]
fn another_user_is_told_the_owner_of_the_broker_and_nothing_else() {
    const OTHER: u32 = 64_007;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can be another user");
        return;
    }
    // A user namespace shows this number for users that it does not know.
    let hidden: u32 =
        std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap().trim().parse().unwrap();
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let socket = sandbox.socket();
    for path in [sandbox.path(), &sandbox.path().join("run"), socket.parent().unwrap(), &socket] {
        let mode = if path == socket { 0o666 } else { 0o711 };
        chmod(path, mode);
    }
    for (uid, advice) in [(OTHER, "docker run --user"), (hidden, "--userns=keep-id")] {
        let socket = socket.clone();
        // The raw system call changes the user id of this thread only.
        let asked = std::thread::spawn(move || {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"GET /v1/peers HTTP/1.1\r\nHost: localhost\r\nclaude-peers-protocol: 1\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let answer = asked.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains(&format!("your user id appears as {uid}")), "{answer}");
        assert!(answer.contains(advice) && !answer.contains("\"peers\""), "{answer}");
    }
    assert!(sandbox.status_is("running"));
}
