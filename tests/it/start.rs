//! Promise 8: where no service manager serves, the first client starts one broker.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    PROGRAM, Sandbox, SessionOptions, ends, free_port, in_a_terminal, mounted, rounds, send_signal,
    until,
};

/// How many brokers have begun to serve here, by the log.
fn brokers_started(sandbox: &Sandbox) -> usize {
    let log = std::fs::read_to_string(sandbox.config().paths.log).unwrap_or_default();
    log.lines().filter(|line| line.contains(" serves ")).count()
}

/// The broker processes of this sandbox, whether they serve or not.
#[cfg(target_os = "linux")]
fn broker_processes(sandbox: &Sandbox) -> Vec<u32> {
    use claude_peers::sys::process::{argv, environment_value};
    let home = sandbox.home().into_os_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| argv(*pid).is_some_and(|argv| argv.get(1).is_some_and(|a| a == "broker")))
        .filter(|pid| environment_value(*pid, "HOME").flatten().as_ref() == Some(&home))
        .collect()
}

#[test]
fn forty_clients_that_find_no_broker_start_one_and_all_are_served() {
    let sandbox = Sandbox::new();
    for round in 0..rounds(2) {
        let before = brokers_started(&sandbox);
        let together = Barrier::new(40);
        let (sandbox, together) = (&sandbox, &together);
        let sessions: Vec<_> = std::thread::scope(|scope| {
            let commands: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(move || {
                        together.wait();
                        sandbox.run(["peers"])
                    })
                })
                .collect();
            let sessions: Vec<_> = (0..20)
                .map(|n| {
                    scope.spawn(move || {
                        let options = SessionOptions::new(&format!("s{round}-{n}")).at_once();
                        let command = options.command(sandbox);
                        together.wait();
                        let mut session = crate::support::Session::spawn(command);
                        session.handshake("claude-code");
                        session.call("list_peers", json!({}));
                        session
                    })
                })
                .collect();
            for command in commands {
                let output = command.join().unwrap();
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{error}");
            }
            sessions.into_iter().map(|session| session.join().unwrap()).collect()
        });
        assert_eq!(brokers_started(sandbox) - before, 1, "one broker in round {round}");
        let running = sandbox.broker().unwrap().pid;
        #[cfg(target_os = "linux")]
        assert_eq!(broker_processes(sandbox), [running]);
        until("all are live", || sandbox.live_peers() == Some(sessions.len() as u64));
        drop(sessions);
        assert_eq!(sandbox.kill9_broker(), Some(running));
        until("it is gone", || sandbox.broker().is_none());
    }
}

#[test]
fn the_broker_outlives_the_terminal_that_started_it() {
    use std::os::unix::process::ExitStatusExt as _;

    let sandbox = Sandbox::new();
    let mut command = sandbox.command_of(
        "sh",
        ["-c", "\"$0\" peers && \"$0\" peers && : > served; exec sleep 600", PROGRAM],
    );
    command
        .env("OPENAI_API_KEY", "sk-secret")
        .env("CLAUDE_CODE_SESSION_ID", "a-session")
        .env("CLAUDE_CODE_ENTRYPOINT", "cli")
        .env("CLAUDE_PEERS_NAME", "somebody")
        .env("SOMETHING_ELSE", "of the shell");
    let (terminal, mut shell) = in_a_terminal(command);
    until("the command was served", || sandbox.path().join("served").exists());
    let broker = sandbox.broker().unwrap().pid;
    let mut other = sandbox.session("other");

    drop(terminal);
    let end = ends(&mut shell);
    assert_eq!(end.signal(), Some(1), "the terminal's end is SIGHUP: {end:?}");
    std::thread::sleep(Duration::from_millis(200));

    other.call("list_peers", json!({}));
    assert_eq!(sandbox.json(["status"])["pid"], broker);
    send_signal(broker, rustix::process::Signal::HUP);
    std::thread::sleep(Duration::from_millis(100));
    other.call("list_peers", json!({}));
    assert_eq!(sandbox.json(["status"])["pid"], broker);

    #[cfg(target_os = "linux")]
    {
        let stat = std::fs::read_to_string(format!("/proc/{broker}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let (parent, group, session, terminal) = (fields[1], fields[2], fields[3], fields[4]);
        assert_ne!(parent, std::process::id().to_string());
        assert_ne!(parent, shell.id().to_string());
        assert_eq!((group, session), (&*broker.to_string(), &*broker.to_string()));
        assert_eq!(terminal, "0", "it has no terminal");
        let cwd = std::fs::read_link(format!("/proc/{broker}/cwd")).unwrap();
        assert_eq!(cwd, std::path::Path::new("/"));
        let of = |name| claude_peers::sys::process::environment_value(broker, name).unwrap();
        let cleared = ["OPENAI_API_KEY", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT"];
        for name in cleared.iter().chain(&["CLAUDE_PEERS_NAME", "SOMETHING_ELSE"]) {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(of("HOME"), Some(sandbox.home().into()));
        for descriptor in std::fs::read_dir(format!("/proc/{broker}/fd")).unwrap() {
            let target = std::fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
            assert!(!target.starts_with("/dev/pts"), "{}", target.display());
        }
    }
}

#[test]
fn a_socket_that_a_killed_broker_left_is_no_obstacle() {
    let sandbox = Sandbox::new();
    for _ in 0..3 {
        sandbox.ok(["peers"]);
        let pid = sandbox.kill9_broker().unwrap();
        until("it is gone", || sandbox.broker().is_none());
        assert!(sandbox.socket().exists(), "it is still there");
        let (code, _) = sandbox.fails(["status"]);
        assert_eq!(code, 3);
        sandbox.ok(["peers"]);
        assert_ne!(sandbox.broker().unwrap().pid, pid);
    }
}

#[test]
fn a_second_broker_is_refused_on_the_same_socket() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let running = sandbox.broker().unwrap().pid;
    let (code, error) = sandbox.fails(["broker"]);
    assert_eq!(code, 1);
    assert!(error.contains("another broker is already running"), "{error}");
    assert!(error.contains(&running.to_string()) && error.contains("kill-broker"), "{error}");
    assert_eq!(sandbox.json(["status"])["pid"], running);
}

#[test]
fn a_second_broker_is_refused_on_the_same_database() {
    let sandbox = Sandbox::new();
    let sandbox = {
        let database = sandbox.path().join("one.db").display().to_string();
        sandbox.with("CLAUDE_PEERS_DB", database)
    };
    sandbox.ok(["peers"]);
    let running = sandbox.broker().unwrap().pid;
    let port = free_port().to_string();
    for command in ["broker", "peers"] {
        let output = sandbox
            .command([command])
            .env("CLAUDE_PEERS_PORT", &port)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {error}");
        assert!(error.contains("one.db") && error.contains("hint: "), "{command}: {error}");
    }
    assert_eq!(sandbox.json(["status"])["pid"], running);
}

#[test]
fn a_broker_of_another_port_is_not_ended_for_its_database_though_its_socket_is_gone() {
    let sandbox = Sandbox::new();
    let database = sandbox.path().join("one.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
    sandbox.ok(["peers"]);
    let running = sandbox.broker().unwrap();
    std::fs::remove_file(sandbox.socket()).unwrap();
    let mut command = sandbox.command(["broker"]);
    command.env("CLAUDE_PEERS_PORT", free_port().to_string()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.broker().map(|now| now.pid), Some(running.pid), "it holds its lock");
}

#[test]
fn a_client_with_another_database_sends_nothing_and_names_both() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("receiver");
    let other = sandbox.path().join("other.db");
    let output = sandbox
        .command(["send", "receiver", "hello"])
        .env("CLAUDE_PEERS_DB", &other)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for word in [other.to_str().unwrap(), sandbox.database().to_str().unwrap(), "CLAUDE_PEERS_DB"] {
        assert!(error.contains(word), "{word} is missing: {error}");
    }
    let mut stray = SessionOptions::new("stray")
        .with("CLAUDE_PEERS_DB", other.to_str().unwrap())
        .at_once()
        .start(&sandbox);
    let refused =
        stray.try_call("send_message", json!({ "to_id": "receiver", "message": "hello" }));
    assert_eq!(refused["isError"], true);
    let words = refused["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("other.db") && words.contains("CLAUDE_PEERS_DB"), "{words}");
    assert!(session.push_within(Duration::from_millis(300)).is_none());
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
    assert!(!other.exists(), "nothing was made of it");
}

#[test]
fn a_port_in_use_costs_sessions_nothing_and_the_token_stays_secret() {
    let sandbox = Sandbox::new();
    let port = sandbox.port();
    let foreign = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    backend.send("frontend", "hello");
    assert_eq!(frontend.push()["content"], "hello");
    let status = sandbox.ok(["status"]);
    assert!(status.contains(&format!("127.0.0.1:{port} is not open (")), "{status}");
    assert!(status.contains("in use"), "{status}");
    let json = sandbox.json(["status"]);
    assert_eq!(json["health"]["tcp"]["listening"], false);
    let output = sandbox.run(["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "not a byte of the token");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("the broker does not listen on"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_PORT"), "{error}");
    assert!(!error.contains(&sandbox.token()));
    // Our programs never called the foreign port, except to ask whether it is ours.
    foreign.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = foreign.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut stream, &mut text);
        assert!(!text.contains(&sandbox.token()), "{text}");
    }
}

#[test]
fn a_broker_that_cannot_even_write_its_log_says_why_it_does_not_start() {
    let sandbox = Sandbox::new();
    let state = sandbox.path().join("state");
    let mount = "mount -t tmpfs -o size=16k,mode=0700 tmpfs \"$1\"";
    let then = "{ head -c 1000000 /dev/zero >\"$1/ballast\" 2>&1; exec \"$2\" peers; }";
    let Some(mut command) = mounted(&sandbox, &state, mount, then) else { return };
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("No space left") && error.contains("token"), "{error}");
    assert!(error.contains("hint: ") && error.contains("free space"), "{error}");
}
